//! Backups: from either database, into either, and never mistaken for the original.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use skans_store::agents::{self, NewAgent};
use skans_store::authorities::{self, Kind, NewAuthority, Slot};
use skans_store::{
    Error, Result, SqliteConfig, Store, approvals, bundle, certificates, deny, events, foreign,
    grants, incidents, log, meta, observed, policies, registrations, requests, rollouts, shown,
    spools, tokens, writer,
};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate, hash, token};

promises![
    everything_comes_back_in_either_database,
    a_restored_store_is_read_only_until_it_is_recovered,
    a_backup_is_one_picture_while_the_store_goes_on,
    a_backup_replaces_nothing,
    a_damaged_backup_is_refused,
];

/// Something in every table, and so many certificates.
pub async fn furnish(store: &Store, count: u64) {
    store
        .write(move |tx| {
            meta::init(tx, "example.org", "c", "instance", NOW)?;
            let epoch = writer::claim(tx, "replica", NOW)?;
            meta::set_policy_version(tx, epoch, 1)?;
            authorities::prepare(
                tx,
                epoch,
                &NewAuthority {
                    id: "root",
                    kind: Kind::Root,
                    slot: Slot::A,
                    certificate: b"certificate",
                    sealed_key: None,
                    spki: &hash(1),
                    not_before: NOW,
                    not_after: NOW + 1,
                },
                NOW,
            )?;
            bundle::publish(tx, epoch, &[b"root"], NOW)?;
            for _ in 0..3 {
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
            }
            token(tx, 1)?;
            tokens::redeem(tx, &[1; 16], &[1; 32], &[9; 32], NOW)?;
            agents::enrol(
                tx,
                &NewAgent {
                    id: "a",
                    spiffe_id: "spiffe://example.org/skans/agent/a",
                    registration: "id-r1",
                    host: "h",
                },
                NOW,
            )?;
            for number in 0..count {
                certificates::insert(tx, &certificate(number))?;
            }
            grants::add(
                tx,
                &grants::Grant {
                    user: "ann".into(),
                    role: "owner".into(),
                    scope: String::new(),
                    granted_by: "unix:0".into(),
                    granted_at: NOW,
                },
            )?;
            observed::record(tx, "a", &[hash(1)], NOW)?;
            tell(tx, "first")
        })
        .await
        .unwrap();
}

/// Something in the tables that came with schema 2.
pub async fn furnish_second(store: &Store) {
    store
        .write(|tx| {
            approvals::ask(
                tx,
                &approvals::Wish {
                    request: hash(1),
                    action: "POST /v1/roots".into(),
                    object: "r".into(),
                    actor: "mia".into(),
                    asked: NOW,
                    expires: NOW + 3600,
                },
            )?;
            requests::add(
                tx,
                &requests::Request {
                    id: "q".into(),
                    sealed_key: vec![7; 200],
                    spki: hash(3),
                    actor: "mia".into(),
                    created: NOW,
                    expires: NOW + 3600,
                },
            )
        })
        .await
        .unwrap();
}

/// Something in the table that came with schema 3.
pub async fn furnish_third(store: &Store) {
    store
        .write(|tx| {
            let epoch = writer::claim(tx, "replica", NOW)?;
            let proposal = crate::tables::policies::proposal("ann");
            policies::propose(tx, epoch, &proposal, NOW)?;
            policies::activate(tx, epoch, 2, "ben", NOW + 1)?;
            policies::propose(tx, epoch, &proposal, NOW + 2).map(drop)
        })
        .await
        .unwrap();
}

/// Something in the table that the fourth schema added.
pub async fn furnish_fourth(store: &Store) {
    store
        .write(|tx| {
            let epoch = writer::claim(tx, "replica", NOW)?;
            foreign::set(tx, epoch, &[4]).map(drop)
        })
        .await
        .unwrap();
}

