//! Opening, closing, and what is there afterwards.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use skans_store::{Error, SCHEMA_VERSION, agents, certificates, events, foreign, meta, writer};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate};

promises![
    what_was_answered_is_there_after_reopening,
    a_unit_that_fails_leaves_nothing,
    a_unit_that_panics_hurts_nobody_else,
    a_read_changes_nothing,
    a_newer_schema_is_refused_unless_it_serves_this_release,
    the_schema_of_the_release_before_is_taken_on,
    the_release_before_works_on_with_this_schema,
    a_closed_store_takes_nothing_more,
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

async fn a_newer_schema_is_refused_unless_it_serves_this_release(place: Place) {
    place.open().await.close().await;
    let newer = SCHEMA_VERSION + 1;
    // The next release only added something: during an upgrade both run.
    place.sql(&format!(
        "INSERT INTO schema_version (version, serves) VALUES ({newer}, {SCHEMA_VERSION})"
    ));
    place.open().await.close().await;
    place.sql(&format!(
        "UPDATE schema_version SET serves = {newer} WHERE version = {newer}"
    ));
    let refused = place.try_open().await.unwrap_err();
    assert!(
        matches!(refused, Error::NewerSchema { found, wanted, known }
            if (found, wanted, known) == (newer, newer, SCHEMA_VERSION)),
        "{refused:?}"
    );
}

/// What the release before left behind: this schema without its last step.
async fn furnished_by_the_release_before(place: &Place) {
    let store = place.open().await;
    store
        .write(|tx| {
            agents::enrol(
                tx,
                &agents::NewAgent {
                    id: "a",
                    spiffe_id: "spiffe://example.org/skans/agent/a",
                    registration: "r",
                    host: "h",
                },
                NOW,
            )?;
            certificates::insert(tx, &certificate(1))
        })
        .await
        .unwrap();
    store.close().await;
    place.sql(
        "DROP TABLE logs; DROP TABLE log_tiles; DROP TABLE log_bundles; DROP TABLE spools;
         DROP INDEX events_kind; DROP INDEX events_actor; DROP INDEX events_object;
         DROP TABLE rollout_differences; DROP TABLE rollout_reports; DROP TABLE rollouts;
         DELETE FROM schema_version WHERE version = 6",
    );
}

async fn the_schema_of_the_release_before_is_taken_on(place: Place) {
    furnished_by_the_release_before(&place).await;
    let store = place.open().await;
    let found = store
        .read(|tx| agents::get(tx, "a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.policy, None);
    assert_eq!(store.read(foreign::get).await.unwrap(), None);
    assert!(
        store
            .read(|tx| certificates::get(tx, &certificate(1).serial))
            .await
            .unwrap()
            .is_some()
    );
    store
        .write(|tx| {
            let epoch = writer::claim(tx, "replica", NOW)?;
            foreign::set(tx, epoch, &[7])
        })
        .await
        .unwrap();
    let kept = store.read(foreign::get).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.state), (1, vec![7]));
}

/// During an upgrade the release before runs on: its statements, as it wrote them, on the schema of this one.
async fn the_release_before_works_on_with_this_schema(place: Place) {
    let store = place.open().await;
    store.close().await;
    place.sql(
        "INSERT INTO agents (id, spiffe_id, registration, host, program_version, enrolled, last_seen,
             ack_epoch, ack_deny_seq, ack_bundle, ack_at)
           VALUES ('a', 'spiffe://example.org/skans/agent/a', 'r', 'h', '', 5, 5, 0, 0, 0, 0) ON CONFLICT DO NOTHING;
         UPDATE agents SET program_version = '0.1.0', last_seen = 6, policy_epoch = 1, policy_n = 2 WHERE id = 'a'",
    );
    // It looks whether it is still served, and would not start otherwise: then neither does this one here.
    place.sql(
        "INSERT INTO schema_version (version, serves) SELECT 99, 99 FROM schema_version WHERE serves > 5",
    );
    let store = place.open().await;
    let found = store
        .read(|tx| agents::get(tx, "a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.last_seen, found.policy), (6, Some((1, 2))));
}

async fn a_closed_store_takes_nothing_more(place: Place) {
    let store = place.open().await;
    let waiting = store.write(|tx| certificates::insert(tx, &certificate(1)));
    waiting.await.unwrap();
    store.close().await;
    let refused = store
        .write(|tx| certificates::insert(tx, &certificate(2)))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Closed));
}

#[tokio::test]
async fn one_process_at_a_time_has_an_sqlite_store() {
    let place = Place::sqlite();
    let store = place.open().await;
    let refused = place.try_open().await.unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }), "{refused:?}");
    store.close().await;
    place.open().await.close().await;
}

#[tokio::test]
async fn files_that_others_could_have_touched_are_refused() {
    let place = Place::sqlite();
    place.open().await.close().await;
    let mode = |bits| fs::set_permissions(place.path(), fs::Permissions::from_mode(bits)).unwrap();
    assert_eq!(
        fs::metadata(place.path()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    mode(0o640);
    let refused = place.try_open().await.unwrap_err();
    assert!(matches!(refused, Error::File { .. }), "{refused:?}");
    mode(0o600);
    place.open().await.close().await;

    let linked = Place::sqlite();
    symlink(place.path(), linked.path()).unwrap();
    let refused = linked.try_open().await.unwrap_err();
    assert!(matches!(refused, Error::File { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_damaged_database_is_not_opened() {
    let place = Place::sqlite();
    let store = place.open().await;
    store
        .write(|tx| (0..200).try_for_each(|number| certificates::insert(tx, &certificate(number))))
        .await
        .unwrap();
    store.close().await;
    let mut content = fs::read(place.path()).unwrap();
    let middle = content.len() / 2 / 4096 * 4096;
    content[middle..middle + 4096].fill(0);
    fs::write(place.path(), content).unwrap();
    // The log has the same pages once more, and would hide it.
    fs::write(place.path().with_extension("db-wal"), []).unwrap();
    let refused = place.try_open().await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt(_)), "{refused:?}");
}
