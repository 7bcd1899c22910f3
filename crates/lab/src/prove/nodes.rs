//! Who is there: cookies, `nodes()`, death and return.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

use aws_lc_rs::digest;
use tokio::time::Instant;

use super::{Failure, Finding, STEP, ensure};
use crate::Cluster;

/// Reads each node's cookie file and asks each node for the cookie that it uses.
pub async fn cookies(cluster: &mut Cluster) -> Finding {
    let mut seen = HashSet::new();
    let mut shown = Vec::new();
    for node in cluster.running() {
        let name = cluster.name(node)?;
        let file = cluster.cookie_file(node)?;
        let cookie = std::fs::read_to_string(&file)?;
        let mode = std::fs::metadata(&file)?.permissions().mode() & 0o777;
        ensure(mode == 0o400, || {
            format!("{} has mode {mode:04o}, wanted 0400", file.display())
        })?;
        let used = cluster
            .node(node)?
            .eval("atom_to_list(erlang:get_cookie())", STEP)
            .await?;
        ensure(used == format!("{cookie:?}"), || {
            format!(
                "{name} uses another cookie than the one in {}",
                file.display()
            )
        })?;
        ensure(seen.insert(cookie.clone()), || {
            format!("{name} has the cookie of another node")
        })?;
        shown.push(format!("{name} {}", fingerprint(&cookie)));
    }
    Ok(format!(
        "{} cookies, all different, each in a file of mode 0400 and in use by its node; SHA-256: {}",
        seen.len(),
        shown.join(", ")
    ))
}

/// Asks every node for its `nodes()`.
pub async fn see_each_other(cluster: &mut Cluster) -> Finding {
    let running = cluster.running();
    let mut shown = Vec::new();
    for &node in &running {
        let process = cluster.node(node)?;
        let seen = process.eval("lists:sort(nodes())", STEP).await?;
        let mut wanted = Vec::new();
        for &other in running.iter().filter(|&&other| other != node) {
            wanted.push(cluster.atom(other)?);
        }
        wanted.sort();
        ensure(seen == format!("[{}]", wanted.join(",")), || {
            format!("{} sees {seen}, wanted {wanted:?}", process.label())
        })?;
        shown.push(format!(
            "{} sees {}",
            process.label(),
            seen.replace('\'', "")
        ));
    }
    Ok(shown.join("; "))
}

/// Kills a node with SIGKILL under the eyes of a monitor on each other one, and starts it again.
pub async fn killed_and_back(cluster: &mut Cluster) -> Finding {
    let running = cluster.running();
    let &victim = running
        .last()
        .ok_or_else(|| Failure("no node runs".to_owned()))?;
    let others: Vec<_> = running
        .iter()
        .copied()
        .filter(|&node| node != victim)
        .collect();
    let (name, atom, host) = (
        cluster.name(victim)?.to_owned(),
        cluster.atom(victim)?,
        cluster.host_of(victim)?,
    );
    let before = creation(cluster, victim).await?;
    let watch = format!(
        "Me = self(), register(lab_watch, spawn(fun() ->
            true = erlang:monitor_node({atom}, true), Me ! ready,
            receive {{nodedown, N}} -> receive {{told, To}} -> To ! {{nodedown, N}} end end
        end)), receive ready -> ok end"
    );
    for &node in &others {
        cluster.node(node)?.eval(&watch, STEP).await?;
    }
    let pid = cluster.node(victim)?.pid();
    let killed = Instant::now();
    cluster.kill_node(victim).await?;
    let mut told = Vec::new();
    for &node in &others {
        let process = cluster.node(node)?;
        let message = process
            .eval(
                "lab_watch ! {told, self()}, receive {nodedown, N} -> N end",
                STEP,
            )
            .await?;
        ensure(message == atom, || {
            format!("{} was told of {message}", process.label())
        })?;
        process
            .wait_until(&format!("not lists:member({atom}, nodes())"), STEP)
            .await?;
        told.push(process.label().to_owned());
    }
    let missed = killed.elapsed().as_millis();
    cluster.start_node(victim).await?;
    cluster.connect(STEP).await?;
    let after = creation(cluster, victim).await?;
    ensure(before != after, || {
        format!("{name} came back with its old creation {before}")
    })?;
    // Its peers must know it by the new creation, too.
    let registered = cluster.agent(host)?.nodes().await?;
    ensure(
        registered
            .iter()
            .any(|node| node.name == name && node.creation.to_string() == after),
        || format!("the agent does not know {name} by its creation {after}: {registered:?}"),
    )?;
    Ok(format!(
        "process {pid} of {name} killed with SIGKILL; {} got nodedown, all within {missed} ms; started again, it is seen by all, and its creation went from {before} to {after}",
        told.join(" and ")
    ))
}

async fn creation(cluster: &Cluster, node: usize) -> Result<String, Failure> {
    Ok(cluster
        .node(node)?
        .eval("erlang:system_info(creation)", STEP)
        .await?)
}

/// The beginning of the SHA-256 of a secret: enough to tell two apart, of no use to anybody else.
fn fingerprint(secret: &str) -> String {
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    hash.as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
