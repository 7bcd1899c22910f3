//! Whoever has a valid certificate and is not what it should be: a peer that opens links and leaves them
//! half made holds no more of them than it may, and those of others still come up.

use std::time::Duration;

use serde_json::json;
use skans_lab::until;
use skans_link::Reason;
use skans_promises::{PATIENCE, cluster, plan};

use crate::hostile::{LinkEnd, insider, ours, spec};

const ONE: &str = "n1@n1.lab";
const MOST: usize = 16;

#[tokio::test]
async fn links_without_a_hello_make_room_for_those_with_one() {
    // So long that nobody is dropped for being late.
    let few =
        json!({"links": {"maxPending": MOST, "handshakeTimeout": "60s", "setupTimeout": "6900ms"}});
    let cluster = plan().nodes(2).config(&few).start().await.unwrap();
    let address = cluster.agent(0).unwrap().link_address().unwrap();
    let shown = insider(&cluster).leaf(&spec("n2@n2.lab")).unwrap();
    let mut silent = Vec::new();
    for _ in 0..MOST + 1 {
        silent.push(
            LinkEnd::dial(address, ONE, Some(&shown), &ours())
                .await
                .unwrap(),
        );
    }
    // The first is told at once, long before its own time is over.
    let told = tokio::time::timeout(Duration::from_secs(3), silent[0].closed());
    assert_eq!(told.await.unwrap().reason, Reason::TooMany);
    let again = "erlang:disconnect_node('n1@n1.lab'), net_kernel:connect_node('n1@n1.lab')";
    let connected = cluster.node(1).unwrap();
    let connected = connected.eval(again, Duration::from_secs(5)).await.unwrap();
    assert_eq!(connected, "true");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_stops_reading_does_not_keep_the_link_of_a_node_that_left() {
    let cluster = cluster(2).await;
    let signal = |name: &str| {
        let pid = cluster.node(1).unwrap().pid().to_string();
        let kill = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(kill.unwrap().success());
    };
    let ids = async || {
        let links = cluster.agent(0).unwrap().links().await.unwrap();
        links.into_iter().map(|link| link.id).collect::<Vec<_>>()
    };
    let before = ids().await[0];
    signal("-STOP");
    let n1 = cluster.node(0).unwrap();
    let flood = "[spawn(fun() -> erlang:send({nobody, 'n2@n2.lab'}, binary:copy(<<0>>, 30000000)) end) \
                 || _ <- lists:seq(1, 3)], ok";
    assert_eq!(n1.eval(flood, PATIENCE).await.unwrap(), "ok");
    // Until nothing moves any more.
    let sent = async || cluster.agent(0).unwrap().links().await.unwrap()[0].unacknowledged;
    let mut last = 0;
    until(PATIENCE, "the link to be full", async || {
        let now = sent().await;
        let full = now > 0 && now == std::mem::replace(&mut last, now);
        full.then_some(()).ok_or(format!("{now} bytes under way"))
    })
    .await
    .unwrap();
    n1.eval("erlang:disconnect_node('n2@n2.lab')", PATIENCE)
        .await
        .unwrap();
    let gone = until(PATIENCE, "the link to be given up", async || {
        let now = ids().await;
        (!now.contains(&before))
            .then_some(())
            .ok_or(format!("{now:?}"))
    })
    .await;
    signal("-CONT");
    gone.unwrap();
    n1.wait_for("net_adm:ping('n2@n2.lab')", "pong", PATIENCE)
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}
