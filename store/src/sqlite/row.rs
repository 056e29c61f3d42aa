//! A record as a row of the table `records`: written without copying it, read without trusting it.
//!
//! The row's `sum` covers every column, so a flipped bit is found where it is read; whether somebody rewrote the row, sum and
//! all, is found by the chain.

use std::borrow::Cow;

use bytes::Bytes;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, Id, LogId, TokenId};
use ensue_engine::record::{Actor, Body, Cause, Chain, Digest, Encoding, Epoch, Position, Record, Revision, StreamId};
use ensue_engine::time::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, params};

/// Writes a row; the parameters are in the order of [`Stored`].
pub(super) const INSERT: &str = "INSERT INTO records \
    (place, log, step, stream, revision, kind, schema, id, time, actor, parent, root, depth, trace, fact, \
     digest, bytes, encoding, key, chain, sum, content) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";

/// Begins every query that gives rows; the columns are in the order of [`Stored`].
pub(super) const SELECT: &str = "SELECT \
    r.place, r.log, r.step, r.stream, r.revision, r.kind, r.schema, r.id, r.time, r.actor, r.parent, r.root, r.depth, r.trace, \
    r.fact, r.digest, r.bytes, r.encoding, r.key, r.chain, r.sum, r.content, b.id, b.epoch \
    FROM records r LEFT JOIN batches b ON b.place = r.place - r.step ";

/// A row, borrowed from a record or from SQLite.
pub(super) struct Stored<'a> {
    place: i64,
    log: i64,
    step: i64,
    stream: Cow<'a, [u8]>,
    revision: i64,
    kind: &'a str,
    schema: i64,
    id: &'a [u8],
    time: i64,
    actor: Option<Cow<'a, str>>,
    parent: Option<&'a [u8]>,
    root: Option<&'a [u8]>,
    depth: i64,
    trace: Option<&'a str>,
    fact: &'a [u8],
    body: Option<StoredBody<'a>>,
    chain: &'a [u8],
    batch: &'a [u8],
    epoch: i64,
}

struct StoredBody<'a> {
    digest: &'a [u8],
    bytes: i64,
    encoding: i64,
    key: Option<&'a str>,
    content: Option<&'a [u8]>,
}

impl<'a> Stored<'a> {
    /// Takes a record as the row at `place`, the `step`-th of its batch. An integer that SQLite cannot hold is an error.
    pub(super) fn of(record: &'a Record, log: i64, place: i64, step: i64) -> Result<Self, String> {
        let actor = match &record.actor {
            Actor::Engine => None,
            Actor::Token(_) | Actor::Sensor(_) | Actor::Worker(_) | Actor::Operator => Some(Cow::Owned(record.actor.to_string())),
        };
        let implied_root = record.cause.parent.unwrap_or(record.id);
        Ok(Self {
            place,
            log,
            step,
            stream: Cow::Owned(stream_bytes(&record.stream)),
            revision: integer("revision", record.revision.0)?,
            kind: record.kind(),
            schema: i64::from(record.schema),
            id: record.id.as_bytes(),
            time: record.time.micros(),
            actor,
            parent: record.cause.parent.as_ref().map(|id| id.as_bytes().as_slice()),
            root: (record.cause.root != implied_root).then_some(record.cause.root.as_bytes().as_slice()),
            depth: i64::from(record.cause.depth),
            trace: record.cause.trace.as_deref(),
            fact: &record.fact_json,
            body: record.body.as_ref().map(StoredBody::of).transpose()?,
            chain: record.chain.as_bytes(),
            batch: record.batch.as_bytes(),
            epoch: integer("epoch", record.epoch.0)?,
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
            self.kind,
            self.schema,
            self.id,
            self.time,
            self.actor.as_deref(),
            self.parent,
            self.root,
            self.depth,
            self.trace,
            self.fact,
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

    /// Reads the row that a query beginning with [`SELECT`] stands at, and gives it with the sum that stands in it.
    fn from_row(row: &'a Row<'_>) -> Result<(Self, i64), String> {
        let column = Columns(row);
        let body = match column.blob_or_none(15, "digest")? {
            Some(digest) => Some(StoredBody {
                digest,
                bytes: column.integer(16, "bytes")?,
                encoding: column.integer(17, "encoding")?,
                key: column.text_or_none(18, "key")?,
                content: column.blob_or_none(21, "content")?,
            }),
            None => None,
        };
        let stored = Self {
            place: column.integer(0, "place")?,
            log: column.integer(1, "log")?,
            step: column.integer(2, "step")?,
            stream: Cow::Borrowed(column.blob(3, "stream")?),
            revision: column.integer(4, "revision")?,
            kind: column.text(5, "kind")?,
            schema: column.integer(6, "schema")?,
            id: column.blob(7, "id")?,
            time: column.integer(8, "time")?,
            actor: column.text_or_none(9, "actor")?.map(Cow::Borrowed),
            parent: column.blob_or_none(10, "parent")?,
            root: column.blob_or_none(11, "root")?,
            depth: column.integer(12, "depth")?,
            trace: column.text_or_none(13, "trace")?,
            fact: column.blob(14, "fact")?,
            body,
            chain: column.blob(19, "chain")?,
            batch: column.blob(22, "batch")?,
            epoch: column.integer(23, "epoch")?,
        };
        Ok((stored, column.integer(20, "sum")?))
    }

    fn sum(&self) -> i64 {
        let mut sum = Sum::default();
        sum.integer(self.place).integer(self.log).integer(self.step).bytes(&self.stream).integer(self.revision);
        sum.bytes(self.kind.as_bytes()).integer(self.schema).bytes(self.id).integer(self.time);
        sum.optional(self.actor.as_deref().map(str::as_bytes)).optional(self.parent).optional(self.root);
        sum.integer(self.depth).optional(self.trace.map(str::as_bytes)).bytes(self.fact);
        if let Some(body) = &self.body {
            sum.bytes(body.digest).integer(body.bytes).integer(body.encoding);
            sum.optional(body.key.map(str::as_bytes)).optional(body.content);
        }
        sum.bytes(self.chain).bytes(self.batch).integer(self.epoch);
        sum.done()
    }
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
                other => return Err(format!("unknown body encoding {other}; a newer release wrote it")),
            },
            key: self.key.map(str::to_owned),
            content: self.content.map(Bytes::copy_from_slice),
        })
    }
}

