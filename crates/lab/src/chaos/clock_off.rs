//! The clock of one side is set forward by five minutes and then back by five, while everything runs.

use std::time::Duration;

use tokio::time::Instant;

use super::stage::Stage;
use super::{Experiment, Missing, Options, address};
use crate::two::{ALIAS, Wish};
use crate::{Error, clock};

/// By how much, in seconds.
const OFF: i64 = 300;
/// Long enough for whatever looks at the clock to have looked: links and bundles every second, heads every ten.
const WATCHED: Duration = Duration::from_secs(12);

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "clock-off",
    hypothesis: "The clock of one side, but for its nodes, is set five minutes ahead, and then five behind, under load: the link that there is goes on; ahead, new ones are made as well; behind, new ones are refused with the reason as long as certificates of the other side begin in its future, and are made again once the clock is right. Nothing widens.",
    takes: Duration::from_secs(75),
    needs,
    run: |stage| Box::pin(run(stage)),
};

fn needs(options: &Options) -> Result<Wish, Missing> {
    let own = address::own(options);
    let loopback = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    Ok(Wish {
        control: Some(own.unwrap_or(loopback)),
        clock: Some(clock::library().map_err(Missing)?),
        lines: true,
        spare: true,
        ..Wish::plain(&options.skans)
    })
}

async fn run(stage: &mut Stage) -> Result<(), Error> {
    for seconds in [OFF, -OFF] {
        let before = stage.count().await?;
        stage.two.theirs.set_clock(seconds)?;
        stage.step(format!("the clock of theirs is set to {seconds:+} s"));
        stage.for_(WATCHED).await;
        let after = stage.count().await?;
        let answered = after.calls.answered - before.calls.answered;
        let failed = after.calls.failed - before.calls.failed;
        let same = after.nodedowns == before.nodedowns && after.in_order();
        stage.check(
            &format!("{seconds:+} s: the link that there is goes on"),
            answered > 0 && failed == 0 && same,
            || {
                format!(
                    "within {WATCHED:?} {answered} calls answered, {failed} failed; nodedowns {:?}",
                    after.nodedowns
                )
            },
        );
        stage.try_rows(&format!("during: {seconds:+} s")).await?;
        anew(stage, seconds).await?;
        stage
            .try_rows(&format!("during: {seconds:+} s, a new link"))
            .await?;
        stage.two.theirs.set_clock(0)?;
        let right = Instant::now();
        stage.step("the clock of theirs is right again");
        stage.flows(right, "it was set right").await?;
    }
    let numbers = stage.finish().await?;
    // Each was asked for here, and seen at both nodes.
    stage.check(
        "no node misses the other but when it is told to",
        numbers.nodedowns == [2, 2],
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

/// Has the nodes disconnect, so that a new link is asked for. A clock that is ahead finds nothing wrong, since what certificates have left is more
/// than that; one that is behind finds those of the other side to begin in its future, and says so.
async fn anew(stage: &mut Stage, seconds: i64) -> Result<(), Error> {
    let gateway = stage.two.theirs.gateways.first();
    let gateway = gateway.ok_or_else(|| Error::Plan("there is no gateway".to_owned()))?;
    let mark = gateway.running()?.log_mark();
    let disconnect = format!("erlang:disconnect_node('{ALIAS}')");
    stage.two.ours.node.eval(&disconnect, WATCHED).await?;
    stage.step("the nodes are told to disconnect, so that a new link is asked for");
    let before = stage.count().await?;
    stage.for_(WATCHED).await;
    let after = stage.count().await?;
    let answered = after.calls.answered - before.calls.answered;
    let failed = after.calls.failed - before.calls.failed;
    if seconds > 0 {
        stage.check("ahead: a new link is made", answered > 0, || {
            format!("{answered} calls answered, {failed} failed")
        });
        return Ok(());
    }
    stage.check(
        "behind: a new link is refused",
        answered == 0 && failed > 0,
        || format!("{answered} calls answered, {failed} failed"),
    );
    let gateway = stage.two.theirs.gateways.first();
    let gateway = gateway.ok_or_else(|| Error::Plan("there is no gateway".to_owned()))?;
    let lines = gateway.running()?.log_since(mark)?;
    let reason = lines.iter().find(|line| line["reason"] == "not_yet_valid");
    let said = reason.and_then(|line| line["message"].as_str());
    stage.check("behind: its log says why", said.is_some(), || {
        said.unwrap_or("no line with the reason not_yet_valid")
            .to_owned()
    });
    Ok(())
}
