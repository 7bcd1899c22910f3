//! What every experiment stands on: two clusters of its own, a load between them, and a record of what was done and seen.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::load::{self, Numbers};
use super::report::{Check, Moment, Step, milliseconds};
use super::rows::{self, Outcome, Tried};
use crate::two::{ALIAS, Side, Two, Wish};
use crate::{Error, until};

/// For what takes milliseconds on a quiet machine, and seconds where something was broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Calls that are to be answered before anything is broken, and after: some hundred milliseconds.
const STEADY: u64 = 100;

/// An experiment, as far as it has come.
#[derive(Debug)]
pub(super) struct Stage {
    pub two: Two,
    /// The release that one side is upgraded to.
    pub newer: PathBuf,
    began: Instant,
    told: UnboundedSender<String>,
    record: Ended,
    over: bool,
}

/// What was done and seen.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// What kept it from its end.
    pub why: Option<String>,
    pub steps: Vec<Step>,
    pub checks: Vec<Check>,
    pub numbers: Numbers,
    pub tried: Vec<Tried>,
}

impl Ended {
    /// There was nothing to see.
    pub fn before_it_began(why: String) -> Self {
        Self {
            why: Some(why),
            ..Self::default()
        }
    }
}

impl Stage {
    /// Starts the clusters and the load, sees that it is steady, and that what is not exported is refused.
    pub async fn set(
        wish: &Wish,
        newer: PathBuf,
        told: UnboundedSender<String>,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        let mut steps = Vec::new();
        let two = Two::start_as(wish, |what| {
            // Whoever listened may have gone.
            let _ = told.send(what.to_owned());
            steps.push(step(began, what));
        })
        .await?;
        let record = Ended {
            steps,
            ..Ended::default()
        };
        let mut stage = Self {
            two,
            newer,
            began,
            told,
            record,
            over: false,
        };
        load::start(&stage.two).await?;
        load::answered(&stage.two, STEADY, PATIENCE).await?;
        let now = load::count(&stage.two).await?;
        stage.check("the load is steady before", now.unnoticed_so_far(), || {
            format!(
                "{} calls answered, {} failed, {} nodedowns",
                now.calls.answered,
                now.calls.failed,
                now.nodedowns[0] + now.nodedowns[1]
            )
        });
        stage.try_rows("before").await?;
        Ok(stage)
    }

    /// Something was done, or seen.
    pub fn step(&mut self, what: impl AsRef<str>) {
        let what = what.as_ref();
        let _ = self.told.send(what.to_owned());
        self.record.steps.push(step(self.began, what));
    }

    /// A part of the hypothesis.
    pub fn check(&mut self, what: &str, held: bool, found: impl FnOnce() -> String) {
        let found = found();
        if !held {
            self.step(format!("NOT SO: {what}: {found}"));
        }
        self.record.checks.push(Check {
            what: what.to_owned(),
            held,
            found,
        });
    }

    /// Tries what must be refused, now.
    pub async fn try_rows(&mut self, when: &str) -> Result<(), Error> {
        let tried = rows::all(&self.two, when).await?;
        let refused = tried.iter().filter(|one| one.outcome == Outcome::Refused);
        let (refused, count) = (refused.count(), tried.len());
        let passed = tried.iter().filter(|one| one.outcome == Outcome::Passed);
        let passed = passed.count();
        self.record.tried.extend(tried);
        self.step(format!(
            "{when}: of {count} attempts at what is not exported {refused} are refused, {} get no answer, {passed} pass",
            count - refused - passed
        ));
        Ok(())
    }

    /// What became of the load so far.
    pub async fn count(&self) -> Result<Numbers, Error> {
        load::count(&self.two).await
    }

    /// Waits until the load flows, and says how long that took.
    pub async fn flows(&mut self, since: Instant, what: &str) -> Result<Duration, Error> {
        load::answered(&self.two, STEADY, PATIENCE).await?;
        let after = since.elapsed();
        self.step(format!("{STEADY} calls answered {after:.1?} after {what}"));
        Ok(after)
    }

