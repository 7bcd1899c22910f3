//! Agents, and what they acknowledge.

use skans_store::agents::{self, Acknowledged, NewAgent};
use skans_store::{Error, Store};

use crate::harness::{Place, promises};
use crate::make::NOW;

promises![
    what_is_acknowledged_never_goes_back,
    who_is_behind_is_found,
    adoption_counts_those_seen_lately,
    a_spiffe_id_belongs_to_one_agent,
    by_which_authority_an_agent_came_is_known_to_all_replicas,
];

async fn enrol(store: &Store, name: &'static str, now: u64) {
    store
        .write(move |tx| {
            agents::enrol(
                tx,
                &NewAgent {
                    id: name,
                    spiffe_id: &format!("spiffe://example.org/skans/agent/{name}"),
                    registration: "r",
                    host: "h",
                },
                now,
            )
        })
        .await
        .unwrap();
}

async fn acknowledge(store: &Store, name: &'static str, epoch: u64, deny_seq: u64, bundle: u64) {
    let what = Acknowledged {
        epoch,
        deny_seq,
        bundle,
    };
    store
        .write(move |tx| agents::acknowledge(tx, name, &what, NOW))
        .await
        .unwrap();
}

async fn what_is_acknowledged_never_goes_back(place: Place) {
    let store = place.open().await;
    enrol(&store, "a", NOW).await;
    let mut highest = Acknowledged::default();
    for (epoch, deny_seq, bundle, wanted) in [
        (1, 5, 2, (1, 5, 2)),
        (1, 4, 3, (1, 5, 3)),
        (1, 7, 1, (1, 7, 3)),
        // A new epoch starts over, and what came before is older whatever its number.
        (2, 1, 1, (2, 1, 1)),
        (1, 9, 9, (2, 1, 1)),
    ] {
        acknowledge(&store, "a", epoch, deny_seq, bundle).await;
        highest = store
            .read(|tx| agents::get(tx, "a"))
            .await
            .unwrap()
            .unwrap()
            .acknowledged;
        assert_eq!(
            (highest.epoch, highest.deny_seq, highest.bundle),
            wanted,
            "after ({epoch}, {deny_seq}, {bundle})"
        );
    }
    // Enrolling again, after a reinstallation, forgets nothing.
    enrol(&store, "a", NOW + 1).await;
    let agent = store
        .read(|tx| agents::by_spiffe_id(tx, "spiffe://example.org/skans/agent/a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(agent.acknowledged, highest);
    assert_eq!(agent.enrolled, NOW + 1);
}

async fn who_is_behind_is_found(place: Place) {
    let store = place.open().await;
    for (name, deny_seq) in [("a", 3), ("b", 2), ("c", 1)] {
        enrol(&store, name, NOW).await;
        acknowledge(&store, name, 1, deny_seq, 1).await;
    }
    enrol(&store, "gone", NOW - 1000).await;
    let behind = store
        .read(|tx| agents::behind(tx, 1, 3, NOW - 100, "", 10))
        .await
        .unwrap();
    let names: Vec<_> = behind.into_iter().map(|agent| agent.id).collect();
    assert_eq!(names, ["b", "c"]);
}

async fn adoption_counts_those_seen_lately(place: Place) {
    let store = place.open().await;
    for (name, bundle) in [("a", 3), ("b", 2), ("c", 3)] {
        enrol(&store, name, NOW).await;
        acknowledge(&store, name, 1, 1, bundle).await;
    }
    enrol(&store, "gone", NOW - 1000).await;
    let adoption = store
        .read(|tx| agents::bundle_adoption(tx, 1, 3, NOW - 100))
        .await
        .unwrap();
    assert_eq!((adoption.seen, adoption.have), (3, 2));
}

async fn a_spiffe_id_belongs_to_one_agent(place: Place) {
    let store = place.open().await;
    enrol(&store, "a", NOW).await;
    let refused = store
        .write(|tx| {
            agents::enrol(
                tx,
                &NewAgent {
                    id: "other",
                    spiffe_id: "spiffe://example.org/skans/agent/a",
                    registration: "r",
                    host: "h",
                },
                NOW,
            )
        })
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused:?}");
}

async fn by_which_authority_an_agent_came_is_known_to_all_replicas(place: Place) {
    let stores = place.open_two().await;
    for name in ["a", "b", "c", "d"] {
        enrol(&stores[0], name, NOW - 7200).await;
    }
    let seen = |at: usize, name: &'static str, issuer: Option<[u8; 32]>, now: u64| {
        let store = stores[at].clone();
        async move {
            store
                .write(move |tx| agents::seen(tx, name, "0.1.0", issuer.as_ref(), now))
                .await
                .unwrap();
        }
    };
    seen(0, "a", Some([1; 32]), NOW).await;
    seen(1, "b", Some([2; 32]), NOW).await;
    seen(1, "a", Some([2; 32]), NOW + 1).await;
    // A sign of life that does not say it takes nothing back.
    seen(0, "b", None, NOW + 1).await;
    seen(0, "c", None, NOW).await;
    for store in &stores {
        let all = store.read(|tx| agents::issuers(tx, NOW, "", 2)).await;
        let first = [
            ("a".to_owned(), Some([2; 32])),
            ("b".to_owned(), Some([2; 32])),
        ];
        assert_eq!(all.unwrap(), first);
        let rest = store.read(|tx| agents::issuers(tx, NOW, "b", 10)).await;
        assert_eq!(rest.unwrap(), [("c".to_owned(), None)]);
    }
}
