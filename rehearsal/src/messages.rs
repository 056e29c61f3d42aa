//! Messages of sensors in cases: what they make, and what they were expected to make.
//!
//! The caller makes the events, as a node does, through [`Messages`]: this crate knows no sensors.

use std::collections::BTreeSet;

use ensue_engine::catalog::{Catalog, NotAccepted, Sensor};
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::names::{SensorRef, TriggerRef};
use ensue_expression::Document;
use ensue_packs::cases::{ExpectedEvent, ExpectedMade, GivenEvent, GivenMessage};
use serde_json::Value;

use crate::findings::{Difference, UnmetExpectation, compare_at};

/// Makes the events of messages, as a node does.
pub trait Messages {
    /// Returns the events of a message, none if no `emits` matches it.
    ///
    /// # Errors
    /// If the message is refused: why.
    fn make_events(&self, sensor: &Sensor, message: &GivenMessage) -> Result<Vec<MadeEvent>, String>;
}

/// An event that a message makes.
#[derive(Clone, Debug)]
pub struct MadeEvent {
    /// Its trigger, and the version of its payload.
    pub trigger: VersionedTrigger,
    /// Its payload.
    pub payload: Document,
    /// The key under which it is accepted once.
    pub dedupe: Option<String>,
}

/// The keys of the events of a case.
#[derive(Default)]
pub(crate) struct Keys(BTreeSet<(SensorRef, TriggerRef, String)>);

impl Keys {
    /// Returns the event as it comes to the rules; `None` if its key was there before, so that it is not recorded.
    pub(crate) fn event(&mut self, message: &GivenMessage, made: MadeEvent) -> Option<GivenEvent> {
        let MadeEvent { trigger: VersionedTrigger { name: trigger, version }, payload, dedupe } = made;
        if let Some(key) = dedupe
            && !self.0.insert((message.sensor.clone(), trigger.clone(), key))
        {
            return None;
        }
        let source = message.sensor.to_string();
        Some(GivenEvent { trigger, version, payload: value(&payload), source, time: message.time, after_millis: 0 })
    }
}

/// Makes the events of a message, each of which must fit its trigger.
pub(crate) fn make_checked_events(catalog: &Catalog, messages: &dyn Messages, message: &GivenMessage) -> Result<Vec<MadeEvent>, String> {
    let sensor = catalog.sensors().get(&message.sensor).ok_or_else(|| format!("there is no sensor `{}`", message.sensor))?;
    let events = messages.make_events(sensor, message)?;
    for event in &events {
        let VersionedTrigger { name, version } = &event.trigger;
        let trigger = catalog.triggers().get(name).ok_or_else(|| format!("the trigger `{name}` does not exist"))?;
        trigger.accept(*version, &event.payload).map_err(|why| unfit(name, &why))?;
    }
    Ok(events)
}

/// Returns why a trigger does not accept a payload, as a sentence.
pub(crate) fn unfit(trigger: &TriggerRef, why: &NotAccepted) -> String {
    match why {
        NotAccepted::NoNewest(why) => why.to_string(),
        NotAccepted::Misfits(_) => format!("the payload does not fit the trigger `{trigger}`: {why}"),
    }
}

/// Compares what a message makes with what it was expected to make. A message that is refused although nobody expected
/// it is a finding, too.
pub(crate) fn differences(message: &GivenMessage, made: &Result<Vec<MadeEvent>, String>) -> Vec<UnmetExpectation> {
    let what = format!("the message of `{}`", message.sensor);
    let is = |expected: Option<String>, got: Option<String>, hint: Option<String>| {
        let differences = vec![Difference { at: "made".to_owned(), expected, got }];
        vec![UnmetExpectation { line: message.line, what: what.clone(), differences, hint }]
    };
    let count = |count: usize| Some(if count == 1 { "1 event".to_owned() } else { format!("{count} events") });
    let refused = |reason: &str| Some(format!("refused: {reason}"));
    match (&message.expect, made) {
        (Some(ExpectedMade::Refused(part)), Err(reason)) if reason.contains(part) => Vec::new(),
        (Some(ExpectedMade::Refused(part)), Err(reason)) => is(refused(part), refused(reason), None),
        (Some(ExpectedMade::Refused(part)), Ok(events)) => is(refused(part), count(events.len()), None),
        (Some(ExpectedMade::Events(wanted)), Err(reason)) => is(count(wanted.len()), refused(reason), None),
        (None, Err(reason)) => is(None, refused(reason), Some("if that is right, write a part of the reason in `refused`".to_owned())),
        (None, Ok(_)) => Vec::new(),
        (Some(ExpectedMade::Events(wanted)), Ok(events)) if wanted.len() != events.len() => {
            let triggers: Vec<&str> = events.iter().map(|event| event.trigger.name.as_str()).collect();
            let hint = if triggers.is_empty() { "no `emits` matches it".to_owned() } else { format!("it makes {}", triggers.join(", ")) };
            is(count(wanted.len()), count(events.len()), Some(hint))
        }
        (Some(ExpectedMade::Events(wanted)), Ok(events)) => {
            wanted.iter().zip(events).filter_map(|(wanted, event)| one(wanted, event)).collect()
        }
    }
}

fn one(wanted: &ExpectedEvent, event: &MadeEvent) -> Option<UnmetExpectation> {
    let mut differences = Vec::new();
    if wanted.trigger != event.trigger {
        let (expected, got) = (Some(wanted.trigger.to_string()), Some(event.trigger.to_string()));
        differences.push(Difference { at: "trigger".to_owned(), expected, got });
    }
    if let Some(payload) = &wanted.payload {
        differences.extend(compare_at("payload", payload, &value(&event.payload), wanted.closeness));
    }
    if wanted.dedupe.is_some() && wanted.dedupe != event.dedupe {
        differences.push(Difference { at: "dedupe".to_owned(), expected: wanted.dedupe.clone(), got: event.dedupe.clone() });
    }
    let what = format!("the event of `{}`", event.trigger);
    (!differences.is_empty()).then_some(UnmetExpectation { line: wanted.line, what, differences, hint: None })
}

/// Returns a document as a value. It was parsed before.
fn value(document: &Document) -> Value {
    serde_json::from_str(document.root().raw()).unwrap_or_default()
}
