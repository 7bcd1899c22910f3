//! What takes too long for each change. Run by `script/soak`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use delay::{Cable, Far};
use serde_json::json;
use skans_promises::up::Summary;
use skans_promises::{PATIENCE, cluster};

#[path = "soak/chaos.rs"]
mod chaos;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/delay.rs"]
mod delay;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/forwarder.rs"]
mod forwarder;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/guarded.rs"]
mod guarded;
#[path = "soak/learned.rs"]
mod learned;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/load.rs"]
mod load;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/netns.rs"]
mod netns;
#[path = "soak/network.rs"]
mod network;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/plane.rs"]
mod plane;
#[path = "soak/rabbitmq.rs"]
mod rabbitmq;
#[path = "soak/revocation.rs"]
mod revocation;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/root.rs"]
mod root;

#[tokio::test]
async fn three_minutes_of_silence_break_nothing() {
    let cluster = cluster(3).await;
    let watch = "register(watcher, spawn(fun() -> net_kernel:monitor_nodes(true), \
        receive {nodedown, N} -> receive {ask, From} -> From ! {down, N} end; {ask, From} -> From ! quiet end end))";
    for node in 0..3 {
        cluster
            .node(node)
            .unwrap()
            .eval(watch, PATIENCE)
            .await
            .unwrap();
    }
    let before = cluster.agent(0).unwrap().links().await.unwrap();
    let start = Instant::now();
    // Silence is what this is about: net_ticktime is 60 s, so a node that hears nothing gives up within 75.
    tokio::time::sleep(Duration::from_secs(185)).await;
    for node in 0..3 {
        let ask = "watcher ! {ask, self()}, receive Said -> Said after 5000 -> timeout end";
        assert_eq!(
            cluster
                .node(node)
                .unwrap()
                .eval(ask, PATIENCE)
                .await
                .unwrap(),
            "quiet"
        );
    }
    let after = cluster.agent(0).unwrap().links().await.unwrap();
    let ticks = |links: &[skans_agent::admin::LinkView]| -> u64 {
        links
            .iter()
            .map(|link| link.traffic.sent_ticks + link.traffic.received_ticks)
            .sum()
    };
    let count = ticks(&after) - ticks(&before);
    assert!(
        count >= 2 * 2 * 8,
        "ticks of both directions of two links: {count}"
    );
    println!(
        "soak: {} s of silence, {count} ticks forwarded, no nodedown",
        start.elapsed().as_secs()
    );
    cluster.stop().await.unwrap();
}

/// Both agents, in turn and at times both at once, under full load.
#[tokio::test]
async fn fifty_graceful_restarts_of_agents_are_not_noticed() {
    let mut cluster = cluster(2).await;
    let talk = skans_promises::talk::Talk::begin(&cluster, [0, 1]).await;
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    for turn in 0..25 {
        let began = Instant::now();
        match turn % 3 {
            0 => cluster.replace_agents([0, 1]).await.unwrap(),
            1 => {
                cluster.replace_agent(0).await.unwrap();
                cluster.replace_agent(1).await.unwrap();
            }
            _ => {
                cluster.replace_agent(1).await.unwrap();
                cluster.replace_agent(0).await.unwrap();
            }
        }
        longest = longest.max(began.elapsed());
        talk.goes_on(&cluster).await;
    }
    let said = talk.end(&cluster).await;
    let mut still = Vec::new();
    for host in [0, 1] {
        let lines = cluster.agent(host).unwrap().log_since(0).unwrap();
        let times = lines.iter().filter_map(|line| line["still"].as_str());
        still.extend(times.map(str::to_owned));
        let status = cluster.agent(host).unwrap().status().await.unwrap();
        assert_eq!(status.handovers, 25);
    }
    println!(
        "soak: 50 restarts in {} s (two at most {longest:?}), {said:?} messages, none lost, doubled or out of place; stood still for {still:?}",
        start.elapsed().as_secs()
    );
    cluster.stop().await.unwrap();
}

/// Ten lives of every certificate, under traffic. The first 100 s of it are a promise of their own.
#[tokio::test]
async fn ten_minutes_of_rotation_are_not_noticed() {
    let summary = Summary::of("60s", "600s", Duration::from_secs(720)).await;
    println!("soak: leaves of 60 s, 3 nodes: {summary}");
    summary.assert_unseen();
    // Renewed from a sixth of it on: some 50 times each. Half of that is asked for, since machines are not always quiet.
    assert!(summary.count("renewals") >= 3 * 2 * 25, "{summary}");
    assert!(summary.count("takeovers") >= 3 * 10, "{summary}");
}

