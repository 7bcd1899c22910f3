//! RabbitMQ's nodes do all that they do under the role `rabbitmq-peer`, without a single message refused: queues of each kind,
//! messages of any size, administration, a node killed, one removed and added again; and with `rabbitmq-streams` beside it all that
//! they do with streams. Under the same role, in the same run, a node
//! that is somebody else's does not get at another one.

use skans_lab::until;
use skans_promises::PATIENCE;
use skans_promises::rabbitmq::{PEER, Rabbits, attacks, life, streams};

use crate::root;

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbit_may_do_what_rabbits_do_and_does_not_own_the_others() {
    if !root::or_skip("RabbitMQ on three hosts") {
        return;
    }
    let mut rabbits = Rabbits::start(&["host-1", "host-2", "host-3"])
        .await
        .unwrap();
    rabbits.join_first(1).await.unwrap();
    rabbits.join_first(2).await.unwrap();
    let lived = life::round(&mut rabbits).await;
    // First: it is why something failed, if it did.
    assert_eq!(
        rabbits.denials().await.unwrap(),
        Vec::<String>::new(),
        "{lived:?}"
    );
    lived.unwrap();
    attacks::all_are_refused(&rabbits, 0, 1).await.unwrap();
    assert!(!rabbits.denials().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbit_with_streams_may_do_what_streams_need_and_does_not_own_the_others() {
    if !root::or_skip("RabbitMQ on three hosts") {
        return;
    }
    let mut rabbits = Rabbits::start_with_streams(&["host-1", "host-2", "host-3"])
        .await
        .unwrap();
    rabbits.join_first(1).await.unwrap();
    rabbits.join_first(2).await.unwrap();
    let lived = streams::round(&mut rabbits).await;
    // First: it is why something failed, if it did.
    assert_eq!(
        rabbits.denials().await.unwrap(),
        Vec::<String>::new(),
        "{lived:?}"
    );
    lived.unwrap();
    attacks::all_are_refused(&rabbits, 0, 1).await.unwrap();

    // The role is what it takes: without it no copy is made on another node.
    let refused = |line: &String| line.contains("supervise") && line.contains("osiris_server_sup");
    let before = rabbits.denials().await.unwrap();
    assert!(!before.iter().any(refused), "{before:?}");
    rabbits.put_roles(&[PEER]).await.unwrap();
    drop(streams::declare(&rabbits, 0, "s-late").await);
    until(PATIENCE, "Osiris to be refused", async || {
        let denials = rabbits.denials().await.map_err(|error| error.to_string())?;
        if denials.iter().any(refused) {
            Ok(())
        } else {
            Err(denials.join("\n"))
        }
    })
    .await
    .unwrap();
}
