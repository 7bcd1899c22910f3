//! Backups: one neutral file, an SQLite database with the tables of [`crate::schema`], from either database and into either.
//! It is not encrypted; that is done above.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::error::{Error, Result};
use crate::postgres::{self, PostgresConfig};
use crate::schema::{self, SCHEMA_VERSION, TABLES, Table};
use crate::sqlite::{
    self, Sqlite, SqliteConfig, beside, cells, open_own, resolved, said, sync_directory_of,
};
use crate::store::{Backend, Store, apart};
use crate::tx::{Engine, Tx};
use crate::value::Cell;
use crate::{deny, events, meta};

/// What a backup holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    /// Whose it is.
    pub meta: meta::Meta,
    /// Its schema.
    pub schema: u64,
    /// The number of the last deny entry.
    pub deny_seq: u64,
    /// The number of the last event.
    pub last_event: u64,
    /// How many certificates it knows.
    pub certificates: u64,
}

impl Store {
    /// Writes everything into one new file, 0600, as it was at one moment, while the store goes on. The file is marked as a
    /// backup: whatever opens it is read-only until [`Store::recover`].
    ///
    /// # Errors
    /// [`Error::File`] if the file is there already or cannot be made; [`Error::NotFound`] if the store has no name yet.
    pub async fn backup_to(&self, path: impl Into<PathBuf>) -> Result<Summary> {
        let path = path.into();
        let backend = self.backend().clone();
        apart("store-backup", move || {
            let path = resolved(&path)?;
            with_new_file(&path, |new| {
                match &backend {
                    Backend::Sqlite(source) => copy(&sqlite::connect(source)?, new)?,
                    Backend::Postgres(target) => {
                        let mut file = empty(new)?;
                        postgres::export(target, &mut |table, row| insert(&mut file, table, row))?;
                        finish(&file)?;
                    }
                }
                mark(new)?;
                summary_of(new)
            })
        })
        .await
    }

    /// Looks whether a file is a whole backup that this release can restore.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NewerSchema`], [`Error::File`].
    pub async fn verify_backup(path: impl Into<PathBuf>) -> Result<Summary> {
        let path = path.into();
        apart("store-verify", move || summary_of(&resolved(&path)?)).await
    }

    /// Puts a backup where a new SQLite store is to be. Nothing may be there yet. The store is opened as any other, and
    /// is read-only until [`Store::recover`].
    ///
    /// # Errors
    /// Those of [`Store::verify_backup`]; [`Error::File`] if something is there.
    pub async fn restore_sqlite(
        backup: impl Into<PathBuf>,
        config: &SqliteConfig,
    ) -> Result<Summary> {
        let (backup, target) = (backup.into(), config.path.clone());
        apart("store-restore", move || {
            let backup = resolved(&backup)?;
            let target = resolved(&target)?;
            summary_of(&backup)?;
            for ending in ["-wal", "-shm", "-journal"] {
                let stale = beside(&target, ending);
                if fs::symlink_metadata(&stale).is_ok() {
                    return Err(Error::file(
                        &stale,
                        "belongs to a database that was here before: take it away",
                    ));
                }
            }
            with_new_file(&target, |new| {
                copy(&open_backup(&backup)?, new)?;
                mark(new)?;
                summary_of(new)
            })
        })
        .await
    }

    /// Puts a backup into a PostgreSQL database that holds no store yet, in one transaction. The store is opened as any
    /// other, and is read-only until [`Store::recover`].
    ///
    /// # Errors
    /// Those of [`Store::verify_backup`] and [`Store::postgres`]; [`Error::Conflict`] if a store is there.
    pub async fn restore_postgres(
        backup: impl Into<PathBuf>,
        config: &PostgresConfig,
    ) -> Result<Summary> {
        let (backup, config) = (backup.into(), config.clone());
        apart("store-restore", move || {
            let backup = resolved(&backup)?;
            let summary = summary_of(&backup)?;
            if summary.schema != SCHEMA_VERSION {
                return Err(Error::file(
                    &backup,
                    format!(
                        "found schema {}, wanted {SCHEMA_VERSION}: restore it into SQLite, open it, and make a backup of that",
                        summary.schema
                    ),
                ));
            }
            let file = open_backup(&backup)?;
            postgres::import(&config, &mut |table, put| each_row(&file, table, put))?;
            Ok(summary)
        })
        .await
    }
}

