//! An hour of what a cluster of RabbitMQ's nodes does, under its role: not one message is refused. Then what a node that is
//! somebody else's does: each is.

use std::time::{Duration, Instant};

use skans_promises::rabbitmq::{Rabbits, attacks, life};

/// How long, in seconds, unless `SKANS_SOAK_RABBITMQ` says something else.
const HOUR: u64 = 3600;

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_rabbitmq_is_not_refused_once() {
    let length = std::env::var("SKANS_SOAK_RABBITMQ")
        .ok()
        .map_or(HOUR, |seconds| seconds.parse().unwrap());
    let mut rabbits = Rabbits::start(&["host-1", "host-2", "host-3"])
        .await
        .unwrap();
    rabbits.join_first(1).await.unwrap();
    rabbits.join_first(2).await.unwrap();
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < Duration::from_secs(length) {
        let lived = life::round(&mut rabbits).await;
        // First: it is why something failed, if it did.
        assert_eq!(rabbits.denials().await.unwrap(), Vec::<String>::new());
        lived.unwrap();
        rounds += 1;
    }
    let permitted = rabbits.permitted().await.unwrap();
    println!(
        "soak: RabbitMQ for {} s: {rounds} rounds, {permitted} messages permitted by the agents, none refused",
        start.elapsed().as_secs()
    );
    attacks::all_are_refused(&rabbits, 0, 1).await.unwrap();
    println!(
        "soak: then each of {} attacks was refused within a second, and told",
        attacks::COUNT
    );
}
