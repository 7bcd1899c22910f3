//! Both control planes are killed under load.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::Instant;

use super::stage::{PATIENCE, Stage, carrying};
use super::{Experiment, Missing, Options, address};
use crate::two::{Side, Wish};
use crate::{Error, until};

/// Long enough for whatever asks a control plane every few seconds to have noticed.
const GONE: Duration = Duration::from_secs(10);

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "control-planes-gone",
    hypothesis: "Both control planes are killed under load, and nothing between the clusters depends on them: no node notices, nothing is lost, nothing widens; a link that is lost meanwhile goes on, and agents find the control planes again.",
    takes: Duration::from_secs(40),
    needs,
    run: |stage| Box::pin(run(stage)),
};

fn needs(options: &Options) -> Result<Wish, Missing> {
    // Bundles that people brought with the link are enough here.
    let own = address::own(options);
    Ok(Wish {
        control: Some(own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        gateways: 2,
        lines: true,
        spare: true,
        ..Wish::plain(&options.skans)
    })
}

async fn run(stage: &mut Stage) -> Result<(), Error> {
    for side in [&mut stage.two.ours, &mut stage.two.theirs] {
        control(side)?.kill().await?;
    }
    let killed = Instant::now();
    stage.step("both control planes are killed");
    stage.try_rows("during: both are gone").await?;
    stage.flows(killed, "they were killed").await?;
    stage.for_(GONE.saturating_sub(killed.elapsed())).await;
    let (_, before) = stage.link().await?;
    let carries = carrying(&stage.two.ours).await?;
    stage.two.ours.take_gateway(carries)?.kill().await?;
    stage.step("the gateway of ours that carries the link is killed as well");
    stage.resumes(before).await?;
    let again = Instant::now();
    for side in [&mut stage.two.ours, &mut stage.two.theirs] {
        control(side)?.restart().await?;
    }
    stage.step("both control planes run again");
    for ours in [true, false] {
        heard(stage, ours, again).await?;
    }
    stage.flows(again, "they came back").await?;
    let numbers = stage.finish().await?;
    stage.check(
        "the link is the same one, resumed by agents on their own",
        numbers.resumed >= 1,
        || format!("resumed {} times", numbers.resumed),
    );
    stage.unnoticed(&numbers);
    Ok(())
}

fn control(side: &mut Side) -> Result<&mut crate::ControlProcess, Error> {
    side.control
        .as_mut()
        .ok_or_else(|| Error::Plan("there is no control plane".to_owned()))
}

/// Waits until the agent of a side has heard of its control plane since then: the newest head that it has was signed later.
async fn heard(stage: &mut Stage, ours: bool, since: Instant) -> Result<(), Error> {
    let side = if ours {
        &stage.two.ours
    } else {
        &stage.two.theirs
    };
    let name = side.name;
    until(
        PATIENCE,
        "the agent to hear of its control plane",
        async || {
            let status = side
                .agent
                .status()
                .await
                .map_err(|error| error.to_string())?;
            let age = status.control.map(|control| control.head_age_seconds);
            match age {
                Some(age) if Duration::from_secs(age + 1) < since.elapsed() => Ok(()),
                other => Err(format!("its newest head is {other:?} s old")),
            }
        },
    )
    .await?;
    stage.step(format!(
        "the agent of {name} has heard of its control plane"
    ));
    Ok(())
}