/// Something in the tables that the fifth schema added.
pub async fn furnish_fifth(store: &Store) {
    store
        .write(|tx| {
            let epoch = writer::claim(tx, "replica", NOW)?;
            let new = crate::tables::incidents::incident(incidents::State::Renewing);
            let id = incidents::open(tx, epoch, &new, &[crate::tables::incidents::key(1)])?;
            let step = incidents::Step {
                time_ms: NOW * 1000,
                kind: "opened".into(),
                text: "because".into(),
            };
            incidents::tell(tx, id, &step)?;
            shown::note(tx, &crate::tables::shown::seen("b", 1, [10, 0, 0, 1]))?;
            let about = ("name-spoofed", "spiffe://example.org/a", "h");
            shown::suspect(tx, about, "b", (NOW * 1000, NOW * 1000)).map(drop)
        })
        .await
        .unwrap();
}

/// Something in the tables that the sixth schema added.
pub async fn furnish_sixth(store: &Store) {
    store
        .write(|tx| {
            let epoch = writer::claim(tx, "replica", NOW)?;
            rollouts::open(tx, epoch, &crate::tables::rollouts::rollout(3))?;
            let (report, difference) = (
                crate::tables::rollouts::report("a"),
                crate::tables::rollouts::difference(1),
            );
            rollouts::tell(tx, 3, &report, &[difference])?;
            log::begin(tx, epoch, 1, &[7; 60], crate::tables::log::KEY)?;
            let last_seq = events::last(tx)?;
            let growth = log::Growth {
                size: 1,
                last_seq,
                tiles: vec![log::Tile {
                    level: 0,
                    n: 0,
                    hashes: vec![5; 32],
                }],
                bundles: vec![log::Bundle {
                    n: 0,
                    last_seq,
                    min_ms: 1,
                    max_ms: 2,
                }],
                ..log::Growth::default()
            };
            spools::advance(tx, ("a", &[7; 16]), None, 12, NOW)?;
            log::grow(tx, epoch, 1, &growth)?;
            log::sign(tx, epoch, 1, 1, "a checkpoint\n")?;
            log::copied(tx, epoch, 1, 1)
        })
        .await
        .unwrap();
}

/// What is in them.
pub async fn everything_sixth(store: &Store) -> String {
    let read = store.read(|tx| {
        Ok(format!(
            "{:?}",
            (
                log::list(tx)?,
                log::tile(tx, 1, 0, 0)?,
                log::bundle(tx, 1, 0)?,
                spools::taken(tx, "a", &[7; 16])?,
                rollouts::latest(tx)?,
                rollouts::reports(tx, 3, "cohort-1", "", 100)?,
                rollouts::differences(tx, 3)?,
            )
        ))
    });
    read.await.unwrap()
}

/// What is in them.
pub async fn everything_fifth(store: &Store) -> String {
    let read = store.read(|tx| {
        Ok(format!(
            "{:?}",
            (
                incidents::list(tx, u64::MAX, 100)?,
                incidents::keys(tx, 1)?,
                incidents::steps(tx, 1)?,
                shown::open(tx, 0)?,
            )
        ))
    });
    read.await.unwrap()
}

/// What is in them.
async fn everything_second(store: &Store) -> String {
    let read = store.read(|tx| {
        Ok(format!(
            "{:?}",
            (
                approvals::waiting(tx, &hash(1), NOW)?,
                requests::get(tx, "q", NOW)?.map(|found| found.sealed_key),
                policies::list(tx, None, 100)?,
                policies::active(tx)?,
                foreign::get(tx)?,
            )
        ))
    });
    read.await.unwrap()
}

fn tell(tx: &mut skans_store::Tx<'_>, object: &str) -> Result<()> {
    events::append(
        tx,
        &events::NewEvent {
            time_ms: NOW * 1000,
            kind: "test",
            actor: "unix:0",
            object,
            body: "{\"text\":\"ä\"}",
        },
    )
}

