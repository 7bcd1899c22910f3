//! Nothing passes between the gateways for 15 s, and nobody is told.

use std::time::Duration;

use tokio::time::Instant;

use super::stage::Stage;
use super::{Experiment, Missing, Options};
use crate::Error;
use crate::relay::Relay;
use crate::two::Wish;

/// Less than a link looks for another connection (`links.resumeTimeout`, 20 s).
const CUT: Duration = Duration::from_secs(15);

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "link-cut",
    hypothesis: "A line between the gateways that is cut for 15 s under load is a pause: no node notices, nothing is lost, nothing widens.",
    takes: Duration::from_secs(35),
    needs,
    run: |stage| Box::pin(run(stage)),
};

fn needs(options: &Options) -> Result<Wish, Missing> {
    Ok(Wish {
        lines: true,
        spare: true,
        ..Wish::plain(&options.skans)
    })
}

async fn run(stage: &mut Stage) -> Result<(), Error> {
    let cut = Instant::now();
    lines(stage).for_each(Relay::cut);
    stage.step("the line between the gateways is cut");
    // They get no answer while it is cut: what is asked is whether they do anything once it is mended.
    stage.try_rows("during: the line is cut").await?;
    // What is asked is how long, so here it has to pass.
    stage.for_(CUT.saturating_sub(cut.elapsed())).await;
    let (state, _) = stage.link().await?;
    let at = stage.count().await?;
    stage.check(
        "the link has lost its connection, and stands",
        state == "resuming",
        || format!("its state after {:.1?}: {state}", cut.elapsed()),
    );
    lines(stage).for_each(Relay::mend);
    let mended = Instant::now();
    stage.step(format!(
        "the line is mended after {:.1?}; {} calls are waiting for their answer",
        cut.elapsed(),
        at.calls.made - at.calls.answered - at.calls.failed
    ));
    stage.resumes(0).await?;
    stage.flows(mended, "it was mended").await?;
    let numbers = stage.finish().await?;
    let pause = numbers.calls.longest_pause_ms;
    stage.check(
        "calls have waited for as long, so it was cut",
        u128::from(pause) + 1000 >= CUT.as_millis(),
        || format!("the longest took {pause} ms"),
    );
    stage.unnoticed(&numbers);
    Ok(())
}

/// All that leads from one side to the other.
fn lines(stage: &Stage) -> impl Iterator<Item = &Relay> {
    let sides = [&stage.two.ours, &stage.two.theirs];
    let gateways = sides.into_iter().flat_map(|side| &side.gateways);
    gateways.filter_map(|gateway| gateway.line.as_ref())
}
