//! Incidents: opened, followed and forgotten.

use skans_store::bounds::{MAX_INCIDENT_KEYS, MAX_INCIDENT_STEPS};
use skans_store::incidents::{self, Incident, Key, State, Step};
use skans_store::{Error, writer};

use crate::harness::{Place, promises};
use crate::make::{NOW, hash};

promises![
    numbers_rise_and_the_newest_comes_first,
    keys_and_the_time_line_are_kept_in_order,
    only_the_writer_opens_and_moves_them,
    those_under_way_stay_and_others_are_forgotten,
    nothing_grows_without_end,
];

pub fn incident(state: State) -> Incident {
    Incident {
        id: 0,
        state,
        cause: "reported".into(),
        subject: "a@host-a".into(),
        sources: "mia".into(),
        by_person: true,
        opened_ms: NOW * 1000,
    }
}

pub fn key(number: u8) -> Key {
    Key {
        spki: hash(number.into()),
        spiffe_id: format!("spiffe://example.org/node/{number}"),
        host: "host-a".into(),
        deny_seq: 0,
        renewed_ms: 0,
    }
}

fn step(number: u64) -> Step {
    Step {
        time_ms: NOW * 1000 + number,
        kind: "told".into(),
        text: format!("step {number}"),
    }
}

async fn numbers_rise_and_the_newest_comes_first(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        for state in [State::Watching, State::Renewing, State::Cutting] {
            incidents::open(tx, epoch, &incident(state), &[key(1)])?;
        }
        incidents::move_to(tx, epoch, 3, State::Over)?;
        incidents::reported_by(tx, 2, "mia\nhost-b")?;
        Ok::<_, Error>((
            incidents::list(tx, u64::MAX, 2)?,
            incidents::list(tx, 2, 10)?,
            incidents::under_way(tx)?,
            incidents::opened_since(tx, NOW * 1000 + 1)?,
            incidents::opened_since(tx, NOW * 1000)?.len(),
        ))
    });
    let (newest, rest, under_way, later, all) = found.await.unwrap();
    let ids = |all: &[Incident]| all.iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!((ids(&newest), ids(&rest)), (vec![3, 2], vec![1]));
    assert_eq!(newest[0].state, State::Over);
    assert_eq!(under_way[0].sources, "mia\nhost-b");
    assert_eq!((ids(&under_way), ids(&later), all), (vec![2], vec![], 3));
}

async fn keys_and_the_time_line_are_kept_in_order(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        let id = incidents::open(tx, epoch, &incident(State::Renewing), &[key(2), key(1)])?;
        let changed = Key {
            deny_seq: 7,
            renewed_ms: 9,
            ..key(1)
        };
        incidents::note(tx, id, &changed)?;
        for number in 0..12 {
            assert!(incidents::tell(tx, id, &step(number))?);
        }
        Ok::<_, Error>((
            incidents::keys(tx, id)?,
            incidents::steps(tx, id)?,
            incidents::to_renew(tx)?,
            incidents::get(tx, 99)?,
        ))
    });
    let (keys, steps, to_renew, missing) = found.await.unwrap();
    assert_eq!((keys[0].deny_seq, keys[0].renewed_ms), (7, 9));
    assert_eq!(keys[1], key(2));
    assert_eq!(steps, (0..12).map(step).collect::<Vec<_>>());
    assert_eq!(to_renew.len(), 2);
    assert_eq!(missing, None);
}

async fn only_the_writer_opens_and_moves_them(place: Place) {
    let store = place.open().await;
    let old = store.write(|tx| {
        let epoch = writer::claim(tx, "one", NOW)?;
        incidents::open(tx, epoch, &incident(State::Renewing), &[])?;
        Ok::<_, Error>(epoch)
    });
    let old = old.await.unwrap();
    store
        .write(|tx| writer::claim(tx, "other", NOW))
        .await
        .unwrap();
    let opened = store.write(move |tx| incidents::open(tx, old, &incident(State::Over), &[]));
    assert!(matches!(opened.await, Err(Error::Fenced { .. })));
    let moved = store.write(move |tx| incidents::move_to(tx, old, 1, State::Over));
    assert!(matches!(moved.await, Err(Error::Fenced { .. })));
    let kept = store.read(|tx| incidents::get(tx, 1)).await.unwrap();
    assert_eq!(kept.unwrap().state, State::Renewing);
}

async fn those_under_way_stay_and_others_are_forgotten(place: Place) {
    let store = place.open().await;
    let found = store.write(|tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        for state in [
            State::Watching,
            State::Renewing,
            State::Cutting,
            State::Over,
        ] {
            let id = incidents::open(tx, epoch, &incident(state), &[key(1)])?;
            incidents::tell(tx, id, &step(1))?;
        }
        let kept = incidents::prune(tx, NOW * 1000, 100)?;
        let gone = incidents::prune(tx, NOW * 1000 + 1, 100)?;
        let left = incidents::list(tx, u64::MAX, 10)?.len();
        // Numbers are not given again while a later one is there.
        let next = incidents::open(tx, epoch, &incident(State::Over), &[])?;
        Ok::<_, Error>((kept, gone, left, incidents::keys(tx, 1)?.len(), next))
    });
    assert_eq!(found.await.unwrap(), (0, 2, 2, 0, 4));
}

async fn nothing_grows_without_end(place: Place) {
    let store = place.open().await;
    let many: Vec<_> = (0..=MAX_INCIDENT_KEYS).map(|_| key(1)).collect();
    let open = store.write(move |tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        incidents::open(tx, epoch, &incident(State::Renewing), &many)
    });
    assert!(matches!(open.await, Err(Error::Bound { .. })));
    let told = store.write(|tx| {
        let epoch = writer::claim(tx, "replica", NOW)?;
        let id = incidents::open(tx, epoch, &incident(State::Renewing), &[])?;
        let mut told = 0;
        for number in 0..MAX_INCIDENT_STEPS + 5 {
            told += u64::from(incidents::tell(tx, id, &step(number))?);
        }
        Ok::<_, Error>(told)
    });
    assert_eq!(told.await.unwrap(), MAX_INCIDENT_STEPS);
}
