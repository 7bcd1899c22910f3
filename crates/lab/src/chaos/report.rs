//! What was found, as one object: `apiVersion: skans.io/v1alpha1`, `kind: ChaosReport`. Verdicts are derived from what was observed, never said
//! by an experiment.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::process::Command;

pub use super::load::{Calls, Casts, Numbers};
pub use super::rows::{Outcome, Tried};
use super::stage::Ended;
use super::{Experiment, Options, worst};
use crate::Error;

/// For a program to say its version.
const VERSION: Duration = Duration::from_secs(20);

/// What became of a hypothesis.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Every check of it holds, and there were some.
    Held,
    /// One does not, or it could not be brought to its end.
    Failed,
    /// It was not tried: this machine has not got what it needs.
    Skipped,
}

impl Verdict {
    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A point in time, RFC 3339 in UTC with milliseconds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Moment(String);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let now = OffsetDateTime::now_utc();
        let milliseconds = now.millisecond();
        let cut = now.replace_millisecond(milliseconds).unwrap_or(now);
        Self(cut.format(&Rfc3339).unwrap_or_default())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What ran.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Of Skans.
    pub skans: String,
    /// Of the release that one side is upgraded to.
    pub newer: String,
    /// Of Erlang.
    pub otp: String,
}

impl Versions {
    /// Asks the programs.
    pub(super) async fn ask(options: &Options) -> Result<Self, Error> {
        let skans = said(&options.skans, &["--version"]).await?;
        let newer = match &options.newer {
            Some(newer) => said(newer, &["--version"]).await?,
            None => skans.clone(),
        };
        let release = "io:put_chars(erlang:system_info(otp_release)), halt().";
        let otp = said(
            &crate::erl::find()?,
            &["-noshell", "-boot", "start_clean", "-eval", release],
        )
        .await?;
        Ok(Self { skans, newer, otp })
    }
}

async fn said(program: &Path, words: &[&str]) -> Result<String, Error> {
    let what = program.display().to_string();
    let run = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(VERSION, run)
        .await
        .map_err(|_| Error::Unexpected(format!("{what}: no answer within {VERSION:?}")))?
        .map_err(Error::system(what.clone()))?;
    if !done.status.success() {
        return Err(Error::Ended {
            what,
            how: done.status.to_string(),
            output: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        });
    }
    let text = String::from_utf8_lossy(&done.stdout);
    Ok(text.trim().trim_start_matches("skans ").to_owned())
}

/// What was done or seen, and when.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// When.
    pub at: Moment,
    /// Milliseconds since the experiment began.
    pub elapsed_ms: u64,
    /// What.
    pub what: String,
}

/// A part of a hypothesis, and what was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What is wanted.
    pub what: String,
    /// Whether it was so.
    pub held: bool,
    /// What was seen.
    pub found: String,
}

/// How often what a link does not export was tried, by what came of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// All attempts.
    pub tried: u64,
    /// Answered by a refusal.
    pub refused: u64,
    /// Without an answer, or without a way.
    pub unreached: u64,
    /// Let through.
    pub passed: u64,
}

impl Rows {
    fn of(tried: &[Tried]) -> Self {
        let mut rows = Self::default();
        for one in tried {
            rows.tried += 1;
            *match one.outcome {
                Outcome::Refused => &mut rows.refused,
                Outcome::Unreached => &mut rows.unreached,
                Outcome::Passed => &mut rows.passed,
            } += 1;
        }
        rows
    }
}

/// What became of one experiment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Experimented {
    /// What it is called.
    pub name: &'static str,
    /// What is claimed.
    pub hypothesis: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// Why it was skipped, or could not be brought to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it began.
    pub started_at: Moment,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What was done and seen, in order.
    pub steps: Vec<Step>,
    /// What was checked.
    pub checks: Vec<Check>,
    /// What became of the load.
    pub numbers: Numbers,
    /// What is not exported, by what came of it.
    pub rows: Rows,
    /// Each attempt at it.
    pub attempts: Vec<Tried>,
}

impl Experimented {
    pub(super) fn skipped(experiment: &Experiment, why: String) -> Self {
        let mut done = Self::of(experiment, Moment::now(), Duration::ZERO, Ended::default());
        done.verdict = Verdict::Skipped;
        done.why = Some(why);
        done
    }

    pub(super) fn of(
        experiment: &Experiment,
        started_at: Moment,
        took: Duration,
        ended: Ended,
    ) -> Self {
        // Nothing that was not looked at holds.
        let holds = ended.why.is_none()
            && !ended.checks.is_empty()
            && ended.checks.iter().all(|check| check.held);
        Self {
            name: experiment.name,
            hypothesis: experiment.hypothesis,
            verdict: if holds {
                Verdict::Held
            } else {
                Verdict::Failed
            },
            why: ended.why,
            started_at,
            took_ms: milliseconds(took),
            steps: ended.steps,
            checks: ended.checks,
            numbers: ended.numbers,
            rows: Rows::of(&ended.tried),
            attempts: ended.tried,
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Of the format.
    pub api_version: &'static str,
    /// Of the object.
    pub kind: &'static str,
    /// The worst of all: failed before skipped before held.
    pub verdict: Verdict,
    /// What ran.
    pub versions: Versions,
    /// When it began.
    pub started_at: Moment,
    /// When it was over.
    pub ended_at: Moment,
    /// What became of each.
    pub experiments: Vec<Experimented>,
}

impl Report {
    pub(super) fn begin(versions: Versions) -> Self {
        let now = Moment::now();
        Self {
            api_version: skans_agent::config::API_VERSION,
            kind: "ChaosReport",
            verdict: Verdict::Skipped,
            versions,
            started_at: now.clone(),
            ended_at: now,
            experiments: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, done: Experimented) {
        self.experiments.push(done);
    }

    pub(super) fn end(mut self) -> Self {
        self.verdict = worst(self.experiments.iter().map(|one| &one.verdict));
        self.ended_at = Moment::now();
        self
    }
}

/// As a number that JSON has.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
