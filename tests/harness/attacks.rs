//! What a peer would do that owns a node, or wants to: how it is tried, and what being refused means. The list is in
//! `attacks/rows.rs`, the policies of a member and of a client in `attacks/sets.rs`; others are in the promises.

pub mod rows;
pub mod sets;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use skans_agent::admin::ask;
use skans_lab::{AgentProcess, ErlNode, Error, until};

use crate::PATIENCE;
use rows::{Attack, ROWS, Refused};

/// Refused at once, and not when somebody lost patience: `gen_server:call` waits for five seconds.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Whether an event tells that this action of a node was denied. `principal` is the end of its ID.
#[must_use]
pub fn denied(event: &Value, action: &str, principal: &str) -> bool {
    let skans = &event["unmapped"]["skans"];
    skans["action"] == action
        && skans["verdict"] == "deny"
        && event["action"] == "Denied"
        && skans["principal"]
            .as_str()
            .is_some_and(|id| id.ends_with(principal))
}

/// Tries one: it is answered where an answer is due, at once, and not done. How long the answer took.
///
/// # Errors
/// What was found and what was wanted.
pub async fn try_one(
    attack: &Attack,
    attacker: &ErlNode,
    victim: &str,
    file: &Path,
) -> Result<Duration, Error> {
    let expression = named(attack.expression, victim, file);
    let begun = Instant::now();
    let found = attacker.eval(&expression, PATIENCE).await?;
    let took = begun.elapsed();
    let wanted = named(attack.answer, victim, file);
    let wrong = if !found.contains(&wanted) {
        format!("found {found}")
    } else if took > AT_ONCE {
        format!("found {found} after {took:?}")
    } else if file.exists() {
        "it was done".to_owned()
    } else {
        return Ok(took);
    };
    Err(Error::Unexpected(format!(
        "{}: {wrong}, wanted {wanted:?} at once",
        attack.what
    )))
}

/// An expression with its victim and its file.
fn named(text: &str, victim: &str, file: &Path) -> String {
    let file = file.display().to_string();
    text.replace("{N}", victim).replace("{F}", &file)
}

/// All that need nothing else: each is answered where an answer is due, at once; nothing is done; `agent` tells of each, and of
/// nothing else, in the name of `principal`, the end of the attacker's ID; the victim is as it was.
///
/// # Errors
/// What was found and what was wanted.
pub async fn are_refused(
    attacker: &ErlNode,
    victim: &ErlNode,
    agent: &AgentProcess,
    principal: &str,
    file: &Path,
) -> Result<(), Error> {
    let name = victim.eval("node()", PATIENCE).await?;
    let before = state(victim).await?;
    let mut wanted = BTreeMap::new();
    for attack in ROWS.iter().filter(|row| row.refused == Refused::Alone) {
        try_one(attack, attacker, &name, file).await?;
        *wanted.entry(attack.action.to_owned()).or_insert(0) += 1;
    }
    until(PATIENCE, "an event of each attack", async || {
        let mut told = told(agent, principal).map_err(|error| error.to_string())?;
        // Whoever calls a process watches it first; not each role may watch those.
        told.remove("monitor");
        if told == wanted {
            Ok(())
        } else {
            Err(format!("told {told:?}, wanted {wanted:?}"))
        }
    })
    .await?;
    let after = state(victim).await?;
    if before != after || file.exists() {
        return Err(Error::Unexpected(format!(
            "the victim was {before} and is {after}"
        )));
    }
    Ok(())
}

/// How many denials an agent has told of in the name of a node, by action.
///
/// # Errors
/// As [`AgentProcess::events`].
pub fn told(agent: &AgentProcess, principal: &str) -> Result<BTreeMap<String, u64>, Error> {
    let mut told = BTreeMap::new();
    for event in agent.events()? {
        let action = &event["unmapped"]["skans"]["action"];
        if let Some(action) = action.as_str()
            && denied(&event, action, principal)
        {
            *told.entry(action.to_owned()).or_insert(0) += event["count"].as_u64().unwrap_or(1);
        }
    }
    Ok(told)
}

/// What an agent has counted that did not simply pass, of messages and of links: series of its metrics.
///
/// # Errors
/// [`Error::Agent`].
pub async fn denials(agent: &AgentProcess) -> Result<Vec<String>, Error> {
    let metrics = ask(&agent.files().socket, "GET", "/metrics", "").await?;
    Ok(metrics
        .lines()
        .filter(|line| line.starts_with("skans_decisions_total{"))
        .filter(|line| !line.contains("verdict=\"permit\""))
        .map(str::to_owned)
        .collect())
}

/// What an attack would change: the processes that own a node, whether they answer, who is connected.
async fn state(victim: &ErlNode) -> Result<String, Error> {
    let expression = "{[whereis(Name) || Name <- [rex, init, net_kernel, file_server_2, code_server, application_controller, kernel_safe_sup]], \
                       element(1, sys:get_status(rex)), code:is_loaded(evil), lists:sort(nodes())}";
    victim.eval(expression, PATIENCE).await
}
