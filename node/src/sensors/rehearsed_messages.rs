//! Messages of sensors in the tests of packs: they make the same events as those that a source returns.

use bytes::Bytes;
use ensue_connectors::{Body, Message, Token};
use ensue_engine::catalog::{Sensor, Source};
use ensue_expression::Document;
use ensue_packs::cases::GivenMessage;
use ensue_rehearsal::messages::{MadeEvent, Messages};
use ensue_sensors::pulled_messages::{MessageResult, events_of};
use serde_json::{Value, json};

/// Makes the events of messages in tests of packs.
#[derive(Clone, Copy, Debug, Default)]
pub struct RehearsedMessages;

impl Messages for RehearsedMessages {
    fn make_events(&self, sensor: &Sensor, message: &GivenMessage) -> Result<Vec<MadeEvent>, String> {
        let body = match &message.body {
            Some(value) => {
                let parsed = Document::parse(Bytes::from(value.to_string()));
                Body::Json(parsed.map_err(|why| format!("the message is not JSON: {why}"))?)
            }
            None => Body::Nothing,
        };
        let mut about = message.about.clone();
        if let Source::Poll(_) = sensor.source {
            // What every item of a poll has.
            about.entry("index").or_insert_with(|| json!(0));
            about.entry("page").or_insert(Value::Null);
        }
        let message = Message { token: Token(1), body, about, key: None, time: message.time };
        match events_of(sensor, &message) {
            MessageResult::Events(emitted) => {
                let event = |one: ensue_sensors::webhook::EmittedEvent| MadeEvent {
                    trigger: one.trigger,
                    payload: one.payload,
                    dedupe: one.dedupe,
                };
                Ok(emitted.into_iter().map(event).collect())
            }
            MessageResult::Passed | MessageResult::Nothing => Ok(Vec::new()),
            MessageResult::Refused(refusal) => Err(refusal.to_string()),
        }
    }
}
