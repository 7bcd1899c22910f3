//! `skans policy rollout` and what follows it: one set takes the place of another, in steps; and forbids that wait for none.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use skans_control::rest::rollouts::{Forbidden, NewForbid, NewRollout, Rollout, Step};

use crate::arguments::control::{Ask, Plane};
use crate::arguments::policy::{Forbid, RollOut};
use crate::control::{client, look, print};
use crate::failure::{FAILED, Failure, NOT_CHECKED, USAGE};
use crate::table;

/// Between two looks.
const REFRESH: Duration = Duration::from_secs(1);
/// Cursor home, and clear from there on: less flicker than clearing first.
const REDRAW: &str = "\x1b[H\x1b[J";
/// Reasons for a relation in a table; all of them are in JSON.
const REASONS: usize = 10;

pub async fn start(wanted: &RollOut) -> Result<(), Failure> {
    let body = NewRollout {
        cohorts: wanted.cohort.clone(),
        dry_run: wanted.dry_run.map(|time| time.as_secs()),
        time: wanted.gate.map(|time| time.as_secs()),
        decisions: wanted.decisions,
        trigger: wanted.trigger,
    };
    let path = format!("/v1/policies/{}/rollout", wanted.n);
    let started = client(&wanted.ask.plane).send("POST", &path, &body).await?;
    print(wanted.ask.output, started, draw)
}

/// `advance`, `hold` or `rollback` of the candidate with this number, else of the one that is under way. Only the first asks where it is.
pub async fn step(n: Option<u64>, what: &str, step: &Step, ask: &Ask) -> Result<(), Failure> {
    let client = client(&ask.plane);
    let n = match n {
        Some(n) => n,
        None => client.get::<Rollout>("/v1/rollout").await?.n,
    };
    let path = format!("/v1/policies/{n}/{what}");
    let moved = client.send("POST", &path, step).await?;
    print(ask.output, moved, draw)
}

