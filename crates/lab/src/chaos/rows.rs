//! What a link does not export: tried before, during and after a fault, and refused each time, by the side that exports alone, since the other one
//! lets through whatever its node wants. Beside the answers, the other node says whether anything of it has come to pass.

use std::time::Duration;

use serde::Serialize;

use super::load;
use crate::two::{ALIAS, SERVER, SPARE_ALIAS, Two};
use crate::{ErlNode, Error};

/// For a question to a node.
const LIMIT: Duration = Duration::from_secs(40);
/// All rows together, in milliseconds: less than a line is cut, and longer than a node tries to connect (7 s). A spawn has no limit of its own.
const WAIT: u64 = 9000;

/// One of them.
struct Row {
    name: &'static str,
    /// What the node does, with `A` for the alias. Whatever comes of it is a sign, if it passes: a message that `secret` counts, or a term that is kept.
    what: &'static str,
    /// What says no.
    refused: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        name: "another process of the exported node",
        what: "gen_server:call({secret, A}, {who, 7}, 5000)",
        refused: &["eacces"],
    },
    Row {
        name: "a message to another process",
        what: "monitor(process, {secret, A}), {secret, A} ! sesame, receive {'DOWN', _, _, _, Why} -> Why after 5000 -> silence end",
        refused: &["eacces"],
    },
    Row {
        name: "a function by rpc",
        what: "rpc:call(A, persistent_term, put, [skans_widened, rpc], 5000)",
        refused: &["eacces"],
    },
    Row {
        name: "a function by erpc",
        what: "erpc:call(A, persistent_term, put, [skans_widened, erpc], 5000)",
        refused: &["eacces"],
    },
    Row {
        name: "a spawned process",
        what: "{_, Ref} = spawn_monitor(A, persistent_term, put, [skans_widened, spawn]), receive {'DOWN', Ref, _, _, Why} -> Why after 5000 -> silence end",
        refused: &["eacces"],
    },
    Row {
        name: "a link to the exported server",
        what: "process_flag(trap_exit, true), Pid = gen_server:call({order_server, A}, who, 5000), link(Pid), receive {'EXIT', Pid, Why} -> Why after 5000 -> linked end",
        refused: &["eacces", "noproc"],
    },
    Row {
        name: "a node that is not exported",
        what: "gen_server:call({order_server, B}, {who, 7}, 5000)",
        refused: &["nodedown"],
    },
];

/// Of the other direction: nothing of ours is exported at all.
const BACK: Row = Row {
    name: "a process of the node that imports",
    what: "gen_server:call({user, 'orders@localhost-ours'}, x, 5000)",
    refused: &["eacces"],
};

/// What was tried.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// When: `before`, `during …` or `after`.
    pub when: String,
    /// What.
    pub row: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What the node said, cut off where it is long.
    pub said: String,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was answered by a refusal.
    Refused,
    /// There was no answer, or no way: while something is broken, that is as good.
    Unreached,
    /// It was let through, or what came is neither of the other two.
    Passed,
}

/// Tries all of them at once, so that one that gets no answer holds up none of the others.
pub(super) async fn all(two: &Two, when: &str) -> Result<Vec<Tried>, Error> {
    let (tried, back) = tokio::join!(
        ask(&two.ours.node, ROWS, when),
        ask(&two.theirs.node, &[BACK], when)
    );
    let mut tried = tried?;
    tried.extend(back?);
    Ok(tried)
}

async fn ask(node: &ErlNode, rows: &[Row], when: &str) -> Result<Vec<Tried>, Error> {
    // In processes of their own: what they leave behind does not disturb the next one.
    let funs: Vec<_> = rows
        .iter()
        .map(|row| format!("fun() -> {} end", row.what))
        .collect();
    let all = format!(
        "A = '{ALIAS}', B = '{SPARE_ALIAS}', _ = {{A, B}},
        Begun = [spawn_monitor(fun() -> exit({{row, catch F()}}) end) || F <- [{}]],
        Until = erlang:monotonic_time(millisecond) + {WAIT},
        Left = fun() -> max(0, Until - erlang:monotonic_time(millisecond)) end,
        Said = [receive {{'DOWN', R, process, P, Why}} -> Why after Left() -> silence end || {{P, R}} <- Begun],
        persistent_term:put(skans_chaos_said, Said), length(Said)",
        funs.join(", ")
    );
    node.eval(&all, LIMIT).await?;
    let mut tried = Vec::new();
    for (index, row) in (1_usize..).zip(rows) {
        let said = format!("lists:nth({index}, persistent_term:get(skans_chaos_said))");
        let said = node.eval(&said, LIMIT).await?;
        tried.push(Tried {
            when: when.to_owned(),
            row: row.name,
            outcome: judge(row, &said),
            said: said.chars().take(200).collect(),
        });
    }
    Ok(tried)
}

fn judge(row: &Row, said: &str) -> Outcome {
    const NOWHERE: &[&str] = &["nodedown", "noconnection", "timeout", "silence"];
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(row.refused) {
        Outcome::Refused
    } else if says(NOWHERE) {
        Outcome::Unreached
    } else {
        Outcome::Passed
    }
}

/// What theirs has to show for it, if anything got through: empty if nothing has.
pub(super) async fn traces(two: &Two) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for node in [Some(&two.theirs.node), two.theirs.spare.as_ref()] {
        let Some(node) = node else { continue };
        match load::secrets(node).await? {
            0 => {}
            count => found.push(format!(
                "{}: {count} messages reached `secret`",
                node.label()
            )),
        }
        let look = format!(
            "{{persistent_term:get(skans_widened, none), process_info(whereis({SERVER}), links)}}"
        );
        let said = node.eval(&look, LIMIT).await?;
        if said != "{none,{links,[]}}" {
            found.push(format!("{}: {said}", node.label()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
