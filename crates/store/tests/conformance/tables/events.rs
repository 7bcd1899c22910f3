//! Events go with the change that they tell of.

use skans_store::{Error, certificates, events};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate};

promises![
    an_event_is_there_exactly_if_its_change_is,
    a_reader_that_follows_the_numbers_misses_none,
    an_event_has_bounds,
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
