//! `skans policy`: sets in directories, and those of the control plane.

mod diff;
mod explain;
mod learn;
mod rollout;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use skans_control::client::{Client, Login};
use skans_control::rest::policies::{AuthorSignature, NewPolicy, Policy as View, PolicyContent};
use skans_control::rest::rollouts::Step;
use skans_host::files::{Whose, read_tree};
use skans_policy::rollout::{Related, relate};
use skans_policy::source::{MAX_BYTES, MAX_FILES};
use skans_policy::{Engine, File, Problem, Problems, Source, Version, test};

use crate::arguments::control::{Ask, Plane};
use crate::arguments::policy::{Directory, Policy};
use crate::control::{client, list, look, print, show};
use crate::failure::{FAILED, Failure, NOT_CHECKED};
use crate::table;

/// `skans policy`.
pub async fn policy(command: Policy) -> Result<(), Failure> {
    match command {
        Policy::Check(wanted) => check(&wanted),
        Policy::Test(wanted) => tests(&wanted),
        Policy::Push {
            directory,
            activate,
            ask,
        } => push(&directory, activate, &ask).await,
        Policy::Approve { n, ask } => {
            let approved = approve(n, &ask.plane).await?;
            print(ask.output, approved, |one| row(vec![one]))
        }
        Policy::Withdraw { n, plane } => {
            client(&plane)
                .call("DELETE", &format!("/v1/policies/{n}"), None)
                .await?;
            Ok(())
        }
        Policy::Rollout(wanted) => rollout::start(&wanted).await,
        Policy::Advance { n, from, ask } => rollout::step(n, "advance", &Step { from }, &ask).await,
        Policy::Hold { n, ask } => rollout::step(n, "hold", &Step::default(), &ask).await,
        Policy::Rollback { n, ask } => rollout::step(n, "rollback", &Step::default(), &ask).await,
        Policy::Status { watch, ask } => rollout::status(watch, &ask).await,
        Policy::Forbid(wanted) => rollout::forbid(&wanted).await,
        Policy::List(ask) => list(&ask, "/v1/policies", row).await,
        Policy::Show { which, ask } => {
            let path = format!("/v1/policies/{}", name(&which)?);
            show(&ask, &path, facts).await
        }
        Policy::Diff { from, to, ask } => diff::diff(&from, &to, &ask).await,
        Policy::Explain(wanted) => explain::explain(&wanted).await,
        Policy::Learn(wanted) => learn::learn(&wanted),
    }
}

/// A set in a directory, read and compiled.
struct Read {
    source: Source,
    engine: Arc<Engine>,
    tests: Vec<File>,
}

/// Why a directory has no set that could be used.
enum Unusable {
    /// It cannot be read.
    Unread(String),
    /// It is wrong.
    Wrong(Problems),
}

impl From<Unusable> for Failure {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::Unread(problem) => Self::new(NOT_CHECKED, problem),
            Unusable::Wrong(problems) => Self::new(FAILED, problems.to_string()),
        }
    }
}

fn read(directory: &Path) -> Result<Read, Unusable> {
    let files = read_tree(directory, MAX_FILES, MAX_BYTES as u64, Whose::Anybodys)
        .map_err(|error| Unusable::Unread(error.to_string()))?;
    let files: Vec<File> = files
        .into_iter()
        .map(|(name, text)| File { name, text })
        .collect();
    let source = Source::read(&files).map_err(Unusable::Wrong)?;
    let engine = Engine::compile(&source).map_err(Unusable::Wrong)?;
    let tests = files
        .into_iter()
        .filter(|file| file.name.starts_with("tests/") && file.name.ends_with(".yaml"));
    Ok(Read {
        source,
        engine: Arc::new(engine),
        tests: tests.collect(),
    })
}

/// What `check` found.
#[derive(Serialize)]
struct Checked {
    problems: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    file: String,
    line: usize,
    column: usize,
    found: String,
    wanted: String,
}

impl From<&Problem> for Found {
    fn from(problem: &Problem) -> Self {
        Self {
            file: problem.file.clone(),
            line: problem.line,
            column: problem.column,
            found: problem.found.clone(),
            wanted: problem.wanted.clone(),
        }
    }
}

fn check(wanted: &Directory) -> Result<(), Failure> {
    let (problems, text) = match read(&wanted.directory) {
        Err(Unusable::Wrong(problems)) => {
            let found = problems.as_slice().iter().map(Found::from).collect();
            (found, format!("{problems}\n"))
        }
        Err(why) => return Err(why.into()),
        Ok(read) => {
            let text = format!(
                "{}: {} policies, {} roles bound, no problem\n",
                read.source.name,
                read.engine.policies(),
                read.source.roles.len()
            );
            (Vec::new(), text)
        }
    };
    let wrong = !problems.is_empty();
    print(wanted.output, Checked { problems }, |_| text)?;
    if wrong {
        return Err(Failure::silent(FAILED));
    }
    Ok(())
}

/// A test that was run.
#[derive(Serialize)]
struct Ran {
    file: String,
    test: String,
    passed: bool,
    expected: &'static str,
    verdict: &'static str,
    policies: Vec<String>,
    errors: Vec<String>,
}

