//! A store in an SQLite file: opening it, and the threads that serve it. What they do is in the rooms below.

mod engine;
mod files;
mod reader;
mod reserve;
mod writer;

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub(crate) use engine::{Sqlite, cells, said};
use files::{Lock, Progress, check_path};
pub(crate) use files::{beside, open_own, resolved, sync_directory_of};
use reserve::Reserve;

use crate::error::{Error, Result};
use crate::schema;
use crate::store::{Backend, Shared};
use crate::tx::Tx;
use crate::{deny, events, meta};

/// Where an SQLite store lies, and how much it keeps for bad days.
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    /// The database file. Others lie beside it (`-wal`, `.lock`), in a directory of ours alone.
    pub path: PathBuf,
    /// How much of the disk is kept for revocations, in bytes; 0 for nothing. It is part of the `-wal` file.
    pub reserve: u64,
    /// How many reads may run at once.
    pub readers: usize,
}

impl SqliteConfig {
    /// A database with defaults: 64 MiB in reserve, four readers (reads are short; more than there are cores helps nobody).
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            reserve: 64 * 1024 * 1024,
            readers: 4,
        }
    }
}

/// The most readers that make sense: each is a thread and a connection.
const MAX_READERS: usize = 64;
/// How long a statement waits for a lock of SQLite. Only a tool that looks into the file as it is opened can hold one.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the database, brings its schema up, and starts its threads. Blocks; must not be called on a thread of a runtime.
pub(crate) fn open(
    config: &SqliteConfig,
    shared: &Shared,
) -> Result<(Backend, Vec<JoinHandle<()>>)> {
    if config.readers == 0 || config.readers > MAX_READERS {
        return Err(Error::Bound {
            what: "readers",
            found: config.readers.to_string(),
            wanted: format!("1 to {MAX_READERS}"),
        });
    }
    let path = resolved(&config.path)?;
    let lock = Lock::take(&path)?;
    let mut writer = Sqlite::new(open_writer(&path)?);
    notice_older(&mut writer, &lock)?;
    let reserve = Reserve::new(&path, config.reserve)?;
    let mut threads = Vec::new();
    for number in 0..config.readers {
        let connection = connect(&path)?;
        connection
            .pragma_update(None, "query_only", true)
            .map_err(said)?;
        let queue = shared.reads.clone();
        threads.push(spawn(format!("store-reader-{number}"), move || {
            reader::serve(Sqlite::new(connection), &queue);
        })?);
    }
    let pages = writer::count_pages(&mut writer.connection)?;
    let queue = shared.writes.clone();
    threads.push(spawn("store-writer".into(), move || {
        writer::serve(writer, pages, reserve, &lock, &queue);
    })?);
    Ok((Backend::Sqlite(path), threads))
}

/// Says so if the database has come less far than the one that was here before: somebody put an older copy in its place. It is then
/// marked as one from a backup, so that this is known until it is recovered.
fn notice_older(engine: &mut Sqlite, lock: &Lock) -> Result<()> {
    let noted = lock.noted();
    let found = progress(engine)?;
    if noted.events <= found.events && noted.deny <= found.deny {
        return Ok(());
    }
    tracing::error!(
        ?noted,
        ?found,
        "the database is older than the one that was here before"
    );
    meta::mark_restored(&mut Tx::new(engine))?;
    // From here on it is the database that says so.
    lock.note(found);
    Ok(())
}

/// How far the database has come.
fn progress(engine: &mut Sqlite) -> Result<Progress> {
    let mut tx = Tx::new(engine);
    Ok(Progress {
        events: events::last(&mut tx)?,
        deny: deny::tail(&mut tx)?.seq,
    })
}

/// The connection of the writer, its schema as this release wants it.
fn open_writer(path: &Path) -> Result<Connection> {
    if !check_path(path)? {
        // SQLite would make it readable for all, and its log and index after its likeness.
        drop(open_own(path)?);
        sync_directory_of(path)?;
    }
    let connection = connect(path)?;
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(said)?;
    if mode != "wal" {
        return Err(Error::file(
            path,
            format!("found journal mode {mode}, wanted wal: a file system without shared memory?"),
        ));
    }
    check(&connection)?;
    let mut engine = Sqlite::new(connection);
    if is_current(&mut engine)? {
        return Ok(engine.connection);
    }
    engine.run("BEGIN IMMEDIATE")?;
    match schema::migrate(&mut engine) {
        Ok(_) => engine.run("COMMIT")?,
        Err(error) => {
            engine.abandon()?;
            return Err(error);
        }
    }
    Ok(engine.connection)
}

/// Whether the schema is there and current. Looked at without writing: a full disk must not stop a restart.
fn is_current(engine: &mut Sqlite) -> Result<bool> {
    let tables: i64 = engine
        .connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'",
            [],
            |row| row.get(0),
        )
        .map_err(said)?;
    if tables == 0 {
        return Ok(false);
    }
    schema::is_current(engine)
}

/// SQLite's way to files that only one process uses: it keeps other processes out, and the index of the log in memory, where
/// a full disk cannot stop it from growing.
const VFS: &CStr = c"unix-excl";

/// Opens a connection and sets what each connection needs.
pub(crate) fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let connection = Connection::open_with_flags_and_vfs(path, flags, VFS).map_err(said)?;
    connection.busy_timeout(BUSY).map_err(said)?;
    for (option, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        // The log stays, and with it the space that is kept in it.
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
    ] {
        connection.set_db_config(option, value).map_err(said)?;
    }
    // FULL: an answer means that the disk has it. temp_store: no temporary file may need space on a full disk.
    // cache_size: 16 MiB, more than a whole batch, so that nothing spills before its commit.
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA cell_size_check = ON;
             PRAGMA cache_size = -16384;",
        )
        .map_err(said)?;
    Ok(connection)
}

/// Looks for damage: one page that lies would be certificates that lie.
pub(crate) fn check(connection: &Connection) -> Result<()> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(said)?;
    if found == "ok" {
        Ok(())
    } else {
        Err(Error::Corrupt(found))
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))
}
