//! Databases of each release, as they were written then, opened and read by this one. `fixtures/schema-N.sql` is what the
//! release that made schema N left behind in SQLite, and never changes: a new schema gets a new file.

use std::fmt::Write as _;
use std::path::PathBuf;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use skans_store::{SCHEMA_VERSION, Store, deny, writer};

use crate::backup::{
    everything, furnish, furnish_fifth, furnish_fourth, furnish_second, furnish_sixth,
    furnish_third,
};
use crate::harness::Place;
use crate::make::{NOW, hash};

fn fixture(version: u64) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema-{version}.sql"))
}

/// All of a database, as statements that make it again. Its store must be closed.
fn dump(place: &Place) -> String {
    let database =
        Connection::open_with_flags(place.path(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut text = String::new();
    let mut made = database
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC, rowid")
        .unwrap();
    let made = made
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    let made: Vec<(String, String, String)> = made.map(Result::unwrap).collect();
    for (_, _, sql) in &made {
        writeln!(text, "{sql};").unwrap();
    }
    for (_, table, _) in made.iter().filter(|(kind, ..)| kind == "table") {
        let mut rows = database
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
            .unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns).map(|column| match row.get_ref(column).unwrap() {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(text) => {
                    format!("'{}'", String::from_utf8_lossy(text).replace('\'', "''"))
                }
                ValueRef::Blob(bytes) => {
                    bytes
                        .iter()
                        .fold("X'".to_owned(), |text, byte| format!("{text}{byte:02x}"))
                        + "'"
                }
            });
            writeln!(
                text,
                "INSERT INTO {table} VALUES ({});",
                values.collect::<Vec<_>>().join(", ")
            )
            .unwrap();
        }
    }
    text
}

/// Something in every table, as this release writes it.
async fn furnished() -> (Place, [String; 5]) {
    let place = Place::sqlite();
    let store = place.open().await;
    furnish(&store, 2).await;
    furnish_second(&store).await;
    // Databases before the third schema hold so much.
    let older = everything(&store).await;
    furnish_third(&store).await;
    let held = everything(&store).await;
    furnish_fourth(&store).await;
    let fourth = everything(&store).await;
    furnish_fifth(&store).await;
    let fifth = everything(&store).await;
    furnish_sixth(&store).await;
    let newest = everything(&store).await;
    store.close().await;
    (place, [older, held, fourth, fifth, newest])
}

async fn opened(version: u64) -> (Place, Store) {
    let place = Place::sqlite();
    let text = std::fs::read_to_string(fixture(version)).unwrap();
    std::fs::File::create(place.path()).unwrap();
    std::fs::set_permissions(
        place.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    place.sql(&text);
    let store = place.open().await;
    (place, store)
}

/// Whoever changes a table without making a new schema finds out here.
#[tokio::test]
async fn what_this_release_writes_is_the_fixture_of_its_schema() {
    let (place, ..) = furnished().await;
    let found = dump(&place);
    let path = fixture(SCHEMA_VERSION);
    if !path.exists() && std::env::var_os("SKANS_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (kept, found)) in kept.lines().zip(found.lines()).enumerate() {
        assert_eq!(found, kept, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(
        kept.lines().count(),
        found.lines().count(),
        "{}: released schemas do not change: add a migration, then SKANS_UPDATE_SNAPSHOTS=1 makes the fixture of the new one",
        path.display()
    );
}

#[tokio::test]
async fn the_database_of_each_release_is_read_and_written_on() {
    let (_, [older, third, fourth, fifth, newest]) = furnished().await;
    for version in 1..=SCHEMA_VERSION {
        let (_place, store) = opened(version).await;
        let wanted = match version {
            ..3 => &older,
            3 => &third,
            4 => &fourth,
            5 => &fifth,
            _ => &newest,
        };
        assert_eq!(everything(&store).await, *wanted, "schema {version}");
        let seq = store
            .write(|tx| {
                let epoch = writer::claim(tx, "another", NOW + 3600)?;
                deny::append(tx, epoch, |seq, _| {
                    Ok::<_, skans_store::Error>(deny::NewEntry {
                        entry: vec![7],
                        hash: hash(seq),
                        time: NOW,
                        until: 0,
                        kind: 1,
                        target: "t".into(),
                    })
                })
            })
            .await
            .unwrap();
        assert_eq!(seq, 4, "schema {version}: the stream goes on where it was");
        store.close().await;
    }
}