/// Makes a file beside its place and renames it into it once it is whole. Nothing may be in its place.
fn with_new_file<T>(path: &Path, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(Error::file(path, "is there already"));
    }
    let new = beside(path, ".new");
    let remove = || {
        for file in [new.clone(), beside(&new, "-journal"), beside(&new, "-wal")] {
            let _ = fs::remove_file(file);
        }
    };
    remove();
    // Made with its mode before SQLite finds it.
    drop(open_own(&new)?);
    let made = make(&new).and_then(|made| {
        open_own(&new)?
            .sync_all()
            .map_err(|error| Error::file(&new, format!("cannot sync: {error}")))?;
        fs::rename(&new, path)
            .map_err(|error| Error::file(path, format!("cannot rename into place: {error}")))?;
        sync_directory_of(path)?;
        Ok(made)
    });
    if made.is_err() {
        remove();
    }
    made
}

/// SQLite's online backup: one picture, read while the writer goes on.
fn copy(source: &Connection, new: &Path) -> Result<()> {
    let mut target =
        Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(said)?;
    let backup = rusqlite::backup::Backup::new(source, &mut target).map_err(said)?;
    // All pages in one step: the source is in WAL mode, where a reader stops nobody.
    match backup.step(-1).map_err(said)? {
        rusqlite::backup::StepResult::Done => {}
        other => return Err(Error::Database(format!("the backup ended with {other:?}"))),
    }
    drop(backup);
    finish(&target)
}

/// One file, with nothing beside it.
fn finish(file: &Connection) -> Result<()> {
    file.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
        .map_err(said)
}

/// An empty store in a new file, ready to take rows.
fn empty(new: &Path) -> Result<Connection> {
    let connection =
        Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(said)?;
    // It is synced as a whole in the end; until then it is nothing.
    connection
        .execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY;",
        )
        .map_err(said)?;
    let mut engine = Sqlite::new(connection);
    engine.run("BEGIN IMMEDIATE")?;
    schema::migrate(&mut engine)?;
    for table in TABLES.iter().rev() {
        engine.define(&format!("DELETE FROM {}", table.name))?;
    }
    engine.run("COMMIT")?;
    Ok(engine.connection)
}

fn insert(file: &mut Connection, table: &Table, row: &[Cell]) -> Result<()> {
    // One transaction for each few thousand rows would be faster; without a journal and syncs there is little to gain.
    file.prepare_cached(&table.insert('?'))
        .map_err(said)?
        .execute(params_from_iter(row.iter().map(Cell::as_value)))
        .map(drop)
        .map_err(said)
}

/// Gives every row of a table.
fn each_row(
    file: &Connection,
    table: &Table,
    put: &mut dyn FnMut(&[Cell]) -> Result<()>,
) -> Result<()> {
    let mut statement = file.prepare(&table.select()).map_err(said)?;
    let mut rows = statement.query([]).map_err(said)?;
    while let Some(row) = rows.next().map_err(said)? {
        put(&cells(row, table.columns.len())?)?;
    }
    Ok(())
}

/// Says in the file itself that it is a backup, so that it is known again however it gets into place.
fn mark(path: &Path) -> Result<()> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(said)?;
    let mut engine = Sqlite::new(connection);
    meta::mark_restored(&mut Tx::new(&mut engine))
}

fn open_backup(path: &Path) -> Result<Connection> {
    Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW,
    )
    .map_err(said)
}

/// Looks at a backup from the first page to the last.
fn summary_of(path: &Path) -> Result<Summary> {
    let connection = open_backup(path)?;
    for question in ["PRAGMA integrity_check(1)", "PRAGMA foreign_key_check"] {
        let found: Option<String> = connection
            .prepare(question)
            .and_then(|mut statement| {
                let mut rows = statement.query([])?;
                rows.next()?.map(|row| row.get(0)).transpose()
            })
            .map_err(said)?;
        if let Some(found) = found
            && found != "ok"
        {
            return Err(Error::Corrupt(format!("{question}: {found}")));
        }
    }
    let mut engine = Sqlite::new(connection);
    let schema = schema::usable(&mut engine)?;
    let mut tx = Tx::new(&mut engine);
    let meta = meta::get(&mut tx)?.ok_or(Error::NotFound {
        what: "the name of",
        which: "a store without one".into(),
    })?;
    Ok(Summary {
        meta,
        schema,
        deny_seq: deny::tail(&mut tx)?.seq,
        last_event: events::last(&mut tx)?,
        certificates: crate::certificates::count_valid(&mut tx, 0)?,
    })
}
