//! Who is revoked is cut off from everybody within a second, live links included; who does not hear it from the control
//! plane hears it from a peer; who was away hears it before the first link. Nobody else is disturbed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_lab::relay::Relay;
use skans_lab::{Cluster, NodePlan, until};
use skans_promises::{PATIENCE, plan};

use crate::delay::{Cable, Far};
use crate::plane::Plane;

/// Three ordinary nodes; each agent reaches the control plane through a relay of its own, which can be cut.
struct Three {
    plane: Plane,
    cluster: Cluster,
    relays: Vec<Option<Relay>>,
}

impl Three {
    async fn start(own: &Value) -> Self {
        let plane = Plane::start(&json!({})).await;
        let (mut lab, mut relays) = (plan(), Vec::new());
        for label in ["n1", "n2", "n3"] {
            let relay = Relay::to(plane.address()).await.unwrap();
            let through =
                json!({"identity": {"control": {"addresses": [relay.address().to_string()]}}});
            lab = lab.host(plane.host(label, &through).await);
            relays.push(Some(relay));
        }
        let cluster = lab.config(own).start().await.unwrap();
        Self {
            plane,
            cluster,
            relays,
        }
    }

    /// Live links of a host, by peer.
    async fn peers(&self, host: usize) -> Vec<(String, u64)> {
        let links = self.cluster.agent(host).unwrap().links().await.unwrap();
        let mut peers: Vec<_> = links.into_iter().map(|link| (link.peer, link.id)).collect();
        peers.sort();
        peers
    }

    async fn log_line(&self, host: usize, mark: u64, text: &'static str, limit: Duration) {
        let agent = self.cluster.agent(host).unwrap();
        agent
            .wait_log(mark, text, limit, |line| {
                line["message"]
                    .as_str()
                    .is_some_and(|found| found.contains(text))
            })
            .await
            .unwrap();
    }
}

const CUT: &str = "revoked: the link forwards nothing more";

