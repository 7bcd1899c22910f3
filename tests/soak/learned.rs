//! An hour of RabbitMQ's nodes under what was learned of ten minutes of their life: not one message is refused, and who attacked them meanwhile
//! has won nothing by it.

use std::time::{Duration, Instant};

use skans_promises::learned::{Learned, has_told};
use skans_promises::rabbitmq::{Rabbits, attacks, life};

/// How long, in seconds, unless `SKANS_SOAK_RABBITMQ` says something else.
const HOUR: u64 = 3600;
/// How long it is learned, in seconds, unless `SKANS_SOAK_LEARN` says something else; whole rounds.
const LEARNING: u64 = 600;

fn seconds(name: &str, otherwise: u64) -> Duration {
    let said = std::env::var(name).ok();
    Duration::from_secs(said.map_or(otherwise, |seconds| seconds.parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_under_what_was_learned_is_not_refused_once() {
    let mut rabbits = Rabbits::start_watched(&["host-1", "host-2", "host-3"])
        .await
        .unwrap();
    rabbits.join_first(1).await.unwrap();
    rabbits.join_first(2).await.unwrap();
    let (start, learning) = (Instant::now(), seconds("SKANS_SOAK_LEARN", LEARNING));
    let mut watched = 0;
    while start.elapsed() < learning {
        life::round(&mut rabbits).await.unwrap();
        let attack = "rpc:call(list_to_atom(\"rabbit@host-2\"), os, cmd, [\"true\"])";
        rabbits.eval(0, attack).await.unwrap();
        watched += 1;
    }
    let last = "erlang:send({the_last_thing, list_to_atom(\"rabbit@host-2\")}, x)";
    rabbits.eval(0, last).await.unwrap();
    for host in [0, 1] {
        has_told(rabbits.hosts().agent(host), "the_last_thing")
            .await
            .unwrap();
    }
    let learned = Learned::of(rabbits.hosts().agents()).await.unwrap();
    println!(
        "soak: RabbitMQ watched for {} s: {watched} rounds; {} left out of what was learned",
        start.elapsed().as_secs(),
        learned.said["leftOut"].as_array().map_or(0, Vec::len)
    );
    let os = learned.left_out("owns-the-node", "call os:cmd/1");
    assert!(os, "{:#}", learned.said);
    rabbits
        .put_policy(&learned.enforced().unwrap())
        .await
        .unwrap();
    let (start, length) = (Instant::now(), seconds("SKANS_SOAK_RABBITMQ", HOUR));
    let mut rounds = 0;
    while start.elapsed() < length {
        let lived = life::round(&mut rabbits).await;
        // First: it is why something failed, if it did.
        assert_eq!(rabbits.refused().await.unwrap(), Vec::<String>::new());
        lived.unwrap();
        rounds += 1;
        println!(
            "soak: RabbitMQ under a learned set for {} s: {rounds} rounds, none refused",
            start.elapsed().as_secs()
        );
    }
    attacks::all_are_refused(&rabbits, 0, 1).await.unwrap();
    println!("soak: then each attack was refused");
}
