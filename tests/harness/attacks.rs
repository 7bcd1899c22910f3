//! What a peer would do that owns a node, or wants to: the list stands here once. Who tries it under which policy is in the
//! promises.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use skans_agent::admin::ask;
use skans_lab::{AgentProcess, ErlNode, Error, until};

use crate::PATIENCE;

/// An attack, what it is answered, and the action that it is told as.
#[derive(Debug)]
pub struct Attack {
    /// What it is called in messages.
    pub what: &'static str,
    /// What is evaluated at the attacker. `{N}` is the victim, `{F}` a file that it would write.
    pub expression: &'static str,
    /// Part of the answer; empty where nobody waits for one.
    pub answer: &'static str,
    /// The action of the event.
    pub action: &'static str,
}

/// As a row of a table.
#[must_use]
pub const fn attack(
    what: &'static str,
    expression: &'static str,
    answer: &'static str,
    action: &'static str,
) -> Attack {
    Attack {
        what,
        expression,
        answer,
        action,
    }
}

/// What owns a node, asked for without anything else that a policy would have to permit first.
pub const OWNING: &[Attack] = &[
    attack(
        "os:cmd by rpc",
        "rpc:call({N}, os, cmd, [\"echo owned > {F}\"])",
        "eacces",
        "call",
    ),
    attack(
        "os:cmd by erpc",
        "catch erpc:call({N}, os, cmd, [\"echo owned > {F}\"])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "file:read_file",
        "catch erpc:call({N}, file, read_file, [\"/etc/passwd\"])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "file:write_file, large and in fragments",
        "catch erpc:call({N}, file, write_file, [\"{F}\", binary:copy(<<1>>, 300000)])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "code:load_binary",
        "catch erpc:call({N}, code, load_binary, [evil, \"evil\", <<1>>])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "init:stop by erpc",
        "catch erpc:call({N}, init, stop, [])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "a function that calls its arguments",
        "catch erpc:call({N}, timer, tc, [file, write_file, [\"{F}\", <<1>>]])",
        "{erpc,eacces}",
        "call",
    ),
    attack(
        "rpc:cast",
        "rpc:cast({N}, file, write_file, [\"{F}\", <<1>>])",
        "",
        "cast",
    ),
    attack(
        "rpc:block_call, which rex serves",
        "rpc:block_call({N}, file, write_file, [\"{F}\", <<1>>])",
        "eacces",
        "call",
    ),
    attack(
        "spawn",
        "catch spawn({N}, file, write_file, [\"{F}\", <<1>>])",
        "eacces",
        "spawn",
    ),
    attack(
        "spawn_request",
        "R = spawn_request({N}, file, write_file, [\"{F}\", <<1>>], []), receive {spawn_reply, R, Kind, Why} -> {Kind, Why} after 5000 -> nothing end",
        "{error,eacces}",
        "spawn",
    ),
    attack(
        "net_kernel's spawn, as old nodes ask for it",
        "catch gen_server:call({net_kernel, {N}}, {spawn, file, write_file, [\"{F}\", <<1>>], group_leader()})",
        "eacces",
        "spawn",
    ),
    attack(
        "the file server",
        "catch gen_server:call({file_server_2, {N}}, {read_file, \"/etc/passwd\"})",
        "eacces",
        "access_files",
    ),
    attack(
        "the file server again, its names from the atom cache",
        "catch gen_server:call({file_server_2, {N}}, {read_file, \"/etc/passwd\"})",
        "eacces",
        "access_files",
    ),
    attack(
        "the code server",
        "begin {code_server, {N}} ! {code_call, self(), {load_binary, evil, \"evil\", <<1>>}}, sent end",
        "",
        "manage_code",
    ),
    attack(
        "init:stop",
        "begin {init, {N}} ! {stop, stop}, sent end",
        "",
        "stop_node",
    ),
    attack(
        "the application controller",
        "catch gen_server:call({application_controller, {N}}, {stop_application, kernel})",
        "eacces",
        "manage_applications",
    ),
    attack(
        "a child of a supervisor",
        "catch supervisor:start_child({kernel_safe_sup, {N}}, #{id => evil, start => {file, write_file, [\"{F}\", <<1>>]}})",
        "eacces",
        "supervise",
    ),
    attack(
        "a system message",
        "catch sys:suspend({rex, {N}})",
        "eacces",
        "system_message",
    ),
];

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

/// The answer to an attack of `attacker` on `victim`, an atom.
///
/// # Errors
/// As [`ErlNode::eval`].
pub async fn answer(
    attack: &Attack,
    attacker: &ErlNode,
    victim: &str,
    file: &str,
) -> Result<String, Error> {
    let expression = attack
        .expression
        .replace("{N}", victim)
        .replace("{F}", file);
    attacker.eval(&expression, PATIENCE).await
}

/// [`OWNING`], all of it: each is answered where an answer is due, at once; nothing is done; `agent` tells of each, and of
/// nothing else, in the name of `principal`, the end of the attacker's ID; the victim is as it was.
///
/// # Errors
/// What was found and what was wanted.
pub async fn are_refused(
    attacker: &ErlNode,
    victim: &ErlNode,
    agent: &AgentProcess,
    principal: &str,
    file: &std::path::Path,
) -> Result<(), Error> {
    let name = victim.eval("node()", PATIENCE).await?;
    let before = state(victim).await?;
    let path = file.display().to_string();
    let mut wanted = BTreeMap::new();
    for attack in OWNING {
        let begun = Instant::now();
        let found = answer(attack, attacker, &name, &path).await?;
        let took = begun.elapsed();
        *wanted.entry(attack.action.to_owned()).or_insert(0) += 1;
        if !found.contains(attack.answer) || took > AT_ONCE {
            return wrong(attack, &format!("found {found} after {took:?}"));
        }
        if file.exists() {
            return wrong(attack, "it was done");
        }
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

fn wrong(attack: &Attack, found: &str) -> Result<(), Error> {
    Err(Error::Unexpected(format!(
        "{}: {found}, wanted {:?} at once",
        attack.what, attack.answer
    )))
}
