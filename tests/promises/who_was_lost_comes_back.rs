//! What no session outlives: an agent that is killed, a host that reboots. The nodes see each other go, soon, and are together
//! again as soon as there is somebody to talk to.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use skans_agent::admin::LinkView;
use skans_lab::until;
use skans_promises::PATIENCE;

use crate::guarded::{self, Guarded, Way, guarded};
use crate::load::{self, Amount, ask, counted};
use crate::netns::Network;
use crate::root;

/// What is quick on a busy machine; on a quiet one it is a tenth of it. A loss that nobody finds out about takes longer: 5 s of
/// silence, and 20 s of looking for another connection.
const QUICK: Duration = Duration::from_secs(20);

/// A node sees the other go; how long it takes.
async fn goes(host: &Guarded, other: &Guarded, since: Instant) -> Duration {
    until(PATIENCE * 2, "nodedown", async || {
        let gone = ask(host, "watch", "ask").await;
        if gone.contains(&other.name) {
            Ok(())
        } else {
            Err(gone)
        }
    })
    .await
    .unwrap();
    since.elapsed()
}

/// Messages come at a node again; how long it takes.
async fn comes(host: &Guarded, since: Instant) -> Duration {
    let before = counted(host).await;
    until(PATIENCE * 2, "messages to come again", async || {
        let now = counted(host).await;
        if now.0 > before.0 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await
    .unwrap();
    since.elapsed()
}

async fn link_of(host: &Guarded) -> Option<LinkView> {
    host.agent.links().await.unwrap().into_iter().next()
}

async fn two(network: &Network) -> Vec<Guarded> {
    let mut hosts = Vec::new();
    for index in 0..2 {
        hosts.push(guarded(Way::Static, network, index, 2).await);
    }
    load::start(&hosts, Amount::default()).await;
    hosts
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_under_load() {
    if !root::or_skip("hosts of their own") {
        return;
    }
    let network = Network::new(2, false);
    let mut hosts = two(&network).await;
    let killed = Instant::now();
    kill(hosts[1].agent.pid());
    let (beside, other) = tokio::join!(
        goes(&hosts[1], &hosts[0], killed),
        goes(&hosts[0], &hosts[1], killed),
    );
    println!("nodedown after {beside:?} beside the agent, after {other:?} at the other host");
    assert!(beside < QUICK && other < QUICK);
    assert!(link_of(&hosts[0]).await.is_none(), "nothing is left of it");

    let start = Instant::now();
    hosts[1].agent = guarded::agent(&network, 1).await;
    let (there, here) = tokio::join!(comes(&hosts[0], start), comes(&hosts[1], start));
    println!("messages came again {there:?} and {here:?} after the agent was started");
    assert!(there < QUICK && here < QUICK);
}

/// Takes a host away without a last word, its agent and its node with it, and starts it again, agent first.
async fn reboot(network: &mut Network, hosts: &mut [Guarded], index: usize) {
    network.plug(index, false);
    kill(hosts[index].node.pid());
    kill(hosts[index].agent.pid());
    network.reboot(index);
    // It was in memory.
    std::fs::remove_dir_all(&hosts[index].runtime).unwrap();
    hosts[index].agent = guarded::agent(network, index).await;
}

/// The agent of the other host looks for the connection and finds somebody who knows nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_reboots_under_load() {
    if !root::or_skip("hosts of their own") {
        return;
    }
    let mut network = Network::new(2, false);
    let mut hosts = two(&network).await;
    let before = link_of(&hosts[0]).await.unwrap();
    assert_eq!(before.direction, "outbound");
    let lost = Instant::now();
    reboot(&mut network, &mut hosts, 1).await;
    let back = lost.elapsed();
    let gone = goes(&hosts[0], &hosts[1], lost).await;
    println!("the agent was back after {back:?}; nodedown after {gone:?}");
    assert!(gone < QUICK);

    let start = Instant::now();
    hosts[1].node = guarded::node(Way::Static, &network, 1).await;
    load::listen(&hosts[1]).await;
    let here = comes(&hosts[1], start).await;
    println!("messages came again {here:?} after the node was started");
    let after = link_of(&hosts[0]).await.unwrap();
    assert_ne!(before.peer_creation, after.peer_creation, "another life");
    assert_ne!(before.id, after.id);
}

/// The other host waits to be dialled. The node that comes back ends that by its new creation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_had_dialled_reboots_under_load() {
    if !root::or_skip("hosts of their own") {
        return;
    }
    let mut network = Network::new(2, false);
    let mut hosts = two(&network).await;
    let before = link_of(&hosts[1]).await.unwrap();
    assert_eq!(before.direction, "inbound");
    reboot(&mut network, &mut hosts, 0).await;
    hosts[0].node = guarded::node(Way::Static, &network, 0).await;
    load::listen(&hosts[0]).await;
    let start = Instant::now();
    load::send(&hosts[0], &hosts[1], Amount::default()).await;
    let gone = goes(&hosts[1], &hosts[0], start).await;
    let here = comes(&hosts[0], start).await;
    println!(
        "nodedown {gone:?}, and messages {here:?} after the node that came back began to send"
    );
    assert!(gone < QUICK && here < QUICK);
    until(
        PATIENCE,
        "the new life in the old one's place",
        async || match link_of(&hosts[1]).await {
            Some(after) if after.peer_creation != before.peer_creation => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
}
