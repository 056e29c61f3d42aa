//! Keys that identify duplicates, and where each was seen.

use crate::ids::EventId;
use crate::names::TriggerRef;
use crate::record::{Digest, Position};
use crate::time::Timestamp;

/// The key under which an event is accepted once within [`DEDUPE_MILLIS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// The scope and the hash of the key.
    pub key: DedupeKey,
    /// The hash of the content, which distinguishes a repeat from something else under the same key.
    pub content: Digest,
    /// What happens to different content under the same key.
    pub conflict: Conflict,
}

impl Dedupe {
    /// Returns the key of an event that an execution emits. All executions that emit events of a trigger
    /// share its keys.
    pub fn of_emission(trigger: &TriggerRef, key: &str, payload: Digest) -> Self {
        let key = DedupeKey { scope: format!("emit/{trigger}"), hash: Digest::of(key.as_bytes()) };
        Self { key, content: payload, conflict: Conflict::IsRepeat }
    }
}

/// A body with a valid signature. The same body is a repeat within [`DEDUPE_MILLIS`], whatever its headers
/// are, because the headers are not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBody {
    /// The sensor, and the hash of the body.
    pub body: DedupeKey,
    /// The index of this event among the events of its delivery, from 0.
    pub index: u32,
}

impl SignedBody {
    /// Returns the key under which this event is remembered. For the first event, this is the key of the
    /// body.
    pub fn key(&self) -> DedupeKey {
        if self.index == 0 { self.body.clone() } else { self.body.of_event(self.index) }
    }

    /// Returns the keys under which a repeat of this event is found: its own key, and the key of the body's
    /// first event, because another delivery of the same body may have created fewer events.
    pub fn keys(&self) -> impl Iterator<Item = DedupeKey> {
        let later = (self.index > 0).then(|| self.key());
        later.into_iter().chain([self.body.clone()])
    }
}

/// How long a key is remembered, in milliseconds: 24 hours.
pub const DEDUPE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// What happens to different content under a key that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It counts as a repeat: the sender's id is trusted more than its bytes.
    IsRepeat,
    /// It is refused.
    IsRefused,
}

/// The name of something that is accepted once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DedupeKey {
    /// The scope of the key: a sensor and trigger, or a caller.
    pub scope: String,
    /// The hash of the key.
    pub hash: Digest,
}

/// Where a key was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupeEntry {
    /// The position of its record.
    pub position: Position,
    /// The event with the key.
    pub event: EventId,
    /// The hash of the content.
    pub content: Digest,
    /// The time until which it is remembered.
    pub until: Timestamp,
}

impl DedupeEntry {
    /// Returns until when something that was seen at this time is remembered.
    pub fn until(seen_at: Timestamp) -> Timestamp {
        seen_at.plus_millis(DEDUPE_MILLIS)
    }

    /// Returns when the key was seen: [`DEDUPE_MILLIS`] before it is forgotten.
    pub fn seen_at(&self) -> Timestamp {
        Timestamp::from_micros(self.until.micros().saturating_sub((DEDUPE_MILLIS * 1_000).cast_signed()))
    }
}

/// The keys that were seen.
pub trait SeenKeys {
    /// Returns where the key was seen, in the log or in the records that are about to be written.
    fn find_key(&self, key: &DedupeKey) -> Option<DedupeEntry>;
}
