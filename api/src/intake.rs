//! Intake: checks whether there is memory for a request's body before its first byte is read.
//!
//! 503 means that the node is full; 429 means that the caller is at its share, and the rest is for others.
//! Bodies are handled in `body.rs`.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use ensue_engine::explain::Explain;
use thiserror::Error;

use crate::queues::{QueueName, Queues};
use crate::quotas::{Caller, NoRoom, Quotas, Room};

/// How many times its length a body counts: as it is read, as it is parsed, and as it is stored.
pub const BODY_COPIES: u64 = 3;
/// The minimum bytes that a request with a body counts: its head, its tasks and the buffers of its
/// connection.
const REQUEST_BYTES_MIN: u64 = 16 * 1024;
/// One caller can have at most one part in this many of the memory.
const QUOTAS: u64 = 2;

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Busy, hint = "send it again in a second, and send fewer requests at once")]
pub(crate) enum IntakeRefusal {
    /// There is no memory for it now.
    #[error("not enough memory for the body")]
    #[explain(slug = "busy")]
    Full,
    /// The caller is at its share already.
    #[error("your requests in progress use half of the memory that the node has for all callers")]
    #[explain(slug = "over-share")]
    OverShare,
}

impl From<NoRoom> for IntakeRefusal {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => Self::Full,
            NoRoom::OverQuota => Self::OverShare,
        }
    }
}

/// The memory for bodies of requests in progress.
pub(crate) struct Intake(Arc<Quotas>);

impl Intake {
    /// Creates the intake of a node.
    pub(crate) fn new(queues: &Queues) -> Self {
        let bytes = queues.of(QueueName::RequestBytes);
        Self(Quotas::of(bytes.clone(), bytes.capacity() / QUOTAS))
    }

    /// Takes room for a body of the length in its headers; without a length, for the longest body allowed. A
    /// caller's only body is never over its share, so every body that is allowed at all can be sent.
    pub(crate) fn admit(&self, caller: Caller, headers: &HeaderMap, bytes_max: usize) -> Result<Room, IntakeRefusal> {
        Ok(self.0.enter(caller, amount_of(headers, bytes_max))?)
    }
}

fn amount_of(headers: &HeaderMap, bytes_max: usize) -> u64 {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<u64>().ok());
    let has_body = said.is_some() || headers.contains_key(header::TRANSFER_ENCODING);
    // What a compressed body becomes is known only once it is read.
    let said = said.filter(|_| !headers.contains_key(header::CONTENT_ENCODING));
    let bytes = if has_body { said.unwrap_or(bytes_max as u64).min(bytes_max as u64) } else { 0 };
    (bytes * BODY_COPIES).max(REQUEST_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_000_000;

    fn of_length(bytes: u64) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, bytes.into())])
    }

    fn token(name: &str) -> Caller {
        Caller::Token(name.to_owned())
    }

    #[test]
    fn caller_gets_at_most_half_of_the_memory_unless_it_is_the_only_one() {
        let intake = Intake::new(&Queues::with(|_| 1_200_000));
        let only = intake.admit(token("ana"), &of_length(400_000), MAX).unwrap();
        assert_eq!(intake.admit(token("ana"), &of_length(1), MAX).err(), Some(IntakeRefusal::OverShare));
        assert_eq!(intake.admit(token("bo"), &of_length(1), MAX).err(), Some(IntakeRefusal::Full));
        drop(only);
        let _half = intake.admit(token("ana"), &of_length(200_000), MAX).unwrap();
        let _other = intake.admit(token("bo"), &of_length(100_000), MAX).unwrap();
        assert_eq!(intake.admit(token("ana"), &of_length(1), MAX).err(), Some(IntakeRefusal::OverShare));
    }

    #[test]
    fn body_of_unknown_length_counts_as_the_maximum() {
        let chunked = HeaderMap::from_iter([(header::TRANSFER_ENCODING, header::HeaderValue::from_static("chunked"))]);
        assert_eq!(amount_of(&chunked, MAX), 3 * MAX as u64);
        assert_eq!(amount_of(&HeaderMap::new(), MAX), REQUEST_BYTES_MIN);
        assert_eq!(amount_of(&of_length(u64::MAX), MAX), 3 * MAX as u64);
    }
}