/// How it is: once, or again and again until it is over.
pub async fn status(watch: bool, ask: &Ask) -> Result<(), Failure> {
    let client = client(&ask.plane);
    loop {
        let found: Rollout = client.get("/v1/rollout").await.map_err(look)?;
        let over = found.ended > 0;
        if watch && std::io::stdout().is_terminal() {
            std::io::stdout().lock().write_all(REDRAW.as_bytes())?;
        }
        print(ask.output, found, draw)?;
        if !watch || over {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

pub async fn forbid(wanted: &Forbid) -> Result<(), Failure> {
    let policies = match &wanted.file {
        Some(path) => read(path)?,
        None => written(wanted)?,
    };
    let body = NewForbid {
        policies,
        reason: wanted.reason.clone(),
    };
    let plane: &Plane = &wanted.ask.plane;
    let body = serde_json::to_string(&body).map_err(std::io::Error::from)?;
    let said = client(plane)
        .call("POST", "/v1/policies/forbid", Some(body))
        .await?;
    if said.is_empty() {
        let text = "it could touch more than a tenth of the nodes: a second person has to ask for the same within the hour";
        return Err(Failure::new(NOT_CHECKED, text));
    }
    let done: Forbidden = serde_json::from_str(&said).map_err(std::io::Error::from)?;
    print(wanted.ask.output, done, |done| {
        format!(
            "set {} is in force with it; it could touch {} of {} nodes\n",
            done.n, done.nodes, done.of
        )
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))
}

/// A forbid of what was said in words.
fn written(wanted: &Forbid) -> Result<String, Failure> {
    let wrong = |problem: &str| Failure::new(USAGE, problem.to_owned());
    let named = [&wanted.principal, &wanted.action, &wanted.resource];
    if named.iter().all(|one| one.is_none()) {
        return Err(wrong(
            "found neither a FILE nor --principal, --action or --resource: wanted one of them",
        ));
    }
    let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let principal = match &wanted.principal {
        Some(id) => format!("principal in {}", entity(id).ok_or_else(|| wrong("--principal: wanted spiffe://DOMAIN, with /cluster/C, /ns/NS, /sa/WORKLOAD and /node/NODE as far as it goes"))?),
        None => "principal".to_owned(),
    };
    let action = match &wanted.action {
        Some(action) => format!("action in Skans::Action::{}", text(action)),
        None => "action".to_owned(),
    };
    let resource = match &wanted.resource {
        Some(id) if id.starts_with("spiffe://") => {
            format!("resource in {}", entity(id).ok_or_else(|| wrong("--resource: wanted an ID as for --principal, MODULE:FUNCTION/ARITY, or a registered name"))?)
        }
        Some(name) if name.contains(':') => format!("resource == Skans::Function::{}", text(name)),
        Some(name) => format!("resource == Skans::Process::{}", text(name)),
        None => "resource".to_owned(),
    };
    // Its time, so that no two have one name.
    Ok(format!(
        "@id(\"forbid-{}\")\nforbid ({principal}, {action}, {resource});\n",
        table::now()
    ))
}

/// As policies name it: by how far the ID goes.
fn entity(id: &str) -> Option<String> {
    let parts: Vec<&str> = id.strip_prefix("spiffe://")?.split('/').collect();
    let kind = match parts[..] {
        [_] => "TrustDomain",
        [_, "cluster", _] => "Cluster",
        [_, "cluster", _, "ns", _] => "Namespace",
        [_, "cluster", _, "ns", _, "sa", _] => "Workload",
        [_, "cluster", _, "ns", _, "sa", _, "node", _] => "Node",
        _ => return None,
    };
    let id = serde_json::to_string(id).ok()?;
    Some(format!("Skans::{kind}::{id}"))
}

fn draw(one: Rollout) -> String {
    let now = table::now();
    let state = match (one.ended, one.held.is_empty()) {
        (0, true) => one.stage.clone(),
        (0, false) => format!("{}, stands still: {}", one.stage, one.held),
        _ => format!("{}, after {}", one.outcome, one.stage),
    };
    let result = match one.result {
        0 => String::new(),
        n => n.to_string(),
    };
    let mut text = table::facts(&[
        ("set", format!("{}, in the place of {}", one.n, one.base)),
        ("stage", state),
        ("relation", one.relation),
        ("cohorts", one.cohorts),
        (
            "started",
            format!(
                "{} by {}",
                table::relative(one.started, now),
                one.started_by
            ),
        ),
        (
            "in this stage",
            format!("since {}", table::relative(one.stage_began_ms / 1000, now)),
        ),
        ("told of by", format!("{} agents", one.agents)),
        ("decisions", format!("{} of {}", one.decisions, one.wanted)),
        (
            "denied that was good",
            format!(
                "{} of {} that take it back, for {} principals",
                one.weight, one.trigger, one.principals
            ),
        ),
        ("in force with its end", result),
    ]);
    if !one.way_back.is_empty() && one.ended == 0 {
        text += &format!(
            "not taken back by itself: {}\n",
            table::clean(&one.way_back)
        );
    }
    text += &reasons(&one.changes);
    if one.differences.is_empty() {
        return text + "\nno difference was told of\n";
    }
    let rows: Vec<_> = one
        .differences
        .into_iter()
        .map(|one| {
            let what = match (one.forbidden, one.accepted) {
                (true, true) => "forbidden, accepted",
                (true, false) => "forbidden",
                (false, true) => "accepted",
                (false, false) => "",
            };
            [
                one.stage,
                one.principal,
                one.target,
                one.action,
                one.resource,
                format!("{} -> {}", one.active, one.candidate),
                what.to_owned(),
                one.count.to_string(),
                one.agents.to_string(),
            ]
        })
        .collect();
    text += "\n";
    text += &table::render(
        [
            "STAGE",
            "PRINCIPAL",
            "TARGET",
            "ACTION",
            "RESOURCE",
            "WOULD BE",
            "",
            "COUNT",
            "AGENTS",
        ],
        &rows,
    );
    if one.unlisted > 0 {
        text += &format!(
            "and {} more in this stage that are not listed\n",
            one.unlisted
        );
    }
    text
}

/// Why a relation is what it is, one a line.
pub fn reasons(changes: &[String]) -> String {
    let mut text = String::new();
    for change in changes.iter().take(REASONS) {
        text += &format!("  {}\n", table::clean(change));
    }
    if changes.len() > REASONS {
        text += &format!("  and {} more\n", changes.len() - REASONS);
    }
    text
}
