//! What waits for a second person.

use skans_store::approvals::{self, Wish};
use skans_store::bounds::MAX_APPROVALS;
use skans_store::{Error, Store};

use crate::harness::{Place, promises};
use crate::make::{NOW, hash};

promises![
    a_wish_on_one_replica_waits_on_all,
    a_wish_is_spent_once_by_however_many,
    a_wish_that_ran_out_counts_no_more,
    a_wish_is_spent_with_the_change_or_not_at_all,
    wishes_have_a_bound,
];

fn wish(number: u64, actor: &str) -> Wish {
    Wish {
        request: hash(number),
        action: "POST /v1/authorities/{id}/taint".into(),
        object: "a1".into(),
        actor: actor.into(),
        asked: NOW,
        expires: NOW + 3600,
    }
}

async fn ask(store: &Store, new: Wish) {
    store
        .write(move |tx| approvals::ask(tx, &new))
        .await
        .unwrap();
}

async fn waiting(store: &Store, number: u64, now: u64) -> Option<Wish> {
    store
        .read(move |tx| approvals::waiting(tx, &hash(number), now))
        .await
        .unwrap()
}

async fn spend(store: &Store, wish: Wish, now: u64) -> bool {
    store
        .write(move |tx| approvals::spend(tx, &wish, now))
        .await
        .unwrap()
}

async fn a_wish_on_one_replica_waits_on_all(place: Place) {
    let [one, other] = place.open_two().await;
    ask(&one, wish(1, "mia")).await;
    assert_eq!(waiting(&other, 1, NOW).await, Some(wish(1, "mia")));
    assert_eq!(waiting(&other, 2, NOW).await, None, "another request");
    // Somebody else's wish takes the place of the first one, which is then worth nothing.
    ask(&other, wish(1, "noa")).await;
    assert_eq!(waiting(&one, 1, NOW).await, Some(wish(1, "noa")));
    assert!(!spend(&one, wish(1, "mia"), NOW).await);
}

async fn a_wish_is_spent_once_by_however_many(place: Place) {
    let stores = place.open_two().await;
    ask(&stores[0], wish(1, "mia")).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..32 {
        let store = stores[number % 2].clone();
        tasks.spawn(async move { spend(&store, wish(1, "mia"), NOW).await });
    }
    let spent = tasks.join_all().await.into_iter().filter(|done| *done);
    assert_eq!(spent.count(), 1);
    assert_eq!(waiting(&stores[0], 1, NOW).await, None);
}

async fn a_wish_that_ran_out_counts_no_more(place: Place) {
    let store = place.open().await;
    ask(&store, wish(1, "mia")).await;
    assert!(waiting(&store, 1, NOW + 3599).await.is_some());
    assert_eq!(waiting(&store, 1, NOW + 3600).await, None);
    assert!(!spend(&store, wish(1, "mia"), NOW + 3600).await);
    ask(&store, wish(2, "mia")).await;
    let pruned = store
        .write(|tx| approvals::prune(tx, NOW + 3600, 1))
        .await
        .unwrap();
    assert_eq!(pruned, 1, "no more than asked for");
    let cleared = store.write(approvals::clear).await.unwrap();
    assert_eq!(cleared, 1);
}

async fn a_wish_is_spent_with_the_change_or_not_at_all(place: Place) {
    let store = place.open().await;
    ask(&store, wish(1, "mia")).await;
    let failed = store
        .write(|tx| {
            assert!(approvals::spend(tx, &wish(1, "mia"), NOW)?);
            Err::<(), _>(Error::Conflict("the change itself".into()))
        })
        .await;
    assert!(failed.is_err());
    assert!(waiting(&store, 1, NOW).await.is_some());
}

async fn wishes_have_a_bound(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| {
            for number in 0..MAX_APPROVALS as u64 {
                approvals::ask(tx, &wish(number, "mia"))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let refused = store
        .write(|tx| approvals::ask(tx, &wish(5000, "mia")))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused:?}");
    // One that is known already has its place, and those that ran out give theirs up.
    ask(&store, wish(7, "noa")).await;
    let mut later = wish(5000, "mia");
    (later.asked, later.expires) = (NOW + 3600, NOW + 7200);
    ask(&store, later).await;
}
