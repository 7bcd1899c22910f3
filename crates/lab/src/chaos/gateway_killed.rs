//! The gateway that carries the link is killed under load, on one side and then on the other.

use std::time::Duration;

use tokio::time::Instant;

use super::stage::{PATIENCE, Stage, carrying};
use super::{Experiment, Missing, Options};
use crate::Error;
use crate::two::{Side, Wish};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "gateway-killed",
    hypothesis: "A link whose gateway is killed under load goes on through another one, on either side: no node notices, nothing is lost, nothing widens.",
    takes: Duration::from_secs(15),
    needs,
    run: |stage| Box::pin(run(stage)),
};

fn needs(options: &Options) -> Result<Wish, Missing> {
    Ok(Wish {
        gateways: 2,
        spare: true,
        ..Wish::plain(&options.skans)
    })
}

async fn run(stage: &mut Stage) -> Result<(), Error> {
    for ours in [true, false] {
        let side = pick(stage, ours);
        let (carrying, name) = (carrying(side).await?, side.name);
        let gateway = side.gateways.get(carrying);
        let gateway = gateway.map_or_else(String::new, crate::two::Gateway::name);
        let (_, before) = stage.link().await?;
        let side = if ours {
            &mut stage.two.ours
        } else {
            &mut stage.two.theirs
        };
        side.take_gateway(carrying)?.kill().await?;
        let killed = Instant::now();
        stage.step(format!(
            "{gateway} of {name}, which carries the link, is killed"
        ));
        stage
            .try_rows(&format!("during: {gateway} of {name} is gone"))
            .await?;
        stage.resumes(before).await?;
        stage.flows(killed, "it was killed").await?;
        let other = 1 - carrying;
        let carries = carrying_now(pick(stage, ours), other).await;
        stage.check(
            &format!("the other gateway of {name} carries it"),
            carries.is_ok(),
            || carries.map_or_else(|error| error.to_string(), |()| "its log says so".to_owned()),
        );
    }
    let numbers = stage.finish().await?;
    stage.check(
        "the link is the same one, twice resumed",
        numbers.resumed >= 2,
        || format!("resumed {} times", numbers.resumed),
    );
    stage.unnoticed(&numbers);
    Ok(())
}

const fn pick(stage: &Stage, ours: bool) -> &Side {
    if ours {
        &stage.two.ours
    } else {
        &stage.two.theirs
    }
}

async fn carrying_now(side: &Side, index: usize) -> Result<(), Error> {
    let gateway = side.gateways.get(index);
    let gateway = gateway.ok_or_else(|| Error::Plan(format!("there is no gateway {index}")))?;
    let open = |line: &serde_json::Value| line["message"] == "way open";
    gateway
        .running()?
        .wait_log(0, "way open", PATIENCE, open)
        .await
        .map(drop)
}
