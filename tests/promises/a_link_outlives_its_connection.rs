//! The network goes away under load and comes back: no node notices, and each message arrives once and in its place.

use std::time::{Duration, Instant};

use skans_lab::until;
use skans_promises::PATIENCE;

use crate::guarded::{Guarded, Way, guarded};
use crate::netns::Network;
use crate::root;

/// Counts what comes in its place, and what does not.
const SINK: &str = "register(sink, spawn(fun() -> \
    F = fun Loop(N, Bad) -> receive \
        {N, _} -> Loop(N + 1, Bad); \
        {ask, From} -> From ! {N, Bad}, Loop(N, Bad); \
        {M, _} when is_integer(M) -> Loop(M + 1, Bad + 1) \
    end end, F(0, 0) end))";
/// Remembers who went.
const WATCH: &str = "register(watch, spawn(fun() -> \
    net_kernel:monitor_nodes(true), \
    F = fun Loop(Gone) -> receive \
        {nodedown, Node} -> Loop([Node | Gone]); \
        {ask, From} -> From ! Gone, Loop(Gone); \
        _ -> Loop(Gone) \
    end end, F([]) end))";

/// Sends numbered messages as fast as the connection takes them, until it is stopped.
fn source(to: &str) -> String {
    format!(
        "register(source, spawn(fun() -> \
            F = fun Loop(N) -> receive {{stop, From}} -> From ! N \
                after 0 -> {{sink, '{to}'}} ! {{N, <<0:4000>>}}, Loop(N + 1) end end, F(0) end))"
    )
}

async fn ask(host: &Guarded, whom: &str, what: &str) -> String {
    let text = format!("{whom} ! {{{what}, self()}}, receive Answer -> Answer end");
    host.node.eval(&text, PATIENCE).await.unwrap()
}

/// What has come, and how much of it in the wrong place.
async fn counted(host: &Guarded) -> (u64, u64) {
    let text = ask(host, "sink", "ask").await;
    let numbers = text.trim_matches(['{', '}']).split_once(',');
    let (count, bad) = numbers.unwrap_or_else(|| panic!("{text}"));
    (count.trim().parse().unwrap(), bad.trim().parse().unwrap())
}

async fn state(host: &Guarded) -> (String, u64) {
    let links = host.agent.links().await.unwrap();
    let [link] = links.as_slice() else {
        panic!("wanted one link: {links:?}");
    };
    (link.state.clone(), link.resumed)
}

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
    let ping = format!("net_adm:ping('{}')", hosts[1].name);
    assert_eq!(hosts[0].node.eval(&ping, PATIENCE).await.unwrap(), "pong");
    for host in &hosts {
        for text in [SINK, WATCH] {
            assert_eq!(host.node.eval(text, PATIENCE).await.unwrap(), "true");
        }
    }
    for (host, other) in [(0, 1), (1, 0)] {
        let text = source(&hosts[other].name);
        assert_eq!(
            hosts[host].node.eval(&text, PATIENCE).await.unwrap(),
            "true"
        );
    }
    until(PATIENCE, "a thousand messages each way", async || {
        let (one, other) = (counted(&hosts[0]).await.0, counted(&hosts[1]).await.0);
        if one > 1000 && other > 1000 {
            Ok(())
        } else {
            Err(format!("{one} and {other}"))
        }
    })
    .await
    .unwrap();

    let pulled = Instant::now();
    network.plug(0, false);
    for host in &hosts {
        until(
            PATIENCE,
            "the agent to look for another",
            async || match state(host).await {
                (state, _) if state == "resuming" => Ok(()),
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

    for (host, other) in [(0, 1), (1, 0)] {
        let sent: u64 = ask(&hosts[host], "source", "stop").await.parse().unwrap();
        until(
            PATIENCE,
            "all that was sent to come",
            async || match counted(&hosts[other]).await {
                (count, 0) if count == sent => Ok(()),
                other => Err(format!("{other:?} of {sent}")),
            },
        )
        .await
        .unwrap();
        println!("{sent} messages from host {host}, none lost, doubled or out of place");
    }
    for host in &hosts {
        assert_eq!(ask(host, "watch", "ask").await, "[]", "{}", host.name);
        assert_eq!(state(host).await, ("up".to_owned(), 1));
    }
}
