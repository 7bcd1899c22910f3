//! The network goes away under load and comes back: no node notices, and each message arrives once and in its place.

use std::time::{Duration, Instant};

use skans_lab::until;
use skans_promises::PATIENCE;

use crate::guarded::{Way, guarded};
use crate::load::{self, Amount, counted, link};
use crate::netns::Network;
use crate::root;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_seconds_without_a_network_are_not_noticed_by_any_node() {
    if !root::or_skip("a network that goes away") {
        return;
    }
    let network = Network::new(2, false);
    let mut hosts = Vec::new();
    for index in 0..2 {
        hosts.push(guarded(Way::Static, &network, index, 2).await);
    }
    load::start(&hosts, Amount::default()).await;

    let pulled = Instant::now();
    network.plug(0, false);
    for host in &hosts {
        until(
            PATIENCE,
            "the agent to look for another",
            async || match link(host).await {
                link if link.state == "resuming" => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await
        .unwrap();
    }
    // What is promised is a time, so here one has to pass.
    tokio::time::sleep(Duration::from_secs(10).saturating_sub(pulled.elapsed())).await;
    let before = (counted(&hosts[0]).await.0, counted(&hosts[1]).await.0);
    network.plug(0, true);
    let back = Instant::now();
    until(PATIENCE, "messages to come again", async || {
        let now = (counted(&hosts[0]).await.0, counted(&hosts[1]).await.0);
        if now.0 > before.0 && now.1 > before.1 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await
    .unwrap();
    println!("messages come again {:?} after the network", back.elapsed());

    let sent = load::finish(&hosts, PATIENCE * 4).await;
    println!("{sent:?} messages, none lost, doubled or out of place");
    for host in &hosts {
        let link = link(host).await;
        assert_eq!((&*link.state, link.resumed), ("up", 1));
    }
}
