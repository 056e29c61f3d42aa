//! The rows of records and batches in SQLite: how they are written and read.
//!
//! [`row`](crate::row) defines what they hold.

use std::borrow::Cow;

use ensue_engine::ids::Id;
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, params};

pub(super) use crate::row::{StoredBatch, StoredRow, Sum, array, count, id, integer, stream_bytes};

use crate::row::{StoredBody, batch_sum};

/// Writes a row; the parameters are in the order of the table's columns.
pub(super) const INSERT: &str = "INSERT INTO records \
    (place, log, step, stream, revision, id, digest, bytes, encoding, key, chain, sum, content) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// The beginning of every query that returns rows.
pub(super) const SELECT: &str =
    "SELECT place, log, step, stream, revision, id, digest, bytes, encoding, key, chain, sum, content FROM records ";

impl<'a> StoredRow<'a> {
    /// Inserts the row with a statement made of [`INSERT`].
    pub(super) fn insert(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        let body = self.body.as_ref();
        statement.execute(params![
            self.place,
            self.log,
            self.step,
            &*self.stream,
            self.revision,
            self.id,
            body.map(|body| body.digest),
            body.map(|body| body.bytes),
            body.map(|body| body.encoding),
            body.and_then(|body| body.key),
            self.chain,
            self.sum(),
            body.and_then(|body| body.content),
        ])?;
        Ok(())
    }

    /// Reads the current row of a query that begins with [`SELECT`].
    pub(super) fn read(row: &'a Row<'_>) -> Result<Self, String> {
        let column = Columns(row);
        let body = match column.blob_or_none(6, "digest")? {
            Some(digest) => Some(StoredBody {
                digest,
                bytes: column.integer(7, "bytes")?,
                encoding: column.integer(8, "encoding")?,
                key: column.text_or_none(9, "key")?,
                content: column.blob_or_none(12, "content")?,
            }),
            None => None,
        };
        let stored = Self {
            place: column.integer(0, "place")?,
            log: column.integer(1, "log")?,
            step: column.integer(2, "step")?,
            stream: Cow::Borrowed(column.blob(3, "stream")?),
            revision: column.integer(4, "revision")?,
            id: column.blob(5, "id")?,
            body,
            chain: column.blob(10, "chain")?,
        };
        if stored.sum() != column.integer(11, "sum")? {
            return Err("its row is damaged: the checksum does not match".to_owned());
        }
        Ok(stored)
    }
}

impl StoredBatch {
    /// Writes a row.
    pub(super) const INSERT: &'static str = "INSERT INTO batches (place, id, epoch, contents, sum) VALUES (?1, ?2, ?3, ?4, ?5)";

    /// Selects the row at a place.
    pub(super) const SELECT: &'static str = "SELECT place, id, epoch, contents, sum FROM batches WHERE place = ?1";

    /// Selects all rows, in the order of their places.
    pub(super) const SELECT_ALL: &'static str = "SELECT place, id, epoch, contents, sum FROM batches ORDER BY place";

    /// Inserts the row of a batch at `place` with a statement made of [`INSERT`](Self::INSERT).
    pub(super) fn insert(statement: &mut Statement<'_>, place: i64, id: Id, epoch: i64, contents: &[u8]) -> rusqlite::Result<()> {
        statement.execute(params![place, id.as_bytes(), epoch, contents, batch_sum(place, id.as_bytes(), epoch, contents)])?;
        Ok(())
    }

    /// Reads the current row of a query made of [`SELECT`](Self::SELECT) or [`SELECT_ALL`](Self::SELECT_ALL).
    pub(super) fn read(row: &Row<'_>) -> Result<Self, String> {
        let column = Columns(row);
        let (place, epoch) = (column.integer(0, "place")?, column.integer(2, "epoch")?);
        let (id, contents) = (column.blob(1, "batch")?, column.blob(3, "contents")?);
        Self::open(place, id, epoch, contents, column.integer(4, "sum")?)
    }
}

/// The columns of a row, each of which may hold anything in a damaged file.
pub(super) struct Columns<'a, 'row>(pub(super) &'a Row<'row>);

impl<'a> Columns<'a, '_> {
    fn value(&self, index: usize, name: &str) -> Result<ValueRef<'a>, String> {
        self.0.get_ref(index).map_err(|error| format!("its {name} cannot be read: {error}"))
    }

    pub(super) fn integer(&self, index: usize, name: &str) -> Result<i64, String> {
        match self.value(index, name)? {
            ValueRef::Integer(value) => Ok(value),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => Err(format!("its {name} is not an integer")),
        }
    }

    pub(super) fn blob(&self, index: usize, name: &str) -> Result<&'a [u8], String> {
        self.blob_or_none(index, name)?.ok_or_else(|| format!("its {name} is missing"))
    }

    fn blob_or_none(&self, index: usize, name: &str) -> Result<Option<&'a [u8]>, String> {
        match self.value(index, name)? {
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            ValueRef::Null => Ok(None),
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => Err(format!("its {name} is not a blob")),
        }
    }

    fn text_or_none(&self, index: usize, name: &str) -> Result<Option<&'a str>, String> {
        match self.value(index, name)? {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| format!("its {name} is not UTF-8")),
            ValueRef::Null => Ok(None),
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => Err(format!("its {name} is not text")),
        }
    }
}
