//! The log over the events: it grows and never changes, is cut from its beginning only, and what is in it is found.

use skans_store::log::{self, Bundle, Filter, Growth, Tile, WIDTH};
use skans_store::{Error, Store, events, writer};

use crate::harness::{Place, promises};
use crate::make::NOW;

promises![
    a_log_grows_by_one_writer_and_keeps_what_it_was,
    a_new_epoch_goes_on_where_the_old_log_ended,
    the_newest_checkpoint_is_kept,
    only_whole_bundles_are_removed_and_their_hashes_stay,
    what_is_looked_for_is_found_newest_first,
    who_is_no_longer_the_writer_changes_nothing,
    what_witnesses_signed_only_grows,
    each_epoch_begins_behind_the_one_before,
    a_bundle_that_has_grown_knows_its_oldest_and_its_newest,
];

/// So many events, the time of each by its number.
async fn tell(store: &Store, numbers: std::ops::Range<u64>, time: fn(u64) -> u64) {
    let write = store.write(move |tx| {
        for number in numbers.clone() {
            let event = events::NewEvent {
                time_ms: time(number),
                kind: if number % 10 == 0 { "rare" } else { "often" },
                actor: "unix:0",
                object: &format!("o{}", number % 7),
                body: &format!("{{\"n\":{number}}}"),
            };
            events::append(tx, &event)?;
        }
        Ok(())
    });
    write.await.unwrap();
}

pub const KEY: &str = "example.org+00000000+AQ==";

async fn begun(store: &Store, epoch: u64) -> writer::Epoch {
    let begin = store.write(move |tx| {
        let writer = writer::claim(tx, "replica", NOW)?;
        log::begin(tx, writer, epoch, &[7; 60], KEY)?;
        Ok(writer)
    });
    begin.await.unwrap()
}

/// Takes everything that waits into a log, with hashes that are the entry's number: what they are is not known here.
async fn take(store: &Store, writer: writer::Epoch, epoch: u64) -> log::Log {
    let write = store.write(move |tx| {
        let log = log::get(tx, epoch)?.unwrap();
        let waiting = log::unlogged(tx, &log, 1000)?;
        let mut growth = Growth {
            from: log.size,
            size: log.size,
            last_seq: log.last_seq,
            ..Growth::default()
        };
        for event in waiting {
            let n = growth.size / WIDTH;
            let known = match growth.tiles.last() {
                Some(tile) if tile.n == n => growth.tiles.pop().map(|tile| tile.hashes),
                _ => log::tile(tx, epoch, 0, n)?.map(|tile| tile.hashes),
            };
            let mut hashes = known.unwrap_or_default();
            hashes.extend([u8::try_from(growth.size % 251).unwrap(); 32]);
            growth.tiles.push(Tile {
                level: 0,
                n,
                hashes,
            });
            let before = match growth.bundles.last() {
                Some(bundle) if bundle.n == n => growth.bundles.pop(),
                _ => log::bundle(tx, epoch, n)?,
            };
            growth.bundles.push(Bundle {
                n,
                last_seq: event.seq,
                min_ms: before.map_or(event.time_ms, |old| old.min_ms.min(event.time_ms)),
                max_ms: before.map_or(event.time_ms, |old| old.max_ms.max(event.time_ms)),
            });
            growth.size += 1;
            growth.last_seq = event.seq;
        }
        log::grow(tx, writer, epoch, &growth)?;
        Ok(log::get(tx, epoch)?.unwrap())
    });
    write.await.unwrap()
}

fn body(number: u64) -> String {
    format!("{{\"n\":{number}}}")
}