/// Everything that a store holds, as text.
pub async fn everything(store: &Store) -> String {
    store
        .read(|tx| {
            let page = certificates::Page {
                valid_after: 0,
                expiring_before: None,
                after: None,
                limit: 1000,
            };
            Ok(format!(
                "{:#?}",
                (
                    meta::get(tx)?,
                    writer::holder(tx)?,
                    meta::policy_version(tx)?,
                    authorities::list(tx)?,
                    bundle::current(tx)?,
                    deny::snapshot(tx, NOW, 100)?,
                    registrations::list(tx, "", 100)?,
                    tokens::list(tx, None, 100)?,
                    agents::list(tx, "", 100)?,
                    certificates::list(tx, &certificates::Which::All, &page)?,
                    grants::list(tx, ("", "", ""), 100)?,
                    (observed::of(tx, &hash(1), 100)?, events::since(tx, 0, 100)?,),
                )
            ))
        })
        .await
        .unwrap()
}

async fn recover(store: &Store) -> u64 {
    store
        .recover(|tx| {
            let epoch = writer::claim(tx, "recovered", NOW)?;
            meta::new_epoch(tx, epoch, 0)
        })
        .await
        .map_err(|error: Error| error)
        .unwrap()
}

async fn everything_comes_back_in_either_database(place: Place) {
    let store = place.open().await;
    furnish(&store, 700).await;
    furnish_second(&store).await;
    furnish_third(&store).await;
    furnish_fourth(&store).await;
    furnish_fifth(&store).await;
    furnish_sixth(&store).await;
    store
        .write(|tx| agents::holds_policy(tx, "a", (1, 2)))
        .await
        .unwrap();
    store
        .write(|tx| agents::seen(tx, "a", "0.1.0", Some(&hash(2)), NOW))
        .await
        .unwrap();
    let original = everything(&store).await;
    let second = everything_second(&store).await;
    let fifth = everything_fifth(&store).await;
    assert!(fifth.contains("because"), "{fifth}");
    let sixth = everything_sixth(&store).await;
    assert!(
        sixth.contains("a checkpoint") && sixth.contains("Some(12)"),
        "{sixth}"
    );
    assert!(
        second.contains("mia") && !second.contains("None"),
        "{second}"
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let summary = store.backup_to(&file).await.unwrap();
    assert_eq!(
        (summary.deny_seq, summary.last_event, summary.certificates),
        (3, 1, 700)
    );
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let alone: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(alone.len(), 1, "{alone:?}");
    assert_eq!(Store::verify_backup(&file).await.unwrap(), summary);
    for target in [Place::sqlite(), Place::postgres()] {
        match &target {
            Place::Sqlite(_) => {
                Store::restore_sqlite(&file, &SqliteConfig::new(target.path())).await
            }
            Place::Postgres(config) => Store::restore_postgres(&file, config).await,
        }
        .unwrap();
        let restored = target.open().await;
        assert_eq!(everything(&restored).await, original);
        assert_eq!(everything_second(&restored).await, second);
        assert_eq!(everything_fifth(&restored).await, fifth);
        assert_eq!(everything_sixth(&restored).await, sixth);
        // And it goes on from there.
        recover(&restored).await;
        restored.write(|tx| tell(tx, "second")).await.unwrap();
        let told = restored.read(|tx| events::since(tx, 1, 10)).await.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].object, "second");
    }
}

async fn a_restored_store_is_read_only_until_it_is_recovered(place: Place) {
    let store = place.open().await;
    furnish(&store, 700).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    store.backup_to(&file).await.unwrap();
    assert_eq!(store.read_only(), None, "the original goes on");
    let target = Place::sqlite();
    // However it gets there.
    fs::copy(&file, target.path()).unwrap();
    let restored = target.open().await;
    assert!(restored.read_only().is_some());
    let refused = restored.write(|tx| tell(tx, "no")).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)));
    let refused = restored
        .write_urgent(|tx| tell(tx, "no"))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)));
    // A unit that starts no epoch does not end it.
    restored
        .recover(|tx| writer::claim(tx, "x", NOW))
        .await
        .unwrap();
    assert!(restored.read_only().is_some());
    assert_eq!(recover(&restored).await, 2);
    assert_eq!(restored.read_only(), None);
    restored.write(|tx| tell(tx, "yes")).await.unwrap();
    restored.close().await;
    let again = target.open().await;
    assert_eq!(again.read_only(), None);
}

