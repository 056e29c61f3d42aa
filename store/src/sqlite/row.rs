//! The row of a record: the columns that identify it, its body, and its place in the chain.
//!
//! Everything else in a record is in its batch's contents (`contents`). The row's `sum` covers every column,
//! so a flipped bit is found when the row is read. If somebody rewrote the row including the sum, the chain
//! shows it.

use std::borrow::Cow;

use bytes::Bytes;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, GrantId, Id, IdentityId, LogId, SessionId, TokenId};
use ensue_engine::record::{Body, Chain, Digest, Encoding, Epoch, Position, Record, Revision, StreamId};
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, params};

use super::contents::Contents;

/// Writes a row; the parameters are in the order of the table's columns.
pub(super) const INSERT: &str = "INSERT INTO records \
    (place, log, step, stream, revision, id, digest, bytes, encoding, key, chain, sum, content) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// The beginning of every query that returns rows.
pub(super) const SELECT: &str =
    "SELECT place, log, step, stream, revision, id, digest, bytes, encoding, key, chain, sum, content FROM records ";

/// A row, borrowed from a record or from SQLite.
pub(super) struct Stored<'a> {
    place: i64,
    log: i64,
    step: i64,
    stream: Cow<'a, [u8]>,
    revision: i64,
    id: &'a [u8],
    body: Option<StoredBody<'a>>,
    chain: &'a [u8],
}

struct StoredBody<'a> {
    digest: &'a [u8],
    bytes: i64,
    encoding: i64,
    key: Option<&'a str>,
    content: Option<&'a [u8]>,
}

impl<'a> Stored<'a> {
    /// Converts a record to the row at `place`, with index `step` in its batch. Fails if SQLite cannot hold
    /// an integer.
    pub(super) fn of(record: &'a Record, log: i64, place: i64, step: i64) -> Result<Self, String> {
        Ok(Self {
            place,
            log,
            step,
            stream: Cow::Owned(stream_bytes(&record.stream)),
            revision: integer("revision", record.revision.0)?,
            id: record.id.as_bytes(),
            body: record.body.as_ref().map(StoredBody::of).transpose()?,
            chain: record.chain.as_bytes(),
        })
    }

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

    /// Returns the place of the batch's first record, which identifies its contents.
    pub(super) fn batch_place(&self) -> i64 {
        self.place - self.step
    }

    /// Returns the body.
    pub(super) fn body(&self) -> Result<Option<Body>, String> {
        self.body.as_ref().map(StoredBody::body).transpose()
    }

    /// Returns the row with another body.
    pub(super) fn with_body(self, body: Option<&'a Body>) -> Result<Self, String> {
        Ok(Self { body: body.map(StoredBody::of).transpose()?, ..self })
    }

    /// Returns the record, combined with its entry in the batch.
    pub(super) fn record(&self, log: LogId, position: Position, batch: &StoredBatch) -> Result<Record, String> {
        let id = id(self.id, "id")?;
        let step = usize::try_from(self.step).map_err(|_| "its step is negative".to_owned())?;
        let entry = batch.contents.entry(step, id)?;
        Ok(Record {
            position,
            log,
            epoch: batch.epoch,
            batch: batch.id,
            stream: stream_of(&self.stream)?,
            revision: Revision(count(self.revision, "revision")?),
            schema: entry.schema,
            id,
            time: entry.time,
            actor: entry.actor,
            cause: entry.cause,
            fact: entry.fact,
            fact_json: entry.fact_json,
            body: self.body()?,
            chain: Chain::from_bytes(array(self.chain, "chain")?),
        })
    }

    fn sum(&self) -> i64 {
        let mut sum = Sum::default();
        sum.integer(self.place).integer(self.log).integer(self.step).bytes(&self.stream).integer(self.revision).bytes(self.id);
        if let Some(body) = &self.body {
            sum.bytes(body.digest).integer(body.bytes).integer(body.encoding);
            sum.optional(body.key.map(str::as_bytes)).optional(body.content);
        }
        sum.bytes(self.chain).done()
    }
}

/// A row of the table `batches`.
pub(super) struct StoredBatch {
    pub(super) id: Id,
    pub(super) epoch: Epoch,
    contents: Contents,
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

    /// Lists the kind and the schema of each fact.
    pub(super) fn kinds(&self) -> Result<Vec<(&str, u16)>, String> {
        self.contents.kinds()
    }

    /// Reads the current row of a query made of [`SELECT`](Self::SELECT) or [`SELECT_ALL`](Self::SELECT_ALL).
    pub(super) fn read(row: &Row<'_>) -> Result<Self, String> {
        let column = Columns(row);
        let (place, epoch) = (column.integer(0, "place")?, column.integer(2, "epoch")?);
        let (id, contents) = (column.blob(1, "batch")?, column.blob(3, "contents")?);
        if batch_sum(place, id, epoch, contents) != column.integer(4, "sum")? {
            return Err("its batch is damaged: the checksum does not match".to_owned());
        }
        Ok(Self { id: self::id(id, "batch")?, epoch: Epoch(count(epoch, "epoch")?), contents: Contents::open(contents)? })
    }
}

