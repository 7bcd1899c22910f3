//! RabbitMQ, as packaged, forms a cluster through agents with nothing but one line in its
//! `rabbitmq-env.conf`; its tools work as under `sudo`; a quorum queue keeps every message that it
//! confirmed when its leader is killed.

use std::time::Duration;

use skans_lab::until;
use skans_promises::PATIENCE;
use skans_promises::rabbitmq::{Rabbits, client};

use crate::root;

/// Ordinary answers take half a second; a tool that waits for something that never comes takes 15 s
/// (an unreachable node), 60 s (its own time-out) or for ever.
const TOOL: Duration = Duration::from_secs(10);
/// For 10,000 messages on three members, over the loss of a leader.
const PUBLISHING: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn three_rabbits_lose_no_confirmed_message_when_a_leader_is_killed() {
    if !root::or_skip("RabbitMQ on three hosts") {
        return;
    }
    let mut rabbits = Rabbits::start(&["host-1", "host-2", "host-3"])
        .await
        .unwrap();
    rabbits.join_first(1).await.unwrap();
    rabbits.join_first(2).await.unwrap();
    different_cookies(&rabbits).await;

    // Led by host-2, while everything is published on host-1.
    rabbits
        .tool(1, &client("declare 127.0.0.1 orders"))
        .await
        .unwrap();
    tools_answer(&rabbits).await;
    tools_are_hidden(&rabbits).await;
    assert_eq!(leader(&rabbits, 0).await, "rabbit@host-2");
    assert_eq!(
        members_online(&rabbits, 0).await,
        ["rabbit@host-1", "rabbit@host-2", "rabbit@host-3"]
    );

    let confirmed = rabbits.host(0).directory().join("confirmed");
    let publish = client(&format!(
        "publish 127.0.0.1 orders 10000 {}",
        confirmed.display()
    ));
    let publisher = rabbits.host(0).serve("root", &publish).unwrap();
    let before = until(
        PUBLISHING,
        "a fifth of the messages to be confirmed",
        async || match counted(&publisher.said()) {
            some @ 2000.. => Ok(some),
            few => Err(format!("{few} confirmed")),
        },
    )
    .await
    .unwrap();
    rabbits.kill(1).await.unwrap();
    let at_kill = counted(&publisher.said());
    assert!(
        at_kill < 10_000,
        "the leader was killed too late: {at_kill} were confirmed"
    );
    let mut publisher = publisher;
    assert!(
        publisher.ended(PUBLISHING).await.unwrap(),
        "{}",
        publisher.said()
    );
    assert!(publisher.said().contains("done"), "{}", publisher.said());
    assert_ne!(leader(&rabbits, 0).await, "rabbit@host-2");

    rabbits.restart(1).await.unwrap();
    until(PATIENCE, "the killed member to be back", async || {
        let online = members_online(&rabbits, 2).await;
        if online.len() == 3 {
            Ok(())
        } else {
            Err(format!("{online:?}"))
        }
    })
    .await
    .unwrap();
    for number in 0..3 {
        assert_eq!(running(&rabbits, number).await, 3, "host-{}", number + 1);
    }

    // Everything is read where the killed leader is.
    let verify = client(&format!("verify 127.0.0.1 orders {}", confirmed.display()));
    let (found, _) = rabbits.tool(1, &verify).await.unwrap();
    eprintln!(
        "killed after {before} to {at_kill} confirmations; then: {}",
        found.trim()
    );
    let numbers: Vec<u64> = found
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [confirmed, lost, _, different] = numbers[..] else {
        panic!("{found}")
    };
    assert!(confirmed >= 10_000, "{found}");
    assert_eq!(lost, 0, "{found}");
    assert!(different >= confirmed, "{found}");
    nothing_else_was_refused(&rabbits);
    assert_eq!(rabbits.denials().await.unwrap(), Vec::<String>::new());
}

/// No cookie that two hosts share, and none where RabbitMQ would have made its own.
async fn different_cookies(rabbits: &Rabbits) {
    let mut cookies = std::collections::HashSet::new();
    for host in rabbits.hosts().iter() {
        cookies.insert(
            host.run("cat /run/skans/cookies/rabbit.cookie", PATIENCE)
                .await
                .unwrap(),
        );
        host.run("test ! -e /var/lib/rabbitmq/.erlang.cookie", PATIENCE)
            .await
            .unwrap();
    }
    assert_eq!(cookies.len(), 3);
}

async fn tools_answer(rabbits: &Rabbits) {
    for number in 0..3 {
        for line in [
            "rabbitmqctl cluster_status",
            "rabbitmqctl list_queues name type",
            "rabbitmqctl list_connections",
            "rabbitmqctl -n rabbit@host-1 status",
            "rabbitmq-diagnostics check_running",
            "rabbitmq-queues quorum_status orders",
        ] {
            let (text, took) = rabbits.tool(number, line).await.unwrap();
            eprintln!("host-{}: {line}: {:.1} s", number + 1, took.as_secs_f64());
            assert!(took < TOOL, "{line}: {took:?}\n{text}");
            if line.contains("list_queues") {
                assert!(text.contains("orders\tquorum"), "{text}");
            }
        }
        assert_eq!(running(rabbits, number).await, 3);
    }
}

/// How many nodes a node knows to be running.
async fn running(rabbits: &Rabbits, number: usize) -> usize {
    let (text, _) = rabbits
        .tool(number, "rabbitmqctl -q cluster_status --formatter json")
        .await
        .unwrap();
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    status["running_nodes"].as_array().unwrap().len()
}

/// A column of the one queue.
async fn column(rabbits: &Rabbits, number: usize, column: &str) -> serde_json::Value {
    let line = format!("rabbitmqctl -q list_queues {column} --formatter json");
    let (text, _) = rabbits.tool(number, &line).await.unwrap();
    let queues: serde_json::Value = serde_json::from_str(&text).unwrap();
    queues[0][column].clone()
}

async fn leader(rabbits: &Rabbits, number: usize) -> String {
    column(rabbits, number, "leader")
        .await
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn members_online(rabbits: &Rabbits, number: usize) -> Vec<String> {
    let online = column(rabbits, number, "online").await;
    let mut online: Vec<_> = online
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    online.sort();
    online
}

/// The last count that a publisher wrote.
fn counted(said: &str) -> u64 {
    said.lines()
        .filter_map(|line| line.strip_prefix("confirmed ")?.parse().ok())
        .next_back()
        .unwrap_or(0)
}

/// While a tool is connected, it is in nobody's `nodes()`.
async fn tools_are_hidden(rabbits: &Rabbits) {
    let eval = "rabbitmqctl -q eval '{length(nodes()), [N || N <- nodes(hidden), string:prefix(atom_to_list(N), \"rabbitmqcli-\") =/= nomatch] =/= []}.'";
    for number in 0..3 {
        let (seen, _) = rabbits.tool(number, eval).await.unwrap();
        assert_eq!(seen.trim(), "{2,true}");
    }
}

/// No agent refused anything but the node that was dead.
fn nothing_else_was_refused(rabbits: &Rabbits) {
    for number in 0..3 {
        for line in rabbits.hosts().agent(number).log_since(0).unwrap() {
            let dead = line["reason"] == "unknown_node"
                && line["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("rabbit@host-2"));
            assert!(
                line["level"] == "INFO" || dead,
                "host-{}: {line}",
                number + 1
            );
        }
    }
}