/// Makes the record of the row that a query beginning with [`SELECT`] stands at; says why it is not one.
pub(super) fn record(row: &Row<'_>, log: LogId, position: Position) -> Result<Record, String> {
    let (stored, sum) = Stored::from_row(row)?;
    if stored.sum() != sum {
        return Err("its row is damaged: the sum over it does not fit".to_owned());
    }
    let schema = u16::try_from(stored.schema).map_err(|_| format!("{} is not a schema", stored.schema))?;
    let fact = Fact::parse(stored.kind, schema, stored.fact).map_err(|error| error.to_string())?;
    let id = id(stored.id, "id")?;
    let parent = stored.parent.map(|bytes| self::id(bytes, "parent")).transpose()?;
    let root = match stored.root {
        Some(bytes) => self::id(bytes, "root")?,
        None => parent.unwrap_or(id),
    };
    Ok(Record {
        position,
        log,
        epoch: Epoch(count(stored.epoch, "epoch")?),
        batch: self::id(stored.batch, "batch")?,
        stream: stream_of(&stored.stream)?,
        revision: Revision(count(stored.revision, "revision")?),
        schema,
        id,
        time: Timestamp::from_micros(stored.time),
        actor: match &stored.actor {
            Some(text) => text.parse()?,
            None => Actor::Engine,
        },
        cause: Cause {
            parent,
            root,
            depth: u32::try_from(stored.depth).map_err(|_| format!("{} is not a depth", stored.depth))?,
            trace: stored.trace.map(str::to_owned),
        },
        fact,
        fact_json: Bytes::copy_from_slice(stored.fact),
        body: stored.body.as_ref().map(StoredBody::body).transpose()?,
        chain: Chain::from_bytes(array(stored.chain, "chain")?),
    })
}

/// Makes the body of the row that a query beginning with [`SELECT`] stands at.
pub(super) fn body(row: &Row<'_>) -> Result<Option<Body>, String> {
    let (stored, sum) = Stored::from_row(row)?;
    if stored.sum() != sum {
        return Err("its row is damaged: the sum over it does not fit".to_owned());
    }
    stored.body.as_ref().map(StoredBody::body).transpose()
}

/// Gives the bytes that a stream is kept as.
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

/// The columns of a row, each of which may be anything in a damaged file.
pub(super) struct Columns<'a, 'row>(pub(super) &'a Row<'row>);

impl<'a> Columns<'a, '_> {
    fn value(&self, index: usize, name: &str) -> Result<ValueRef<'a>, String> {
        self.0.get_ref(index).map_err(|error| format!("its {name} cannot be read: {error}"))
    }

    pub(super) fn integer(&self, index: usize, name: &str) -> Result<i64, String> {
        match self.value(index, name)? {
            ValueRef::Integer(value) => Ok(value),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => Err(format!("its {name} is no integer")),
        }
    }

    pub(super) fn blob(&self, index: usize, name: &str) -> Result<&'a [u8], String> {
        self.blob_or_none(index, name)?.ok_or_else(|| format!("its {name} is missing"))
    }

    fn blob_or_none(&self, index: usize, name: &str) -> Result<Option<&'a [u8]>, String> {
        match self.value(index, name)? {
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            ValueRef::Null => Ok(None),
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => Err(format!("its {name} is no blob")),
        }
    }

    fn text(&self, index: usize, name: &str) -> Result<&'a str, String> {
        self.text_or_none(index, name)?.ok_or_else(|| format!("its {name} is missing"))
    }

    fn text_or_none(&self, index: usize, name: &str) -> Result<Option<&'a str>, String> {
        match self.value(index, name)? {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| format!("its {name} is not UTF-8")),
            ValueRef::Null => Ok(None),
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => Err(format!("its {name} is no text")),
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
    i64::try_from(value).map_err(|_| format!("its {name} is {value}, {} is the most", i64::MAX))
}
