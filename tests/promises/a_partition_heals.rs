//! A network that stays away for longer than links wait: what three ordinary nodes, `global` at its defaults and
//! `skans status` make of it, and what becomes of it when the network is back. As docs/operate.md says.

use std::time::{Duration, Instant};

use serde_json::json;
use skans_lab::until;
use skans_promises::PATIENCE;

use crate::guarded::{Guarded, Way, guarded_with};
use crate::load::{self, ask};
use crate::netns::Network;
use crate::root;

/// A name for a process that does nothing, unless the name has one.
const LEADER: &str =
    "global:register_name(leader, spawn(fun() -> receive after infinity -> ok end end))";

async fn sees(host: &Guarded, others: &[&Guarded]) {
    let names: Vec<_> = others
        .iter()
        .map(|other| format!("'{}'", other.name))
        .collect();
    let wanted = format!("[{}]", names.join(","));
    host.node
        .wait_for("lists:sort(nodes())", &wanted, PATIENCE * 2)
        .await
        .unwrap();
}

async fn leader(host: &Guarded) -> String {
    let text = "case global:whereis_name(leader) of undefined -> none; Pid -> node(Pid) end";
    host.node.eval(text, PATIENCE).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_come_apart_in_one_place_and_together_again() {
    if !root::or_skip("a network that stays away") {
        return;
    }
    let network = Network::new(3, false);
    let mut hosts = Vec::new();
    for index in 0..3 {
        // Less than by default, so that the test need not wait for half a minute.
        let wait = json!({"links": {"resumeTimeout": "3s"}});
        hosts.push(guarded_with(Way::Static, &network, index, 3, &wait).await);
    }
    let [one, two, lost] = hosts.as_slice() else {
        panic!("three of them");
    };
    for other in [two, lost] {
        let ping = format!("net_adm:ping('{}')", other.name);
        assert_eq!(one.node.eval(&ping, PATIENCE).await.unwrap(), "pong");
    }
    for (host, others) in [(one, [two, lost]), (two, [one, lost]), (lost, [one, two])] {
        sees(host, &others).await;
        load::listen(host).await;
    }
    assert_eq!(one.node.eval(LEADER, PATIENCE).await.unwrap(), "yes");
    for host in &hosts {
        host.node.eval("global:sync()", PATIENCE).await.unwrap();
        assert_eq!(leader(host).await, format!("'{}'", one.name));
    }

    let pulled = Instant::now();
    network.plug(2, false);
    sees(lost, &[]).await;
    sees(one, &[two]).await;
    sees(two, &[one]).await;
    println!("apart after {:?}", pulled.elapsed());
    // Those who can reach each other stay together, and each saw go whom it lost and nobody else.
    let gone = format!("['{}']", lost.name);
    for host in [one, two] {
        assert_eq!(ask(host, "watch", "ask").await, gone);
        assert_eq!(leader(host).await, format!("'{}'", one.name));
    }
    // Alone it takes the name as free: that is `global`'s way.
    until(PATIENCE, "the name to be free there", async || {
        let there = leader(lost).await;
        if there == "none" { Ok(()) } else { Err(there) }
    })
    .await
    .unwrap();
    assert_eq!(lost.node.eval(LEADER, PATIENCE).await.unwrap(), "yes");
    // No link is left, on either side; who tries to connect gets an answer, and sooner or later at once.
    let ping = format!("net_adm:ping('{}')", lost.name);
    for _ in 0..3 {
        assert_eq!(one.node.eval(&ping, PATIENCE).await.unwrap(), "pang");
    }
    assert!(lost.agent.links().await.unwrap().is_empty());
    let status = one.agent.status().await.unwrap();
    let shown: Vec<_> = status
        .unreachable
        .iter()
        .map(|peer| (&*peer.peer, &*peer.state))
        .collect();
    let address = format!("{}:4370", network.host(2).four());
    assert_eq!(shown, [(&*address, "open")]);

    network.plug(2, true);
    let back = Instant::now();
    // Nobody connects unless somebody has something to say: one message of one node.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lost.node.eval("nodes()", PATIENCE).await.unwrap(), "[]");
    one.node.wait_for(&ping, "pong", PATIENCE).await.unwrap();
    println!("connected {:?} after the network was back", back.elapsed());
    // The others follow: that is `global` again.
    for (host, others) in [(one, [two, lost]), (two, [one, lost]), (lost, [one, two])] {
        sees(host, &others).await;
    }
    // Of the two processes under one name one is left, the same for all.
    until(PATIENCE, "one leader", async || {
        let (a, b, c) = (leader(one).await, leader(two).await, leader(lost).await);
        if a == b && b == c && a != "none" {
            Ok(())
        } else {
            Err(format!("{a}, {b}, {c}"))
        }
    })
    .await
    .unwrap();
    assert!(one.agent.status().await.unwrap().unreachable.is_empty());
    for host in [one, two] {
        assert_eq!(
            ask(host, "watch", "ask").await,
            gone,
            "nobody went on the way back"
        );
    }
}