#[tokio::test]
async fn a_revoked_node_is_cut_off_within_a_second_and_the_others_notice_nothing() {
    let three = Three::start(&json!({"links": {"silence": "2s"}})).await;
    let before = three.peers(0).await;
    let n1 = three.cluster.node(0).unwrap();
    let second = three.plane.a_second().await;
    let started = Instant::now();
    let spread = three.plane.deny("n2@n2.lab", 30).await;
    let took = started.elapsed();
    assert_eq!(
        (&spread["agents"], &spread["acknowledged"]),
        (&json!(3), &json!(3)),
        "{spread}"
    );
    assert!(
        took < second,
        "acknowledged by all after {took:?} of {second:?}"
    );
    // Nothing passes, though the sockets are still there.
    let call = "catch gen_server:call({net_kernel, 'n2@n2.lab'}, {is_auth, node()}, 300)";
    let answer = n1.eval(call, PATIENCE).await.unwrap();
    assert!(
        answer.contains("timeout") || answer.contains("nodedown"),
        "{answer}"
    );
    n1.wait_for("lists:member('n2@n2.lab', nodes())", "false", PATIENCE)
        .await
        .unwrap();
    // `global` at its defaults takes nobody else apart.
    assert_eq!(n1.eval("global:sync()", PATIENCE).await.unwrap(), "ok");
    assert_eq!(n1.eval("nodes()", PATIENCE).await.unwrap(), "['n3@n3.lab']");
    let n3 = |peers: &[(String, u64)]| peers.iter().find(|(peer, _)| peer == "n3@n3.lab").cloned();
    assert_eq!(
        n3(&three.peers(0).await),
        n3(&before),
        "the same link as before"
    );
    assert_eq!(
        n1.eval("net_adm:ping('n2@n2.lab')", PATIENCE)
            .await
            .unwrap(),
        "pang"
    );

    // And lifted.
    let lifted = format!("/v1/denials/{}", spread["seq"]);
    three
        .plane
        .owner()
        .call("DELETE", &lifted, None)
        .await
        .unwrap();
    n1.wait_for("net_adm:ping('n2@n2.lab')", "pong", Duration::from_secs(60))
        .await
        .unwrap();
    three.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn who_is_cut_off_from_the_control_plane_hears_it_from_a_peer() {
    let mut three = Three::start(&json!({"links": {"silence": "500ms"}})).await;
    let (mark1, mark3) = (
        three.cluster.agent(0).unwrap().log_mark(),
        three.cluster.agent(2).unwrap().log_mark(),
    );
    three.relays[0] = None;
    three.relays[1] = None;
    let at = Instant::now();
    three.plane.deny("n2@n2.lab", 0).await;
    three.log_line(2, mark3, CUT, Duration::from_secs(5)).await;
    three.log_line(0, mark1, CUT, Duration::from_secs(15)).await;
    assert!(at.elapsed() < Duration::from_secs(15), "{:?}", at.elapsed());
    let n1 = three.cluster.node(0).unwrap();
    n1.wait_for("nodes()", "['n3@n3.lab']", PATIENCE)
        .await
        .unwrap();
    three.cluster.stop().await.unwrap();
}

/// The revoked node's own agent knows nothing of it, and dials.
#[tokio::test]
async fn who_was_away_hears_it_before_the_first_link() {
    let mut three = Three::start(&json!({})).await;
    three.cluster.kill_agent(0).await.unwrap();
    three.cluster.kill_agent(2).await.unwrap();
    three.relays[1] = None;
    three.plane.deny("n2@n2.lab", 0).await;
    three.cluster.start_agent(0).await.unwrap();
    let n2 = three.cluster.node(1).unwrap();
    let never = n2
        .wait_for("net_adm:ping('n1@n1.lab')", "pong", Duration::from_secs(5))
        .await;
    assert!(never.is_err());
    let n1 = three.cluster.node(0).unwrap();
    n1.wait_for("net_adm:ping('n1@n1.lab')", "pong", PATIENCE)
        .await
        .unwrap();
    assert_eq!(n1.eval("nodes()", PATIENCE).await.unwrap(), "[]");
    // Also with nobody there to ask: it was told before.
    three.relays[0] = None;
    three.cluster.kill_agent(0).await.unwrap();
    three.cluster.start_agent(0).await.unwrap();
    let agent = three.cluster.agent(0).unwrap();
    until(PATIENCE, "the node is back", async || {
        match agent.nodes().await {
            Ok(nodes) if !nodes.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    let n2 = three.cluster.node(1).unwrap();
    let never = n2
        .wait_for("net_adm:ping('n1@n1.lab')", "pong", Duration::from_secs(3))
        .await;
    assert!(never.is_err());
    three.cluster.stop().await.unwrap();
}

/// Remembers the `nodedown`s that a node sees.
const WATCH: &str = "Self = self(), register(downs, spawn(fun() -> net_kernel:monitor_nodes(true), Self ! watching, \
    (fun L(Seen) -> receive {nodedown, N} -> L([N | Seen]); {ask, P} -> P ! {downs, Seen}, L(Seen) end end)([]) end)), \
    receive watching -> ok end";
const DOWNS: &str = "downs ! {ask, self()}, receive {downs, Seen} -> Seen end";

/// `global` and the silence as they are by default. The agent of n1 hears of it at once, that of n3 a second later, that
/// of the revoked node itself another second later; n1 and n3 are so far apart that they cannot tell each other sooner.
#[tokio::test]
async fn global_takes_nobody_apart_while_agents_hear_of_it_a_second_apart() {
    let plane = Plane::start(&json!({})).await;
    let near = || Cable::new(Duration::ZERO, u64::MAX);
    let (there, cables, between) = (near(), [near(), near(), near()], near());
    let (mut lab, mut relays) = (plan(), Vec::new());
    for (label, cable) in ["n1", "n2", "n3"].into_iter().zip(&cables) {
        let channel = Far::to(plane.address(), &there, cable).await;
        let through =
            json!({"identity": {"control": {"addresses": [channel.address().to_string()]}}});
        let host = plane.host_of(label, NodePlan::not_started, &through).await;
        lab = lab.host(host);
        relays.push(channel);
    }
    let mut cluster = lab.start().await.unwrap();
    for (from, to) in [(0, 2), (2, 0)] {
        let address = cluster.agent(to).unwrap().link_address().unwrap();
        let far = Far::to(address, &between, &between).await;
        let pattern = format!("*@n{}.lab", to + 1);
        let detour = cluster.detour(from, &pattern, Some(far.address()));
        detour.await.unwrap();
        relays.push(far);
    }
    for node in 0..3 {
        cluster.start_node(node).await.unwrap();
        let n = cluster.node(node).unwrap();
        assert_eq!(n.eval(WATCH, PATIENCE).await.unwrap(), "ok");
    }
    cluster.connect(PATIENCE).await.unwrap();
    let (n1, n2, n3) = (
        cluster.node(0).unwrap(),
        cluster.node(1).unwrap(),
        cluster.node(2).unwrap(),
    );
    let here = "global:register_name(here, spawn(fun() -> receive after infinity -> ok end end))";
    assert_eq!(n3.eval(here, PATIENCE).await.unwrap(), "yes");
    let link = async || {
        let links = cluster.agent(0).unwrap().links().await.unwrap();
        let ids = links.iter().filter(|link| link.peer == "n3@n3.lab");
        ids.map(|link| link.id).collect::<Vec<_>>()
    };
    let before = link().await;

    let second = Duration::from_secs(1);
    for (cable, delay) in [
        (&cables[1], 2 * second),
        (&cables[2], second),
        (&between, second),
    ] {
        cable.set_delay(delay);
    }
    let marks: Vec<_> = (0..3)
        .map(|host| cluster.agent(host).unwrap().log_mark())
        .collect();
    plane.deny("n2@n2.lab", 0).await;
    let mut heard = Vec::new();
    for host in [0, 2, 1] {
        let agent = cluster.agent(host).unwrap();
        let told = |line: &Value| line["message"] == "revoked";
        agent
            .wait_log(marks[host], "revoked", PATIENCE, told)
            .await
            .unwrap();
        heard.push(Instant::now());
    }
    for pair in heard.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart > second.mul_f64(0.8), "heard of it {apart:?} apart");
    }
    for (node, others) in [(n1, "['n3@n3.lab']"), (n3, "['n1@n1.lab']"), (n2, "[]")] {
        node.wait_for("nodes()", others, PATIENCE).await.unwrap();
    }
    // What `global` has to say about it has been said and heard after this.
    for node in [n1, n3, n1] {
        assert_eq!(node.eval("global:sync()", PATIENCE).await.unwrap(), "ok");
    }
    for node in [n1, n3] {
        assert_eq!(node.eval(DOWNS, PATIENCE).await.unwrap(), "['n2@n2.lab']");
    }
    let found = n1.eval("node(global:whereis_name(here))", PATIENCE).await;
    assert_eq!(found.unwrap(), "'n3@n3.lab'");
    assert_eq!(link().await, before, "the same link as before");
    cluster.stop().await.unwrap();
}
