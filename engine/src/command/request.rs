//! Idempotent requests: the log remembers the first request with a key, and rebuilds its answer for repeats.
//!
//! A request is remembered among the seen keys, in the same commit as its records: one row for the request,
//! and one for each event in it. The edge decides how an answer looks.

use super::{Answer, DedupeEntry, DedupeKey, Moment, Novelty, ReceivedEvent, SeenKeys};
use crate::ids::{EventId, ExecutionId, Id, LogId};
use crate::record::{Digest, Position};

/// The key under which a request is carried out once within [`DEDUPE_MILLIS`](super::DEDUPE_MILLIS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The caller, and the hash of the caller's key.
    pub key: DedupeKey,
    /// The hash of the request, which distinguishes a repeat from another request with the same key.
    pub content: Digest,
}

/// The answer to the first request with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstAnswer {
    /// The hash of the request.
    pub content: Digest,
    /// The newest position in the answer.
    pub position: Position,
    /// The execution that it requested or changed; `None` if it was about something else.
    pub execution: Option<ExecutionId>,
    /// The events that it brought, in order.
    pub events: Vec<SeenEvent>,
}

/// An event as it was reported to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenEvent {
    /// Its id.
    pub id: EventId,
    /// Its position.
    pub position: Position,
    /// Whether it was new.
    pub novelty: Novelty,
}

impl From<&ReceivedEvent> for SeenEvent {
    fn from(event: &ReceivedEvent) -> Self {
        Self { id: event.id, position: event.position, novelty: event.novelty }
    }
}

impl DedupeKey {
    /// Returns the key under which the `index`-th event of this request is remembered.
    pub fn of_event(&self, index: u32) -> Self {
        self.of(&index.to_le_bytes())
    }

    /// Returns the key under which one of the things that this request asks for is remembered.
    fn of(&self, thing: &[u8]) -> Self {
        let named = [self.hash.as_bytes(), thing].concat();
        Self { scope: self.scope.clone(), hash: Digest::of(&named) }
    }
}

impl FirstAnswer {
    /// Returns the answer to the first request with a key, or `None` if there was none or it has expired.
    pub(crate) fn find(log: LogId, key: &DedupeKey, at: &Moment, seen: &dyn SeenKeys) -> Option<Self> {
        let first = seen.find_key(key).filter(|first| first.until > at.time)?;
        let of = first.event.0;
        let rows: Vec<DedupeEntry> =
            (0..).map_while(|index| seen.find_key(&key.of_event(index))).take_while(|row| row.until == first.until).collect();
        // The rows do not record what was new: new are the events from the first new one on, each once.
        let new_from = rows.iter().find(|row| row.event.0 == of).map(|row| row.position);
        let novelty = |index: usize, row: &DedupeEntry| {
            let is_new = new_from.is_some_and(|from| row.position >= from) && !rows[..index].iter().any(|other| other.event == row.event);
            if is_new { Novelty::New } else { Novelty::Repeat }
        };
        let events =
            rows.iter().enumerate().map(|(index, row)| SeenEvent { id: row.event, position: row.position, novelty: novelty(index, row) });
        // The row of the request names an execution, else its first new event, else the log.
        let execution = (of != log.0 && new_from.is_none()).then_some(ExecutionId(of));
        Some(Self { content: first.content, position: first.position, execution, events: events.collect() })
    }
}

impl RequestKey {
    /// Returns the key under which one of many things is changed once, whichever page lists it, with the hash
    /// of the change.
    #[must_use]
    pub fn of_one(&self, one: Id, what: &str) -> Self {
        Self { key: self.key.of(one.as_bytes()), content: Digest::of(what.as_bytes()) }
    }

    /// Returns the key under which the `index`-th item of a list is carried out once, with the hash of the item.
    #[must_use]
    pub fn of_item(&self, index: u32, content: Digest) -> Self {
        Self { key: self.key.of(&[b"item ", index.to_le_bytes().as_slice()].concat()), content }
    }

    /// Returns the rows that remember the answer to a request.
    pub(crate) fn rows(&self, log: LogId, answer: &Answer, position: Position, at: &Moment) -> Vec<(DedupeKey, DedupeEntry)> {
        let until = DedupeEntry::until(at.time);
        let row = |position, event| DedupeEntry { position, event, content: self.content, until };
        let (of, events): (Id, &[ReceivedEvent]) = match answer {
            Answer::Execution(id) => (id.0, &[]),
            // If nothing was new, the row names the log, which is not an event.
            Answer::Events(events) => (events.iter().find(|event| event.novelty == Novelty::New).map_or(log.0, |event| event.id.0), events),
            Answer::Done | Answer::Catalog(_) | Answer::ReportedLate => (log.0, &[]),
            // Already remembered.
            Answer::Before(_) => return Vec::new(),
        };
        let mut rows = vec![(self.key.clone(), row(position, EventId(of)))];
        rows.extend((0..).zip(events).map(|(index, event)| (self.key.of_event(index), row(event.position, event.id))));
        rows
    }
}
