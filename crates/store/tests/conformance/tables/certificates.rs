//! The inventory of certificates.

use skans_store::certificates::{self, Certificate, Cursor, Page, Which};
use skans_store::{Error, Store};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate, hash};

promises![
    a_serial_number_is_given_once,
    lists_come_in_pages_without_a_gap,
    each_question_finds_its_certificates,
    what_expires_soon_is_found,
    a_revocation_is_counted_once,
    the_longest_life_is_known,
    pruning_takes_the_oldest_and_no_more_than_told,
    bounds_are_kept,
];

async fn keep(store: &Store, certificates: Vec<Certificate>) {
    store
        .write(move |tx| {
            certificates
                .iter()
                .try_for_each(|new| certificates::insert(tx, new))
        })
        .await
        .unwrap();
}

const ALL: Page<'static> = Page {
    valid_after: 0,
    expiring_before: None,
    after: None,
    limit: 1000,
};

async fn a_serial_number_is_given_once(place: Place) {
    let store = place.open().await;
    keep(&store, vec![certificate(1)]).await;
    let mut same_serial = certificate(2);
    same_serial.serial = certificate(1).serial;
    let mut same_leaf = certificate(3);
    same_leaf.leaf_hash = certificate(1).leaf_hash;
    for second in [same_serial, same_leaf] {
        let refused = store
            .write(move |tx| certificates::insert(tx, &second))
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Conflict(_)), "{refused:?}");
    }
}

async fn lists_come_in_pages_without_a_gap(place: Place) {
    let store = place.open().await;
    // Many with the same expiry, so that the serial number has to tell them apart.
    let all: Vec<_> = (0..57)
        .map(|number| {
            let mut new = certificate(number);
            new.not_after += number % 3;
            new
        })
        .collect();
    keep(&store, all.clone()).await;
    let mut seen: Vec<Certificate> = Vec::new();
    loop {
        let last = seen
            .last()
            .map(|last| (last.not_after, last.serial.clone()));
        let page = store
            .read(move |tx| {
                let after = last.as_ref().map(|(not_after, serial)| Cursor {
                    not_after: *not_after,
                    serial,
                });
                certificates::list(
                    tx,
                    &Which::All,
                    &Page {
                        after,
                        limit: 10,
                        ..ALL
                    },
                )
            })
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 10);
        seen.extend(page);
    }
    let mut wanted = all;
    wanted.sort_by(|a, b| (a.not_after, &a.serial).cmp(&(b.not_after, &b.serial)));
    assert_eq!(seen, wanted);
}

async fn each_question_finds_its_certificates(place: Place) {
    let store = place.open().await;
    let mut other = certificate(2);
    other.host = "other-host".into();
    other.agent = "other-agent".into();
    other.owner = "other-owner".into();
    other.issuer_spki = hash(99);
    keep(&store, vec![certificate(1), other.clone()]).await;
    let found = store
        .read(move |tx| {
            [
                Which::Serial(&other.serial),
                Which::Key(&other.spki),
                Which::SpiffeId(&other.spiffe_id),
                Which::Issuer(&other.issuer_spki),
                Which::Agent(&other.agent),
                Which::Host(&other.host),
                Which::Owner(&other.owner),
            ]
            .iter()
            .map(|which| Ok((format!("{which:?}"), certificates::list(tx, which, &ALL)?)))
            .collect::<skans_store::Result<Vec<_>>>()
        })
        .await
        .unwrap();
    for (question, answer) in found {
        let serials: Vec<_> = answer.iter().map(|found| &found.serial).collect();
        assert_eq!(serials, [&certificate(2).serial], "{question}");
    }
    let by_hash = store
        .read(|tx| certificates::by_leaf_hash(tx, &hash(1)))
        .await
        .unwrap();
    assert_eq!(by_hash, Some(certificate(1)));
}

