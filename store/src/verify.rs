//! Walks a log from its beginning and checks that every record is the one that was written, at its position,
//! with its body, and that it is found there.
//!
//! It neither folds the records nor interprets them.

use std::collections::BTreeMap;

use ensue_engine::explain::Explain;
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, ChainError, Digest, Head, Position, Record, Revision, StreamId, verify_link};
use thiserror::Error;

use crate::encode::{EncodingError, plain};

/// The number of streams whose newest revisions are remembered; others are looked up.
const STREAMS_MAX: usize = 1_000_000;

/// The summary of an intact log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifySummary {
    /// Its newest position, and the chain's hash there.
    pub head: Head,
    /// The number of checked records.
    pub records: u64,
    /// The number of bodies that were compared with their digests.
    pub bodies: u64,
}

/// Where and how a log differs from what was written.
#[derive(Debug, Error, Explain)]
#[explain(
    slug = "log-damaged",
    fault = World,
    hint = "keep an unchanged copy of the data directory, restore the last backup, and find out who or what changed the file"
)]
#[non_exhaustive]
pub enum VerifyError {
    /// A record was changed, moved, added or removed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A record or the file cannot be read.
    #[error(transparent)]
    Log(LogError),
    /// An index of the records is damaged; the records themselves may be intact.
    #[error(transparent)]
    #[explain(slug = "log-index-damaged", hint = Explain::hint(_0))]
    Index(LogError),
    /// A body was changed so that it cannot even be decoded.
    #[error("the body of the record at position {at} is not the one that was written: {why}")]
    Body {
        /// The position of the record.
        at: Position,
        /// The problem with it.
        why: EncodingError,
    },
    /// A stream has a gap, or a revision twice.
    #[error("the record at position {at} has revision {found} of {stream}, but revision {expected} should be there")]
    Revision {
        /// The position of the record.
        at: Position,
        /// Its stream.
        stream: StreamId,
        /// The expected revision.
        expected: Revision,
        /// The actual revision.
        found: Revision,
    },
    /// The records end elsewhere than the head says.
    #[error("the records end at position {}, but the head of the log is at {}: records were cut off or added", .found.position, .head.position)]
    #[explain(slug = "log-cut")]
    Head {
        /// The head.
        head: Head,
        /// Where the records end.
        found: Head,
    },
    /// The log ends before the head that was recorded outside of it.
    #[error("the log ends at position {found}, but it was seen at {}: its newest records were cut off", .seen.position)]
    #[explain(
        slug = "log-cut",
        hint = "to verify a backup, add `--copy`; to start from a restored backup, run `ensue restore accept --data DIR`; otherwise \
            keep a copy, and find out who or what changed the file"
    )]
    Cut {
        /// The recorded head.
        seen: Head,
        /// Where it ends.
        found: Position,
    },
    /// The log differs from the one that was recorded outside of it.
    #[error("the record at position {at} is not the one that was seen there: the log was rewritten")]
    #[explain(
        slug = "log-rewritten",
        hint = "to verify a backup, add `--copy`; to start from a restored backup, run `ensue restore accept --data DIR`; otherwise \
            keep a copy, and find out who or what changed the file"
    )]
    Rewritten {
        /// The position.
        at: Position,
    },
}

impl From<LogError> for VerifyError {
    fn from(error: LogError) -> Self {
        if matches!(error, LogError::Index(_)) { Self::Index(error) } else { Self::Log(error) }
    }
}

/// Walks the log from its first record to its head, and calls `progress` after each stretch. `seen` is the
/// head recorded outside the data directory, if there is one: without it, a tail that was cut off together
/// with the head goes unnoticed.
pub fn verify(reader: &dyn LogReader, seen: Option<Head>, mut progress: impl FnMut(Position)) -> Result<VerifySummary, VerifyError> {
    // Records appended in the meantime are left to the next walk.
    let end = reader.head()?;
    let mut walk = Walk { head: Head::default(), bodies: 0, streams: BTreeMap::new() };
    while walk.head.position < end.position {
        let records = reader.read(walk.head.position, ReadLimit::default())?;
        if records.is_empty() {
            break;
        }
        for record in records.iter().take_while(|record| record.position <= end.position) {
            walk.step(reader, record)?;
            if seen.is_some_and(|seen| seen.position == record.position && seen.chain != record.chain) {
                return Err(VerifyError::Rewritten { at: record.position });
            }
        }
        progress(walk.head.position);
    }
    if walk.head != end {
        return Err(VerifyError::Head { head: end, found: walk.head });
    }
    match seen {
        Some(seen) if seen.position > walk.head.position => Err(VerifyError::Cut { seen, found: walk.head.position }),
        Some(_) | None => {
            reader.check_indexes()?;
            Ok(VerifySummary { head: walk.head, records: walk.head.position.0, bodies: walk.bodies })
        }
    }
}

struct Walk {
    head: Head,
    bodies: u64,
    streams: BTreeMap<StreamId, Revision>,
}

impl Walk {
    fn step(&mut self, reader: &dyn LogReader, record: &Record) -> Result<(), VerifyError> {
        self.head = verify_link(self.head, record)?;
        if let Some(body) = &record.body {
            self.bodies += u64::from(compare(record.position, body)?);
        }
        let newest = match self.streams.get(&record.stream) {
            Some(newest) => *newest,
            None if record.revision <= Revision(1) => Revision(0),
            None => predecessor(reader, record)?,
        };
        if newest.next() != record.revision {
            return Err(VerifyError::Revision {
                at: record.position,
                stream: record.stream.clone(),
                expected: newest.next(),
                found: record.revision,
            });
        }
        if self.streams.len() >= STREAMS_MAX {
            self.streams.clear();
        }
        self.streams.insert(record.stream.clone(), record.revision);
        Ok(())
    }
}

/// Compares a body with its digest. Returns true if there was content to compare.
fn compare(at: Position, body: &Body) -> Result<bool, VerifyError> {
    match plain(body) {
        Ok(Some(plain)) if Digest::of(&plain) != body.digest => Err(ChainError::Body { at }.into()),
        Ok(plain) => Ok(plain.is_some()),
        // It can only be compared where its key is available.
        Err(EncodingError::Sealed(_)) => Ok(false),
        Err(why) => Err(VerifyError::Body { at, why }),
    }
}

/// Returns the newest revision of the stream before the record, or 0 if it is not at an earlier position.
fn predecessor(reader: &dyn LogReader, record: &Record) -> Result<Revision, VerifyError> {
    let before = Revision(record.revision.0.saturating_sub(2));
    let found = reader.read_stream(&record.stream, before, ReadLimit { records: 1, bytes: 0 })?;
    let newest = found.first().filter(|found| found.position < record.position);
    Ok(newest.map_or(Revision(0), |found| found.revision))
}

#[cfg(test)]
mod tests;