fn batch_sum(place: i64, id: &[u8], epoch: i64, contents: &[u8]) -> i64 {
    Sum::default().integer(place).bytes(id).integer(epoch).bytes(contents).done()
}

impl<'a> StoredBody<'a> {
    fn of(body: &'a Body) -> Result<Self, String> {
        Ok(Self {
            digest: body.digest.as_bytes(),
            bytes: integer("size of the body", body.bytes)?,
            encoding: match body.encoding {
                Encoding::Raw => 0,
                Encoding::Json => 1,
                Encoding::JsonZstd => 2,
                Encoding::JsonZstdD1 => 3,
            },
            key: body.key.as_deref(),
            content: body.content.as_deref(),
        })
    }

    fn body(&self) -> Result<Body, String> {
        Ok(Body {
            digest: Digest::from_bytes(array(self.digest, "digest")?),
            bytes: count(self.bytes, "bytes")?,
            encoding: match self.encoding {
                0 => Encoding::Raw,
                1 => Encoding::Json,
                2 => Encoding::JsonZstd,
                3 => Encoding::JsonZstdD1,
                other => return Err(format!("unknown body encoding {other}; a newer release wrote it")),
            },
            key: self.key.map(str::to_owned),
            content: self.content.map(Bytes::copy_from_slice),
        })
    }
}

/// Returns the stored form of a stream.
pub(super) fn stream_bytes(stream: &StreamId) -> Vec<u8> {
    let (noun, name): (u8, &[u8]) = match stream {
        StreamId::Event(id) => (1, id.0.as_bytes()),
        StreamId::Enforcement(id) => (2, id.0.as_bytes()),
        StreamId::Execution(id) => (3, id.0.as_bytes()),
        StreamId::Pack(name) => (4, name.as_str().as_bytes()),
        StreamId::Rule(name) => (5, name.as_str().as_bytes()),
        StreamId::Sensor(name) => (6, name.as_str().as_bytes()),
        StreamId::Key(name) => (7, name.as_str().as_bytes()),
        StreamId::Token(id) => (8, id.0.as_bytes()),
        StreamId::Log(id) => (9, id.0.as_bytes()),
        StreamId::Var(name) => (10, name.as_str().as_bytes()),
        StreamId::Identity(id) => (11, id.0.as_bytes()),
        StreamId::Role(name) => (12, name.as_str().as_bytes()),
        StreamId::Grant(id) => (13, id.0.as_bytes()),
        StreamId::Session(id) => (14, id.0.as_bytes()),
    };
    let mut bytes = Vec::with_capacity(1 + name.len());
    bytes.push(noun);
    bytes.extend_from_slice(name);
    bytes
}

fn stream_of(bytes: &[u8]) -> Result<StreamId, String> {
    let Some((noun, rest)) = bytes.split_first() else { return Err("its stream is empty".to_owned()) };
    let id = || self::id(rest, "stream");
    let name = || std::str::from_utf8(rest).map_err(|_| "its stream is not text".to_owned());
    match noun {
        1 => id().map(|id| StreamId::Event(EventId(id))),
        2 => id().map(|id| StreamId::Enforcement(EnforcementId(id))),
        3 => id().map(|id| StreamId::Execution(ExecutionId(id))),
        4 => name()?.parse().map(StreamId::Pack).map_err(|error| format!("{error}")),
        5 => name()?.parse().map(StreamId::Rule).map_err(|error| format!("{error}")),
        6 => name()?.parse().map(StreamId::Sensor).map_err(|error| format!("{error}")),
        7 => name()?.parse().map(StreamId::Key).map_err(|error| format!("{error}")),
        8 => id().map(|id| StreamId::Token(TokenId(id))),
        9 => id().map(|id| StreamId::Log(LogId(id))),
        10 => name()?.parse().map(StreamId::Var).map_err(|error| format!("{error}")),
        11 => id().map(|id| StreamId::Identity(IdentityId(id))),
        12 => name()?.parse().map(StreamId::Role).map_err(|error| format!("{error}")),
        13 => id().map(|id| StreamId::Grant(GrantId(id))),
        14 => id().map(|id| StreamId::Session(SessionId(id))),
        other => Err(format!("unknown noun {other} in its stream; a newer release wrote it")),
    }
}

/// The first 32 bits of the BLAKE3 hash over some columns.
#[derive(Default)]
pub(super) struct Sum(blake3::Hasher);

impl Sum {
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        self
    }

    pub(super) fn integer(&mut self, value: i64) -> &mut Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.integer(-1),
        }
    }

    pub(super) fn done(&self) -> i64 {
        let [a, b, c, d, ..] = *self.0.finalize().as_bytes();
        i64::from(u32::from_le_bytes([a, b, c, d]))
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

pub(super) fn id(bytes: &[u8], name: &str) -> Result<Id, String> {
    array(bytes, name).map(Id::from_bytes)
}

pub(super) fn array<const N: usize>(bytes: &[u8], name: &str) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("its {name} has {} bytes instead of {N}", bytes.len()))
}

pub(super) fn count(value: i64, name: &str) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("its {name} is negative"))
}

pub(super) fn integer(name: &str, value: u64) -> Result<i64, String> {
    i64::try_from(value).map_err(|_| format!("its {name} is {value}; the limit is {}", i64::MAX))
}
