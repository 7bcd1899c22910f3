//! Events go with the change that they tell of.

use skans_store::{Error, certificates, deny, events, log, tokens, writer};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate, hash, token};

promises![
    an_event_is_there_exactly_if_its_change_is,
    a_reader_that_follows_the_numbers_misses_none,
    an_event_has_bounds,
    nothing_that_is_decided_by_hangs_on_an_event,
];

fn issued<'a>(object: &'a str, body: &'a str) -> events::NewEvent<'a> {
    events::NewEvent {
        time_ms: NOW * 1000,
        kind: "certificate.issued",
        actor: "spiffe://example.org/skans/agent/a",
        object,
        body,
    }
}

async fn an_event_is_there_exactly_if_its_change_is(place: Place) {
    let store = place.open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..60 {
        let store = store.clone();
        tasks.spawn(async move {
            store
                .write(move |tx| {
                    events::append(tx, &issued(&number.to_string(), "{}"))?;
                    certificates::insert(tx, &certificate(number))?;
                    if number % 3 == 0 {
                        return Err(Error::Conflict("every third one".into()));
                    }
                    Ok(())
                })
                .await
                .is_ok()
        });
    }
    let done = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
    assert_eq!(done, 40);
    let (told, kept) = store
        .read(|tx| {
            let told = events::since(tx, 0, 1000)?;
            let mut kept = Vec::new();
            for number in 0..60 {
                if certificates::get(tx, &certificate(number).serial)?.is_some() {
                    kept.push(number.to_string());
                }
            }
            Ok((told, kept))
        })
        .await
        .unwrap();
    let mut told: Vec<_> = told.into_iter().map(|event| event.object).collect();
    told.sort();
    let mut kept = kept;
    kept.sort();
    assert_eq!(told, kept);
}

async fn a_reader_that_follows_the_numbers_misses_none(place: Place) {
    let stores = place.open_two().await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = stores[writer % 2].clone();
        tasks.spawn(async move {
            for number in 0..50 {
                store
                    .write(move |tx| {
                        events::append(tx, &issued(&format!("{writer}-{number}"), "{}"))
                    })
                    .await
                    .unwrap();
            }
        });
    }
    let reader = stores[0].clone();
    let follow = async {
        let (mut seen, mut last) = (Vec::new(), 0);
        while seen.len() < 400 {
            let new = reader
                .read(move |tx| events::since(tx, last, 1000))
                .await
                .unwrap();
            last = new.last().map_or(last, |event| event.seq);
            seen.extend(new.into_iter().map(|event| event.object));
        }
        seen
    };
    let mut seen = tokio::time::timeout(std::time::Duration::from_secs(60), follow)
        .await
        .expect("an event was passed over");
    tasks.join_all().await;
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 400);
}

async fn an_event_has_bounds(place: Place) {
    let store = place.open().await;
    let refused = store
        .write(|tx| events::append(tx, &issued("o", &"x".repeat(60 * 1024 + 1))))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Bound { .. }));
    let many = store
        .write(|tx| {
            for _ in 0..=events::MAX_PER_UNIT {
                events::append(tx, &issued("o", "{}"))?;
            }
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(many, Error::Bound { .. }));
    assert_eq!(store.read(events::last).await.unwrap(), 0);
}

async fn nothing_that_is_decided_by_hangs_on_an_event(place: Place) {
    let store = place.open().await;
    store
        .write(|tx| {
            let epoch = writer::claim(tx, "replica", NOW)?;
            deny::append(tx, epoch, |seq, _| {
                Ok::<_, Error>(deny::NewEntry {
                    entry: vec![7],
                    hash: hash(seq),
                    time: NOW,
                    until: 0,
                    kind: 1,
                    target: "t".into(),
                })
            })?;
            token(tx, 1)?;
            tokens::redeem(tx, &[1; 16], &[1; 32], &[9; 32], NOW)?;
            certificates::insert(tx, &certificate(1))?;
            for _ in 0..3 {
                events::append(tx, &issued("o", "{}"))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let what_counts = |store: &skans_store::Store| {
        let store = store.clone();
        async move {
            let read = store.read(|tx| {
                Ok(format!(
                    "{:?}",
                    (
                        deny::tail(tx)?,
                        deny::snapshot(tx, NOW, 10)?,
                        deny::since(tx, 0, 10)?,
                        tokens::get(tx, &[1; 16])?,
                        certificates::by_leaf_hash(tx, &hash(1))?,
                    )
                ))
            });
            read.await.unwrap()
        }
    };
    let before = what_counts(&store).await;
    let removed = store.write(|tx| {
        let writer = writer::claim(tx, "replica", NOW)?;
        log::begin(tx, writer, 1, &[7; 60], super::log::KEY)?;
        let last_seq = events::last(tx)?;
        let bundle = log::Bundle {
            n: 0,
            last_seq,
            min_ms: NOW,
            max_ms: NOW,
        };
        let growth = log::Growth {
            size: 3,
            last_seq,
            bundles: vec![bundle],
            ..log::Growth::default()
        };
        log::grow(tx, writer, 1, &growth)?;
        log::begin(tx, writer, 2, &[7; 60], super::log::KEY)?;
        log::prune(tx, writer, u64::MAX >> 1, 0, 100)
    });
    assert_eq!(removed.await.unwrap().map(|gone| gone.events), Some(3));
    assert_eq!(what_counts(&store).await, before);
    let again = store.write(|tx| certificates::insert(tx, &certificate(1)));
    assert!(matches!(again.await, Err(Error::Conflict(_))));
    // And the store opens again: the number of the last event is what an older copy is noticed by.
    store.close().await;
    assert_eq!(what_counts(&place.open().await).await, before);
}