    /// Waits until the link between the nodes has gone on with another connection more often than before.
    pub async fn resumes(&mut self, before: u64) -> Result<(), Error> {
        let agent = &self.two.ours.agent;
        let resumed = until(PATIENCE, "the link to go on", async || {
            let links = agent.links().await.map_err(|error| error.to_string())?;
            match links.iter().find(|link| link.peer == ALIAS) {
                Some(link) if link.resumed > before && link.state == "up" => Ok(link.resumed),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        self.step(format!(
            "the link has gone on with another connection, {resumed} times so far"
        ));
        Ok(())
    }

    /// The state of the link at ours, as `skans links` shows it; `none` without one.
    pub async fn link(&self) -> Result<(String, u64), Error> {
        let links = self.two.ours.agent.links().await?;
        let link = links.into_iter().find(|link| link.peer == ALIAS);
        Ok(link.map_or_else(|| ("none".to_owned(), 0), |link| (link.state, link.resumed)))
    }

    /// Lets the load run for so long: where the experiment is about a length of time.
    pub async fn for_(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Tries what must be refused once more, ends the load, and tells what became of it.
    pub async fn finish(&mut self) -> Result<Numbers, Error> {
        self.over = true;
        self.try_rows("after").await?;
        self.record.numbers = load::end(&self.two).await?;
        let tried = &self.record.tried;
        let passed = tried.iter().filter(|one| one.outcome == Outcome::Passed);
        let passed: Vec<_> = passed
            .map(|one| format!("{}: {}: {}", one.when, one.row, one.said))
            .collect();
        let sound = |when: &str| {
            let mut then = tried.iter().filter(|one| one.when == when).peekable();
            then.peek().is_some() && then.all(|one| one.outcome == Outcome::Refused)
        };
        let (sound, count) = (sound("before") && sound("after"), tried.len());
        let traces = rows::traces(&self.two).await?;
        self.check(
            "what is not exported never passes",
            passed.is_empty() && traces.is_empty(),
            || {
                if passed.is_empty() && traces.is_empty() {
                    format!("{count} attempts, none of which came to anything on the other node")
                } else {
                    [passed, traces].concat().join("; ")
                }
            },
        );
        let unlike = self.record.tried.iter();
        let unlike = unlike
            .filter(|one| one.outcome != Outcome::Refused && !one.when.starts_with("during"))
            .map(|one| format!("{}: {}: {}", one.when, one.row, one.said));
        let unlike: Vec<_> = unlike.collect();
        self.check(
            "it is refused by an answer, before and after",
            sound,
            || {
                if unlike.is_empty() {
                    "each of them".to_owned()
                } else {
                    unlike.join("; ")
                }
            },
        );
        Ok(self.record.numbers.clone())
    }

    /// The hypothesis that no node notices, and nothing is lost.
    pub fn unnoticed(&mut self, numbers: &Numbers) {
        let calls = &numbers.calls;
        self.check(
            "every call is answered, by its own answer",
            calls.failed == 0 && calls.wrong == 0 && calls.made == calls.answered,
            || {
                format!(
                    "{} made, {} answered, {} failed {:?}; the longest took {} ms",
                    calls.made,
                    calls.answered,
                    calls.failed,
                    calls.failures,
                    calls.longest_pause_ms
                )
            },
        );
        for (what, casts) in [
            (
                "no message to the server is lost, doubled or out of order",
                &numbers.casts,
            ),
            ("nor any that it sends", &numbers.echoes),
        ] {
            let faults = casts.lost + casts.doubled + casts.out_of_order;
            let held = casts.sent > 0 && faults == 0 && casts.sent == casts.received;
            self.check(what, held, || format!("{casts:?}"));
        }
        let downs = numbers.nodedowns;
        self.check("no node misses the other", downs == [0, 0], || {
            format!("{} nodedowns at ours, {} at theirs", downs[0], downs[1])
        });
    }

    /// The hypothesis that a link may end as any does: callers are told, and what was under way is the most that is lost.
    pub fn ends_cleanly(&mut self, numbers: &Numbers) {
        let calls = &numbers.calls;
        let told = calls
            .failures
            .keys()
            .all(|why| matches!(why.as_str(), "nodedown" | "noconnection"));
        let all = calls.made == calls.answered + calls.failed;
        self.check(
            "callers are told by nodedown and nothing else",
            told && all,
            || {
                format!(
                    "{} made, {} answered, {} failed: {:?}",
                    calls.made, calls.answered, calls.failed, calls.failures
                )
            },
        );
        self.check(
            "nothing is doubled, out of order, or another's answer",
            numbers.in_order(),
            || {
                format!(
                    "{} answers of others; to the server {:?}; from it {:?}",
                    calls.wrong, numbers.casts, numbers.echoes
                )
            },
        );
    }

    /// What is left of it, whatever came of it.
    pub async fn strike(mut self, ran: Result<(), Error>) -> Ended {
        if let Err(error) = ran {
            self.step(format!("NOT SO: {error}"));
            self.record.why = Some(error.to_string());
            // What the load came to until then says more than zeros.
            if let Ok(numbers) = load::count(&self.two).await {
                self.record.numbers = numbers;
            }
        } else if !self.over {
            self.record.why = Some("it did not come to its end".to_owned());
        }
        self.record
    }
}

/// The gateway that has opened the last way, by its log.
pub(super) async fn carrying(side: &Side) -> Result<usize, Error> {
    until(PATIENCE, "a gateway to carry the link", async || {
        for (index, gateway) in side.gateways.iter().enumerate() {
            if let Some(process) = &gateway.process {
                let lines = process.log_since(0).map_err(|error| error.to_string())?;
                let opened = lines.iter().filter(|line| line["message"] == "way open");
                let ended = lines.iter().filter(|line| {
                    let message = line["message"].as_str().unwrap_or_default();
                    message.starts_with("way ended")
                });
                if opened.count() > ended.count() {
                    return Ok(index);
                }
            }
        }
        Err("none".to_owned())
    })
    .await
}

fn step(began: Instant, what: &str) -> Step {
    Step {
        at: Moment::now(),
        elapsed_ms: milliseconds(began.elapsed()),
        what: what.to_owned(),
    }
}
