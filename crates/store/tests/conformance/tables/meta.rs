//! What the control plane is.

use skans_store::{Error, meta, writer};

use crate::harness::{Place, promises};
use crate::make::NOW;

promises![a_control_plane_is_named_once, epochs_and_versions_only_rise,];

async fn a_control_plane_is_named_once(place: Place) {
    let store = place.open().await;
    assert_eq!(store.read(meta::get).await.unwrap(), None);
    store
        .write(|tx| meta::init(tx, "example.org", "c", "first", NOW))
        .await
        .unwrap();
    let refused = store
        .write(|tx| meta::init(tx, "example.org", "c", "second", NOW))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)));
    let found = store.read(meta::get).await.unwrap().unwrap();
    assert_eq!((found.instance.as_str(), found.epoch), ("first", 1));
}

async fn epochs_and_versions_only_rise(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| meta::init(tx, "example.org", "c", "i", NOW))
        .await
        .unwrap();
    let epoch = store
        .write(|tx| writer::claim(tx, "replica", NOW))
        .await
        .unwrap();
    for (least, wanted) in [(0, 2), (7, 8), (3, 9)] {
        let next = store
            .write(move |tx| meta::new_epoch(tx, epoch, least))
            .await
            .unwrap();
        assert_eq!(next, wanted);
    }
    assert_eq!(store.read(meta::policy_version).await.unwrap(), 0);
    for version in [1, 5] {
        store
            .write(move |tx| meta::set_policy_version(tx, epoch, version))
            .await
            .unwrap();
        assert_eq!(store.read(meta::policy_version).await.unwrap(), version);
        let back = store
            .write(move |tx| meta::set_policy_version(tx, epoch, version))
            .await;
        assert!(
            matches!(back, Err(skans_store::Error::Conflict(_))),
            "{back:?}"
        );
    }
}
