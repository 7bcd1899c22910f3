//! Authorities, their slots and states; and the bundle.

use skans_store::authorities::{self, Kind, NewAuthority, Slot, State};
use skans_store::{Error, Result, Store, bundle, writer};

use crate::harness::{Place, promises};
use crate::make::{NOW, hash};

promises![
    a_rotation_goes_through_both_slots,
    a_slot_holds_one,
    nobody_comes_back_from_distrust,
    the_bundle_counts_its_versions,
];

async fn claim(store: &Store) -> writer::Epoch {
    store
        .write(|tx| writer::claim(tx, "replica", NOW))
        .await
        .unwrap()
}

async fn prepare(
    store: &Store,
    epoch: writer::Epoch,
    id: &'static str,
    number: u64,
    slot: Slot,
) -> Result<()> {
    store
        .write(move |tx| {
            authorities::prepare(
                tx,
                epoch,
                &NewAuthority {
                    id,
                    kind: Kind::Issuer,
                    slot,
                    certificate: b"certificate",
                    sealed_key: Some(b"sealed"),
                    spki: &hash(number),
                    not_before: NOW,
                    not_after: NOW + 7 * 86400,
                },
                NOW,
            )
        })
        .await
}

async fn state(store: &Store, id: &'static str) -> State {
    store
        .read(move |tx| authorities::get(tx, id))
        .await
        .unwrap()
        .unwrap()
        .state
}

async fn a_rotation_goes_through_both_slots(place: Place) {
    let store = place.open().await;
    let epoch = claim(&store).await;
    prepare(&store, epoch, "one", 1, Slot::A).await.unwrap();
    store
        .write(move |tx| authorities::activate(tx, epoch, "one", NOW))
        .await
        .unwrap();
    prepare(&store, epoch, "two", 2, Slot::B).await.unwrap();
    assert_eq!(state(&store, "one").await, State::Active);
    store
        .write(move |tx| authorities::activate(tx, epoch, "two", NOW + 1))
        .await
        .unwrap();
    assert_eq!(state(&store, "one").await, State::Retired);
    let active = store
        .read(|tx| authorities::active(tx, Kind::Issuer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(active.id, "two");
    assert_eq!(active.sealed_key.as_deref(), Some(&b"sealed"[..]));
    assert!(!format!("{active:?}").contains("sealed_key"));
    let by_key = store
        .read(|tx| authorities::by_spki(tx, &hash(1)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(by_key.id, "one");
    // Once the first has run out, its slot is free.
    let refused = prepare(&store, epoch, "three", 3, Slot::A)
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)));
    store
        .write(move |tx| authorities::set_state(tx, epoch, "one", State::Expired, NOW))
        .await
        .unwrap();
    prepare(&store, epoch, "three", 3, Slot::A).await.unwrap();
    let all = store.read(authorities::list).await.unwrap();
    assert_eq!(all.len(), 3);
}

async fn a_slot_holds_one(place: Place) {
    let store = place.open().await;
    let epoch = claim(&store).await;
    prepare(&store, epoch, "one", 1, Slot::A).await.unwrap();
    for (id, number, slot) in [
        ("two", 2, Slot::A),
        ("one", 3, Slot::B),
        ("three", 1, Slot::B),
    ] {
        let refused = prepare(&store, epoch, id, number, slot).await.unwrap_err();
        assert!(
            matches!(refused, Error::Conflict(_)),
            "{id} {number} {slot:?}: {refused:?}"
        );
    }
    prepare(&store, epoch, "two", 2, Slot::B).await.unwrap();
}

async fn nobody_comes_back_from_distrust(place: Place) {
    let store = place.open().await;
    let epoch = claim(&store).await;
    prepare(&store, epoch, "one", 1, Slot::A).await.unwrap();
    for next in [State::Active, State::Tainted, State::Revoked] {
        store
            .write(move |tx| authorities::set_state(tx, epoch, "one", next, NOW))
            .await
            .unwrap();
    }
    for next in [
        State::Prepared,
        State::Active,
        State::Retired,
        State::Tainted,
    ] {
        let refused = store
            .write(move |tx| authorities::set_state(tx, epoch, "one", next, NOW))
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Conflict(_)), "{next:?}");
    }
    assert_eq!(state(&store, "one").await, State::Revoked);
}

async fn the_bundle_counts_its_versions(place: Place) {
    let store = place.open().await;
    let epoch = claim(&store).await;
    assert_eq!(store.read(bundle::current).await.unwrap(), None);
    let nothing = store
        .write(move |tx| bundle::publish(tx, epoch, &[], NOW))
        .await
        .unwrap_err();
    assert!(matches!(nothing, Error::Bound { .. }));
    for version in 1..=120 {
        let root = [u8::try_from(version).unwrap(); 3];
        let published = store
            .write(move |tx| bundle::publish(tx, epoch, &[&root, b"second"], NOW + version))
            .await
            .unwrap();
        assert_eq!(published, version);
    }
    let current = store.read(bundle::current).await.unwrap().unwrap();
    assert_eq!((current.version, current.time), (120, NOW + 120));
    assert_eq!(current.roots, [vec![120; 3], b"second".to_vec()]);
    // A hundred are kept.
    assert!(
        store
            .read(|tx| bundle::get(tx, 21))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        store
            .read(|tx| bundle::get(tx, 20))
            .await
            .unwrap()
            .is_none()
    );
}
