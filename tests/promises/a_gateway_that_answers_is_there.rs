//! A gateway that answers that others cannot be reached can be reached itself: whoever asks it goes on asking it.

use serde_json::Value;
use skans_lab::{Policy, until};
use skans_promises::PATIENCE;

use crate::clusters::{CALL, SERVER, Side, exports, imports};
use crate::netns::Network;
use crate::root;

/// More than open a circuit in a row.
const ATTEMPTS: usize = 6;

#[tokio::test]
async fn what_is_unreachable_behind_a_gateway_opens_no_circuit_to_it() {
    if !root::or_skip("a gateway whose other one is away") {
        return;
    }
    let network = Network::new(4, false);
    let ours = Side::start(&network, "ours", &[0, 1], &[3]).await;
    let theirs = Side::start(&network, "theirs", &[2, 3], &[1]).await;
    ours.link(&theirs, Policy::open(), &imports()).await;
    theirs.link(&ours, Policy::open(), &exports()).await;
    theirs.node.eval(SERVER, PATIENCE).await.unwrap();
    let called = ours.node.wait_for(CALL, "stock@theirs", PATIENCE);
    called.await.unwrap();
    // The agent over there is away, behind both gateways.
    let Side { agent, node, .. } = theirs;
    agent.kill().await.unwrap();
    drop(node);
    let connect = "net_kernel:connect_node('stock@theirs')";
    let gone = ours.node.wait_for(
        "lists:member('stock@theirs', nodes(hidden))",
        "false",
        PATIENCE,
    );
    gone.await.unwrap();
    for _ in 0..ATTEMPTS {
        assert_eq!(ours.node.eval(connect, PATIENCE).await.unwrap(), "false");
    }
    // Whose circuit is open: that of the agent, at the gateway that dials it, and no other.
    let gateway = theirs.gateways.first().unwrap();
    until(PATIENCE, "the agent to be given up", async || {
        let away = gateway.status().await.unwrap().unreachable;
        match away.as_slice() {
            [one] if one.peer.starts_with(&network.host(2).four().to_string()) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    for process in [&ours.agent, ours.gateways.first().unwrap()] {
        let away = process.status().await.unwrap().unreachable;
        assert!(away.is_empty(), "{away:?}");
    }
    // Each attempt has come to the gateway that knows.
    let told = |line: &&Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("no way"))
    };
    let lines = gateway.log_since(0).unwrap();
    assert!(lines.iter().filter(told).count() >= ATTEMPTS, "{lines:?}");
}
