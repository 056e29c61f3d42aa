//! What the core decided of an execution, by the records of its log: one decision each, with the step that it is about.

use std::collections::BTreeMap;
use std::fmt;

use ensue_engine::executions::facts::{ExecutionRequested, Failure, Pace};
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, StepName};
use ensue_engine::record::{Actor, Body, Record, StreamId};
use ensue_engine::timers::facts::{RunsBy, TimerKind};
use ensue_engine::workflows::facts::{PartOf, PartRole, SkippedBecause};
use serde_json::{Value, json};

/// What a decision is about: the execution that is replayed, or a step of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The workflow and the step; none of the execution itself.
    step: Option<(ExecutionId, StepName)>,
    item: Option<u32>,
    is_undo: bool,
}

/// What of it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    Begin,
    Items,
    Wait,
    Event,
    EventErred,
    Question,
    Told,
    Timer(TimerKind, u32),
    Cancel,
    Indeterminate,
    Undo,
    UndoFailed,
    End,
    EndOfAll,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Run(ActionRef),
    Skip(SkippedBecause),
    FailBefore,
    TakeOver,
    Expand,
    Open,
    Take,
    Err,
    Tell,
    Time(TimerKind),
    Cancel,
    Doubt,
    Undo,
    Succeed,
    Fail,
    TimeOut,
    BeCancelled,
}

impl fmt::Display for Does {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(action) => write!(f, "run {action}"),
            Self::Skip(because) => write!(f, "skipped: {}", because.as_str()),
            Self::FailBefore => f.write_str("failed before it began"),
            Self::TakeOver => f.write_str("taken over"),
            Self::Expand => f.write_str("expanded for each item"),
            Self::Open => f.write_str("waits"),
            Self::Take => f.write_str("its event arrived"),
            Self::Err => f.write_str("an event could not be evaluated"),
            Self::Tell => f.write_str("people are notified"),
            Self::Time(kind) => write!(f, "waits for its {}", kind.as_str()),
            Self::Cancel => f.write_str("cancel requested"),
            Self::Doubt => f.write_str("indeterminate"),
            Self::Undo => f.write_str("undone"),
            Self::Succeed => f.write_str("succeeded"),
            Self::Fail => f.write_str("failed"),
            Self::TimeOut => f.write_str("timed_out"),
            Self::BeCancelled => f.write_str("cancelled"),
        }
    }
}

/// A decision of the core.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) place: Place,
    pub(super) aspect: Aspect,
    /// Which of the kind at its place, from 0.
    pub(super) nth: u32,
    /// How much had come from outside before it.
    pub(super) moment: usize,
    pub(super) does: Does,
    /// What of it counts also by another version of a pack.
    pub(super) matters: Value,
    /// All of it, but what differs each time: positions and times.
    pub(super) fact: Value,
    pub(super) body: Option<Body>,
}

/// What was decided, in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided {
    pub(super) decisions: Vec<Decision>,
    places: BTreeMap<ExecutionId, Place>,
    counts: BTreeMap<(Place, Aspect), u32>,
}

impl Decided {
    pub(super) fn of(root: ExecutionId) -> Self {
        Self { places: BTreeMap::from([(root, Place::default())]), ..Self::default() }
    }

    /// Takes in a record; what is no decision about the execution or its steps is passed over.
    pub(super) fn note(&mut self, record: &Record, moment: usize) {
        let StreamId::Execution(id) = record.stream else { return };
        if let Fact::ExecutionRequested(fact) = &record.fact {
            // What tells people of an inquiry is nobody's step.
            let Some(part_of) = &fact.part_of else { return };
            if !self.places.contains_key(&part_of.workflow) {
                return;
            }
            self.places.insert(id, Place::of_part(part_of));
        }
        let Some(own) = self.places.get(&id).cloned() else { return };
        let Some((place, aspect, does, matters)) = decision(id, own, record) else { return };
        let count = self.counts.entry((place.clone(), aspect)).or_default();
        let nth = *count;
        *count += 1;
        let fact = whole(record);
        self.decisions.push(Decision { place, aspect, nth, moment, does, matters, fact, body: record.body.clone() });
    }

    /// Gives the way to a place: `deploy[2].check`; empty for the execution itself.
    pub(super) fn way(&self, place: &Place) -> Option<String> {
        let Some((workflow, step)) = &place.step else { return Some(String::new()) };
        let around = self.way(self.places.get(workflow)?)?;
        let item = place.item.map(|item| format!("[{item}]")).unwrap_or_default();
        let undo = if place.is_undo { " (undo)" } else { "" };
        let dot = if around.is_empty() { "" } else { "." };
        Some(format!("{around}{dot}{step}{item}{undo}"))
    }
}

impl Place {
    fn of_part(part_of: &PartOf) -> Self {
        let step = Some((part_of.workflow, part_of.step.clone()));
        Self { step, item: part_of.item, is_undo: part_of.role == PartRole::Undo }
    }
}

