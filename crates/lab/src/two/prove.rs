//! What two linked clusters show: what passes between them, and that nothing else does. Each piece of evidence was read a moment ago.

use std::pin::Pin;
use std::time::Duration;

use super::{ALIAS, NODE, SERVER, Two};
use crate::Error;
use crate::prove::Proof;

/// For one step of a proof.
pub(super) const STEP: Duration = Duration::from_secs(20);

/// A proof that can be run.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What is claimed, in a line.
    pub name: &'static str,
    run: Run,
}

type Run = for<'a> fn(&'a Two) -> Pin<Box<dyn Future<Output = Result<Found, Error>> + 'a>>;

/// Evidence, or what was found instead.
type Found = Result<String, String>;

/// All of them, in the order in which they are run.
pub const ALL: &[Claim] = &[
    Claim {
        name: "an exported server is called by its alias, though both nodes bear one name",
        run: |two| Box::pin(called(two)),
    },
    Claim {
        name: "its failures are those of any server",
        run: |two| Box::pin(failures(two)),
    },
    Claim {
        name: "nothing else of its node is reached, whatever policies permit",
        run: |two| Box::pin(nothing_else(two)),
    },
    Claim {
        name: "neither cluster sees the other's nodes and names",
        run: |two| Box::pin(unseen(two)),
    },
    Claim {
        name: "what is taken back is over",
        run: |two| Box::pin(taken_back(two)),
    },
];

impl Claim {
    /// Tries to prove it.
    pub async fn run(&self, two: &Two) -> Proof {
        let found = match (self.run)(two).await {
            Ok(found) => found,
            Err(error) => Err(error.to_string()),
        };
        Proof {
            proof: self.name.to_owned(),
            passed: found.is_ok(),
            evidence: found.unwrap_or_else(|found| found),
        }
    }
}

fn call(what: &str) -> String {
    format!("catch gen_server:call({{{SERVER}, '{ALIAS}'}}, {what}, 5000)")
}

async fn called(two: &Two) -> Result<Found, Error> {
    let asked = call("{who, 7}");
    // Both sides are where they say they are once their agents have read what they were told.
    let wanted = format!("{{{ALIAS},{NODE},7}}");
    two.ours.node.wait_for(&asked, &wanted, STEP).await?;
    let there = two.theirs.node.eval("nodes(hidden)", STEP).await?;
    Ok(Ok(format!(
        "{NODE} called {SERVER} of {ALIAS}; over there that is {NODE}, and the caller is {there}"
    )))
}

async fn failures(two: &Two) -> Result<Found, Error> {
    let (crash, again) = (call("crash"), call("{who, 7}"));
    let watched = format!(
        "Ref = monitor(process, {{{SERVER}, '{ALIAS}'}}),
        {{'EXIT', {{Why, _}}}} = ({crash}),
        Down = receive {{'DOWN', Ref, process, Who, Reason}} -> {{Who, Reason}} after 5000 -> none end,
        {{'EXIT', {{Gone, _}}}} = ({again}),
        {{Why, Down, Gone}}"
    );
    let found = two.ours.node.eval(&watched, STEP).await?;
    let wanted = format!("{{crashed,{{{{{SERVER},{ALIAS}}},crashed}},noproc}}");
    let back = format!(
        "register({SERVER}, spawn(fun Loop() -> receive {{'$gen_call', From, {{who, X}}}} -> gen_server:reply(From, {{node(), node(element(1, From)), X}}), Loop() end end))"
    );
    two.theirs.node.eval(&back, STEP).await?;
    Ok(if found == wanted {
        Ok("a call that crashes it exits with its reason, its monitor fires, and then it is noproc".to_owned())
    } else {
        Err(found)
    })
}

async fn nothing_else(two: &Two) -> Result<Found, Error> {
    let attempts = [
        format!("catch gen_server:call({{secret, '{ALIAS}'}}, {{who, 7}}, 5000)"),
        format!("rpc:call('{ALIAS}', os, cmd, [\"id\"], 5000)"),
        format!("catch erpc:call('{ALIAS}', erlang, node, [], 5000)"),
        format!("rpc:block_call('{ALIAS}', os, cmd, [\"id\"], 5000)"),
        format!("catch spawn_monitor('{ALIAS}', erlang, halt, [])"),
        format!("catch gen_server:call({{global_name_server, '{ALIAS}'}}, x, 5000)"),
        format!(
            "Ref = monitor(process, {{secret, '{ALIAS}'}}), receive {{'DOWN', Ref, _, _, Why}} -> Why after 5000 -> none end"
        ),
    ];
    for attempt in &attempts {
        let found = two.ours.node.eval(attempt, STEP).await?;
        if !found.contains("eacces") {
            return Ok(Err(format!("{attempt}: {found}")));
        }
    }
    let back = "catch gen_server:call({secret, 'orders@localhost-ours'}, x, 5000)";
    let found = two.theirs.node.eval(back, STEP).await?;
    Ok(if found.contains("eacces") {
        Ok(format!(
            "{} of {0} attempts are answered by eacces, and one in the other direction",
            attempts.len()
        ))
    } else {
        Err(format!("{back}: {found}"))
    })
}

async fn unseen(two: &Two) -> Result<Found, Error> {
    let mut found = Vec::new();
    for side in [&two.ours, &two.theirs] {
        let seen = side.node.eval("{nodes(), global:registered_names()}", STEP);
        found.push(seen.await?);
    }
    Ok(if found.iter().all(|seen| seen == "{[],[]}") {
        Ok(
            "nodes() and the names in global are empty on both sides of a link that is up"
                .to_owned(),
        )
    } else {
        Err(found.join(" "))
    })
}

async fn taken_back(two: &Two) -> Result<Found, Error> {
    let began = std::time::Instant::now();
    two.theirs.consent_to_nothing().await?;
    let gone = call("{who, 7}");
    let gone = format!(
        "case {gone} of {{'EXIT', {{{{nodedown, _}}, _}}}} -> true; {{'EXIT', {{noconnection, _}}}} -> true; _ -> false end"
    );
    two.ours.node.wait_for(&gone, "true", STEP).await?;
    let after = began.elapsed();
    two.give().await?;
    called(two).await.map(|again| {
        again.map(|_| format!("without their consent the node is down, {after:.1?} after it was said; with it, it is called again"))
    })
}
