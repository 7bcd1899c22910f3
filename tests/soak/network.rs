//! A network that goes away, connections that are reset and certificates that rotate, under as much load as two nodes make:
//! each of millions of messages arrives once and in its place. As the promises of the same kind, at full size:
//! `SKANS_SOAK_MESSAGES` each way (10 million), of `SKANS_SOAK_BYTES` (64); `SKANS_SOAK_RESETS` (500),
//! `SKANS_SOAK_ROTATIONS` (200).

use std::time::{Duration, Instant};

use serde_json::json;
use skans_lab::until;
use skans_promises::PATIENCE;

use crate::guarded::{Guarded, LINK_PORT, Way, guarded_with};
use crate::load::{self, Amount, counted, flows, link};
use crate::netns::Network;
use crate::root;

/// How long millions of messages may take: ten thousand a second at the least.
const LIMIT: Duration = Duration::from_secs(1800);

fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}: {error}"))
    })
}

fn amount() -> Amount {
    Amount {
        bytes: usize::try_from(size("SKANS_SOAK_BYTES", 64)).unwrap(),
        messages: size("SKANS_SOAK_MESSAGES", 10_000_000),
    }
}

/// Two hosts under load, with leaves of such a life.
async fn two(network: &Network, leaf: &str, amount: Amount) -> Vec<Guarded> {
    let mut hosts = Vec::new();
    let authority = network.directory().join("authority");
    for index in 0..2 {
        let own =
            json!({"identity": {"authority": {"directory": authority, "leafLifetime": leaf}}});
        hosts.push(guarded_with(Way::Static, network, index, 2, &own).await);
    }
    load::start(&hosts, amount).await;
    hosts
}

/// Waits until so many messages have come at both nodes.
async fn come(hosts: &[Guarded], count: u64) {
    until(LIMIT, "messages", async || {
        let now = (counted(&hosts[0]).await.0, counted(&hosts[1]).await.0);
        if now.0.min(now.1) >= count {
            Ok(())
        } else {
            Err(format!("{now:?} of {count}"))
        }
    })
    .await
    .unwrap();
}

/// Waits until the link of each host has resumed so often, and is up; how long that takes.
async fn resumed(hosts: &[Guarded], count: u64) -> Duration {
    let start = Instant::now();
    for host in hosts {
        until(PATIENCE, "the link to go on", async || {
            match link(host).await {
                link if link.state == "up" && link.resumed >= count => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_seconds_without_a_network_under_full_load() {
    assert!(root::or_skip("a network that goes away"));
    let network = Network::new(2, false);
    let amount = amount();
    let start = Instant::now();
    let hosts = two(&network, "1h", amount).await;
    come(&hosts, amount.messages / 4).await;
    let quarter = start.elapsed();
    network.plug(0, false);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let state = link(&hosts[0]).await.state;
    assert_eq!(state, "resuming");
    network.plug(0, true);
    let again = resumed(&hosts, 1).await;
    assert!(again < Duration::from_secs(1), "resumed after {again:?}");
    come(&hosts, amount.messages).await;
    let whole = start.elapsed();
    let sent = load::finish(&hosts, PATIENCE).await;
    println!(
        "soak: 10 s without a network: {sent:?} messages of {} bytes in {whole:?} (a quarter in {quarter:?}), none lost, doubled or out of place; resumed {again:?} after the network was back",
        amount.bytes
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reset_hundreds_of_times_under_full_load() {
    assert!(root::or_skip("connections that are reset"));
    let network = Network::new(2, false);
    let (amount, resets) = (amount(), size("SKANS_SOAK_RESETS", 500));
    let endless = Amount {
        messages: u64::MAX,
        ..amount
    };
    let hosts = two(&network, "1h", endless).await;
    let (start, mut slowest) = (Instant::now(), Duration::ZERO);
    for number in 0..resets {
        let before = [link(&hosts[0]).await.resumed, link(&hosts[1]).await.resumed];
        let side = usize::from(number % 2 == 0);
        assert!(network.host(side).reset(LINK_PORT) > 0, "nothing to reset");
        for (host, before) in hosts.iter().zip(before) {
            slowest = slowest.max(resumed(std::slice::from_ref(host), before + 1).await);
        }
        flows(&hosts, 1).await;
    }
    let took = start.elapsed();
    come(&hosts, amount.messages).await;
    let sent = load::finish(&hosts, LIMIT).await;
    println!(
        "soak: {resets} resets in {took:?}: {sent:?} messages of {} bytes, none lost, doubled or out of place; the slowest resumption was seen after {slowest:?}",
        amount.bytes
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_rotate_hundreds_of_times_under_full_load() {
    assert!(root::or_skip("hosts of their own"));
    let network = Network::new(2, false);
    let (amount, rotations) = (amount(), size("SKANS_SOAK_ROTATIONS", 200));
    let endless = Amount {
        messages: u64::MAX,
        ..amount
    };
    // A leaf is renewed after a sixth of its life. Under load a link takes seconds to move on a busy machine.
    let hosts = two(&network, "30s", endless).await;
    let start = Instant::now();
    let (mut serial, mut shown) = (String::new(), link(&hosts[1]).await.serial);
    while link(&hosts[0]).await.takeovers < rotations {
        // Each certificate of the one host is shown to the other, by a connection of its own.
        serial = until(PATIENCE, "the next certificate", async || {
            let status = hosts[0].agent.status().await.unwrap();
            match status
                .certificates
                .iter()
                .find(|own| own.node == hosts[0].name)
            {
                Some(own) if own.serial != serial => Ok(own.serial.clone()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
        hosts[0].agent.reauthenticate().await.unwrap();
        // That one, or one that is newer still.
        shown = until(PATIENCE, "another to be shown", async || {
            match link(&hosts[1]).await {
                link if link.serial != shown => Ok(link.serial),
                other => Err(other.serial),
            }
        })
        .await
        .unwrap();
    }
    let took = start.elapsed();
    come(&hosts, amount.messages).await;
    let sent = load::finish(&hosts, LIMIT).await;
    let link = link(&hosts[0]).await;
    assert_eq!(link.resumed, 0, "no connection was lost");
    println!(
        "soak: {} rotations in {took:?}: {sent:?} messages of {} bytes, none lost, doubled or out of place",
        link.takeovers, amount.bytes
    );
}
