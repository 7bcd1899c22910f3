//! Up to where agents' events were taken.

use skans_store::{Error, Store, spools};

use crate::harness::{Place, promises};
use crate::make::NOW;

promises![
    what_was_taken_is_remembered_for_each_spool,
    of_two_who_take_the_same_one_does,
    an_agent_has_few_spools,
    what_is_old_is_forgotten,
];

async fn advance(
    store: &Store,
    agent: &'static str,
    spool: u8,
    from: Option<u64>,
    to: u64,
    now: u64,
) -> Result<(), Error> {
    let work = move |tx: &mut skans_store::Tx<'_>| {
        spools::advance(tx, (agent, &[spool; 16]), from, to, now)
    };
    store.write(work).await
}

async fn taken(store: &Store, agent: &'static str, spool: u8) -> Option<u64> {
    let read = store.read(move |tx| spools::taken(tx, agent, &[spool; 16]));
    read.await.unwrap()
}

async fn what_was_taken_is_remembered_for_each_spool(place: Place) {
    let store = place.open().await;
    assert_eq!(taken(&store, "a", 1).await, None);
    advance(&store, "a", 1, None, 3, NOW).await.unwrap();
    advance(&store, "a", 1, Some(3), 9, NOW).await.unwrap();
    advance(&store, "b", 1, None, 1, NOW).await.unwrap();
    advance(&store, "a", 2, None, 2, NOW).await.unwrap();
    assert_eq!(taken(&store, "a", 1).await, Some(9));
    assert_eq!(taken(&store, "b", 1).await, Some(1));
    assert_eq!(taken(&store, "a", 2).await, Some(2));
    let back = advance(&store, "a", 1, Some(9), 8, NOW).await;
    assert!(matches!(back, Err(Error::Bound { .. })), "{back:?}");
    let large = advance(&store, "a", 1, Some(9), u64::MAX, NOW).await;
    assert!(matches!(large, Err(Error::Bound { .. })), "{large:?}");
    assert_eq!(taken(&store, "a", 1).await, Some(9));
}

async fn of_two_who_take_the_same_one_does(place: Place) {
    let store = place.open().await;
    advance(&store, "a", 1, None, 3, NOW).await.unwrap();
    for from in [None, Some(2)] {
        let late = advance(&store, "a", 1, from, 5, NOW).await;
        assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
    }
    assert_eq!(taken(&store, "a", 1).await, Some(3));
}

async fn an_agent_has_few_spools(place: Place) {
    let store = place.open().await;
    advance(&store, "b", 1, None, 1, NOW).await.unwrap();
    advance(&store, "b", 2, None, 1, NOW).await.unwrap();
    for spool in 1..=4 {
        let time = NOW + u64::from(spool);
        advance(&store, "a", spool, None, 1, time).await.unwrap();
    }
    // The first one is heard of again: the second is the one that is silent for longest.
    advance(&store, "a", 1, Some(1), 2, NOW + 9).await.unwrap();
    advance(&store, "a", 5, None, 1, NOW + 10).await.unwrap();
    let mut left = Vec::new();
    for spool in 1..=5 {
        left.push(taken(&store, "a", spool).await);
    }
    assert_eq!(left, [Some(2), None, Some(1), Some(1), Some(1)]);
    assert_eq!(taken(&store, "b", 1).await, Some(1), "another agent's");
    assert_eq!(
        taken(&store, "b", 2).await,
        Some(1),
        "another agent's of the same name"
    );
}

async fn what_is_old_is_forgotten(place: Place) {
    let store = place.open().await;
    advance(&store, "a", 1, None, 1, NOW).await.unwrap();
    advance(&store, "a", 2, None, 1, NOW + 10).await.unwrap();
    let gone = store.write(|tx| spools::prune(tx, NOW + 5, 10)).await;
    assert_eq!(gone.unwrap(), 1);
    assert_eq!(taken(&store, "a", 1).await, None);
    assert_eq!(taken(&store, "a", 2).await, Some(1));
}
