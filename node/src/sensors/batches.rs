//! Batches: the messages of a source as events, as dead letters, or as nothing, within the limits of a commit.
//!
//! The core decides whether a batch is taken.

use bytes::Bytes;
use ensue_connectors::{Body as MessageBody, Message};
use ensue_engine::catalog::{Catalog, OnPoison, Sensor};
use ensue_engine::command::{ObservedEvent, RefusedDelivery};
use ensue_engine::events::facts::DeliveredWith;
use ensue_engine::names::TriggerRef;
use ensue_engine::record::Body;
use ensue_engine::sensors::decide::SENSOR_BATCH_DRAFTS_MAX;
use ensue_sensors::pulled_messages::{MessageResult, events_of};

use crate::edge::Edge;

/// The maximum number of messages in a batch.
pub(super) const BATCH_MESSAGES_MAX: usize = 500;
/// The number of bytes after which no further message is added to a batch.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;

/// What a batch of messages makes.
#[derive(Default)]
pub(super) struct Batch {
    /// How many messages it holds, from the first on.
    pub(super) read: usize,
    /// The events of the messages. All events of a message are in the same batch.
    pub(super) events: Vec<ObservedEvent>,
    /// The messages that cannot become events.
    pub(super) refused: Vec<RefusedDelivery>,
    /// Which messages these are, from 0.
    refused_at: Vec<usize>,
    /// How many messages no `emits` matches.
    pub(super) passed: u32,
}

impl Batch {
    /// Returns true if there is neither an event nor a refused message.
    pub(super) fn makes_nothing(&self) -> bool {
        self.events.is_empty() && self.refused.is_empty()
    }

    /// Returns true if a message makes an event, or no `emits` matches it.
    pub(super) fn accepts_something(&self) -> bool {
        !self.events.is_empty() || self.passed > 0
    }

    /// Returns which messages the last ones of its refused messages are, from 0.
    pub(super) fn last_refused(&self, count: usize) -> &[usize] {
        &self.refused_at[self.refused_at.len().saturating_sub(count)..]
    }

    /// Returns the batch together with the messages before it, which make nothing.
    pub(super) fn after(mut self, passed: &Self) -> Self {
        self.read += passed.read;
        self.refused_at.iter_mut().for_each(|at| *at += passed.read);
        self.passed = self.passed.saturating_add(passed.passed);
        self
    }
}

/// Makes a batch of the first messages, as many as fit. If the sensor stops at a message that is refused, the message is
/// alone in its batch.
pub(super) fn batch_of(edge: &Edge, catalog: &Catalog, sensor: &Sensor, messages: &[Message]) -> Batch {
    let mut batch = Batch::default();
    let stops = sensor.source.reading().is_some_and(|reading| reading.on_poison == OnPoison::Stop);
    for message in messages {
        let mut is_passed = false;
        let made = judge_message(edge, catalog, sensor, message, events_of(sensor, message)).map(|events| {
            is_passed = events.is_none();
            events.unwrap_or_default()
        });
        let added = made.as_ref().map_or(1, Vec::len);
        let is_full = batch.events.len() + batch.refused.len() + added > SENSOR_BATCH_DRAFTS_MAX;
        if batch.read > 0 && (is_full || stops && made.is_err()) {
            return batch;
        }
        batch.passed += u32::from(is_passed);
        match made {
            Ok(events) => batch.events.extend(events),
            Err((trigger, reason)) => {
                let body = Body::raw(content(message));
                let with = retry_data(message);
                batch.refused_at.push(batch.read);
                batch.refused.push(RefusedDelivery { sensor: sensor.name.clone(), trigger, reason, body, with });
            }
        }
        batch.read += 1;
        if stops && !batch.refused.is_empty() {
            return batch;
        }
    }
    batch
}

/// Why a message is refused, and the trigger that does not accept it, if it is one.
pub(super) type Unmade = (Option<TriggerRef>, String);

/// Returns the judged events of a message, or `None` if no `emits` matches it.
pub(super) fn judge_message(
    edge: &Edge,
    catalog: &Catalog,
    sensor: &Sensor,
    message: &Message,
    made: MessageResult,
) -> Result<Option<Vec<ObservedEvent>>, Unmade> {
    let events = match made {
        MessageResult::Events(emitted) => {
            edge.events_of_message(catalog, sensor, message, emitted).map_err(|(trigger, why)| (Some(trigger), why.to_string()))?
        }
        MessageResult::Passed => return Ok(None),
        MessageResult::Nothing => Vec::new(),
        MessageResult::Refused(refusal) => return Err((refusal.trigger().cloned(), refusal.to_string())),
    };
    if events.len() > SENSOR_BATCH_DRAFTS_MAX {
        return Err((None, format!("the message makes {} events; the limit is {SENSOR_BATCH_DRAFTS_MAX}", events.len())));
    }
    Ok(Some(events))
}

/// Returns what is kept of a message beside its content, so that it can be retried.
fn retry_data(message: &Message) -> Option<DeliveredWith> {
    message.to_kept().map(|message| DeliveredWith { message: Some(message), ..DeliveredWith::default() })
}

/// Returns the content of a message as it is kept in a dead letter.
fn content(message: &Message) -> Bytes {
    match &message.body {
        MessageBody::Bytes(bytes) => bytes.clone(),
        MessageBody::Json(document) => document.bytes().clone(),
        MessageBody::Cut { head, .. } => head.clone(),
        MessageBody::Nothing | MessageBody::Progress => Bytes::new(),
    }
}