async fn a_log_grows_by_one_writer_and_keeps_what_it_was(place: Place) {
    let store = place.open().await;
    tell(&store, 0..300, |number| NOW * 1000 + number).await;
    let writer = begun(&store, 1).await;
    let first = take(&store, writer, 1).await;
    assert_eq!((first.size, first.after_seq), (300, 0));
    tell(&store, 300..600, |number| NOW * 1000 + number).await;
    let log = take(&store, writer, 1).await;
    assert_eq!(log.size, 600);
    let read = store.read({
        let log = log.clone();
        move |tx| {
            let tiles = [0, 1, 2].map(|n| log::tile(tx, 1, 0, n).unwrap().unwrap().hashes.len());
            let entries = [0, 1, 2].map(|n| log::entries(tx, &log, n).unwrap());
            let places = [1, 256, 257, 600].map(|nth| {
                let seq = events::since(tx, 0, 1000).unwrap()[nth - 1].seq;
                log::place(tx, seq).unwrap()
            });
            Ok((tiles, entries.concat(), places))
        }
    });
    let (tiles, entries, places) = read.await.unwrap();
    assert_eq!(tiles, [256 * 32, 256 * 32, 88 * 32]);
    assert_eq!(entries, (0..600).map(body).collect::<Vec<_>>());
    assert_eq!(places, [0, 255, 256, 599].map(|entry| Some((1, entry))));
    // Who thinks that it is as it was, and who is the writer no more, changes nothing.
    let stale = store.write(move |tx| {
        let growth = Growth {
            from: 300,
            size: 301,
            last_seq: 301,
            ..Growth::default()
        };
        log::grow(tx, writer, 1, &growth)
    });
    assert!(matches!(stale.await, Err(Error::Conflict(_))));
    let fenced = store.write(move |tx| {
        writer::claim(tx, "another", NOW)?;
        let growth = Growth {
            from: 600,
            size: 601,
            last_seq: 601,
            ..Growth::default()
        };
        log::grow(tx, writer, 1, &growth)
    });
    assert!(matches!(fenced.await, Err(Error::Fenced { .. })));
    let again = store.write(move |tx| {
        let writer = writer::claim(tx, "replica", NOW)?;
        log::begin(tx, writer, 1, &[8; 60], KEY)
    });
    assert!(matches!(again.await, Err(Error::Conflict(_))));
    assert_eq!(store.read(log::list).await.unwrap(), [log]);
}

async fn a_new_epoch_goes_on_where_the_old_log_ended(place: Place) {
    let store = place.open().await;
    tell(&store, 0..300, |number| NOW * 1000 + number).await;
    let writer = begun(&store, 1).await;
    let old = take(&store, writer, 1).await;
    tell(&store, 300..310, |number| NOW * 1000 + number).await;
    let writer = begun(&store, 2).await;
    let new = take(&store, writer, 2).await;
    assert_eq!((new.after_seq, new.size), (old.last_seq, 10));
    let read = store.read(move |tx| {
        Ok((
            log::entries(tx, &new, 0)?,
            log::place(tx, new.last_seq)?,
            log::place(tx, old.last_seq)?,
            log::place(tx, new.last_seq + 1)?,
        ))
    });
    let (entries, newest, last, none) = read.await.unwrap();
    assert_eq!(entries, (300..310).map(body).collect::<Vec<_>>());
    assert_eq!((newest, last, none), (Some((2, 9)), Some((1, 299)), None));
    // What ended is removed to its end, whole or not, and first.
    let prune = store.write(|tx| {
        let writer = writer::claim(tx, "replica", NOW)?;
        let gone = log::prune(tx, writer, u64::MAX >> 1, 0, 100)?.unwrap();
        Ok((gone, log::prune(tx, writer, u64::MAX >> 1, 0, 100)?))
    });
    let (gone, more) = prune.await.unwrap();
    assert_eq!(
        (gone.epoch, gone.from, gone.to, gone.events),
        (1, 0, 300, 300)
    );
    assert_eq!(more, None);
}

async fn the_newest_checkpoint_is_kept(place: Place) {
    let store = place.open().await;
    tell(&store, 0..5, |number| NOW * 1000 + number).await;
    let writer = begun(&store, 1).await;
    take(&store, writer, 1).await;
    let sign = |size: u64, text: &'static str| {
        let store = store.clone();
        async move {
            let done = store.write(move |tx| log::sign(tx, writer, 1, size, text));
            done.await.unwrap();
            let log = store.read(|tx| log::get(tx, 1)).await.unwrap().unwrap();
            (log.signed_size, log.checkpoint)
        }
    };
    assert_eq!(sign(4, "four").await, (4, "four".into()));
    assert_eq!(sign(3, "three").await, (4, "four".into()));
    assert_eq!(
        sign(4, "four, witnessed").await,
        (4, "four, witnessed".into())
    );
    // Nothing is signed that is not there.
    assert_eq!(sign(6, "six").await, (4, "four, witnessed".into()));
    // A collector has copies of what is signed, and of more as time goes on.
    for (size, wanted) in [(3, 3), (2, 3), (5, 3), (4, 4)] {
        let done = store.write(move |tx| log::copied(tx, writer, 1, size));
        done.await.unwrap();
        let log = store.read(|tx| log::get(tx, 1)).await.unwrap().unwrap();
        assert_eq!(log.copied_size, wanted, "{size}");
    }
}

