//! SQLite as an engine: statements on one connection, and what its errors mean.

use std::collections::HashMap;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Statement, ToSql, ffi};

use crate::error::{Error, Result};
use crate::tx::{Engine, Kind};
use crate::value::{Cell, Row, Value};

/// A connection whose transaction somebody else begins and ends.
pub(crate) struct Sqlite {
    pub(crate) connection: Connection,
    /// `$1` names a parameter in SQLite and `?1` numbers it: each statement is translated once.
    translated: HashMap<&'static str, String>,
}

impl Sqlite {
    pub(crate) fn new(connection: Connection) -> Self {
        // Twice what the tables have today.
        connection.set_prepared_statement_cache_capacity(256);
        Self {
            connection,
            translated: HashMap::new(),
        }
    }

    /// Runs one of the few statements that stand around units of work.
    pub(crate) fn run(&self, sql: &'static str) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql).map_err(said)?;
        statement.execute([]).map(drop).map_err(said)
    }

    /// Ends whatever transaction is open. SQLite has ended it by itself after some errors, such as a full disk.
    pub(crate) fn abandon(&self) -> Result<()> {
        if self.connection.is_autocommit() {
            Ok(())
        } else {
            self.run("ROLLBACK")
        }
    }
}

impl Engine for Sqlite {
    fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        let sql = translation(&mut self.translated, sql);
        let mut statement = self.connection.prepare_cached(sql).map_err(said)?;
        bind(&mut statement, values)?;
        let changed = statement.raw_execute().map_err(said)?;
        u64::try_from(changed).map_err(|_| Error::Internal("more rows than numbers".into()))
    }

    fn query(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let sql = translation(&mut self.translated, sql);
        let mut statement = self.connection.prepare_cached(sql).map_err(said)?;
        bind(&mut statement, values)?;
        let columns = statement.column_count();
        let mut found = Vec::new();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(said)? {
            found.push(Row::new(cells(row, columns)?));
        }
        Ok(found)
    }

    fn order_events(&mut self) -> Result<()> {
        // There is one writer: they cannot be out of order.
        Ok(())
    }

    fn define(&mut self, sql: &str) -> Result<()> {
        self.connection.execute(sql, []).map(drop).map_err(said)
    }

    fn kind(&self) -> Kind {
        Kind::Sqlite
    }
}

/// The columns of a row.
pub(crate) fn cells(row: &rusqlite::Row<'_>, columns: usize) -> Result<Vec<Cell>> {
    (0..columns)
        .map(|index| {
            Ok(match row.get_ref(index).map_err(said)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Int(number),
                ValueRef::Text(text) => Cell::Text(
                    std::str::from_utf8(text)
                        .map_err(|_| Error::Corrupt("found a text that is not UTF-8".into()))?
                        .to_owned(),
                ),
                ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_owned()),
                ValueRef::Real(_) => {
                    return Err(Error::Corrupt("found a fraction in a column".into()));
                }
            })
        })
        .collect()
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn bind(statement: &mut Statement<'_>, values: &[Value<'_>]) -> Result<()> {
    for (index, value) in values.iter().enumerate() {
        statement
            .raw_bind_parameter(index + 1, value)
            .map_err(said)?;
    }
    Ok(())
}

fn translation<'a>(known: &'a mut HashMap<&'static str, String>, sql: &'static str) -> &'a str {
    known.entry(sql).or_insert_with(|| sql.replace('$', "?"))
}

/// What an error of SQLite means to the store.
pub(crate) fn said(error: rusqlite::Error) -> Error {
    let rusqlite::Error::SqliteFailure(failure, message) = &error else {
        return Error::Database(error.to_string());
    };
    let text = message.clone().unwrap_or_else(|| failure.to_string());
    match failure.code {
        ErrorCode::DiskFull => Error::DiskFull("the database".into()),
        // SQLite knows ENOSPC only; a quota that is used up looks like this.
        ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_WRITE => {
            Error::DiskFull("the database (a quota, or the disk itself)".into())
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Error::Corrupt(text),
        ErrorCode::ConstraintViolation => Error::Conflict(text),
        ErrorCode::ReadOnly => Error::ReadOnly(text),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Contention(1),
        _ => Error::Database(text),
    }
}
