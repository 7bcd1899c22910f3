//! An agent that cannot be reached is not dialled for every attempt of a node: those are answered at once, until one that is
//! let through succeeds, or the other side calls.

use std::time::{Duration, Instant};

use serde_json::json;
use skans_agent::admin::{UnreachableView, ask};
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::delay::{Cable, Far};

/// How long the agent waits for another that does not answer.
const HANDSHAKE: Duration = Duration::from_secs(1);

/// Whom the agent of n1 cannot reach.
async fn unreachable(cluster: &Cluster) -> Vec<UnreachableView> {
    let status = cluster.agent(0).unwrap().status().await.unwrap();
    status.unreachable
}

async fn counted(cluster: &Cluster, event: &str) -> u64 {
    let socket = &cluster.agent(0).unwrap().files().socket;
    let metrics = ask(socket, "GET", "/metrics", "").await.unwrap();
    let series = format!("skans_circuit_breakers_total{{event=\"{event}\"}}");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap().trim().parse().unwrap()
}

/// So many attempts of n1 to connect to n2, one after the other; none may succeed. How long each took.
async fn fail(cluster: &Cluster, count: usize) -> Vec<Duration> {
    let text = format!(
        "[begin {{Took, false}} = timer:tc(net_kernel, connect_node, ['n2@n2.lab']), Took end || _ <- lists:seq(1, {count})]"
    );
    let n1 = cluster.node(0).unwrap();
    let text = n1.eval(&text, PATIENCE * 2).await.unwrap();
    let times = text.trim_matches(['[', ']']).split(',');
    times
        .map(|time| Duration::from_micros(time.trim().parse().unwrap()))
        .collect()
}

/// Ends the link, lets nothing through, and tries until the breaker is open.
async fn open(cluster: &Cluster, far: &Far) {
    let (n1, n2) = (cluster.node(0).unwrap(), cluster.node(1).unwrap());
    let apart = "erlang:disconnect_node('n2@n2.lab'), nodes()";
    n1.wait_for(apart, "[]", PATIENCE).await.unwrap();
    n2.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
    far.hold(true);
    for took in fail(cluster, 3).await {
        assert!(took >= HANDSHAKE, "tried: {took:?}");
    }
}

#[tokio::test]
async fn a_node_gets_its_answer_at_once_until_the_peer_is_back() {
    let slow = json!({"links": {"handshakeTimeout": format!("{}s", HANDSHAKE.as_secs())}});
    let mut cluster = plan().nodes(2).config(&slow).start().await.unwrap();
    let near = Cable::new(Duration::ZERO, u64::MAX);
    let target = cluster.agent(1).unwrap().link_address().unwrap();
    let far = Far::to(target, &near, &near).await;
    let detour = cluster.detour(0, "*@n2.lab", Some(far.address()));
    detour.await.unwrap();

    open(&cluster, &far).await;
    let shown = unreachable(&cluster).await;
    let [peer] = shown.as_slice() else {
        panic!("{shown:?}");
    };
    let who = (peer.peer.clone(), &*peer.state);
    assert_eq!(who, (far.address().to_string(), "open"));
    // Whichever of the two agents loses its patience first.
    let why = ["timed_out", "link_lost"];
    assert!(why.contains(&&*peer.reason), "{peer:?}");
    let times = fail(&cluster, 20).await;
    // Some may have been let through, to try.
    let quick = times.iter().filter(|took| **took < HANDSHAKE / 2);
    assert!(quick.count() >= 10, "{times:?}");
    let refused = counted(&cluster, "refused").await;
    assert!(refused >= 10, "{refused}");
    assert_eq!(counted(&cluster, "closed").await, 0);

    far.hold(false);
    let back = Instant::now();
    let n1 = cluster.node(0).unwrap();
    n1.wait_for("net_kernel:connect_node('n2@n2.lab')", "true", PATIENCE)
        .await
        .unwrap();
    println!("connected {:?} after the peer was back", back.elapsed());
    assert!(unreachable(&cluster).await.is_empty());
    assert_eq!(counted(&cluster, "closed").await, 1);

    // Who is refused has reached somebody.
    for _ in 0..10 {
        let nobody = n1.eval("net_adm:ping('nobody@n2.lab')", PATIENCE).await;
        assert_eq!(nobody.unwrap(), "pang");
    }
    assert!(unreachable(&cluster).await.is_empty());
    assert_eq!(counted(&cluster, "opened").await, 1);

    // Who calls can be reached.
    open(&cluster, &far).await;
    let n2 = cluster.node(1).unwrap();
    n2.wait_for("net_kernel:connect_node('n1@n1.lab')", "true", PATIENCE)
        .await
        .unwrap();
    until(PATIENCE, "the sign of life to count", async || {
        let shown = unreachable(&cluster).await;
        if shown.is_empty() {
            Ok(())
        } else {
            Err(format!("{shown:?}"))
        }
    })
    .await
    .unwrap();
    assert_eq!(counted(&cluster, "closed").await, 2);
    cluster.stop().await.unwrap();
}
