//! Turns messages of pulling sensors into events: decodes the body, checks it against the sensor's schema, then
//! renders the events.
//!
//! It does not know schemas of triggers, rules, or which dedupe keys were seen: the node checks those.

use std::collections::BTreeMap;

use bytes::Bytes;
use ensue_content::{DecodeError, JsonBodyError, decode, decode_line, parse_json_text};
use ensue_engine::catalog::{Decode, Extra, FileContent, Misfit, Reading, Sensor, Source, TextDecoding};
use ensue_engine::explain::Explain;
use ensue_engine::names::{SensorRef, TriggerRef};
use ensue_expression::{Document, Scope, Value};
use serde_json::Map;
use thiserror::Error;

use crate::message::{Body, MESSAGE_BYTES_MAX, Message};
use crate::refusal::HookRefusal;
use crate::webhook::{EmittedEvent, Making};

/// The name of a line in expressions.
pub const LINE: &str = "line";
/// The name of an item of a poll in expressions.
pub const ITEM: &str = "item";
/// The name of a file in expressions.
pub const FILE: &str = "file";
/// The field of a file that holds its content.
const CONTENT: &str = "body";

/// What a message makes.
#[derive(Clone, Debug)]
pub enum MessageResult {
    /// These events, at least one.
    Events(Vec<EmittedEvent>),
    /// No event: no emit of the sensor fits it.
    Passed,
    /// No event: it cannot be read, or an expression fails on it.
    Refused(PulledRefusal),
    /// Nothing: only the cursor moves.
    Nothing,
}

/// Why a message makes no events. A message makes all its events or none.
#[derive(Clone, Debug, Error, Explain)]
#[non_exhaustive]
pub enum PulledRefusal {
    /// It is not JSON.
    #[error("the message is not JSON: {0}")]
    #[explain(slug = "body-not-json", fault = Malformed,
        hint = "send one JSON value in UTF-8, or set `decode: text` beside the sensor's source")]
    NotJson(JsonBodyError),
    /// It is not text.
    #[error("the message is not text: {0}")]
    #[explain(slug = "message-invalid", fault = Malformed,
        hint = "name the sender's charset beside the sensor's source, for example `decode: {{ charset: windows-1252 }}`, or set \
                `invalid: replace` there")]
    NotText(DecodeError),
    /// It is too large.
    #[error("the message has {bytes} bytes; the limit is {MESSAGE_BYTES_MAX}")]
    #[explain(slug = "message-invalid", fault = TooLarge, hint = "send a link to large content instead of the content")]
    TooLarge {
        /// Its size, in bytes.
        bytes: u64,
    },
    /// It does not fit the sensor's schema.
    #[error("the message does not fit the `schema` of the sensor `{sensor}`: {misfit}")]
    #[explain(slug = "message-invalid", fault = Invalid, hint = "correct the sender, or the `schema` beside the sensor's source")]
    Unfit {
        /// The sensor.
        sensor: SensorRef,
        /// The first misfit.
        misfit: Misfit,
    },
    /// An expression of the sensor failed on it.
    #[error(transparent)]
    #[explain(transparent)]
    Emit(HookRefusal),
}

impl PulledRefusal {
    /// Returns the trigger whose event could not be made, if the error concerns a single trigger.
    pub fn trigger(&self) -> Option<&TriggerRef> {
        match self {
            Self::Emit(refusal) => refusal.trigger(),
            Self::NotJson(_) | Self::NotText(_) | Self::TooLarge { .. } | Self::Unfit { .. } => None,
        }
    }
}

/// Makes the events of a message: one for each emit of the sensor whose condition holds, in order.
pub fn events_of(sensor: &Sensor, message: &Message) -> MessageResult {
    if matches!(message.body, Body::Progress) {
        return MessageResult::Nothing;
    }
    match decode_body(sensor, &message.body).and_then(|body| make_events(sensor, message, body.as_ref())) {
        Ok(events) if events.is_empty() => MessageResult::Passed,
        Ok(events) => MessageResult::Events(events),
        Err(refusal) => MessageResult::Refused(refusal),
    }
}

