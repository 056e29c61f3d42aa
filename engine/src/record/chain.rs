//! The hash chain: each record's hash covers the one before, so an edit anywhere shows everywhere after.
//!
//! The chain is tamper-evident, not secret. Bodies enter by their digest, so erasing one leaves the chain whole.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::record::{Head, Position, Record};

/// A hash of the chain.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Chain([u8; 32]);

impl Chain {
    /// Gives the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Makes a hash of 32 bytes that were given out by [`as_bytes`](Self::as_bytes).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Gives the hash of the chain with `record` behind `self`.
    ///
    /// It is `BLAKE3(previous ‖ fields)`. The fields stand in the order position, log, epoch, batch, stream, revision, kind,
    /// schema, id, time, actor, parent, root, depth, trace, fact, body digest; each is its length as u32 little-endian and its
    /// bytes. Integers are 8 bytes, u64 little-endian (the time in microseconds since the Unix epoch); ids, the stream, the kind
    /// and the actor are their text; the fact is its JSON as stored, the body digest 32 bytes; what is absent has the length
    /// 0xFFFFFFFF and no bytes.
    #[must_use]
    pub fn over(&self, record: &Record) -> Self {
        let mut fields = Fields(Vec::with_capacity(1024));
        fields.0.extend_from_slice(&self.0);
        fields.integer(record.position.0);
        fields.text(&record.log);
        fields.integer(record.epoch.0);
        fields.text(&record.batch);
        fields.text(&record.stream);
        fields.integer(record.revision.0);
        fields.bytes(record.kind().as_bytes());
        fields.integer(u64::from(record.schema));
        fields.text(&record.id);
        fields.integer(record.time.micros().cast_unsigned());
        fields.text(&record.actor);
        match record.cause.parent {
            Some(parent) => fields.text(&parent),
            None => fields.absent(),
        }
        fields.text(&record.cause.root);
        fields.integer(u64::from(record.cause.depth));
        match &record.cause.trace {
            Some(trace) => fields.bytes(trace.as_bytes()),
            None => fields.absent(),
        }
        fields.bytes(&record.fact_json);
        match &record.body {
            Some(body) => fields.bytes(body.digest.as_bytes()),
            None => fields.absent(),
        }
        Self(*blake3::hash(&fields.0).as_bytes())
    }
}

struct Fields(Vec<u8>);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn integer(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    fn text(&mut self, value: &dyn fmt::Display) {
        use std::io::Write;
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        // Writing to a Vec cannot fail.
        let _ = write!(self.0, "{value}");
        let length = (self.0.len() - start - 4) as u32;
        self.0[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn absent(&mut self) {
        self.0.extend_from_slice(&u32::MAX.to_le_bytes());
    }
}

/// Where and how a log is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A position is missing, doubled or out of order.
    #[error("position {expected} should be next, but {found} is: records were removed, added or moved there")]
    OutOfOrder {
        /// The position that should stand there.
        expected: Position,
        /// The position that stands there.
        found: Position,
    },
    /// The hash does not follow from the one before and the record.
    #[error("the record at position {at} is not the one that was written there: its hash does not follow from the record before it")]
    Broken {
        /// The first position whose hash does not follow.
        at: Position,
    },
    /// The body is not the one that was written.
    #[error("the body of the record at position {at} is not the one that was written")]
    Body {
        /// The position of the record.
        at: Position,
    },
}

/// Says whether `record` follows `head`, and gives the head after it.
pub fn verify_link(head: Head, record: &Record) -> Result<Head, ChainError> {
    let expected = head.position.next();
    if record.position != expected {
        return Err(ChainError::OutOfOrder { expected, found: record.position });
    }
    if head.chain.over(record) != record.chain {
        return Err(ChainError::Broken { at: record.position });
    }
    Ok(Head { position: record.position, chain: record.chain })
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({self})")
    }
}

impl FromStr for Chain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes())).map_err(|_| "not a chain hash of 64 hex digits".to_owned())
    }
}

impl Serialize for Chain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
