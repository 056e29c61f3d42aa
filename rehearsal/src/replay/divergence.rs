//! Finds where a replay takes another path than the recorded one: the first place, and the other differences
//! at that moment.

use std::collections::BTreeMap;

use ensue_engine::names::Names;
use ensue_engine::record::Body;
use serde_json::{Value, json};

use crate::replay::Closeness;
use crate::replay::decisions::{Aspect, CoreDecision, CoreDecisions, DecisionSubject};

/// The maximum number of differences reported for one moment. Further ones have the same cause.
pub const TOLD_MAX: usize = 10;

/// The maximum size of a shown value, in bytes of JSON.
const SHOWN_BYTES_MAX: usize = 1_024;

/// What differs from the recorded execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum What {
    /// The rule's decision on the event.
    Rule,
    /// The request: there is no such action, or its parameters do not fit.
    Request,
    /// Whether and how a step begins: another action, skipped or not, failed or not.
    Start,
    /// Its input; the pointer shows where.
    Input,
    /// The list whose items a step runs for.
    Items,
    /// A wait: its duration, its event, or its people.
    Wait,
    /// How it ended.
    Status,
    /// Why it failed.
    Error,
    /// Its result; the pointer shows where.
    Result,
    /// Something would happen that is not recorded, and its outcome is unknown.
    New,
    /// Something is recorded that would not happen.
    Gone,
    /// Any other decision of the core.
    Decision,
}

/// A difference between the recorded execution and the replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The path to the step, with its items and turns from 0: `deploy[2].check`; empty for the execution
    /// itself.
    pub step: String,
    /// What differs.
    pub what: What,
    /// The place in it, as a JSON pointer (RFC 6901); empty for the whole value.
    pub pointer: String,
    /// What was recorded; `None` if nothing was.
    pub recorded: Option<Value>,
    /// What would be; `None` if nothing would.
    pub would: Option<Value>,
}

/// Returns the differences at the first moment that has any.
pub(super) fn first(recorded: &CoreDecisions, would: &CoreDecisions, closeness: Closeness) -> Vec<Divergence> {
    let by_key: BTreeMap<_, &CoreDecision> = would.decisions.iter().map(|one| (key(one), one)).collect();
    let known: BTreeMap<_, ()> = recorded.decisions.iter().map(|one| (key(one), ())).collect();
    let way = |place: &DecisionSubject| recorded.way(place).or_else(|| would.way(place)).unwrap_or_default();
    let mut found: Vec<(usize, Divergence)> = Vec::new();
    for then in recorded.decisions.iter().filter(|one| closeness.counts(one)) {
        match by_key.get(&key(then)) {
            Some(now) => found.extend(difference(then, now, closeness).map(|(what, pointer, recorded, would)| {
                (then.moment.min(now.moment), Divergence { step: way(&then.place), what, pointer, recorded, would })
            })),
            None => found.push((then.moment, alone(then, way(&then.place), What::Gone))),
        }
    }
    let new = would.decisions.iter().filter(|one| closeness.counts(one) && !known.contains_key(&key(one)));
    found.extend(new.map(|now| (now.moment, alone(now, way(&now.place), What::New))));
    let Some(moment) = found.iter().map(|(moment, _)| *moment).min() else { return Vec::new() };
    found.into_iter().filter(|(at, _)| *at == moment).map(|(_, one)| one).take(TOLD_MAX).collect()
}

fn key(decision: &CoreDecision) -> (&DecisionSubject, Aspect, u32) {
    (&decision.place, decision.aspect, decision.nth)
}

fn alone(decision: &CoreDecision, step: String, what: What) -> Divergence {
    let does = Some(Value::from(decision.does.to_string()));
    let (recorded, would) = if what == What::New { (None, does) } else { (does, None) };
    Divergence { step, what, pointer: String::new(), recorded, would }
}

type FoundDifference = (What, String, Option<Value>, Option<Value>);

fn difference(then: &CoreDecision, now: &CoreDecision, closeness: Closeness) -> Option<FoundDifference> {
    if then.does != now.does {
        let what = match then.aspect {
            Aspect::Begin => What::Start,
            Aspect::End | Aspect::EndOfAll => What::Status,
            _ => What::Decision,
        };
        let text = |one: &CoreDecision| Some(Value::from(one.does.to_string()));
        return Some((what, String::new(), text(then), text(now)));
    }
    let of_body = match then.aspect {
        Aspect::Begin | Aspect::Question => What::Input,
        Aspect::Items => What::Items,
        Aspect::End | Aspect::EndOfAll => What::Result,
        _ => What::Decision,
    };
    if let Some((pointer, then, now)) = bodies(then.body.as_ref(), now.body.as_ref()) {
        return Some((of_body, pointer, then, now));
    }
    let (before, after) = match closeness {
        Closeness::Whole => (&then.fact, &now.fact),
        Closeness::Way => (&then.matters, &now.matters),
    };
    let (pointer, before, after) = values(before, after)?;
    let what = match then.aspect {
        Aspect::Begin if pointer.starts_with("/error") => What::Error,
        Aspect::End | Aspect::EndOfAll => What::Error,
        Aspect::Begin if closeness == Closeness::Way => What::Wait,
        Aspect::Items => What::Items,
        Aspect::Timer(..) | Aspect::Wait | Aspect::CancelWait | Aspect::Question => What::Wait,
        _ => What::Decision,
    };
    Some((what, pointer, before, after))
}

/// Returns the first place at which two bodies differ, with both values there.
pub(super) fn bodies(then: Option<&Body>, now: Option<&Body>) -> Option<(String, Option<Value>, Option<Value>)> {
    if then.map(|body| body.digest) == now.map(|body| body.digest) {
        return None;
    }
    let read = |body: Option<&Body>| {
        let bytes = body.and_then(|body| body.content.as_ref());
        bytes.map(|bytes| serde_json::from_slice(bytes).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes))))
    };
    match (read(then), read(now)) {
        // The same value with different formatting is not a difference.
        (Some(then), Some(now)) => values(&then, &now),
        (then, now) => Some((String::new(), then.map(shorten), now.map(shorten))),
    }
}

/// Returns the first place at which two values differ, with both values there.
pub(super) fn values(then: &Value, now: &Value) -> Option<(String, Option<Value>, Option<Value>)> {
    if then == now {
        return None;
    }
    let deeper = |name: &str, then: Option<&Value>, now: Option<&Value>| {
        let name = name.replace('~', "~0").replace('/', "~1");
        match (then, now) {
            (Some(then), Some(now)) => values(then, now).map(|(pointer, then, now)| (format!("/{name}{pointer}"), then, now)),
            (None, None) => None,
            (then, now) => Some((format!("/{name}"), then.cloned().map(shorten), now.cloned().map(shorten))),
        }
    };
    let found = match (then, now) {
        (Value::Object(before), Value::Object(after)) => {
            let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
            names.into_iter().find_map(|name| deeper(name, before.get(name), after.get(name)))
        }
        (Value::Array(before), Value::Array(after)) => {
            (0..before.len().max(after.len())).find_map(|index| deeper(&index.to_string(), before.get(index), after.get(index)))
        }
        _ => None,
    };
    found.or_else(|| Some((String::new(), Some(shorten(then.clone())), Some(shorten(now.clone())))))
}

/// Returns a value as it is shown: a large one is replaced by its size.
fn shorten(value: Value) -> Value {
    let bytes = value.to_string().len();
    if bytes <= SHOWN_BYTES_MAX { value } else { json!(format!("… ({bytes} bytes)")) }
}
