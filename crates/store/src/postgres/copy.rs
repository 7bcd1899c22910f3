//! All rows of a PostgreSQL store, out of it and into it, each way in one transaction.

use super::config::PostgresConfig;
use super::engine::{Postgres, cells};
use super::link::Target;
use crate::error::{Error, Result};
use crate::schema::{TABLES, Table};
use crate::tx::{Engine, Tx};
use crate::value::{Cell, Value};

/// How many rows are fetched at once: with the largest rows about 32 MiB, with ordinary ones less than one.
const ROWS: usize = 500;

/// Takes the rows of a table, one by one.
pub(crate) type Put<'a> = &'a mut dyn FnMut(&Table, &[Cell]) -> Result<()>;
/// Gives the rows of a table, one by one.
pub(crate) type Give<'a> =
    &'a mut dyn FnMut(&Table, &mut dyn FnMut(&[Cell]) -> Result<()>) -> Result<()>;

/// Gives every row of every table, as they were at one moment.
pub(crate) fn export(target: &Target, put: Put<'_>) -> Result<()> {
    let mut engine = target.connect()?;
    engine.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    for table in TABLES {
        engine.define(&format!(
            "DECLARE rows NO SCROLL CURSOR FOR {}",
            table.select()
        ))?;
        loop {
            let rows = engine.fetch(&format!("FETCH {ROWS} FROM rows"))?;
            for row in &rows {
                put(table, &cells(row)?)?;
            }
            if rows.len() < ROWS {
                break;
            }
        }
        engine.define("CLOSE rows")?;
    }
    engine.run("COMMIT")
}

/// Puts rows into a database that holds no store.
pub(crate) fn import(config: &PostgresConfig, give: Give<'_>) -> Result<()> {
    let mut engine = Target::new(config)?.connect()?;
    super::prepare(&mut engine)?;
    engine.run("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE")?;
    match fill(&mut engine, give) {
        Ok(()) => engine.run("COMMIT"),
        Err(error) => {
            let _ = engine.run("ROLLBACK");
            Err(error)
        }
    }
}

fn fill(engine: &mut Postgres, give: Give<'_>) -> Result<()> {
    for table in TABLES {
        // The one row that a new store has.
        if table.name == "writer" {
            engine.define("DELETE FROM writer WHERE epoch = 0")?;
        }
        let present = engine.fetch(&format!("SELECT 1 FROM {} LIMIT 1", table.name))?;
        if !present.is_empty() {
            return Err(Error::Conflict(format!(
                "the database holds a store already: table {} is not empty",
                table.name
            )));
        }
    }
    for table in TABLES {
        let statement = engine.prepare_text(&table.insert('$'))?;
        give(table, &mut |row| {
            let values: Vec<Value<'_>> = row.iter().map(Cell::as_value).collect();
            engine.execute_prepared(&statement, &values).map(drop)
        })?;
    }
    // Numbers of events go on after the last one.
    engine.fetch(
        "SELECT setval(pg_get_serial_sequence('events', 'seq'), greatest((SELECT max(seq) FROM events), 1),
           EXISTS (SELECT 1 FROM events))",
    )?;
    crate::meta::mark_restored(&mut Tx::new(engine))
}
