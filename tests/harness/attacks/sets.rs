//! The rows under the policies that they are about: the set to begin with, by both agents and by the one beside the receiver alone,
//! and that of a client of one server.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use skans_lab::{Cluster, Error, HostPlan, NodePlan, Plan, Policy, until};

use super::rows::{Attack, NEIGHBOURS, OF_A_SERVER, ROWS, Refused};
use super::{told, try_one};
use crate::PATIENCE;

/// The end of the attacker's ID.
const ATTACKER: &str = "/sa/n1/node/n1";

/// Tries attacks, each of which the agent of `host` tells; then the neighbours, which work.
async fn all_are_refused(
    cluster: &Cluster,
    host: usize,
    attacks: impl Iterator<Item = &Attack>,
    neighbours: &[(&str, &str)],
) -> Result<(), Error> {
    let file = cluster.directory().join("owned");
    let (attacker, victim) = (cluster.node(0)?, cluster.node(1)?);
    let name = cluster.atom(1)?;
    let agent = cluster.agent(host)?;
    // Of what is asked for on first use.
    victim.eval("timer:start()", PATIENCE).await?;
    let mut slowest = (Duration::ZERO, "");
    for attack in attacks {
        let denials = || {
            let told = told(agent, ATTACKER).map_err(|error| error.to_string())?;
            Ok::<_, String>(told.get(attack.action).copied().unwrap_or_default())
        };
        let before = denials().map_err(Error::Unexpected)?;
        let took = try_one(attack, attacker, &name, &file).await?;
        slowest = slowest.max((took, attack.what));
        let event = format!("an event about {}, a {}", attack.what, attack.action);
        until(PATIENCE, &event, async || match denials()? {
            more if more > before => Ok(()),
            same => Err(format!("{same} as before")),
        })
        .await?;
        if file.exists() {
            return Err(Error::Unexpected(format!("{} was done", attack.what)));
        }
    }
    println!("slowest answer: {slowest:?}");
    for (expression, wanted) in neighbours {
        let found = attacker
            .eval(&expression.replace("{N}", &name), PATIENCE)
            .await?;
        let wanted = wanted.replace("{N}", &name);
        if found.replace('\'', "") != wanted.replace('\'', "") {
            return Err(Error::Unexpected(format!(
                "{expression}: {found}, wanted {wanted}"
            )));
        }
    }
    // The victim is as it was, and so is the link.
    let whole = "{is_pid(whereis(rex)), is_pid(whereis(file_server_2)), case catch sys:get_state(rex, 1000) of {'EXIT', _} -> false; _ -> true end, length(nodes())}";
    let found = victim.eval(whole, PATIENCE).await?;
    if found != "{true,true,true,1}" || file.exists() {
        return Err(Error::Unexpected(format!("the victim is {found}")));
    }
    Ok(())
}

/// A node that is started with this `erl`, if not with the one in `PATH`.
#[must_use]
pub fn node(name: &str, erl: Option<&Path>) -> NodePlan {
    match erl {
        Some(erl) => NodePlan::new(name).erl(erl),
        None => NodePlan::new(name),
    }
}

fn host(number: usize, erl: Option<&Path>) -> HostPlan {
    HostPlan::new(format!("n{number}")).node(node(&format!("n{number}@n{number}.lab"), erl))
}

fn hosts() -> Result<Plan, Error> {
    Plan::new(skans_lab::plan::find_skans()?)
}

/// What members of one cluster are refused.
fn of_members() -> impl Iterator<Item = &'static Attack> {
    ROWS.iter().filter(|row| row.refused != Refused::Clients)
}

/// Both agents decide, by the set to begin with.
///
/// # Errors
/// What was found and what was wanted.
pub async fn by_the_set_to_begin_with(
    attacker: Option<&Path>,
    victim: Option<&Path>,
) -> Result<(), Error> {
    let plan = hosts()?.host(host(1, attacker)).host(host(2, victim));
    let cluster = plan.start().await?;
    all_are_refused(&cluster, 0, of_members(), NEIGHBOURS).await?;
    cluster.stop().await
}

/// The attacker's own agent lets everything through: whoever owns a host owns its agent.
///
/// # Errors
/// What was found and what was wanted.
pub async fn by_the_agent_beside_the_receiver(
    attacker: Option<&Path>,
    victim: Option<&Path>,
) -> Result<(), Error> {
    let open = tempfile::tempdir().map_err(|source| Error::System {
        what: "a temporary directory".to_owned(),
        source,
    })?;
    let directory = open.path().join("open");
    Policy::open().write(&directory)?;
    let lost = host(1, attacker).config(&json!({"policy": {"directory": directory}}));
    let cluster = hosts()?.host(lost).host(host(2, victim)).start().await?;
    all_are_refused(&cluster, 1, of_members(), NEIGHBOURS).await?;
    cluster.stop().await
}

/// A client of one server may ask that server, and nobody else for anything.
///
/// # Errors
/// What was found and what was wanted.
pub async fn by_a_set_for_one_server(
    attacker: Option<&Path>,
    victim: Option<&Path>,
) -> Result<(), Error> {
    let role = "roles:\n  - role: named-client\n    principals: [{cluster: spiffe://lab.test/cluster/lab}]\n    \
                on: [{cluster: spiffe://lab.test/cluster/lab}]\n    servers: [shop]\n";
    let plan = hosts()?.policy(Policy::enforced("", role));
    let plan = plan.host(host(1, attacker)).host(host(2, victim));
    let cluster = plan.start().await?;
    let processes =
        "{ok, _} = gen_event:start({local, shop}), {ok, _} = gen_event:start({local, other}), ok";
    cluster.node(1)?.eval(processes, PATIENCE).await?;
    let beyond = ROWS.iter().filter(|row| row.refused == Refused::Clients);
    all_are_refused(&cluster, 0, beyond, OF_A_SERVER).await?;
    cluster.stop().await
}
