//! `skans policy learn`: from events of agents to the directory of a set. What is learned from what is decided in
//! `skans_policy::learn`, what an event says is read in `learn/read.rs`.

mod read;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use skans_host::duration;
use skans_policy::learn::{self, Learned, Options};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Unusable;
use crate::arguments::policy::Learn;
use crate::control::print;
use crate::failure::{FAILED, Failure, NOT_CHECKED, USAGE};
use crate::table;
use read::{Lines, Period};

/// How long the learned set is a dry run: two weeks have each day of a week twice.
const DRY_RUN_DAYS: u64 = 14;

/// What was done, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    directory: String,
    requests: usize,
    roles: usize,
    permits: usize,
    left_out: Vec<Left>,
    /// Of what was left out, how much is not listed.
    unlisted: usize,
    /// Lines that are no event of an agent that says what was asked, or longer than one.
    passed_over: u64,
}

#[derive(Serialize)]
struct Left {
    n: usize,
    why: &'static str,
    request: String,
    count: u64,
    last: u64,
}

pub fn learn(wanted: &Learn) -> Result<(), Failure> {
    let now = table::now();
    let period = period(wanted, now)?;
    is_free(&wanted.out)?;
    let options = Options {
        name: wanted.name.clone(),
        until: day(now.saturating_add(DRY_RUN_DAYS * 86_400)),
        include: wanted.include.iter().copied().collect(),
        functions: wanted.functions,
    };
    let mut lines = Lines::of(&wanted.events, period);
    let learned = learn::learn(&mut lines, &options);
    // First: what was not read to its end was not learned from.
    let passed_over = lines.finish()?;
    let learned = learned.map_err(Unusable::Wrong)?;
    write(&wanted.out, &learned)?;
    let done = Done {
        directory: wanted.out.display().to_string(),
        requests: learned.requests,
        roles: learned.roles,
        permits: learned.permits,
        left_out: learned
            .left_out
            .into_iter()
            .map(|one| Left {
                n: one.n,
                why: one.why.label(),
                request: one.request,
                count: one.count,
                last: one.last,
            })
            .collect(),
        unlisted: learned.unlisted,
        passed_over,
    };
    print(wanted.output, done, text)
}

fn text(done: Done) -> String {
    let left = done.left_out.len() + done.unlisted;
    let mut text = format!(
        "{}: {} roles and {} permits, learned from {} different requests; {left} left out\n",
        table::clean(&done.directory),
        done.roles,
        done.permits,
        done.requests,
    );
    if done.left_out.is_empty() {
        return text;
    }
    let rows: Vec<_> = done
        .left_out
        .into_iter()
        .map(|one| {
            [
                one.n.to_string(),
                one.why.to_owned(),
                one.count.to_string(),
                table::moment(one.last),
                one.request,
            ]
        })
        .collect();
    text += &table::render(["N", "LEFT OUT AS", "SEEN", "LAST", "REQUEST"], &rows);
    text
}

/// From when, and until before when.
fn period(wanted: &Learn, now: u64) -> Result<Period, Failure> {
    let usage = |text: String| Failure::new(USAGE, text);
    let length = wanted.length.as_deref().map(|text| {
        duration::parse(text)
            .map(|length| length.as_secs())
            .ok_or_else(|| usage(format!("--for: found {text:?}, wanted 1h, 7d or the like")))
    });
    let length = length.transpose()?;
    let since = wanted.since.as_deref().map(|text| {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok();
        at.and_then(|at| u64::try_from(at.unix_timestamp()).ok())
            .ok_or_else(|| {
                let wanted = "a time such as 2027-01-31T08:00:00Z";
                usage(format!("--since: found {text:?}, wanted {wanted}"))
            })
    });
    Ok(match (since.transpose()?, length) {
        (None, None) => Period::ALL,
        (Some(since), None) => Period {
            since,
            until: u64::MAX,
        },
        (Some(since), Some(length)) => Period {
            since,
            until: since.saturating_add(length),
        },
        (None, Some(length)) => Period {
            since: now.saturating_sub(length),
            until: u64::MAX,
        },
    })
}

fn day(seconds: u64) -> String {
    let moment = table::moment(seconds);
    moment.get(..10).unwrap_or(&moment).to_owned()
}

/// Somebody may have changed what stands in a directory: nothing is written over.
fn is_free(directory: &Path) -> Result<(), Failure> {
    let full = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(unwritable(directory, &error)),
    };
    if full {
        let text = format!(
            "{}: found something in it, wanted a new directory, or an empty one",
            directory.display()
        );
        return Err(Failure::new(FAILED, text));
    }
    Ok(())
}

fn write(directory: &Path, learned: &Learned) -> Result<(), Failure> {
    for file in &learned.files {
        let path = directory.join(&file.name);
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent).map_err(|error| unwritable(parent, &error))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        options
            .open(&path)
            .and_then(|mut into| into.write_all(file.text.as_bytes()))
            .map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(NOT_CHECKED, format!("{}: {error}", path.display()))
}