/// Returns the content of a message in the declared form, or `None` if it has none.
fn decode_body(sensor: &Sensor, body: &Body) -> Result<Option<Document>, PulledRefusal> {
    let reading = sensor.source.reading();
    let document = match body {
        Body::Cut { whole, .. } => return Err(PulledRefusal::TooLarge { bytes: *whole }),
        Body::Nothing | Body::Progress => return Ok(None),
        Body::Json(document) => document.clone(),
        Body::Bytes(bytes) if bytes.len() > MESSAGE_BYTES_MAX => return Err(PulledRefusal::TooLarge { bytes: bytes.len() as u64 }),
        Body::Bytes(bytes) => text_or_json(&sensor.source, reading.unwrap_or(&Reading::default()), bytes)?,
    };
    let schema = reading.and_then(|reading| reading.schema.as_ref());
    let misfit = schema.and_then(|schema| schema.misfits(document.root(), Extra::Allowed).into_iter().next());
    match misfit {
        Some(misfit) => Err(PulledRefusal::Unfit { sensor: sensor.name.clone(), misfit }),
        None => Ok(Some(document)),
    }
}

fn text_or_json(source: &Source, reading: &Reading, bytes: &Bytes) -> Result<Document, PulledRefusal> {
    let TextDecoding { charset, invalid } = &reading.text_decoding;
    let is_whole_file = matches!(source, Source::File(file) if file.content == FileContent::Whole);
    let decode = if is_whole_file { decode } else { decode_line };
    let text = decode(bytes, charset.as_deref(), *invalid).map_err(PulledRefusal::NotText)?;
    if text.len() > MESSAGE_BYTES_MAX {
        // Decoded bytes may be longer than they were.
        return Err(PulledRefusal::TooLarge { bytes: text.len() as u64 });
    }
    match reading.decode {
        Decode::Json => parse_json_text(text, *invalid).map_err(PulledRefusal::NotJson),
        Decode::Text => Ok(Document::from_value(&String::from_utf8_lossy(&text).into())),
    }
}

fn make_events(sensor: &Sensor, message: &Message, body: Option<&Document>) -> Result<Vec<EmittedEvent>, PulledRefusal> {
    let described;
    let payload = match body {
        Some(body) => body,
        // A message without content is what is known about it.
        None => {
            let about = message.about.get(FILE).cloned().unwrap_or_else(|| message.about.clone().into());
            described = Document::from_value(&about);
            &described
        }
    };
    let scope = scope(sensor, &message.about, body);
    let mut making = Making { sensor, body: payload, scope, steps: 0, natural_key: None };
    let mut made = Vec::new();
    for (index, emit) in sensor.emits.iter().enumerate() {
        made.extend(making.event_of(index, emit).map_err(PulledRefusal::Emit)?);
    }
    Ok(made)
}

/// Returns the names that the expressions of `emits` read: the content under the name of its kind, and everything
/// that the source knows about the message.
fn scope<'a>(sensor: &'a Sensor, about: &'a Map<String, serde_json::Value>, body: Option<&'a Document>) -> Scope<'a> {
    let mut scope = Scope::new().with("config", Value::from_json(&sensor.config));
    for (name, value) in about {
        scope.set(name, Value::from_json(value));
    }
    let Some(body) = body.map(Document::root) else { return scope };
    match &sensor.source {
        Source::Process(_) => scope.set(LINE, body),
        Source::Poll(_) => scope.set(ITEM, body),
        Source::File(file) if file.content.is_in_lines() => scope.set(LINE, body),
        Source::File(_) => {
            let known = about.get(FILE).and_then(serde_json::Value::as_object);
            let mut fields: BTreeMap<&str, Value<'_>> =
                known.into_iter().flatten().map(|(name, value)| (name.as_str(), Value::from_json(value))).collect();
            fields.insert(CONTENT, Value::from(body));
            scope.set(FILE, Value::map(fields));
        }
        // Nobody fetches messages for these.
        Source::Webhook { .. } | Source::Timer { .. } => {}
    }
    scope
}

#[cfg(test)]
mod tests;
