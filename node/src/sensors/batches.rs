//! Batches: the messages of a source as events, as dead letters, or as nothing, within the limits of a commit.
//!
//! The core decides whether a batch is taken.

use bytes::Bytes;
use ensue_connectors::{Body as MessageBody, Message};
use ensue_engine::catalog::{Catalog, OnPoison, Sensor};
use ensue_engine::command::{ObservedEvent, RefusedDelivery};
use ensue_engine::record::Body;
use ensue_engine::sensors::decide::SENSOR_BATCH_DRAFTS_MAX;
use ensue_sensors::pulled::{Made, events_of};

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
    /// How many messages no `emits` matches.
    pub(super) passed: u32,
}

/// Makes a batch of the first messages, as many as fit. If the sensor stops at a message that is refused, the message is
/// alone in its batch.
pub(super) fn batch_of(edge: &Edge, catalog: &Catalog, sensor: &Sensor, messages: &[Message]) -> Batch {
    let mut batch = Batch::default();
    let stops = sensor.source.reading().is_some_and(|reading| reading.on_poison == OnPoison::Stop);
    for message in messages {
        let mut is_passed = false;
        let made = match events_of(sensor, message) {
            Made::Events(emitted) => {
                edge.pulled(catalog, sensor, message, emitted).map_err(|(trigger, why)| (Some(trigger), why.to_string()))
            }
            Made::Passed => {
                is_passed = true;
                Ok(Vec::new())
            }
            Made::Nothing => Ok(Vec::new()),
            Made::Refused(refusal) => Err((refusal.trigger().cloned(), refusal.to_string())),
        };
        let made = match made {
            Ok(events) if events.len() > SENSOR_BATCH_DRAFTS_MAX => {
                Err((None, format!("the message makes {} events; the limit is {SENSOR_BATCH_DRAFTS_MAX}", events.len())))
            }
            made => made,
        };
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
                batch.refused.push(RefusedDelivery { sensor: sensor.name.clone(), trigger, reason, body, with: None });
            }
        }
        batch.read += 1;
        if stops && !batch.refused.is_empty() {
            return batch;
        }
    }
    batch
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