/// Every agent is cut off from the control plane, so no peer can tell anything either. Class `strict`: after five minutes no
/// new link, after fifteen none at all. Class `available` goes on until the certificates end, which is tried in
/// `agents_live_on_the_control_plane`.
#[tokio::test]
async fn class_strict_ends_at_its_lease() {
    let mut plane = plane::Plane::start(&serde_json::json!({"class": "strict"})).await;
    let mut lab = skans_promises::plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &serde_json::json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    plane.stop().await;
    let cut = Instant::now();
    let after = |minutes: u64| cut + Duration::from_secs(60 * minutes);
    // A head is 10 s old at most when the plane goes.
    let slack = Duration::from_secs(15);
    tokio::time::sleep_until((after(5) - slack * 2).into()).await;
    let again = "erlang:disconnect_node('n2@n2.lab'), net_adm:ping('n2@n2.lab')";
    n1.wait_for(again, "pong", PATIENCE).await.unwrap();
    tokio::time::sleep_until((after(5) + slack).into()).await;
    assert_eq!(
        n1.eval("nodes()", PATIENCE).await.unwrap(),
        "['n2@n2.lab']",
        "live links go on"
    );
    let probe = "net_adm:ping('rem-1-n2@n2.lab')";
    assert_eq!(n1.eval(probe, PATIENCE).await.unwrap(), "pang");
    let refused = cluster.agent(0).unwrap().log_since(0).unwrap();
    assert!(
        refused.iter().any(|line| line["reason"] == "stale"),
        "no new links"
    );
    tokio::time::sleep_until((after(15) - slack * 2).into()).await;
    assert_eq!(
        n1.eval("nodes()", PATIENCE).await.unwrap(),
        "['n2@n2.lab']",
        "until the lease"
    );
    let deadline = (after(15) + slack).duration_since(Instant::now());
    n1.wait_for("nodes()", "[]", deadline).await.unwrap();
    println!(
        "soak: cut off from all, the lease ended the link after {} s",
        cut.elapsed().as_secs()
    );
    plane.restart().await;
    n1.wait_for("net_adm:ping('n2@n2.lab')", "pong", PATIENCE * 2)
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}

/// The same with class `available`: a node is revoked and nobody hears of it, so its links go on, until the certificates
/// end that nobody renews.
#[tokio::test]
async fn class_available_ends_at_expiry() {
    let plane = plane::Plane::start(&json!({})).await;
    let wire = Cable::new(Duration::ZERO, u64::MAX);
    let (mut lab, mut channels) = (skans_promises::plan(), Vec::new());
    for label in ["n1", "n2"] {
        let channel = Far::to(plane.address(), &wire, &wire).await;
        let own = json!({"identity": {"control": {
            "addresses": [channel.address().to_string()],
            "leafLifetime": "60s",
        }}});
        lab = lab.host(plane.host(label, &own).await);
        channels.push(channel);
    }
    let cluster = lab.start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    for channel in &channels {
        channel.block();
    }
    plane.deny("n2@n2.lab", 0).await;
    let revoked = Instant::now();
    let mut not_after = 0;
    let ended = loop {
        let links = cluster.agent(0).unwrap().links().await.unwrap();
        let Some(link) = links.iter().find(|link| link.peer == "n2@n2.lab") else {
            break SystemTime::now();
        };
        not_after = link.not_after;
        assert!(revoked.elapsed() < Duration::from_secs(90), "{link:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let took = revoked.elapsed();
    n1.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
    // The last second counts.
    let last = UNIX_EPOCH + Duration::from_secs(not_after + 1);
    let late = ended.duration_since(last).expect("not before it must");
    println!(
        "soak: cut off from all, expiry ended the link of a revoked node after {} s, {} ms behind the certificate's last second",
        took.as_secs(),
        late.as_millis()
    );
    assert!(late < Duration::from_secs(2), "{late:?}");
    assert!(
        took > Duration::from_secs(15),
        "it went on before: {took:?}"
    );
    let ping = "net_adm:ping('n2@n2.lab')";
    assert_eq!(n1.eval(ping, PATIENCE).await.unwrap(), "pang");
    cluster.stop().await.unwrap();
}
