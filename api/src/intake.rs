//! Intake: whether there is memory for a request's body, asked before the first byte of it is read.
//!
//! 503 says that the node is full; 429 that the caller has its share, and others shall have theirs. What becomes of a body is
//! `body.rs`'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::names::SensorRef;
use thiserror::Error;

use crate::queues::{Held, Queue, QueueName, Queues};

/// How many times its length a body counts: as it is read, as it is parsed, and as it is kept.
const BODY_COPIES: u64 = 3;
/// What a request with a body counts at least: its head, its tasks and the buffers of its connection.
const REQUEST_BYTES_MIN: u64 = 16 * 1024;
/// One caller has at most one in so many of what there is.
const SHARES: u64 = 2;

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum IntakeRefusal {
    /// There is no memory for it now.
    #[error("there is no memory for the body now")]
    Full,
    /// The caller holds its share already.
    #[error("your own requests under way hold half of what the node has for all callers")]
    OverShare,
}

impl Explain for IntakeRefusal {
    fn slug(&self) -> &'static str {
        match self {
            Self::Full => "busy",
            Self::OverShare => "over-share",
        }
    }

    fn fault(&self) -> Fault {
        Fault::Busy
    }

    fn hint(&self) -> Option<String> {
        Some("send it again in a second; send fewer at once".into())
    }
}

/// Whose share a body counts to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    /// All who deliver at a hook: who they are is not known before the body is read.
    Hook(SensorRef),
    /// The holder of a token, by its name.
    Token(String),
    /// Whoever calls without being let in.
    Nobody,
}

/// The memory for bodies that are under way.
pub(crate) struct Intake {
    bytes: Arc<Queue>,
    by_caller: Mutex<BTreeMap<Caller, u64>>,
}

/// Room for one body, until it is dropped.
pub(crate) struct Admitted {
    intake: Arc<Intake>,
    caller: Caller,
    amount: u64,
    _held: Held,
}

impl Intake {
    /// Makes the intake of a node.
    pub(crate) fn new(queues: &Queues) -> Arc<Self> {
        Arc::new(Self { bytes: Arc::clone(queues.of(QueueName::RequestBytes)), by_caller: Mutex::default() })
    }

    /// Takes room for a body of the length that its headers say; one that does not say may become as long as any.
    pub(crate) fn admit(self: &Arc<Self>, caller: Caller, headers: &HeaderMap, bytes_max: usize) -> Result<Admitted, IntakeRefusal> {
        let amount = amount_of(headers, bytes_max);
        let share = self.bytes.capacity() / SHARES;
        let mut by_caller = self.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = by_caller.get(&caller).copied().unwrap_or(0);
        // The only request of a caller is never over its share: a body that is allowed at all can be sent.
        if mine > 0 && mine + amount > share {
            self.bytes.reject();
            return Err(IntakeRefusal::OverShare);
        }
        let held = self.bytes.enter(amount).ok_or(IntakeRefusal::Full)?;
        by_caller.insert(caller.clone(), mine + amount);
        drop(by_caller);
        Ok(Admitted { intake: Arc::clone(self), caller, amount, _held: held })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut by_caller = self.intake.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = by_caller.get_mut(&self.caller) {
            *mine -= self.amount;
            if *mine == 0 {
                by_caller.remove(&self.caller);
            }
        }
    }
}

fn amount_of(headers: &HeaderMap, bytes_max: usize) -> u64 {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<u64>().ok());
    let has_body = said.is_some() || headers.contains_key(header::TRANSFER_ENCODING);
    let bytes = if has_body { said.unwrap_or(bytes_max as u64).min(bytes_max as u64) } else { 0 };
    (bytes * BODY_COPIES).max(REQUEST_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_000_000;

    fn intake(capacity: u64) -> Arc<Intake> {
        Intake::new(&Queues::with(|_| capacity))
    }

    fn of_length(bytes: u64) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, bytes.into())])
    }

    fn token(name: &str) -> Caller {
        Caller::Token(name.to_owned())
    }

    #[test]
    fn one_caller_has_at_most_its_share_and_the_others_have_the_rest() {
        let intake = intake(1_200_000);
        let _first = intake.admit(token("ana"), &of_length(100_000), MAX).unwrap();
        let second = intake.admit(token("ana"), &of_length(100_000), MAX).unwrap();
        assert_eq!(intake.admit(token("ana"), &of_length(1), MAX).err(), Some(IntakeRefusal::OverShare));
        let _other = intake.admit(token("bo"), &of_length(200_000), MAX).unwrap();
        assert_eq!(intake.admit(token("cy"), &of_length(1), MAX).err(), Some(IntakeRefusal::Full));
        drop(second);
        assert!(intake.admit(token("ana"), &of_length(1), MAX).is_ok());
    }

    #[test]
    fn the_only_body_of_a_caller_is_taken_however_large_its_share_is() {
        let intake = intake(1_200_000);
        assert!(intake.admit(token("ana"), &of_length(400_000), MAX).is_ok());
        assert_eq!(intake.bytes.depth(), 0, "what was admitted is given back");
        assert!(intake.by_caller.lock().unwrap().is_empty());
    }

    #[test]
    fn a_body_that_does_not_say_its_length_counts_as_the_longest() {
        let chunked = HeaderMap::from_iter([(header::TRANSFER_ENCODING, header::HeaderValue::from_static("chunked"))]);
        assert_eq!(amount_of(&chunked, MAX), 3 * MAX as u64);
        assert_eq!(amount_of(&HeaderMap::new(), MAX), REQUEST_BYTES_MIN);
        assert_eq!(amount_of(&of_length(u64::MAX), MAX), 3 * MAX as u64);
    }
}
