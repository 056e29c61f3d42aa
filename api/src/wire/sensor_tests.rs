//! Tests of sensors: what their next messages would make.

use ensue_derive::wire;
use ensue_engine::names::{RuleRef, SensorRef, TriggerRef};
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::ports::{SensorTested, TESTED_MESSAGES_MAX, TestedBody, TestedEvent, TestedMessage, TestedOutcome};
use crate::wire::sensor_runs::{WireSensorError, WireSensorLine};

/// The longest time that a test may wait for messages, in seconds.
const TIMEOUT_SECONDS_MAX: u64 = 60;

/// Which messages of a sensor to test.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireSensorTest {
    /// The maximum number of messages; 1 if it is not given.
    #[serde(default, deserialize_with = "count")]
    #[schemars(range(min = 1, max = 100))]
    pub(crate) count: Option<usize>,
    /// How long to wait for them, in seconds; 10 if it is not given.
    #[serde(default, deserialize_with = "seconds")]
    #[schemars(range(min = 1, max = 60))]
    pub(crate) timeout_seconds: Option<u64>,
    /// `start` to begin where a new sensor begins, instead of after the cursor.
    #[serde(default)]
    pub(crate) place: Option<WireTestPlace>,
}

/// A place in a source where a test can begin.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireTestPlace {
    /// Where a new sensor begins.
    Start,
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let Some(count) = Option::<usize>::deserialize(deserializer)? else { return Ok(None) };
    if (1..=TESTED_MESSAGES_MAX).contains(&count) {
        return Ok(Some(count));
    }
    Err(de::Error::custom(format!("`count` is {count}, but a test reads from 1 to {TESTED_MESSAGES_MAX} messages")))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(seconds) = Option::<u64>::deserialize(deserializer)? else { return Ok(None) };
    if (1..=TIMEOUT_SECONDS_MAX).contains(&seconds) {
        return Ok(Some(seconds));
    }
    Err(de::Error::custom(format!("`timeout_seconds` is {seconds}, but a test waits from 1 to {TIMEOUT_SECONDS_MAX} seconds")))
}

/// What a test of a sensor found. Nothing of it is recorded.
#[wire(Serialize)]
pub(crate) struct WireSensorTested {
    r#ref: SensorRef,
    /// Why the test ended: `enough`, it has as many messages as it was asked for or as fit; `quiet`, no further message
    /// came for a second; `timeout`; `done`, the source has ended; `failed`.
    ended: &'static str,
    /// Why the source failed.
    error: Option<WireSensorError>,
    /// The cursor that the test began after.
    cursor: Option<Box<RawValue>>,
    messages: Vec<WireTestedMessage>,
    /// The last lines that the source and its program said.
    log: Vec<WireSensorLine>,
    took_seconds: f64,
}

/// A message that a test of a sensor read.
#[wire(Serialize)]
struct WireTestedMessage {
    /// Its content, if it is JSON of at most 64 KiB.
    body: Option<Box<RawValue>>,
    /// Its content, at most the first 64 KiB, if it is not JSON yet.
    text: Option<String>,
    /// The number of bytes of its content.
    bytes: u64,
    /// What else the source knows about it.
    about: Map<String, Value>,
    /// When it happened, if the source says so.
    occurred_at: Option<Timestamp>,
    would: WireTestedOutcome,
    /// The trigger that does not accept it.
    trigger: Option<TriggerRef>,
    /// Why it is refused, or why the run would fail.
    reason: Option<String>,
    events: Vec<WireTestedEvent>,
    /// The cursor after it.
    cursor: Option<Box<RawValue>>,
}

/// What a message would make.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireTestedOutcome {
    /// Events.
    Events,
    /// No event: no `emits` matches it.
    Passed,
    /// A dead letter, or the end of the run if the sensor stops at one.
    Refused,
    /// The end of the run.
    Fails,
}

/// An event that a message would make.
#[wire(Serialize)]
struct WireTestedEvent {
    trigger: TriggerRef,
    /// Its payload, if it has at most 64 KiB.
    payload: Option<Box<RawValue>>,
    occurred_at: Timestamp,
    /// The key under which it is accepted once.
    dedupe: Option<String>,
    /// Whether an event with this key is in the log, so that this one would not be recorded.
    repeat: Option<bool>,
    /// The rules that match it.
    rules: Vec<RuleRef>,
}

impl WireSensorTested {
    pub(crate) fn new(r#ref: SensorRef, tested: SensorTested) -> Self {
        Self {
            r#ref,
            ended: tested.ended.as_str(),
            error: tested.error.map(WireSensorError::from),
            cursor: tested.after.and_then(raw),
            messages: tested.messages.into_iter().map(WireTestedMessage::from).collect(),
            log: tested.lines.into_iter().map(WireSensorLine::from).collect(),
            took_seconds: tested.took.as_secs_f64(),
        }
    }
}

impl From<TestedMessage> for WireTestedMessage {
    fn from(message: TestedMessage) -> Self {
        let (body, text) = match message.body {
            TestedBody::Json(json) => (raw(json), None),
            TestedBody::Text(text) => (None, Some(text)),
            TestedBody::NotShown => (None, None),
        };
        let (would, trigger, reason, events) = match message.would {
            TestedOutcome::Events(events) => (WireTestedOutcome::Events, None, None, events),
            TestedOutcome::Passed => (WireTestedOutcome::Passed, None, None, Vec::new()),
            TestedOutcome::Refused { trigger, reason } => (WireTestedOutcome::Refused, trigger, Some(reason), Vec::new()),
            TestedOutcome::Fails(reason) => (WireTestedOutcome::Fails, None, Some(reason), Vec::new()),
        };
        Self {
            body,
            text,
            bytes: message.bytes,
            about: message.about,
            occurred_at: message.time,
            would,
            trigger,
            reason,
            events: events.into_iter().map(WireTestedEvent::from).collect(),
            cursor: message.cursor.and_then(raw),
        }
    }
}

impl From<TestedEvent> for WireTestedEvent {
    fn from(event: TestedEvent) -> Self {
        let TestedEvent { trigger, payload, occurred_at, dedupe, is_repeat, rules } = event;
        Self { trigger, payload: payload.and_then(raw), occurred_at, dedupe, repeat: is_repeat, rules }
    }
}

/// Returns JSON that was parsed before.
fn raw(json: String) -> Option<Box<RawValue>> {
    RawValue::from_string(json).ok()
}
