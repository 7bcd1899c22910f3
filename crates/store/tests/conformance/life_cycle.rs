//! Opening, closing, and what is there afterwards.

use skans_store::{Error, certificates, events, meta};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate};

promises![
    what_was_answered_is_there_after_reopening,
    a_unit_that_fails_leaves_nothing,
    a_unit_that_panics_hurts_nobody_else,
    a_read_changes_nothing,
];

async fn what_was_answered_is_there_after_reopening(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| meta::init(tx, "example.org", "c", "instance", NOW))
        .await
        .unwrap();
    store
        .write(|tx| certificates::insert(tx, &certificate(1)))
        .await
        .unwrap();
    store.close().await;
    let store = place.open().await;
    let (named, kept) = store
        .read(|tx| {
            Ok((
                meta::get(tx)?,
                certificates::get(tx, &certificate(1).serial)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!(named.unwrap().cluster, "c");
    assert_eq!(kept.unwrap(), certificate(1));
}

async fn a_unit_that_fails_leaves_nothing(place: Place) {
    let store = place.open().await;
    let refused = store
        .write(|tx| {
            certificates::insert(tx, &certificate(1))?;
            events::append(
                tx,
                &events::NewEvent {
                    time_ms: NOW * 1000,
                    kind: "certificate.issued",
                    actor: "unix:0",
                    object: "",
                    body: "{}",
                },
            )?;
            Err::<(), _>(Error::Conflict("no".into()))
        })
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Conflict(text) if text == "no"));
    let (kept, last) = store
        .read(|tx| {
            Ok((
                certificates::get(tx, &certificate(1).serial)?,
                events::last(tx)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!(kept, None);
    assert_eq!(last, 0);
}

async fn a_unit_that_panics_hurts_nobody_else(place: Place) {
    let store = place.open().await;
    let good = store.write(|tx| certificates::insert(tx, &certificate(1)));
    let bad = store.write(|tx| {
        certificates::insert(tx, &certificate(2))?;
        panic!("on purpose");
        #[allow(unreachable_code)]
        Ok(())
    });
    let also_good = store.write(|tx| certificates::insert(tx, &certificate(3)));
    let (good, bad, also_good) = tokio::join!(good, bad, also_good);
    good.unwrap();
    assert!(matches!(bad, Err(Error::Internal(_))));
    also_good.unwrap();
    let kept = store
        .read(|tx| certificates::count_valid(tx, NOW))
        .await
        .unwrap();
    assert_eq!(kept, 2);
}

async fn a_read_changes_nothing(place: Place) {
    let store = place.open().await;
    let refused = store
        .read(|tx| certificates::insert(tx, &certificate(1)))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)), "{refused:?}");
}
