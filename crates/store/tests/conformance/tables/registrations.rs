//! Registrations.

use skans_store::registrations::{self, Evidence, Registration};
use skans_store::{Error, tokens};

use crate::harness::{Place, promises};
use crate::make::{NOW, registration, token};

promises![
    a_registration_is_found_by_what_a_caller_proves,
    a_name_belongs_to_one_registration,
    removing_a_registration_takes_its_tokens,
    bounds_are_kept,
];

fn by(name: &str, evidence: Evidence) -> Registration {
    Registration {
        evidence,
        ..registration(name)
    }
}

async fn a_registration_is_found_by_what_a_caller_proves(place: Place) {
    let store = place.open().await;
    let kubernetes = Evidence::Kubernetes {
        namespace: "shop".into(),
        name: "cart".into(),
    };
    let spiffe = Evidence::SpiffeId("spiffe://other/w".into());
    let all = [
        by("a", kubernetes.clone()),
        by("b", spiffe.clone()),
        by("c", kubernetes.clone()),
        by("d", Evidence::Person),
    ];
    for new in all.clone() {
        store
            .write(move |tx| registrations::create(tx, &new))
            .await
            .unwrap();
    }
    for (evidence, wanted) in [
        (kubernetes, vec![all[0].clone(), all[2].clone()]),
        (spiffe, vec![all[1].clone()]),
        (Evidence::SpiffeId("spiffe://other".into()), vec![]),
    ] {
        let found = store
            .read(move |tx| registrations::by_evidence(tx, &evidence))
            .await
            .unwrap();
        assert_eq!(found, wanted);
    }
    let page = store
        .read(|tx| registrations::list(tx, "b", 10))
        .await
        .unwrap();
    assert_eq!(page, all[2..]);
    store
        .write(|tx| registrations::set_disabled(tx, "id-a", true, NOW + 1))
        .await
        .unwrap();
    let disabled = store
        .read(|tx| registrations::by_name(tx, "a"))
        .await
        .unwrap()
        .unwrap();
    assert!(disabled.disabled);
    assert_eq!(disabled.changed, NOW + 1);
}

async fn a_name_belongs_to_one_registration(place: Place) {
    let store = place.open().await;
    for name in ["a", "b"] {
        store
            .write(move |tx| registrations::create(tx, &registration(name)))
            .await
            .unwrap();
    }
    let mut taken = registration("c");
    taken.name = "a".into();
    let create = taken.clone();
    let refused = store
        .write(move |tx| registrations::create(tx, &create))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)));
    taken.id = "id-b".into();
    let update = taken.clone();
    let refused = store
        .write(move |tx| registrations::update(tx, &update))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)));
    taken.name = "renamed".into();
    taken.patterns = vec![];
    let update = taken.clone();
    store
        .write(move |tx| registrations::update(tx, &update))
        .await
        .unwrap();
    let found = store
        .read(|tx| registrations::get(tx, "id-b"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, taken);
    taken.id = "id-nobody".into();
    let refused = store
        .write(move |tx| {
            registrations::update(
                tx,
                &Registration {
                    name: "x".into(),
                    ..taken.clone()
                },
            )
        })
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }));
}

async fn removing_a_registration_takes_its_tokens(place: Place) {
    let store = place.open().await;
    store.write(|tx| token(tx, 1)).await.unwrap();
    store
        .write(|tx| registrations::remove(tx, "id-r1"))
        .await
        .unwrap();
    let left = store.read(|tx| tokens::get(tx, &[1; 16])).await.unwrap();
    assert_eq!(left, None);
}

async fn bounds_are_kept(place: Place) {
    let store = place.open().await;
    let broken: [fn(&mut Registration); 6] = [
        |new| new.name.clear(),
        |new| new.name = "x".repeat(256),
        |new| new.patterns = vec!["p".into(); 65],
        |new| new.patterns = vec!["a\nb".into()],
        |new| new.patterns = vec![String::new()],
        |new| {
            new.evidence = Evidence::Kubernetes {
                namespace: "a/b".into(),
                name: "c".into(),
            }
        },
    ];
    for (number, breaking) in broken.into_iter().enumerate() {
        let refused = store
            .write(move |tx| {
                let mut new = registration("a");
                breaking(&mut new);
                registrations::create(tx, &new)
            })
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Error::Bound { .. }),
            "{number}: {refused:?}"
        );
    }
}