fn tests(wanted: &Directory) -> Result<(), Failure> {
    let read = read(&wanted.directory)?;
    if read.tests.is_empty() {
        let text = format!(
            "{}: found no tests/*.yaml, wanted some",
            wanted.directory.display()
        );
        return Err(Failure::new(NOT_CHECKED, text));
    }
    let mut all = Vec::new();
    for file in &read.tests {
        let report = test::run(&read.engine, file).map_err(Unusable::Wrong)?;
        all.extend(report.outcomes.into_iter().map(|outcome| Ran {
            file: file.name.clone(),
            passed: outcome.passed(),
            test: outcome.test,
            expected: match outcome.expected {
                test::Expected::Permit => "permit",
                test::Expected::Deny => "deny",
            },
            verdict: outcome.decision.verdict.as_str(),
            policies: outcome.decision.policies,
            errors: outcome.decision.errors,
        }));
    }
    let failed = all.iter().any(|one| !one.passed);
    print(wanted.output, all, |all: Vec<Ran>| {
        let mut text = String::new();
        for one in all.iter().filter(|one| !one.passed) {
            let by = explain::by(&one.policies, &one.errors);
            text += &format!(
                "{}: {}: expected {}, found {} ({by})\n",
                one.file, one.test, one.expected, one.verdict
            );
        }
        let passed = all.iter().filter(|one| one.passed).count();
        text + &format!("{passed} of {} passed\n", all.len())
    })?;
    if failed {
        return Err(Failure::silent(FAILED));
    }
    Ok(())
}

async fn push(directory: &Path, activate: bool, ask: &Ask) -> Result<(), Failure> {
    let read = read(directory)?;
    let source = read.source.to_canonical();
    let client = client(&ask.plane);
    let author = match &client {
        Client::Socket(_) => None,
        Client::Person(login) => {
            let author = Login::load(login)?.author(source.as_bytes())?;
            Some(AuthorSignature::of(&author))
        }
    };
    let body = NewPolicy { source, author };
    // As things are before it: what it is to the set in force is no more than advice.
    let related = self::source("active", &ask.plane).await.ok();
    let related = related.and_then(|active| relate(&active, &read.source).ok());
    let mut pushed: View = client.send("POST", "/v1/policies", &body).await?;
    if activate {
        pushed = approve(pushed.n, &ask.plane).await?;
    }
    let pushed = Pushed {
        set: pushed,
        related: related.map(Relates::from),
    };
    print(ask.output, pushed, |pushed| {
        let related = pushed.related.map(|related| related.to_string());
        row(vec![pushed.set]) + &related.unwrap_or_default()
    })
}

/// What was pushed.
#[derive(Serialize)]
struct Pushed {
    #[serde(flatten)]
    set: View,
    /// What it is to the set in force; nothing if that could not be read.
    #[serde(flatten)]
    related: Option<Relates>,
}

/// What one set is to another.
#[derive(Debug, Serialize)]
struct Relates {
    relation: &'static str,
    reasons: Vec<String>,
}

impl From<Related> for Relates {
    fn from(related: Related) -> Self {
        Self {
            relation: related.relation.as_str(),
            reasons: related.changes.iter().map(ToString::to_string).collect(),
        }
    }
}

impl std::fmt::Display for Relates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "relation: {}", self.relation)?;
        f.write_str(&rollout::reasons(&self.reasons))
    }
}

async fn approve(n: u64, plane: &Plane) -> Result<View, Failure> {
    let path = format!("/v1/policies/{n}/activate");
    Ok(client(plane)
        .send("POST", &path, &serde_json::json!({}))
        .await?)
}

/// A number or `active`, as a part of a path.
fn name(text: &str) -> Result<&str, Failure> {
    if text == "active" || text.parse::<u64>().is_ok() {
        return Ok(text);
    }
    let problem = format!("{text:?}: wanted the number of a set, `active`, or a directory");
    Err(Failure::new(crate::failure::USAGE, problem))
}

/// The set that is meant: of a directory if there is one of that name, else of the control plane.
async fn source(which: &str, plane: &Plane) -> Result<Source, Failure> {
    let path = Path::new(which);
    if path.is_dir() {
        return Ok(read(path)?.source);
    }
    let path = format!("/v1/policies/{}", name(which)?);
    let found: PolicyContent = client(plane).get(&path).await.map_err(look)?;
    let version = Version {
        epoch: 0,
        n: found.policy.n,
    };
    Ok(Source::from_canonical(&found.source, version).map_err(Unusable::Wrong)?)
}

/// How a set is meant, and since when or until when that is a dry run.
fn mode(set: &View, now: u64) -> String {
    match set.until {
        None => set.mode.clone(),
        Some(until) if until <= now => format!("enforced since {}", table::moment(until)),
        Some(until) => format!("{}, ends {}", set.mode, table::relative(until, now)),
    }
}

fn row(sets: Vec<View>) -> String {
    let now = table::now();
    let rows: Vec<_> = sets
        .into_iter()
        .map(|one| {
            let moment = |at| {
                if at == 0 {
                    String::new()
                } else {
                    table::relative(at, now)
                }
            };
            let mode = mode(&one, now);
            [
                one.n.to_string(),
                one.state,
                one.name,
                mode,
                one.author,
                moment(one.proposed),
                one.approver,
                moment(one.activated),
            ]
        })
        .collect();
    table::render(
        [
            "SET",
            "STATE",
            "NAME",
            "MODE",
            "AUTHOR",
            "PROPOSED",
            "APPROVED BY",
            "IN FORCE",
        ],
        &rows,
    )
}

fn facts(set: PolicyContent) -> String {
    let one = set.policy;
    let mode = mode(&one, table::now());
    table::facts(&[
        ("set", one.n.to_string()),
        ("state", one.state),
        ("name", one.name),
        ("mode", mode),
        ("author", one.author),
        ("signed by", set.authors.join(", ")),
        ("approved by", one.approver),
        ("sha256", one.sha256),
        (
            "in force on",
            format!("{} of {} agents", set.holding, set.agents),
        ),
    ])
}
