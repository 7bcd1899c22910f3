//! A host of a network of the tests, with an agent and a node as an operator would set them up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Value, json};
use skans_lab::agent::Files;
use skans_lab::erl::{self, Options};
use skans_lab::{AgentProcess, ErlNode, Policy};

use crate::netns::{Host, Network};

/// The one port that other hosts may reach.
pub const LINK_PORT: u16 = 4370;
/// How the hosts are told of each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// A list by hand.
    Static,
    /// The same, over IPv6 alone.
    StaticIpv6,
    /// By the host part of the node name.
    Dns,
}

/// A host in its namespace, with an agent and a node.
pub struct Guarded {
    // In this order: the node goes first.
    /// The node.
    pub node: ErlNode,
    /// The agent.
    pub agent: AgentProcess,
    /// The node's name.
    pub name: String,
    /// Where the agent keeps its things.
    pub runtime: PathBuf,
}

/// Where others reach it.
fn address(way: Way, host: &Host) -> IpAddr {
    if way == Way::StaticIpv6 {
        host.six()
    } else {
        host.four()
    }
}

/// The node of a host, counted from 0.
pub fn name(number: usize) -> String {
    format!("node{number}@host{number}.nodes.svc.test")
}

/// Starts agent and node on a host of `count`.
pub async fn guarded(way: Way, network: &Network, index: usize, count: usize) -> Guarded {
    guarded_with(way, network, index, count, &json!({})).await
}

/// The same, with more keys in the agent's configuration.
pub async fn guarded_with(
    way: Way,
    network: &Network,
    index: usize,
    count: usize,
    more: &Value,
) -> Guarded {
    let host = network.host(index);
    let family = if way == Way::StaticIpv6 {
        "inet6"
    } else {
        "inet"
    };
    let peers = if way == Way::Dns {
        json!({"dns": {"hosts": "*.nodes.svc.test", "port": LINK_PORT}})
    } else {
        let others = (0..count).filter(|other| *other != index).map(|other| {
            let address = SocketAddr::new(address(way, network.host(other)), LINK_PORT);
            json!({"nodes": name(other), "address": address})
        });
        json!({"static": others.collect::<Vec<Value>>()})
    };
    let policy = host.directory().join("policy");
    Policy::open().write(&policy).unwrap();
    let mut config = json!({
        "apiVersion": "skans.io/v1alpha1",
        "trustDomain": "lab.test",
        "runtimeDirectory": runtime(host),
        "nodes": [{"name": name(index), "family": family}],
        "identity": {"authority": {"directory": network.directory().join("authority")}},
        // Everything else as by default: every address of the host, the well-known ports.
        "peers": peers,
        "policy": {"directory": policy},
        "drain": {"timeout": "1s"},
        "log": {"format": "json"},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    Files::within(host.directory())
        .write_config(&config)
        .unwrap();
    let agent = agent(network, index).await;
    Guarded {
        node: node(way, network, index).await,
        agent,
        name: name(index),
        runtime: runtime(host),
    }
}

fn runtime(host: &Host) -> PathBuf {
    host.directory().join("run")
}

/// Starts the agent of a host that has been configured.
pub async fn agent(network: &Network, index: usize) -> AgentProcess {
    let host = network.host(index);
    let skans = host.program(&skans_lab::plan::find_skans().unwrap());
    AgentProcess::spawn(&skans, &name(index), Files::within(host.directory()))
        .unwrap()
        .ready()
        .await
        .unwrap()
}

/// Starts the node of a host whose agent runs.
pub async fn node(way: Way, network: &Network, index: usize) -> ErlNode {
    let host = network.host(index);
    let alive = name(index).split('@').next().unwrap().to_owned();
    let home = host.directory().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let mut args = vec!["-name".to_owned(), name(index)];
    if way == Way::StaticIpv6 {
        args.extend(["-proto_dist", "inet6_tcp"].map(str::to_owned));
    }
    args.extend(["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"].map(str::to_owned));
    let options = Options {
        label: name(index),
        erl: host.program(&erl::find().unwrap()),
        home,
        args,
        env: erl::environment(&runtime(host).join(format!("env/{alive}.env"))).unwrap(),
    };
    ErlNode::start(&options).await.unwrap()
}
