//! One side is replaced by another release part by part, under load: first the side that the link leads to, then, with that upgraded, the one that
//! dialled it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::Instant;

use super::stage::Stage;
use super::{Experiment, Missing, Options, address};
use crate::Error;
use crate::two::Wish;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "one-side-upgraded",
    hypothesis: "Control plane, gateway and agent of one side are replaced by another release under load: a link that this side accepted goes on and no node notices; one that it dialled ends once, with its agent's take-over, as an ordinary nodedown, and is there again for the next call. Nothing is doubled, turned round or answered to somebody else, and nothing widens.",
    takes: Duration::from_secs(60),
    needs,
    run: |stage| Box::pin(run(stage)),
};

fn needs(options: &Options) -> Result<Wish, Missing> {
    let own = address::own(options);
    Ok(Wish {
        control: Some(own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        lines: true,
        spare: true,
        ..Wish::plain(&options.skans)
    })
}

async fn run(stage: &mut Stage) -> Result<(), Error> {
    let newer = stage.newer.clone();
    upgrade_plane_and_gateway(stage, false).await?;
    let replaced = Instant::now();
    stage.two.theirs.agent.replace_from(&newer).await?;
    stage.step("the agent of theirs, which accepted the link, is replaced by take-over");
    stage.flows(replaced, "that").await?;
    let mixed = stage.count().await?;
    stage.check(
        "a link that the upgraded side accepted goes on unnoticed",
        mixed.unnoticed_so_far() && mixed.resumed >= 1,
        || {
            format!(
                "{} calls answered, {} failed, {} nodedowns, resumed {} times",
                mixed.calls.answered,
                mixed.calls.failed,
                mixed.nodedowns[0] + mixed.nodedowns[1],
                mixed.resumed
            )
        },
    );
    let (one, other) = (
        stage.two.ours.agent.status().await?,
        stage.two.theirs.agent.status().await?,
    );
    stage.step(format!(
        "ours is {}, theirs {}, its agent replaced {} times",
        one.version, other.version, other.handovers
    ));
    stage.check("theirs is another process", other.handovers == 1, || {
        format!("{} handovers", other.handovers)
    });
    stage
        .try_rows("during: theirs is upgraded, ours is not")
        .await?;
    upgrade_plane_and_gateway(stage, true).await?;
    let before = stage.count().await?;
    stage.check(
        "nor is its gateway noticed on the side that dialled",
        before.unnoticed_so_far(),
        || format!("{:?}, {:?} nodedowns", before.calls, before.nodedowns),
    );
    let replaced = Instant::now();
    stage.two.ours.agent.replace_from(&newer).await?;
    stage.step("the agent of ours, which dialled the link, is replaced by take-over");
    stage.flows(replaced, "that").await?;
    let numbers = stage.finish().await?;
    stage.check(
        "a link that it dialled ends once",
        numbers.nodedowns == [1, 1],
        || {
            format!(
                "{} nodedowns at ours, {} at theirs",
                numbers.nodedowns[0], numbers.nodedowns[1]
            )
        },
    );
    stage.ends_cleanly(&numbers);
    Ok(())
}

async fn upgrade_plane_and_gateway(stage: &mut Stage, ours: bool) -> Result<(), Error> {
    let newer = stage.newer.clone();
    let side = if ours {
        &mut stage.two.ours
    } else {
        &mut stage.two.theirs
    };
    let name = side.name;
    if let Some(control) = &mut side.control {
        control.restart_from(&newer).await?;
    }
    stage.step(format!("the control plane of {name} is replaced"));
    let (_, before) = stage.link().await?;
    let two = &mut stage.two;
    let (side, other) = if ours {
        (&mut two.ours, &two.theirs)
    } else {
        (&mut two.theirs, &two.ours)
    };
    let began = Instant::now();
    side.restart_gateway(&newer, 0, other).await?;
    stage.step(format!(
        "the gateway of {name} is replaced; what it carried has to find it again"
    ));
    stage.resumes(before).await?;
    stage.flows(began, "it was stopped").await?;
    Ok(())
}
