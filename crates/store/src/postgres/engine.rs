//! PostgreSQL as an engine: statements on one connection, and what its errors mean.

use std::collections::HashMap;
use std::error::Error as StdError;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{SimpleQueryMessage, Statement};

use super::EVENTS_LOCK;
use super::link::Link;
use crate::error::{Error, Result};
use crate::tx::{Engine, Kind};
use crate::value::{Cell, Row, Value};

/// A connection whose transaction somebody else begins and ends.
pub(crate) struct Postgres {
    link: Link,
    prepared: HashMap<&'static str, Statement>,
}

impl Postgres {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            prepared: HashMap::new(),
        }
    }

    /// Whether the connection is known to be gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.link.client.is_closed()
    }

    /// Runs one of the few statements that stand around units of work.
    pub(crate) fn run(&mut self, sql: &'static str) -> Result<()> {
        self.run_text(sql)
    }

    pub(super) fn run_text(&mut self, sql: &str) -> Result<()> {
        self.link.wait(self.link.client.batch_execute(sql))
    }

    /// A setting of the server.
    pub(super) fn show(&mut self, setting: &'static str) -> Result<String> {
        let sql = format!("SHOW {setting}");
        let answer = self.link.wait(self.link.client.simple_query(&sql))?;
        answer
            .iter()
            .find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .ok_or_else(|| Error::Database(format!("{setting} is not known to the server")))
    }

    /// Runs a statement that is put together from literals of this crate, and gives its rows.
    pub(super) fn fetch(&mut self, sql: &str) -> Result<Vec<tokio_postgres::Row>> {
        self.link.wait(self.link.client.query(sql, &[]))
    }

    /// Prepares such a statement.
    pub(super) fn prepare_text(&mut self, sql: &str) -> Result<Statement> {
        self.link.wait(self.link.client.prepare(sql))
    }

    pub(super) fn execute_prepared(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<u64> {
        let client = &self.link.client;
        self.link
            .wait(client.execute_raw(statement, values.iter().copied()))
    }

    fn prepared(&mut self, sql: &'static str) -> Result<Statement> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.link.wait(self.link.client.prepare(sql))?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Engine for Postgres {
    fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        let statement = self.prepared(sql)?;
        self.execute_prepared(&statement, values)
    }

    fn query(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let statement = self.prepared(sql)?;
        let client = &self.link.client;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let rows = self.link.wait(client.query(&statement, &values))?;
        rows.iter().map(|row| Ok(Row::new(cells(row)?))).collect()
    }

    fn order_events(&mut self) -> Result<()> {
        // Held to the end of the transaction, and given back only after it has become visible.
        self.query(
            "SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS locked",
            &[Value::Int(EVENTS_LOCK)],
        )
        .map(drop)
    }

    fn define(&mut self, sql: &str) -> Result<()> {
        self.run_text(sql)
    }

    fn kind(&self) -> Kind {
        Kind::Postgres
    }
}

/// The columns of a row.
pub(super) fn cells(row: &tokio_postgres::Row) -> Result<Vec<Cell>> {
    (0..row.len())
        .map(|index| {
            let kind = row
                .columns()
                .get(index)
                .map(|column| column.type_().clone());
            let cell = match kind {
                Some(Type::INT8) => row
                    .try_get::<_, Option<i64>>(index)
                    .map(|n| n.map(Cell::Int)),
                Some(Type::INT4) => row
                    .try_get::<_, Option<i32>>(index)
                    .map(|n| n.map(|n| Cell::Int(i64::from(n)))),
                Some(Type::TEXT) => row
                    .try_get(index)
                    .map(|text: Option<_>| text.map(Cell::Text)),
                Some(Type::BYTEA) => row
                    .try_get(index)
                    .map(|bytes: Option<_>| bytes.map(Cell::Bytes)),
                other => {
                    return Err(Error::Corrupt(format!("found a column of type {other:?}")));
                }
            };
            cell.map(|cell| cell.unwrap_or(Cell::Null)).map_err(said)
        })
        .collect()
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(number), &Type::INT8) => number.to_sql(kind, out),
            (Self::Text(text), &Type::TEXT) => text.to_sql(kind, out),
            (Self::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            // Never the value: it may be a sealed key.
            _ => Err(format!("a parameter does not fit the type {kind}").into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    to_sql_checked!();
}

/// What an error of PostgreSQL means to the store. Details are left out: they repeat what is stored.
pub(crate) fn said(error: tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        return if error.is_closed() || is_io(&error) {
            Error::Unavailable(causes(&error))
        } else {
            Error::Database(causes(&error))
        };
    };
    let text = format!("{} ({})", said.message(), said.code().code());
    let code = said.code();
    if *code == SqlState::T_R_SERIALIZATION_FAILURE
        || *code == SqlState::T_R_DEADLOCK_DETECTED
        || *code == SqlState::LOCK_NOT_AVAILABLE
        || *code == SqlState::QUERY_CANCELED
    {
        return Error::Contention(1);
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Error::ReadOnly(text);
    }
    if *code == SqlState::DISK_FULL {
        return Error::DiskFull("PostgreSQL".into());
    }
    if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED {
        return Error::Corrupt(text);
    }
    if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT {
        return Error::Unavailable(text);
    }
    match code.code().get(..2) {
        Some("23") => Error::Conflict(said.constraint().map_or_else(
            || text.clone(),
            |constraint| format!("{text}, constraint {constraint}"),
        )),
        // Connections; resources such as the number of connections; an operator's shutdown or a crash.
        Some("08" | "53" | "57") => Error::Unavailable(text),
        _ => Error::Database(text),
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    // The connection could not be made, or its task is gone.
    let text = error.to_string();
    text.starts_with("error connecting") || text.starts_with("timeout")
}

fn causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
