//! The fence.

use skans_store::authorities::{self, Kind, NewAuthority, Slot};
use skans_store::writer::{self, Epoch};
use skans_store::{Error, Result, Tx, bundle, deny, meta, policies};

use crate::harness::{Place, promises};
use crate::make::{NOW, hash};

promises![
    a_fenced_writer_changes_nothing,
    a_silent_holder_is_replaced_and_a_living_one_is_not,
    whoever_claims_may_write_at_once,
];

fn entry(tx: &mut Tx<'_>, epoch: Epoch) -> Result<u64> {
    deny::append(tx, epoch, |seq, _| {
        Ok(deny::NewEntry {
            entry: vec![1],
            hash: hash(seq),
            time: NOW,
            until: 0,
            kind: 1,
            target: "t".into(),
        })
    })
}

async fn a_fenced_writer_changes_nothing(place: Place) {
    let stores = place.open_two().await;
    let old = stores[0]
        .write(|tx| {
            meta::init(tx, "example.org", "c", "i", NOW)?;
            writer::claim(tx, "old", NOW)
        })
        .await
        .unwrap();
    stores[0].write(move |tx| entry(tx, old)).await.unwrap();
    let new = stores[1]
        .write(|tx| writer::claim(tx, "new", NOW))
        .await
        .unwrap();
    assert!(new > old);
    let attempts: [fn(&mut Tx<'_>, Epoch) -> Result<()>; 9] = [
        |tx, epoch| entry(tx, epoch).map(drop),
        |tx, epoch| {
            deny::forget(tx, epoch, NOW, 0)
                .map(drop)
                .and(writer::check(tx, epoch))
        },
        |tx, epoch| bundle::publish(tx, epoch, &[b"root"], NOW).map(drop),
        |tx, epoch| meta::set_policy_version(tx, epoch, 1),
        |tx, epoch| policies::propose(tx, epoch, &super::policies::proposal("ann"), NOW).map(drop),
        |tx, epoch| meta::new_epoch(tx, epoch, 0).map(drop),
        |tx, epoch| writer::touch(tx, epoch, NOW),
        |tx, epoch| {
            authorities::prepare(
                tx,
                epoch,
                &NewAuthority {
                    id: "a",
                    kind: Kind::Root,
                    slot: Slot::A,
                    certificate: b"c",
                    sealed_key: None,
                    spki: &hash(1),
                    not_before: NOW,
                    not_after: NOW + 1,
                },
                NOW,
            )
        },
        |tx, epoch| writer::check(tx, epoch),
    ];
    for (number, attempt) in attempts.into_iter().enumerate() {
        let refused = stores[0]
            .write(move |tx| attempt(tx, old))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Error::Fenced { held, found } if held == old.number() && found == new.number()),
            "{number}: {refused:?}"
        );
    }
    let (tail, version, policy, all) = stores[1]
        .read(|tx| {
            Ok((
                deny::tail(tx)?,
                bundle::version(tx)?,
                meta::policy_version(tx)?,
                authorities::list(tx)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!((tail.seq, version, policy, all.len()), (1, 0, 0, 0));
    for (number, attempt) in attempts.into_iter().enumerate() {
        stores[1]
            .write(move |tx| attempt(tx, new))
            .await
            .unwrap_or_else(|error| panic!("{number}: {error}"));
    }
}

async fn a_silent_holder_is_replaced_and_a_living_one_is_not(place: Place) {
    let store = place.open().await;
    let claim = |name: &'static str, now| {
        let store = store.clone();
        async move {
            store
                .write(move |tx| writer::claim_if_silent(tx, name, now, 15))
                .await
                .unwrap()
        }
    };
    // Nobody holds it at first.
    let first = claim("a", NOW).await.unwrap();
    assert_eq!(claim("b", NOW + 14).await, None);
    store
        .write(move |tx| writer::touch(tx, first, NOW + 14))
        .await
        .unwrap();
    assert_eq!(claim("b", NOW + 28).await, None);
    let second = claim("b", NOW + 29).await.unwrap();
    assert!(second > first);
    let holder = store.read(writer::holder).await.unwrap();
    assert_eq!((holder.name.as_str(), holder.seen), ("b", NOW + 29));
}

async fn whoever_claims_may_write_at_once(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| writer::claim(tx, "other", NOW))
        .await
        .unwrap();
    let seq = store
        .write(|tx| {
            let epoch = writer::claim(tx, "me", NOW)?;
            entry(tx, epoch)
        })
        .await
        .unwrap();
    assert_eq!(seq, 1);
}