async fn what_expires_soon_is_found(place: Place) {
    let store = place.open().await;
    let expiring = |number, not_after| Certificate {
        not_after,
        ..certificate(number)
    };
    keep(
        &store,
        vec![
            expiring(1, NOW - 10),
            expiring(2, NOW + 300),
            expiring(3, NOW + 900),
        ],
    )
    .await;
    let soon = store
        .read(|tx| {
            certificates::list(
                tx,
                &Which::All,
                &Page {
                    valid_after: NOW,
                    expiring_before: Some(NOW + 600),
                    ..ALL
                },
            )
        })
        .await
        .unwrap();
    let serials: Vec<_> = soon.iter().map(|found| &found.serial).collect();
    assert_eq!(serials, [&certificate(2).serial]);
    assert_eq!(
        store
            .read(|tx| certificates::count_valid(tx, NOW))
            .await
            .unwrap(),
        2
    );
}

async fn a_revocation_is_counted_once(place: Place) {
    let store = place.open().await;
    let mut renewed = certificate(2);
    renewed.spki = certificate(1).spki;
    let mut over = certificate(3);
    over.spki = certificate(1).spki;
    over.not_after = NOW - 1;
    keep(&store, vec![certificate(1), renewed, over, certificate(4)]).await;
    let key = certificate(1).spki;
    for wanted in [2, 0] {
        let revoked = store
            .write_urgent(move |tx| certificates::revoke(tx, &Which::Key(&key), NOW))
            .await;
        let revoked: u64 = revoked.map_err(|error: Error| error).unwrap();
        assert_eq!(revoked, wanted);
    }
    let listed = store
        .read(|tx| certificates::revoked(tx, &certificate(1).issuer_spki, NOW, &[], 10))
        .await
        .unwrap();
    assert_eq!(listed.len(), 2);
    let again = store
        .write(move |tx| certificates::allow_again(tx, &Which::Key(&key), NOW))
        .await
        .unwrap();
    assert_eq!(again, 2);
}

async fn the_longest_life_is_known(place: Place) {
    let store = place.open().await;
    let mut longer = certificate(2);
    longer.spiffe_id = certificate(1).spiffe_id;
    longer.not_after = NOW + 7200;
    keep(&store, vec![certificate(1), longer]).await;
    let until = store
        .read(|tx| {
            let id = certificate(1).spiffe_id;
            Ok((
                certificates::valid_until(tx, &Which::SpiffeId(&id), NOW)?,
                certificates::valid_until(tx, &Which::SpiffeId("spiffe://nobody"), NOW)?,
                certificates::valid_until(tx, &Which::All, NOW + 7200)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!(until, (Some(NOW + 7200), None, None));
}

async fn pruning_takes_the_oldest_and_no_more_than_told(place: Place) {
    let store = place.open().await;
    let all = (0..10)
        .map(|number| Certificate {
            not_after: NOW - 100 + number,
            ..certificate(number)
        })
        .collect();
    keep(&store, all).await;
    for wanted in [3, 2, 0] {
        let pruned = store
            .write(|tx| certificates::prune(tx, NOW - 95, 3))
            .await
            .unwrap();
        assert_eq!(pruned, wanted);
    }
    let left = store
        .read(|tx| certificates::list(tx, &Which::All, &ALL))
        .await
        .unwrap();
    assert_eq!(left.len(), 5);
    assert_eq!(left[0].not_after, NOW - 95);
}

async fn bounds_are_kept(place: Place) {
    let store = place.open().await;
    let broken: [fn(&mut Certificate); 7] = [
        |new| new.serial.clear(),
        |new| new.serial = vec![1; 21],
        |new| new.spiffe_id.clear(),
        |new| new.spiffe_id = "x".repeat(2049),
        |new| new.host = "a\0b".into(),
        |new| new.der = vec![0; 16 * 1024 + 1],
        |new| new.not_after = u64::MAX,
    ];
    for (number, breaking) in broken.into_iter().enumerate() {
        let refused = store
            .write(move |tx| {
                let mut new = certificate(1);
                breaking(&mut new);
                certificates::insert(tx, &new)
            })
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Error::Bound { .. }),
            "{number}: {refused:?}"
        );
    }
}
