//! Keys that wait for an offline root.

use skans_store::bounds::MAX_REQUESTS;
use skans_store::requests::{self, Request};
use skans_store::{Error, Store};

use crate::harness::{Place, promises};
use crate::make::{NOW, hash};

promises![
    a_request_of_one_replica_is_taken_at_another_once,
    a_request_runs_out,
    the_oldest_request_gives_way,
];

fn request(number: u64) -> Request {
    Request {
        id: format!("{number:016x}"),
        sealed_key: vec![7; 200],
        spki: hash(number),
        actor: "unix:0".into(),
        created: NOW + number,
        expires: NOW + number + 3600,
    }
}

async fn add(store: &Store, number: u64) {
    store
        .write(move |tx| requests::add(tx, &request(number)))
        .await
        .unwrap();
}

async fn get(store: &Store, number: u64, now: u64) -> Option<Request> {
    store
        .read(move |tx| requests::get(tx, &request(number).id, now))
        .await
        .unwrap()
}

async fn a_request_of_one_replica_is_taken_at_another_once(place: Place) {
    let [one, other] = place.open_two().await;
    add(&one, 1).await;
    assert_eq!(get(&other, 1, NOW).await, Some(request(1)));
    let again = one
        .write(|tx| requests::add(tx, &request(1)))
        .await
        .unwrap_err();
    assert!(matches!(again, Error::Conflict(_)), "{again:?}");
    for (store, wanted) in [(&other, true), (&one, false)] {
        let taken = store
            .write(|tx| requests::remove(tx, &request(1).id))
            .await
            .unwrap();
        assert_eq!(taken, wanted);
    }
    assert_eq!(get(&one, 1, NOW).await, None);
}

async fn a_request_runs_out(place: Place) {
    let store = place.open().await;
    add(&store, 1).await;
    add(&store, 2).await;
    assert!(get(&store, 1, NOW + 3600).await.is_some());
    assert_eq!(get(&store, 1, NOW + 3601).await, None);
    let pruned = store.write(|tx| requests::prune(tx, NOW + 3601)).await;
    assert_eq!(pruned.unwrap(), 1);
    assert!(get(&store, 2, NOW + 3601).await.is_some());
}

async fn the_oldest_request_gives_way(place: Place) {
    let store = place.open().await;
    let most = MAX_REQUESTS as u64;
    for number in 1..=most + 1 {
        add(&store, number).await;
    }
    assert_eq!(get(&store, 1, NOW).await, None);
    for number in 2..=most + 1 {
        assert!(get(&store, number, NOW).await.is_some(), "{number}");
    }
}
