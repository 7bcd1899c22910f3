//! What goes into a statement and what comes out of a row: numbers, texts, bytes. No meaning.

use crate::error::{Error, Result};

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A number; those above 2^63 - 1 fit in neither database, and stand for nothing that is real.
    pub(crate) fn number(what: &'static str, number: u64) -> Result<Self> {
        i64::try_from(number)
            .map(Self::Int)
            .map_err(|_| Error::Bound {
                what,
                found: number.to_string(),
                wanted: format!("at most {}", i64::MAX),
            })
    }

    pub(crate) fn optional_number(what: &'static str, number: Option<u64>) -> Result<Self> {
        number.map_or(Ok(Self::Null), |number| Self::number(what, number))
    }

    pub(crate) fn optional_bytes(bytes: Option<&'a [u8]>) -> Self {
        bytes.map_or(Self::Null, Self::Bytes)
    }

    pub(crate) fn flag(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }
}

/// A column of a row that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    pub(crate) fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => Value::Int(*number),
            Self::Text(text) => Value::Text(text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// A row that was read. Columns are taken in their order.
#[derive(Debug)]
pub(crate) struct Row(std::vec::IntoIter<Cell>);

impl Row {
    pub(crate) fn new(cells: Vec<Cell>) -> Self {
        Self(cells.into_iter())
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        match self.next()? {
            Cell::Int(number) => {
                u64::try_from(number).map_err(|_| unexpected("a number from 0", &Cell::Int(number)))
            }
            other => Err(unexpected("a number", &other)),
        }
    }

    pub(crate) fn optional_number(&mut self) -> Result<Option<u64>> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Int(number) => u64::try_from(number)
                .map(Some)
                .map_err(|_| unexpected("a number from 0", &Cell::Int(number))),
            other => Err(unexpected("a number or nothing", &other)),
        }
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.next()? {
            Cell::Int(0) => Ok(false),
            Cell::Int(1) => Ok(true),
            other => Err(unexpected("0 or 1", &other)),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        match self.next()? {
            Cell::Text(text) => Ok(text),
            other => Err(unexpected("a text", &other)),
        }
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            other => Err(unexpected("a text or nothing", &other)),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        match self.next()? {
            Cell::Bytes(bytes) => Ok(bytes),
            other => Err(unexpected("bytes", &other)),
        }
    }

    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Bytes(bytes) => Ok(Some(bytes)),
            other => Err(unexpected("bytes or nothing", &other)),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes()?;
        let found = bytes.len();
        bytes
            .try_into()
            .map_err(|_| Error::Corrupt(format!("found {found} bytes in a column, wanted {N}")))
    }

    pub(crate) fn optional_array<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        let Some(bytes) = self.optional_bytes()? else {
            return Ok(None);
        };
        let found = bytes.len();
        bytes
            .try_into()
            .map(Some)
            .map_err(|_| Error::Corrupt(format!("found {found} bytes in a column, wanted {N}")))
    }

    fn next(&mut self) -> Result<Cell> {
        self.0
            .next()
            .ok_or_else(|| Error::Internal("a statement gave fewer columns than are read".into()))
    }
}

/// Says what kind of thing it was, never its content: columns may hold sealed keys.
fn unexpected(wanted: &str, found: &Cell) -> Error {
    let found = match found {
        Cell::Null => "nothing",
        Cell::Int(_) => "another number",
        Cell::Text(_) => "a text",
        Cell::Bytes(_) => "bytes",
    };
    Error::Corrupt(format!("found {found} in a column, wanted {wanted}"))
}
