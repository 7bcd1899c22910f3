//! The deny stream.

use skans_store::deny::{self, NewEntry};
use skans_store::{Error, Store, writer};

use crate::harness::{Place, promises};
use crate::make::{NOW, hash};

promises![
    entries_are_numbered_without_a_gap_and_chained,
    a_delta_is_whole_or_not_given,
    a_snapshot_leaves_out_what_has_run_out,
    concurrent_appends_leave_no_gap,
];

/// An entry whose bytes say what they were given, and whose hash follows from them.
fn entry(seq: u64, previous: &[u8; 32], until: u64) -> NewEntry {
    let mut bytes = seq.to_be_bytes().to_vec();
    bytes.extend(previous);
    NewEntry {
        entry: bytes,
        hash: hash(seq),
        time: NOW,
        until,
        kind: 1,
        target: format!("target-{seq}"),
    }
}

async fn append(store: &Store, epoch: writer::Epoch, until: u64) -> u64 {
    store
        .write_urgent(move |tx| {
            deny::append(tx, epoch, |seq, previous| {
                Ok::<_, Error>(entry(seq, previous, until))
            })
        })
        .await
        .unwrap()
}

async fn claim(store: &Store) -> writer::Epoch {
    store
        .write(|tx| writer::claim(tx, "replica", NOW))
        .await
        .unwrap()
}

async fn entries_are_numbered_without_a_gap_and_chained(place: Place) {
    let store = place.open().await;
    let epoch = claim(&store).await;
    let nothing = store.read(deny::tail).await.unwrap();
    assert_eq!((nothing.seq, nothing.hash), (0, [0; 32]));
    for wanted in 1..=3 {
        assert_eq!(append(&store, epoch, 0).await, wanted);
    }
    let all = store
        .read(|tx| deny::since(tx, 0, 10))
        .await
        .unwrap()
        .unwrap();
    let mut previous = [0; 32];
    for (number, found) in (1..).zip(&all) {
        assert_eq!(found.seq, number);
        assert_eq!(found.entry, entry(number, &previous, 0).entry);
        previous = found.hash;
    }
    let tail = store.read(deny::tail).await.unwrap();
    assert_eq!((tail.seq, tail.hash), (3, previous));
    let against = store
        .read(|tx| deny::against(tx, "target-2", 10))
        .await
        .unwrap();
    assert_eq!(against, all[1..2]);
    assert_eq!(
        store.read(|tx| deny::get(tx, 3)).await.unwrap().as_ref(),
        all.last()
    );
    // What cannot be encoded uses up no number.
    let refused = store
        .write(move |tx| deny::append(tx, epoch, |_, _| Err(Error::Conflict("no".into()))))
        .await;
    assert!(refused.is_err());
    assert_eq!(append(&store, epoch, 0).await, 4);
}

async fn a_delta_is_whole_or_not_given(place: Place) {
    let store = place.open().await;
    let epoch = claim(&store).await;
    for until in [NOW - 5, 0, NOW - 5, NOW + 5, NOW - 5] {
        append(&store, epoch, until).await;
    }
    let ahead = store.read(|tx| deny::since(tx, 6, 10)).await.unwrap();
    assert_eq!(ahead, None, "a number that is not there yet");
    // Of 1, 3 and 5 only 1 and 3 go: the newest two are kept whatever they say.
    let forgotten = store
        .write(move |tx| deny::forget(tx, epoch, NOW, 2))
        .await
        .unwrap();
    assert_eq!(forgotten, 2);
    for (after, wanted) in [
        (0, None),
        (2, None),
        (3, Some(vec![4, 5])),
        (5, Some(vec![])),
    ] {
        let found = store
            .read(move |tx| deny::since(tx, after, 10))
            .await
            .unwrap();
        let numbers = found.map(|all| all.iter().map(|entry| entry.seq).collect::<Vec<_>>());
        assert_eq!(numbers, wanted, "after {after}");
    }
    assert_eq!(append(&store, epoch, 0).await, 6);
}

async fn a_snapshot_leaves_out_what_has_run_out(place: Place) {
    let store = place.open().await;
    let epoch = claim(&store).await;
    for until in [NOW, 0, NOW + 1] {
        append(&store, epoch, until).await;
    }
    let (tail, all) = store.read(|tx| deny::snapshot(tx, NOW, 10)).await.unwrap();
    assert_eq!(tail.seq, 3);
    let numbers: Vec<_> = all.iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers, [2, 3]);
    let too_many = store.read(|tx| deny::snapshot(tx, NOW, 1)).await;
    assert!(matches!(too_many, Err(Error::Bound { .. })));
}

async fn concurrent_appends_leave_no_gap(place: Place) {
    let stores = place.open_two().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40_usize {
        let store = stores[number % 2].clone();
        tasks.spawn(async move {
            loop {
                // As a replica does that is not the holder: it takes the next epoch and appends, in one unit.
                let done: Result<u64, Error> = store
                    .write_urgent(move |tx| {
                        let epoch = writer::claim(tx, &format!("replica-{}", number % 2), NOW)?;
                        deny::append(tx, epoch, |seq, previous| Ok(entry(seq, previous, 0)))
                    })
                    .await;
                match done {
                    Ok(seq) => return seq,
                    Err(error) => assert!(error.may_retry(), "{error}"),
                }
            }
        });
    }
    let mut numbers = tasks.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
}
