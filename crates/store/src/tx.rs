//! A transaction as the tables see it: statements in, rows out, whichever database is below.

use crate::error::{Error, Result};
use crate::value::{Row, Value};

/// Which database it is. Only the schema and backups ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// What a database must be able to do inside a transaction.
///
/// Statements are written once, in the part of SQL that SQLite and PostgreSQL share, with `$1`, `$2` for parameters. They
/// are literals of this crate, which is why no text from outside can become one.
pub(crate) trait Engine {
    /// Runs a statement that gives no rows, and says how many it changed.
    fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64>;
    /// Runs a statement that gives rows.
    fn query(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>>;
    /// From here to the end of the transaction no other transaction appends events, so that their numbers rise in the
    /// order in which they become visible.
    fn order_events(&mut self) -> Result<()>;
    /// Runs a statement that defines or copies tables, and is put together from literals of this crate.
    fn define(&mut self, sql: &str) -> Result<()>;
    /// Which database it is.
    fn kind(&self) -> Kind;
}

/// An event that waits for the end of its transaction.
#[derive(Debug)]
pub(crate) struct PendingEvent {
    pub(crate) time_ms: i64,
    pub(crate) kind: String,
    pub(crate) actor: String,
    pub(crate) object: String,
    pub(crate) body: String,
}

/// An open transaction, handed to a unit of work. The modules of this crate are what can be done with it.
pub struct Tx<'a> {
    engine: &'a mut dyn Engine,
    events: Vec<PendingEvent>,
    /// What a statement failed with. PostgreSQL goes on with nothing after that, so neither does SQLite.
    failed: Option<Error>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(engine: &'a mut dyn Engine) -> Self {
        Self {
            engine,
            events: Vec::new(),
            failed: None,
        }
    }

    pub(crate) fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        self.usable()?;
        let result = self.engine.execute(sql, values);
        self.remember(result)
    }

    pub(crate) fn query(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        self.usable()?;
        let result = self.engine.query(sql, values);
        self.remember(result)
    }

    /// The first row, if there is one.
    pub(crate) fn first(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>> {
        Ok(self.query(sql, values)?.into_iter().next())
    }

    /// What a statement failed with, if one did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failed.clone()
    }

    pub(crate) fn push_event(&mut self, event: PendingEvent) {
        self.events.push(event);
    }

    pub(crate) fn pending_events(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn into_events(self) -> Vec<PendingEvent> {
        self.events
    }

    /// An error that stays: a unit of work that swallows it does not commit.
    fn usable(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn remember<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }
}
