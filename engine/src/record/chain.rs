//! The hash chain: each record's hash covers the one before it, so an edit anywhere changes every later hash.
//!
//! The chain is tamper-evident, not secret. It covers bodies by their digest, so erasing one leaves the chain
//! intact.

use super::Chain;
use crate::record::{Head, Position, Record};
use std::fmt;
use thiserror::Error;

impl Chain {
    /// Returns the hash of the chain with `record` appended after `self`.
    ///
    /// It is `BLAKE3(previous ‖ fields)`. The fields are, in this order: position, log, epoch, batch, stream,
    /// revision, kind, schema, id, time, actor, parent, root, depth, trace, fact, body digest. Each is its
    /// length as u32 little-endian, followed by its bytes. Integers are 8 bytes, u64 little-endian (the time
    /// in microseconds since the Unix epoch); ids, the stream, the kind and the actor are their text; the
    /// fact is its JSON as stored; the body digest is 32 bytes. An absent field has the length 0xFFFFFFFF and
    /// no bytes.
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

/// How a log differs from what was written, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A position is missing, duplicated or out of order.
    #[error("position {expected} should be next, but {found} is: records were removed, added or moved there")]
    OutOfOrder {
        /// The expected position.
        expected: Position,
        /// The position found.
        found: Position,
    },
    /// The hash is not that of the previous hash and the record.
    #[error("the record at position {at} is not the one that was written there: its hash does not follow from the record before it")]
    Broken {
        /// The first position with a wrong hash.
        at: Position,
    },
    /// The body is not the one that was written.
    #[error("the body of the record at position {at} is not the one that was written")]
    Body {
        /// The position of the record.
        at: Position,
    },
}

/// Checks that `record` follows `head`, and returns the head after it.
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
