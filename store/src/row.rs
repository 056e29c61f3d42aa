//! The row of a record: the columns that identify it, its body, and its place in the chain. It has the same columns and
//! the same bytes in every database.
//!
//! Everything else in a record is in its batch's contents ([`contents`](crate::contents)). The row's `sum` covers every
//! column, so a flipped bit is found when the row is read. If somebody rewrote the row including the sum, the chain
//! shows it.

use std::borrow::Cow;

use bytes::Bytes;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, GrantId, Id, IdentityId, LogId, SessionId, TokenId};
use ensue_engine::record::{Body, Chain, Digest, Encoding, Epoch, Position, Record, Revision, StreamId};

use crate::contents::Contents;

/// A row, borrowed from a record or from the database.
pub struct StoredRow<'a> {
    /// Its key, which orders all records of the database.
    pub place: i64,
    /// The number of its log; 0 where a log has tables of its own.
    pub log: i64,
    /// Its index in its batch.
    pub step: i64,
    /// Its stream, as [`stream_bytes`] writes it.
    pub stream: Cow<'a, [u8]>,
    /// Its revision in the stream.
    pub revision: i64,
    /// The 16 bytes of its id.
    pub id: &'a [u8],
    /// Its body.
    pub body: Option<StoredBody<'a>>,
    /// The 32 bytes of the chain at the record.
    pub chain: &'a [u8],
}

/// The columns of a body.
pub struct StoredBody<'a> {
    /// The 32 bytes of its digest.
    pub digest: &'a [u8],
    /// Its plain size.
    pub bytes: i64,
    /// Its encoding, as a number.
    pub encoding: i64,
    /// The name of the key that it is sealed with.
    pub key: Option<&'a str>,
    /// Its content; absent if it was erased.
    pub content: Option<&'a [u8]>,
}

impl<'a> StoredRow<'a> {
    /// Converts a record to the row at `place`, with index `step` in its batch. Fails if the database
    /// cannot hold an integer.
    pub fn of(record: &'a Record, log: i64, place: i64, step: i64) -> Result<Self, String> {
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

    /// Returns the place of the batch's first record, which identifies its contents.
    pub fn batch_place(&self) -> i64 {
        self.place - self.step
    }

    /// Returns the body.
    pub fn body(&self) -> Result<Option<Body>, String> {
        self.body.as_ref().map(StoredBody::body).transpose()
    }

    /// Returns the row with another body.
    pub(crate) fn with_body(self, body: Option<&'a Body>) -> Result<Self, String> {
        Ok(Self { body: body.map(StoredBody::of).transpose()?, ..self })
    }

    /// Returns the record, combined with its entry in the batch.
    pub fn record(&self, log: LogId, position: Position, batch: &StoredBatch) -> Result<Record, String> {
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

    /// Returns the sum over all other columns.
    pub fn sum(&self) -> i64 {
        let mut sum = Sum::default();
        sum.integer(self.place).integer(self.log).integer(self.step).bytes(&self.stream).integer(self.revision).bytes(self.id);
        if let Some(body) = &self.body {
            sum.bytes(body.digest).integer(body.bytes).integer(body.encoding);
            sum.optional(body.key.map(str::as_bytes)).optional(body.content);
        }
        sum.bytes(self.chain).finish()
    }
}

/// A row of the table `batches`.
pub struct StoredBatch {
    /// The id of the batch.
    pub id: Id,
    /// The epoch under which it was written.
    pub epoch: Epoch,
    contents: Contents,
}

impl StoredBatch {
    /// Lists the kind and the schema of each fact.
    pub(crate) fn kinds(&self) -> Result<Vec<(&str, u16)>, String> {
        self.contents.kinds()
    }

    /// Reads the columns of a row, and compares them with its sum.
    pub fn open(place: i64, id: &[u8], epoch: i64, contents: &[u8], sum: i64) -> Result<Self, String> {
        if batch_sum(place, id, epoch, contents) != sum {
            return Err("its batch is damaged: the checksum does not match".to_owned());
        }
        Ok(Self { id: self::id(id, "batch")?, epoch: Epoch(count(epoch, "epoch")?), contents: Contents::open(contents)? })
    }
}

/// Returns the sum over the columns of a batch.
pub fn batch_sum(place: i64, id: &[u8], epoch: i64, contents: &[u8]) -> i64 {
    Sum::default().integer(place).bytes(id).integer(epoch).bytes(contents).finish()
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
pub fn stream_bytes(stream: &StreamId) -> Vec<u8> {
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
pub struct Sum(blake3::Hasher);

impl Sum {
    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        self
    }

    /// Adds an integer.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    /// Adds a column that may be absent.
    pub fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.integer(-1),
        }
    }

    /// Returns the sum.
    pub fn finish(&self) -> i64 {
        let [a, b, c, d, ..] = *self.0.finalize().as_bytes();
        i64::from(u32::from_le_bytes([a, b, c, d]))
    }
}

/// Reads the 16 bytes of an id.
pub fn id(bytes: &[u8], name: &str) -> Result<Id, String> {
    array(bytes, name).map(Id::from_bytes)
}

/// Reads a column of a fixed size.
pub fn array<const N: usize>(bytes: &[u8], name: &str) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("its {name} has {} bytes instead of {N}", bytes.len()))
}

/// Reads a number that is never negative.
pub fn count(value: i64, name: &str) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("its {name} is negative"))
}

/// Returns a number as the database holds it. Fails if it is too large.
pub fn integer(name: &str, value: u64) -> Result<i64, String> {
    i64::try_from(value).map_err(|_| format!("its {name} is {value}; the limit is {}", i64::MAX))
}