async fn only_whole_bundles_are_removed_and_their_hashes_stay(place: Place) {
    let store = place.open().await;
    tell(&store, 0..600, |number| NOW * 1000 + number).await;
    let prune = |before: u64, most: u64| {
        let store = store.clone();
        async move {
            let done = store.write(move |tx| {
                let writer = writer::claim(tx, "replica", NOW)?;
                log::prune(tx, writer, before, most, 100)
            });
            let gone = done
                .await
                .unwrap()
                .map(|gone| (gone.from, gone.to, gone.events));
            let left = store.read(|tx| Ok(events::since(tx, 0, 1000)?.len()));
            (gone, left.await.unwrap())
        }
    };
    // In no log yet: nothing goes.
    assert_eq!(prune(u64::MAX >> 1, 0).await, (None, 600));
    let writer = begun(&store, 1).await;
    take(&store, writer, 1).await;
    assert_eq!(prune(NOW * 1000 + 255, 600).await, (None, 600));
    assert_eq!(
        prune(NOW * 1000 + 256, 600).await,
        (Some((0, 256, 256)), 344)
    );
    assert_eq!(prune(0, 100).await, (None, 344));
    assert_eq!(prune(0, 88).await, (Some((256, 512, 256)), 88));
    assert_eq!(prune(u64::MAX >> 1, 0).await, (None, 88));
    let read = store.read(|tx| {
        let log = log::get(tx, 1)?.unwrap();
        let gone = log::entries(tx, &log, 0)?;
        let kept = log::entries(tx, &log, 2)?;
        Ok((
            log.pruned,
            gone.len(),
            kept,
            log::tile(tx, 1, 0, 0)?.is_some(),
        ))
    });
    let (pruned, gone, kept, hashes) = read.await.unwrap();
    assert_eq!((pruned, gone, hashes), (512, 0, true));
    assert_eq!(kept, (512..600).map(body).collect::<Vec<_>>());
}

async fn what_is_looked_for_is_found_newest_first(place: Place) {
    let store = place.open().await;
    // In the middle, the clock is an hour ahead for a while.
    let time = |number: u64| {
        let ahead = if (400..420).contains(&number) {
            3_600_000
        } else {
            0
        };
        NOW * 1000 + number * 1000 + ahead
    };
    tell(&store, 0..700, time).await;
    let writer = begun(&store, 1).await;
    take(&store, writer, 1).await;
    tell(&store, 700..710, time).await;
    let find = |filter: Filter, limit: usize| {
        let store = store.clone();
        async move {
            let found = store
                .read(move |tx| log::find(tx, &filter, limit))
                .await
                .unwrap();
            let bodies = found.into_iter().map(|event| event.body);
            bodies
                .map(|body| body[5..body.len() - 1].parse::<u64>().unwrap())
                .collect::<Vec<_>>()
        }
    };
    // Against all of them, one by one.
    let words = ["", "rare", "often", "o3", "o9", "unix:0", "unix:1"];
    for since in [0, 1, 250, 256, 300, 405, 699, 705, 4000] {
        for until in [
            None,
            Some(1),
            Some(200),
            Some(300),
            Some(500),
            Some(705),
            Some(4015),
        ] {
            for word in words {
                let mut filter = Filter {
                    since_ms: if since == 0 {
                        0
                    } else {
                        NOW * 1000 + since * 1000
                    },
                    until_ms: until.map(|until| NOW * 1000 + until * 1000),
                    ..Filter::default()
                };
                match word {
                    "rare" | "often" => filter.kind = word.into(),
                    "unix:0" | "unix:1" => filter.actor = word.into(),
                    object => filter.object = object.into(),
                }
                let wanted: Vec<u64> = (0..710)
                    .rev()
                    .filter(|number| time(*number) >= filter.since_ms)
                    .filter(|number| filter.until_ms.is_none_or(|until| time(*number) < until))
                    .filter(|number| match word {
                        "rare" => number % 10 == 0,
                        "often" => number % 10 != 0,
                        "unix:1" => false,
                        "o3" => number % 7 == 3,
                        "o9" => false,
                        _ => true,
                    })
                    .take(900)
                    .collect();
                let found = find(filter.clone(), 900).await;
                assert_eq!(found, wanted, "{filter:?}");
            }
        }
    }
    let all = store.read(|tx| events::since(tx, 0, 1000)).await.unwrap();
    let page = Filter {
        before: Some(all[600].seq),
        ..Filter::default()
    };
    assert_eq!(find(page, 3).await, [599, 598, 597]);
}

