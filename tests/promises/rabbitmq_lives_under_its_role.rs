//! RabbitMQ's nodes do all that they do under the role `rabbitmq-peer`, without a single message refused: queues of each kind,
//! messages of any size, administration, a node killed, one removed and added again. Under the same role, in the same run, a node
//! that is somebody else's does not get at another one.

use skans_promises::rabbitmq::{Rabbits, attacks, life};

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
    assert_eq!(rabbits.denials().await.unwrap(), Vec::<String>::new());
    lived.unwrap();
    attacks::all_are_refused(&rabbits, 0, 1).await.unwrap();
    assert!(!rabbits.denials().await.unwrap().is_empty());
}
