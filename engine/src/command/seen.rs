//! Keys by which duplicates are recognized, and what is known of a key that was seen before.

use crate::ids::EventId;
use crate::names::TriggerRef;
use crate::record::{Digest, Position};
use crate::time::Timestamp;

/// The key under which an event is accepted once within [`DEDUPE_MILLIS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// The scope and the hash of the key.
    pub key: DedupeKey,
    /// The hash of what came with it, to tell a repeat from another thing under the same key.
    pub content: Digest,
    /// What becomes of another thing under the same key.
    pub conflict: Conflict,
}

impl Dedupe {
    /// The key of an event that an execution emits. All executions that emit events of a trigger share its keys.
    pub fn of_emission(trigger: &TriggerRef, key: &str, payload: Digest) -> Self {
        let key = DedupeKey { scope: format!("emit/{trigger}"), hash: Digest::of(key.as_bytes()) };
        Self { key, content: payload, conflict: Conflict::IsRepeat }
    }
}

/// A body whose signature was right: the same one is a repeat within [`DEDUPE_MILLIS`], whatever its headers say, as nobody signed those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBody {
    /// The sensor, and the hash of the body.
    pub body: DedupeKey,
    /// Which of the events of its delivery this is, from 0.
    pub index: u32,
}

impl SignedBody {
    /// Returns the key under which this event of the body is remembered: that of the body for its first event.
    pub fn key(&self) -> DedupeKey {
        if self.index == 0 { self.body.clone() } else { self.body.of_event(self.index) }
    }

    /// Returns the keys under which a repeat of this event is found: its own, and that of the body's first event, as another delivery of the
    /// same body may have made fewer events.
    pub fn keys(&self) -> impl Iterator<Item = DedupeKey> {
        let later = (self.index > 0).then(|| self.key());
        later.into_iter().chain([self.body.clone()])
    }
}

/// How long a key is remembered, in milliseconds: 24 hours.
pub const DEDUPE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// What becomes of another thing under a key that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It is taken for a repeat: a sender's id is trusted more than its bytes.
    IsRepeat,
    /// It is refused.
    IsRefused,
}

/// The name of something that is accepted once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DedupeKey {
    /// Where the key counts: a sensor and trigger, or a caller.
    pub scope: String,
    /// The hash of the key.
    pub hash: Digest,
}

/// Where a key was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The record that has it.
    pub position: Position,
    /// The event that has it.
    pub event: EventId,
    /// The hash of what came with it.
    pub content: Digest,
    /// Until when it is remembered.
    pub until: Timestamp,
}

impl Seen {
    /// Gives until when is remembered what was seen at a time.
    pub fn until(seen_at: Timestamp) -> Timestamp {
        seen_at.plus_millis(DEDUPE_MILLIS)
    }

    /// Gives when the key was seen: [`DEDUPE_MILLIS`] before it is forgotten.
    pub fn seen_at(&self) -> Timestamp {
        Timestamp::from_micros(self.until.micros().saturating_sub((DEDUPE_MILLIS * 1_000).cast_signed()))
    }
}

/// The keys that were seen.
pub trait SeenKeys {
    /// Says where the key was seen, by the log or by what is about to be in it.
    fn seen(&self, key: &DedupeKey) -> Option<Seen>;
}
