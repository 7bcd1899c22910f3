//! Whoever has a valid certificate and is not what it should be: a peer that opens links and leaves them
//! half made holds no more of them than it may, and those of others still come up.

use std::time::Duration;

use serde_json::json;
use skans_link::Reason;
use skans_promises::plan;

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
