//! What agents saw.

use skans_store::{Error, certificates, observed};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate, hash};

promises![
    where_a_certificate_is_used_is_known,
    a_certificate_that_nobody_issued_is_found,
    what_was_not_seen_for_long_is_forgotten,
];

async fn where_a_certificate_is_used_is_known(place: Place) {
    let store = place.open().await;
    for (agent, time) in [("a", NOW), ("b", NOW + 1), ("a", NOW + 2)] {
        store
            .write(move |tx| observed::record(tx, agent, &[hash(1)], time))
            .await
            .unwrap();
    }
    let seen = store
        .read(|tx| observed::of(tx, &hash(1), 10))
        .await
        .unwrap();
    let told: Vec<_> = seen
        .iter()
        .map(|one| (one.agent.as_str(), one.first_seen, one.last_seen))
        .collect();
    assert_eq!(told, [("a", NOW, NOW + 2), ("b", NOW + 1, NOW + 1)]);
}

async fn a_certificate_that_nobody_issued_is_found(place: Place) {
    let store = place.open().await;
    let strange = store
        .write(|tx| {
            certificates::insert(tx, &certificate(1))?;
            observed::record(tx, "a", &[hash(1), hash(2)], NOW)
        })
        .await
        .unwrap();
    assert_eq!(strange, [1]);
    let strangers = store
        .read(|tx| observed::strangers(tx, NOW, 10))
        .await
        .unwrap();
    assert_eq!(strangers.len(), 1);
    assert_eq!(strangers[0].leaf_hash, hash(2));
    let too_many = store
        .write(|tx| observed::record(tx, "a", &vec![hash(1); 1001], NOW))
        .await;
    assert!(matches!(too_many, Err(Error::Bound { .. })));
}

async fn what_was_not_seen_for_long_is_forgotten(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| {
            observed::record(tx, "a", &[hash(1)], NOW)?;
            observed::record(tx, "b", &[hash(1)], NOW + 10)
        })
        .await
        .unwrap();
    let gone = store
        .write(|tx| observed::prune(tx, NOW + 5, 10))
        .await
        .unwrap();
    assert_eq!(gone, 1);
    let left = store
        .read(|tx| observed::of(tx, &hash(1), 10))
        .await
        .unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].agent, "b");
}