async fn who_is_no_longer_the_writer_changes_nothing(place: Place) {
    let store = place.open().await;
    tell(&store, 0..300, |number| NOW * 1000 + number).await;
    let old = begun(&store, 1).await;
    take(&store, old, 1).await;
    let claim = store.write(|tx| writer::claim(tx, "another", NOW));
    claim.await.unwrap();
    let before = store.read(log::list).await.unwrap();
    type Change = fn(&mut skans_store::Tx<'_>, writer::Epoch) -> Result<(), Error>;
    let changes: [(&str, Change); 5] = [
        ("begin", |tx, old| log::begin(tx, old, 2, &[7; 60], KEY)),
        ("sign", |tx, old| {
            log::sign(tx, old, 1, 300, "three hundred")
        }),
        ("witness", |tx, old| {
            log::witness(tx, old, 1, 300, "three hundred")
        }),
        ("copied", |tx, old| log::copied(tx, old, 1, 0)),
        ("prune", |tx, old| {
            log::prune(tx, old, u64::MAX >> 1, 0, 100).map(drop)
        }),
    ];
    for (what, change) in changes {
        let done = store.write(move |tx| change(tx, old)).await;
        assert!(
            matches!(done, Err(Error::Fenced { .. })),
            "{what}: {done:?}"
        );
    }
    assert_eq!(store.read(log::list).await.unwrap(), before);
    let left = store.read(|tx| Ok(events::since(tx, 0, 1000)?.len()));
    assert_eq!(left.await.unwrap(), 300);
}

async fn what_witnesses_signed_only_grows(place: Place) {
    let store = place.open().await;
    tell(&store, 0..5, |number| NOW * 1000 + number).await;
    let writer = begun(&store, 1).await;
    take(&store, writer, 1).await;
    for (size, text, wanted) in [
        (4, "four", (4, "four")),
        (3, "three", (4, "four")),
        (4, "four, by two", (4, "four, by two")),
        (6, "six", (4, "four, by two")),
    ] {
        let done = store.write(move |tx| log::witness(tx, writer, 1, size, text));
        done.await.unwrap();
        let log = store.read(|tx| log::get(tx, 1)).await.unwrap().unwrap();
        assert_eq!((log.witnessed_size, log.witnessed.as_str()), wanted);
    }
}

async fn each_epoch_begins_behind_the_one_before(place: Place) {
    let store = place.open().await;
    let mut after = Vec::new();
    for epoch in 1..=3 {
        tell(&store, epoch * 10..epoch * 10 + 10, |number| {
            NOW * 1000 + number
        })
        .await;
        let writer = begun(&store, epoch).await;
        let log = take(&store, writer, epoch).await;
        after.push((log.size, log.last_seq - log.after_seq));
    }
    assert_eq!(after, [(10, 10); 3]);
}

async fn a_bundle_that_has_grown_knows_its_oldest_and_its_newest(place: Place) {
    let store = place.open().await;
    tell(&store, 0..100, |number| NOW * 1000 + number).await;
    let writer = begun(&store, 1).await;
    take(&store, writer, 1).await;
    // The clock goes back behind the first, then on.
    tell(&store, 100..101, |number| NOW * 1000 - number).await;
    tell(&store, 101..300, |number| NOW * 1000 + number).await;
    take(&store, writer, 1).await;
    let read = store.read(|tx| {
        let of = |since_ms, until_ms| Filter {
            since_ms,
            until_ms,
            ..Filter::default()
        };
        let late = log::find(tx, &of(NOW * 1000 + 200, Some(NOW * 1000 + 201)), 10)?.len();
        let early = log::find(tx, &of(0, Some(NOW * 1000 - 99)), 10)?.len();
        Ok((log::bundle(tx, 1, 0)?.unwrap(), late, early))
    });
    let (bundle, late, early) = read.await.unwrap();
    assert_eq!(
        (bundle.min_ms, bundle.max_ms),
        (NOW * 1000 - 100, NOW * 1000 + 255)
    );
    assert_eq!((late, early), (1, 1));
    // Its newest is not yet old.
    let prune = store.write(move |tx| log::prune(tx, writer, NOW * 1000 + 150, 1000, 100));
    assert_eq!(prune.await.unwrap(), None);
}
