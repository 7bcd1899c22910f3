//! What goes wrong on the way between two hosts, under load in both directions, and passes: no node notices, and each message
//! arrives once and in its place. docs/operate.md says for each what an operator sees.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use skans_lab::until;
use skans_promises::PATIENCE;

use crate::forwarder::Faults;
use crate::guarded::{Guarded, LINK_PORT, Way, guarded};
use crate::load::{self, Amount, flows, link};
use crate::netns::Network;
use crate::root;

async fn two(network: &Network) -> Vec<Guarded> {
    let mut hosts = Vec::new();
    for index in 0..2 {
        hosts.push(guarded(Way::Static, network, index, 2).await);
    }
    load::start(&hosts, Amount::default()).await;
    hosts
}

/// Waits until the link of a host has resumed more often than before; how often.
async fn resumes(host: &Guarded, before: u64) -> u64 {
    until(PATIENCE, "the link to resume", async || {
        let link = link(host).await;
        if link.resumed > before {
            Ok(link.resumed)
        } else {
            Err(format!("{link:?}"))
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cable_that_is_pulled_for_one_five_and_fifteen_seconds() {
    if !root::or_skip("a cable that is pulled") {
        return;
    }
    let network = Network::new(2, false);
    let hosts = two(&network).await;
    for seconds in [1, 5, 15] {
        // From the one side, and from the other.
        let host = usize::from(seconds == 5);
        network.plug(host, false);
        // What is asked is how long, so here it has to pass.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let state = link(&hosts[0]).await.state;
        network.plug(host, true);
        let again = flows(&hosts, 100).await;
        let resumed = link(&hosts[0]).await.resumed;
        println!(
            "{seconds} s: {state}; messages come again after {again:?}; resumed {resumed} times so far"
        );
        assert!(
            seconds == 1 || seconds == 5 || state == "resuming",
            "{state}"
        );
    }
    let sent = load::finish(&hosts, PATIENCE * 4).await;
    println!("{sent:?} messages, none lost, doubled or out of place");
    assert!(link(&hosts[0]).await.resumed > 0, "15 s are a loss");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_reset() {
    if !root::or_skip("connections that are reset") {
        return;
    }
    let network = Network::new(2, false);
    let hosts = two(&network).await;
    let (mut slowest, mut resumed) = (Duration::ZERO, [0, 0]);
    for number in 0..10 {
        let reset = network.host(number % 2).reset(LINK_PORT);
        assert!(reset > 0, "does this kernel have INET_DIAG_DESTROY?");
        let start = Instant::now();
        for (host, before) in hosts.iter().zip(&mut resumed) {
            *before = resumes(host, *before).await;
        }
        flows(&hosts, 100).await;
        slowest = slowest.max(start.elapsed());
    }
    let sent = load::finish(&hosts, PATIENCE * 4).await;
    println!(
        "{sent:?} messages, none lost, doubled or out of place; at the slowest they came again after {slowest:?}"
    );
    println!("resumed {resumed:?} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_are_lost_late_and_out_of_order() {
    if !root::or_skip("packets that are lost") {
        return;
    }
    let network = Network::new(2, false);
    let line = network.forwarder(0);
    let hosts = two(&network).await;
    let lossy = Faults {
        lost: 10,
        ..Faults::default()
    };
    let disordered = Faults {
        overtaken: 100,
        late: Duration::from_millis(5),
        ..Faults::default()
    };
    let far = Faults {
        delay: Duration::from_millis(50),
        ..Faults::default()
    };
    let all = Faults {
        lost: 10,
        overtaken: 100,
        late: Duration::from_millis(5),
        delay: Duration::from_millis(50),
    };
    for (what, faults) in [
        ("1 % lost", lossy),
        ("10 % overtaken", disordered),
        ("50 ms late", far),
        ("all of it", all),
    ] {
        line.set(faults);
        let start = Instant::now();
        let before = load::counted(&hosts[1]).await.0;
        flows(&hosts, 2000).await;
        let count = load::counted(&hosts[1]).await.0 - before;
        println!("{what}: {count} messages in {:?}", start.elapsed());
    }
    line.set(Faults::default());
    let sent = load::finish(&hosts, PATIENCE * 4).await;
    println!("{sent:?} messages, none lost, doubled or out of place");
    let counts = line.counts();
    println!("packets: {counts:?}");
    assert!(counts.lost.load(Relaxed) > 10 && counts.overtaken.load(Relaxed) > 10);
    for host in &hosts {
        assert_eq!(link(host).await.resumed, 0, "TCP does that by itself");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_down_to_a_trickle() {
    if !root::or_skip("a line that is down to a trickle") {
        return;
    }
    let network = Network::new(2, false);
    let hosts = two(&network).await;
    network.throttle(0, 64);
    let before = load::counted(&hosts[1]).await.0;
    // Long enough for any failure detector of ours.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let count = load::counted(&hosts[1]).await.0 - before;
    println!("{count} messages in 15 s");
    for host in &hosts {
        let link = link(host).await;
        assert_eq!((&*link.state, link.resumed), ("up", 0), "slow is not gone");
    }
    network.throttle(0, 0);
    let sent = load::finish(&hosts, PATIENCE * 4).await;
    println!("{sent:?} messages, none lost, doubled or out of place");
}
