//! What takes too long for each change. Run by `script/soak`.

use std::time::{Duration, Instant};

use skans_promises::{PATIENCE, cluster};

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
