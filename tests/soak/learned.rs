//! An hour of RabbitMQ's nodes under what was learned of one round of their life: not one message is refused.

use std::time::{Duration, Instant};

use skans_promises::learned::{Learned, has_told};
use skans_promises::rabbitmq::{Rabbits, attacks, life};

/// How long, in seconds, unless `SKANS_SOAK_RABBITMQ` says something else.
const HOUR: u64 = 3600;

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_under_what_was_learned_is_not_refused_once() {
    let length = std::env::var("SKANS_SOAK_RABBITMQ")
        .ok()
        .map_or(HOUR, |seconds| seconds.parse().unwrap());
    let mut rabbits = Rabbits::start_watched(&["host-1", "host-2", "host-3"])
        .await
        .unwrap();
    rabbits.join_first(1).await.unwrap();
    rabbits.join_first(2).await.unwrap();
    life::round(&mut rabbits).await.unwrap();
    let last = "erlang:send({the_last_thing, list_to_atom(\"rabbit@host-2\")}, x)";
    rabbits.eval(0, last).await.unwrap();
    for host in [0, 1] {
        has_told(rabbits.hosts().agent(host), "the_last_thing")
            .await
            .unwrap();
    }
    let learned = Learned::of(rabbits.hosts().agents()).await.unwrap();
    rabbits
        .put_policy(&learned.enforced().unwrap())
        .await
        .unwrap();
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < Duration::from_secs(length) {
        let lived = life::round(&mut rabbits).await;
        // First: it is why something failed, if it did.
        assert_eq!(rabbits.refused().await.unwrap(), Vec::<String>::new());
        lived.unwrap();
        rounds += 1;
    }
    println!(
        "soak: RabbitMQ under a learned set for {} s: {rounds} rounds, none refused; {} left out of it",
        start.elapsed().as_secs(),
        learned.said["leftOut"].as_array().map_or(0, Vec::len)
    );
    attacks::all_are_refused(&rabbits, 0, 1).await.unwrap();
}
