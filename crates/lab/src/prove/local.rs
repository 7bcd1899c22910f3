//! What this host's ports show and refuse.

use std::net::SocketAddr;

use skans_agent::admin::NodeView;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Failure, Finding, STEP, ensure};
use crate::{Cluster, sockets};

/// Looks up in the kernel's tables where each node and each agent listens.
pub async fn loopback_only(cluster: &mut Cluster) -> Finding {
    let mut shown = Vec::new();
    for node in cluster.running() {
        let process = cluster.node(node)?;
        let found = sockets::listeners(process.pid())?;
        ensure(!found.is_empty(), || {
            format!("{} listens nowhere", process.label())
        })?;
        all_loopback(process.label(), &found)?;
        shown.push(format!("{} on {}", process.label(), list(&found)));
    }
    for host in cluster.running_agents() {
        let agent = cluster.agent(host)?;
        let (link, epmd) = (agent.link_address()?, agent.epmd_port());
        let found = sockets::listeners(agent.pid())?;
        ensure(found.contains(&link), || {
            format!(
                "{} does not listen on its link port {link}: {}",
                agent.label(),
                list(&found)
            )
        })?;
        // The link port is what other hosts must reach; all others are this host's own.
        let others: Vec<_> = found
            .iter()
            .copied()
            .filter(|&address| address != link)
            .collect();
        let epmds: Vec<_> = others
            .iter()
            .copied()
            .filter(|address| address.port() == epmd)
            .collect();
        ensure(!epmds.is_empty(), || {
            format!(
                "{} does not listen on its epmd port {epmd}: {}",
                agent.label(),
                list(&found)
            )
        })?;
        all_loopback(agent.label(), &others)?;
        shown.push(format!(
            "epmd of {} on {}, {} ports in all besides the link port",
            agent.label(),
            list(&epmds),
            others.len()
        ));
    }
    Ok(format!(
        "by /proc/<pid>/fd and /proc/<pid>/net/tcp: {}",
        shown.join("; ")
    ))
}

fn all_loopback(who: &str, addresses: &[SocketAddr]) -> Result<(), Failure> {
    match addresses
        .iter()
        .find(|address| !address.ip().to_canonical().is_loopback())
    {
        None => Ok(()),
        Some(open) => Err(Failure(format!(
            "{who} listens on {open}, which other hosts can reach"
        ))),
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Asks the epmd of the first agent to end, and to forget a node, as `epmd -kill` and `-stop` do.
pub async fn epmd_refuses(cluster: &mut Cluster) -> Finding {
    let agent = cluster.agent(0)?;
    let name = cluster.name(0)?;
    let alive = name.split('@').next().unwrap_or(name);
    let address = SocketAddr::new(agent.link_address()?.ip(), agent.epmd_port());
    let mark = agent.log_mark();
    let before = registered(&agent.nodes().await?, name);
    ensure(before.is_some(), || {
        format!("{name} is not registered to begin with")
    })?;
    let kill = ask(address, b"k").await?;
    let stop = ask(address, &[b"s", alive.as_bytes()].concat()).await?;
    ensure(kill != "OK", || "the epmd answered OK to KILL".to_owned())?;
    ensure(stop != "STOPPED", || {
        "the epmd answered STOPPED to STOP".to_owned()
    })?;
    let names = ask(address, b"n").await?;
    ensure(names.contains(&format!("name {alive} at port ")), || {
        format!("{alive} is no longer among the names: {names:?}")
    })?;
    let after = registered(&agent.nodes().await?, name);
    ensure(before == after, || {
        format!("{name} was registered as {before:?}, and now as {after:?}")
    })?;
    for request in ["KILL", "STOP"] {
        agent
            .wait_log(mark, request, STEP, |line| line["request"] == request)
            .await?;
    }
    let again = crate::erl::ErlNode::eval(
        cluster.node(1)?,
        &format!("net_adm:ping({})", cluster.atom(0)?),
        STEP,
    )
    .await?;
    ensure(again == "pong", || {
        format!("a ping to {name} afterwards: {again}")
    })?;
    Ok(format!(
        "the epmd on {address} answered {kill:?} to KILL and {stop:?} to STOP, logged both, still names {alive}, and {name} answers pings"
    ))
}

fn registered(nodes: &[NodeView], name: &str) -> Option<(String, u32)> {
    nodes
        .iter()
        .find(|node| node.name == name)
        .map(|node| (node.address.clone(), node.creation))
}

/// One question to an epmd, and all of its answer; the four bytes of port before the names are cut.
async fn ask(address: SocketAddr, body: &[u8]) -> Result<String, Failure> {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await?;
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        socket
            .write_all(&[&length.to_be_bytes(), body].concat())
            .await?;
        let mut answer = Vec::new();
        socket.take(64 * 1024).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(STEP, exchange)
        .await
        .map_err(|_| Failure(format!("no answer of the epmd on {address}")))??;
    let text = if body == b"n" {
        answer.get(4..).unwrap_or_default()
    } else {
        &answer
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}
