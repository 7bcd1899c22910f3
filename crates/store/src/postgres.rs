//! A store in PostgreSQL: where it is, its schema, and the threads that serve it. What they do is in the rooms below.

mod config;
mod copy;
mod engine;
mod keeper;
mod link;
mod worker;

use std::thread::JoinHandle;

pub use config::PostgresConfig;
pub(crate) use copy::{export, import};
pub(crate) use engine::Postgres;
pub(crate) use link::Target;

use crate::error::{Error, Result};
use crate::schema;
use crate::store::{Backend, Shared};
use crate::tx::Engine;
use keeper::{Away, Keeper};
use worker::Mode;

/// The oldest server that is supported: 13 is the last one that PostgreSQL itself maintained when this was written, and a
/// year of grace.
const OLDEST: i32 = 130_000;
/// Of the advisory lock that replicas which start together take to bring up the schema.
const SCHEMA_LOCK: i64 = 0x736b_616e_7301;
/// Of the one that orders events.
const EVENTS_LOCK: i64 = 0x736b_616e_7302;

/// Connects, brings the schema up, and starts the threads. Blocks; must not be called on a thread of a runtime.
pub(crate) fn open(
    config: &PostgresConfig,
    shared: &Shared,
) -> Result<(Backend, Vec<JoinHandle<()>>)> {
    let target = Target::new(config)?;
    let mut first = target.connect()?;
    prepare(&mut first)?;
    let away = Away::default();
    let mut handles = Vec::new();
    for number in 0..config.writers {
        let threads = config.writers;
        let keeper = Keeper::new(target.clone(), away.clone());
        let queue = shared.writes.clone();
        handles.push(spawn(format!("store-writer-{number}"), move || {
            worker::serve(keeper, &queue, Mode::Write, threads);
        })?);
    }
    for number in 0..config.readers {
        let threads = config.readers;
        let keeper = Keeper::new(target.clone(), away.clone());
        let queue = shared.reads.clone();
        handles.push(spawn(format!("store-reader-{number}"), move || {
            worker::serve(keeper, &queue, Mode::Read, threads);
        })?);
    }
    Ok((Backend::Postgres(target), handles))
}

/// Looks at the server, and brings the schema up.
pub(crate) fn prepare(engine: &mut Postgres) -> Result<()> {
    let version: i32 = engine
        .show("server_version_num")?
        .parse()
        .map_err(|_| Error::Database("found a server_version_num that is no number".into()))?;
    if version < OLDEST {
        return Err(Error::config(
            "store",
            format!(
                "found PostgreSQL {}, wanted {} or later",
                version / 10_000,
                OLDEST / 10_000
            ),
        ));
    }
    if engine.show("fsync")? != "on" {
        tracing::warn!(
            "PostgreSQL runs with fsync=off: what was acknowledged is lost when its machine loses power"
        );
    }
    if has_schema(engine)? && schema::is_current(engine)? {
        return Ok(());
    }
    // Read committed: what another replica did while this one waited for the lock must be seen.
    engine.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")?;
    let done = migrate(engine);
    match done {
        Ok(()) => engine.run("COMMIT"),
        Err(error) => {
            let _ = engine.run("ROLLBACK");
            Err(error)
        }
    }
}

fn migrate(engine: &mut Postgres) -> Result<()> {
    engine.query(
        "SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS locked",
        &[crate::value::Value::Int(SCHEMA_LOCK)],
    )?;
    // Asked first: "if not exists" takes the right to create, even if it does.
    let namespace = engine.query("SELECT 1 FROM pg_namespace WHERE nspname = 'skans'", &[])?;
    if namespace.is_empty() {
        engine.define("CREATE SCHEMA skans")?;
    }
    schema::migrate(engine).map(drop)
}

fn has_schema(engine: &mut Postgres) -> Result<bool> {
    let found = engine.query(
        "SELECT 1 FROM pg_tables WHERE schemaname = 'skans' AND tablename = 'schema_version'",
        &[],
    )?;
    Ok(!found.is_empty())
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))
}