fn decision(id: ExecutionId, own: Place, record: &Record) -> Option<(Place, Aspect, Does, Value)> {
    let step = |step: &StepName, item: Option<u32>| Place { step: Some((id, step.clone())), item, is_undo: false };
    let undo = |name: &StepName, item: Option<u32>| Place { is_undo: true, ..step(name, item) };
    let failure = |error: &Failure| json!({ "error": error });
    Some(match &record.fact {
        Fact::ExecutionRequested(fact) => (own, Aspect::Begin, Does::Run(fact.action.clone()), sleep_of(fact)),
        Fact::StepSkipped(fact) => (step(&fact.step, None), Aspect::Begin, Does::Skip(fact.because), Value::Null),
        Fact::StepFailed(fact) => (step(&fact.step, fact.item), Aspect::Begin, Does::FailBefore, failure(&fact.error)),
        Fact::StepTakenOver(fact) => (step(&fact.step, fact.item), Aspect::Begin, Does::TakeOver, Value::Null),
        Fact::StepExpanded(fact) => (step(&fact.step, None), Aspect::Items, Does::Expand, json!({ "count": fact.count })),
        Fact::StepEnded(fact) => match &fact.error {
            Some(error) => (step(&fact.step, None), Aspect::EndOfAll, Does::Fail, failure(error)),
            None => (step(&fact.step, None), Aspect::EndOfAll, Does::Succeed, Value::Null),
        },
        Fact::UndoBegun(fact) => (own, Aspect::Undo, Does::Undo, json!({ "count": fact.count })),
        Fact::UndoFailed(fact) => (undo(&fact.step, fact.item), Aspect::UndoFailed, Does::FailBefore, failure(&fact.error)),
        Fact::WaitOpened(fact) => (step(&fact.step, None), Aspect::Wait, Does::Open, json!({ "trigger": fact.trigger })),
        Fact::WaitMatched(fact) => (step(&fact.step, None), Aspect::Event, Does::Take, json!({ "event": fact.event })),
        Fact::WaitErred(fact) => (step(&fact.step, None), Aspect::EventErred, Does::Err, json!({ "event": fact.event })),
        // What the engine asks itself follows from the doubt, which is a decision already.
        Fact::InquiryOpened(fact) if fact.attempt.is_none() => {
            let asked = json!({ "title": fact.title, "assignees": fact.assignees, "excluded": fact.excluded, "quorum": fact.quorum,
                "veto": fact.veto });
            (own, Aspect::Question, Does::Open, asked)
        }
        Fact::InquiryReminded(_) | Fact::InquiryEscalated(_) => (own, Aspect::Told, Does::Tell, Value::Null),
        Fact::InquiryNotified(fact) => (own, Aspect::Told, Does::Tell, json!({ "of": fact.of })),
        Fact::InquiryNotificationFailed(fact) => (own, Aspect::Told, Does::Err, json!({ "of": fact.of })),
        Fact::TimerSet(fact) if fact.schedule.is_none() => (own, Aspect::Timer(fact.kind, fact.number), Does::Time(fact.kind), Value::Null),
        Fact::ExecutionCancelRequested(_) if record.actor == Actor::Engine => (own, Aspect::Cancel, Does::Cancel, Value::Null),
        Fact::ExecutionBecameIndeterminate(_) => (own, Aspect::Indeterminate, Does::Doubt, Value::Null),
        Fact::ExecutionSucceeded(_) => (own, Aspect::End, Does::Succeed, Value::Null),
        Fact::ExecutionFailed(fact) => (own, Aspect::End, Does::Fail, failure(&fact.error)),
        Fact::ExecutionTimedOut(fact) => (own, Aspect::End, Does::TimeOut, failure(&fact.error)),
        Fact::ExecutionCancelled(_) => (own, Aspect::End, Does::BeCancelled, Value::Null),
        // The rest came from outside, or says how things go on their way.
        _ => return None,
    })
}

/// Gives for how long something sleeps: that is what it is given.
fn sleep_of(fact: &ExecutionRequested) -> Value {
    match fact.pace {
        Pace::Sleeps { millis } => json!({ "sleep_millis": millis, "wait_millis": fact.wait_millis }),
        Pace::Worked | Pace::AtOnce | Pace::InSteps | Pace::Asks | Pace::Awaits { .. } => json!({ "wait_millis": fact.wait_millis }),
    }
}

/// Gives all that a record says, but where in its log it stands, and when: what waits for a while says for how long.
fn whole(record: &Record) -> Value {
    let json = record.fact.to_json().ok().and_then(|json| serde_json::from_slice(&json).ok());
    let mut fact: Value = json.unwrap_or_default();
    let from = record.time;
    match &record.fact {
        Fact::TimerSet(set) if set.kind.runs_by() == RunsBy::Elapsed => fact["due"] = json!(set.due.micros_since(from)),
        Fact::InquiryOpened(opened) => {
            if let Some(expires_at) = opened.expires_at {
                fact["expires_at"] = json!(expires_at.micros_since(from));
            }
        }
        _ => {}
    }
    without_places(&mut fact);
    fact
}

/// Takes the position out of each handle of a body: the bytes are the same wherever they stand.
fn without_places(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.len() == 3 && fields.contains_key("digest") && fields.contains_key("bytes") {
                fields.remove("at");
            }
            fields.values_mut().for_each(without_places);
        }
        Value::Array(items) => items.iter_mut().for_each(without_places),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