async fn a_backup_is_one_picture_while_the_store_goes_on(place: Place) {
    let store = place.open().await;
    furnish(&store, 700).await;
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 1000..1300 {
                // Two that belong together.
                store
                    .write(move |tx| {
                        certificates::insert(tx, &certificate(number))?;
                        tell(tx, "issued")
                    })
                    .await
                    .unwrap();
            }
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let mut taken = 0;
    while !writing.is_finished() {
        taken += 1;
        let file = directory.path().join(format!("backup-{taken}"));
        let summary = store.backup_to(&file).await.unwrap();
        assert_eq!(summary.certificates - 700, summary.last_event - 1);
    }
    writing.await.unwrap();
}

async fn a_backup_replaces_nothing(place: Place) {
    let store = place.open().await;
    furnish(&store, 700).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    fs::write(&file, "something").unwrap();
    assert!(matches!(
        store.backup_to(&file).await,
        Err(Error::File { .. })
    ));
    assert_eq!(fs::read(&file).unwrap(), b"something");
    fs::remove_file(&file).unwrap();
    store.backup_to(&file).await.unwrap();
    match &place {
        Place::Sqlite(_) => {
            let refused = Store::restore_sqlite(&file, &SqliteConfig::new(place.path())).await;
            assert!(matches!(refused, Err(Error::File { .. })), "{refused:?}");
        }
        Place::Postgres(config) => {
            let refused = Store::restore_postgres(&file, config).await;
            assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        }
    }
}

async fn a_damaged_backup_is_refused(place: Place) {
    let store = place.open().await;
    furnish(&store, 700).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    store.backup_to(&file).await.unwrap();
    let whole = fs::read(&file).unwrap();
    let damaged = directory.path().join("damaged");
    let refused = |content: Vec<u8>| {
        let damaged = damaged.clone();
        async move {
            fs::write(&damaged, content).unwrap();
            let refused = Store::verify_backup(&damaged).await;
            let target = Place::sqlite();
            let restored = Store::restore_sqlite(&damaged, &SqliteConfig::new(target.path())).await;
            assert!(restored.is_err());
            assert!(!Path::exists(&target.path()));
            refused.unwrap_err()
        }
    };
    let cut = refused(whole[..whole.len() / 2].to_vec()).await;
    assert!(matches!(cut, Error::Corrupt(_)), "{cut:?}");
    let nothing = refused(b"not a backup at all, but long enough to be looked at".to_vec()).await;
    assert!(matches!(nothing, Error::Corrupt(_)), "{nothing:?}");
    let mut zeroed = whole.clone();
    zeroed[4096 * 3..4096 * 4].fill(0);
    let zeroed = refused(zeroed).await;
    assert!(matches!(zeroed, Error::Corrupt(_)), "{zeroed:?}");
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_noticed() {
    let place = Place::sqlite();
    let store = place.open().await;
    furnish(&store, 700).await;
    store.close().await;
    let log = place.path().with_extension("db-wal");
    let older = (fs::read(place.path()).unwrap(), fs::read(&log).unwrap());
    let store = place.open().await;
    store.write(|tx| tell(tx, "since then")).await.unwrap();
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.read_only(), None);
    store.close().await;

    // As whoever copies files back does it.
    fs::write(place.path(), &older.0).unwrap();
    fs::write(&log, &older.1).unwrap();
    let restored = place.open().await;
    assert!(restored.read_only().is_some());
    restored.close().await;
    let restored = place.open().await;
    assert!(
        restored.read_only().is_some(),
        "it is known until it is recovered"
    );
    assert_eq!(recover(&restored).await, 2);
    restored.close().await;
    assert_eq!(place.open().await.read_only(), None);
}
