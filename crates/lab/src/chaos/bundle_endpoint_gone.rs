//! Nobody answers where the other side's bundle is: past its refresh, and past the time for which it is good.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::address::{LEAST_STALENESS, own};
use super::stage::{PATIENCE, Stage};
use super::{Experiment, Missing, Options};
use crate::relay::Relay;
use crate::two::Wish;
use crate::{Error, until};

/// Bundles are fetched again after five minutes; a minute for a loaded machine.
const REFRESH: Duration = Duration::from_secs(360);

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "bundle-endpoint-gone",
    hypothesis: "The endpoint of the other side's bundle is out of reach: past its refresh everything goes on; past `staleness` the link ends as an ordinary nodedown and nobody gets through, whatever else is in order; once the endpoint is back, so is the link. Nothing widens.",
    // Five minutes to its refresh, fifteen to `staleness`: neither can be less, and both have to pass.
    takes: Duration::from_secs(1000),
    needs,
    run: |stage| Box::pin(run(stage)),
};

fn needs(options: &Options) -> Result<Wish, Missing> {
    Ok(Wish {
        control: Some(own(options)?),
        lines: true,
        staleness: LEAST_STALENESS,
        spare: true,
        ..Wish::plain(&options.skans)
    })
}

async fn run(stage: &mut Stage) -> Result<(), Error> {
    stands(stage, "fresh", PATIENCE).await?;
    endpoint(stage, Relay::cut)?;
    let cut = Instant::now();
    stage.step("the bundle endpoint of theirs gets no answer through any more");
    stands(stage, "due", REFRESH).await?;
    let problem = until(PATIENCE, "an attempt to fetch it", async || {
        let found = standing(stage).await.map_err(|error| error.to_string())?;
        let problem = found["problem"].as_str().map(str::to_owned);
        problem.ok_or_else(|| found.to_string())
    })
    .await?;
    stage.step(format!("it could not be fetched again: {problem}"));
    stage.try_rows("during: past its refresh").await?;
    stage.flows(Instant::now(), "that").await?;
    let due = stage.count().await?;
    stage.check(
        "past its refresh everything goes on",
        due.unnoticed_so_far(),
        || {
            format!(
                "{:.0?} after the cut: {} calls answered, {} failed, {} nodedowns",
                cut.elapsed(),
                due.calls.answered,
                due.calls.failed,
                due.nodedowns[0] + due.nodedowns[1]
            )
        },
    );
    stands(stage, "stale", LEAST_STALENESS).await?;
    gone(stage).await?;
    let before = stage.count().await?;
    stage.try_rows("during: past staleness").await?;
    stage.for_(Duration::from_secs(5)).await;
    let after = stage.count().await?;
    let (answered, failed) = (
        after.calls.answered - before.calls.answered,
        after.calls.failed - before.calls.failed,
    );
    stage.check(
        "past staleness nobody gets through",
        answered == 0 && failed > 0,
        || format!("{answered} calls answered, {failed} failed"),
    );
    endpoint(stage, Relay::mend)?;
    let mended = Instant::now();
    stage.step("the bundle endpoint answers again");
    stands(stage, "fresh", PATIENCE * 3).await?;
    stage.flows(mended, "it answered again").await?;
    let numbers = stage.finish().await?;
    stage.check(
        "the link has ended once, on both sides",
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

fn endpoint(stage: &Stage, what: fn(&Relay)) -> Result<(), Error> {
    let relay = stage.two.theirs.endpoint.as_ref();
    what(relay.ok_or_else(|| Error::Plan("there is no bundle endpoint".to_owned()))?);
    Ok(())
}

/// How it stands at ours with the bundle of theirs.
async fn standing(stage: &Stage) -> Result<Value, Error> {
    let control = stage.two.ours.control.as_ref();
    let control = control.ok_or_else(|| Error::Plan("there is no control plane".to_owned()))?;
    let all = control.ask("GET", "/v1/federation", &Value::Null).await?;
    Ok(all["items"][0].clone())
}

async fn stands(stage: &mut Stage, wanted: &str, limit: Duration) -> Result<(), Error> {
    let what = format!("the bundle of theirs to be {wanted}");
    let fetched = until(limit, &what, async || {
        let found = standing(stage).await.map_err(|error| error.to_string())?;
        // What people brought is none that was fetched.
        if found["standing"] == wanted && found["sequence"].is_u64() {
            Ok(())
        } else {
            Err(found.to_string())
        }
    });
    fetched.await?;
    stage.step(format!("at ours the bundle of theirs is {wanted}"));
    Ok(())
}

async fn gone(stage: &mut Stage) -> Result<(), Error> {
    let ours = &stage.two.ours.agent;
    until(PATIENCE, "the link to end", async || {
        let links = ours.links().await.map_err(|error| error.to_string())?;
        if links.iter().any(|link| link.state == "up") {
            return Err(format!("{links:?}"));
        }
        Ok(())
    })
    .await?;
    stage.step("the link has ended");
    Ok(())
}
