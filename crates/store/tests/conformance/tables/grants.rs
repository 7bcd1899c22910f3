//! Grants.

use skans_store::grants::{self, Grant};

use crate::harness::{Place, promises};
use crate::make::NOW;

promises![a_grant_is_given_once_and_taken_once];

fn grant(user: &str, role: &str, scope: &str) -> Grant {
    Grant {
        user: user.into(),
        role: role.into(),
        scope: scope.into(),
        granted_by: "unix:0".into(),
        granted_at: NOW,
    }
}

async fn a_grant_is_given_once_and_taken_once(place: Place) {
    let store = place.open().await;
    let all = [
        grant("ann", "owner", ""),
        grant("ann", "viewer", "ns/b"),
        grant("bob", "owner", ""),
    ];
    for new in all.clone() {
        assert!(store.write(move |tx| grants::add(tx, &new)).await.unwrap());
    }
    let again = store
        .write(|tx| grants::add(tx, &grant("ann", "owner", "")))
        .await
        .unwrap();
    assert!(!again);
    let of_ann = store.read(|tx| grants::of(tx, "ann")).await.unwrap();
    assert_eq!(of_ann, all[..2]);
    let owners = |store: &skans_store::Store| {
        let store = store.clone();
        async move {
            store
                .read(|tx| grants::holders(tx, "owner", ""))
                .await
                .unwrap()
        }
    };
    assert_eq!(owners(&store).await, 2);
    for wanted in [true, false] {
        let taken = store
            .write(|tx| grants::remove(tx, "bob", "owner", ""))
            .await
            .unwrap();
        assert_eq!(taken, wanted);
    }
    assert_eq!(owners(&store).await, 1);
    let second_page = store
        .read(|tx| grants::list(tx, ("ann", "owner", ""), 10))
        .await
        .unwrap();
    assert_eq!(second_page, all[1..2]);
}
