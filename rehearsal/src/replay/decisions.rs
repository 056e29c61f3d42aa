//! Extracts the core's decisions about an execution from the records of its log: each decision with its step.

use std::collections::BTreeMap;
use std::fmt;

use ensue_engine::executions::facts::{ExecutionRequested, Failure, Pace};
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, StepName};
use ensue_engine::record::{Actor, Body, Record, StreamId};
use ensue_engine::timers::facts::{RunsBy, TimerKind};
use ensue_engine::workflows::facts::{PartOf, PartRole, Purpose, SkippedBecause};
use serde_json::{Value, json};

/// The subject of a decision: the replayed execution, or a step of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DecisionSubject {
    /// The workflow and the step; `None` for the execution itself.
    step: Option<(ExecutionId, StepName)>,
    item: Option<u32>,
    is_undo: bool,
}

/// The aspect of the subject that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    Choice,
    Begin,
    Items,
    Wait,
    Event,
    EventErred,
    CancelWait,
    CancelEvent,
    CancelEventErred,
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

/// The decision itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Run(ActionRef),
    Skip(SkippedBecause),
    Choose,
    FailBefore,
    TakeOver,
    Expand,
    Open,
    Take,
    Withdraw,
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
            Self::Choose => f.write_str("enough of the needed steps have ended"),
            Self::FailBefore => f.write_str("failed before it began"),
            Self::TakeOver => f.write_str("taken over"),
            Self::Expand => f.write_str("expanded for each item"),
            Self::Open => f.write_str("waits"),
            Self::Take => f.write_str("its event arrived"),
            Self::Withdraw => f.write_str("its question is withdrawn"),
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
pub(super) struct CoreDecision {
    pub(super) place: DecisionSubject,
    pub(super) aspect: Aspect,
    /// Its number among the decisions of its kind at its place, from 0.
    pub(super) nth: u32,
    /// How many inputs had come from outside before it.
    pub(super) moment: usize,
    pub(super) does: Does,
    /// The parts that must match with another version of a pack as well.
    pub(super) matters: Value,
    /// Everything except what differs each time: positions and times.
    pub(super) fact: Value,
    pub(super) body: Option<Body>,
}

/// The decisions, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct CoreDecisions {
    pub(super) decisions: Vec<CoreDecision>,
    places: BTreeMap<ExecutionId, DecisionSubject>,
    counts: BTreeMap<(DecisionSubject, Aspect), u32>,
}

impl CoreDecisions {
    pub(super) fn of(root: ExecutionId) -> Self {
        Self { places: BTreeMap::from([(root, DecisionSubject::default())]), ..Self::default() }
    }

    /// Applies a record. Records that are not decisions about the execution or its steps are ignored.
    pub(super) fn note(&mut self, record: &Record, moment: usize) {
        let StreamId::Execution(id) = record.stream else { return };
        if let Fact::ExecutionRequested(fact) = &record.fact {
            // The notifications of an inquiry are not steps.
            let Some(part_of) = &fact.part_of else { return };
            if !self.places.contains_key(&part_of.workflow) {
                return;
            }
            self.places.insert(id, DecisionSubject::of_part(part_of));
        }
        let Some(own) = self.places.get(&id).cloned() else { return };
        let Some((place, aspect, does, matters)) = decision(id, own, record) else { return };
        let count = self.counts.entry((place.clone(), aspect)).or_default();
        let nth = *count;
        *count += 1;
        let fact = whole(record);
        self.decisions.push(CoreDecision { place, aspect, nth, moment, does, matters, fact, body: record.body.clone() });
    }

    /// Returns the path to a place: `deploy[2].check`; empty for the execution itself.
    pub(super) fn way(&self, place: &DecisionSubject) -> Option<String> {
        let Some((workflow, step)) = &place.step else { return Some(String::new()) };
        let around = self.way(self.places.get(workflow)?)?;
        let item = place.item.map(|item| format!("[{item}]")).unwrap_or_default();
        let undo = if place.is_undo { " (undo)" } else { "" };
        let dot = if around.is_empty() { "" } else { "." };
        Some(format!("{around}{dot}{step}{item}{undo}"))
    }
}

impl DecisionSubject {
    fn of_part(part_of: &PartOf) -> Self {
        let step = Some((part_of.workflow, part_of.step.clone()));
        Self { step, item: part_of.item, is_undo: part_of.role == PartRole::Undo }
    }
}

fn decision(id: ExecutionId, own: DecisionSubject, record: &Record) -> Option<(DecisionSubject, Aspect, Does, Value)> {
    let step = |step: &StepName, item: Option<u32>| DecisionSubject { step: Some((id, step.clone())), item, is_undo: false };
    let undo = |name: &StepName, item: Option<u32>| DecisionSubject { is_undo: true, ..step(name, item) };
    let failure = |error: &Failure| json!({ "error": error });
    Some(match &record.fact {
        Fact::ExecutionRequested(fact) => (own, Aspect::Begin, Does::Run(fact.action.clone()), sleep_of(fact)),
        Fact::StepSkipped(fact) => (step(&fact.step, None), Aspect::Begin, Does::Skip(fact.because), Value::Null),
        Fact::StepChosen(fact) => {
            let which = json!({ "ended": fact.ended, "cancelled": fact.cancelled });
            (step(&fact.step, None), Aspect::Choice, Does::Choose, which)
        }
        Fact::StepFailed(fact) => (step(&fact.step, fact.item), Aspect::Begin, Does::FailBefore, failure(&fact.error)),
        Fact::StepTakenOver(fact) => (step(&fact.step, fact.item), Aspect::Begin, Does::TakeOver, Value::Null),
        Fact::StepExpanded(fact) => (step(&fact.step, None), Aspect::Items, Does::Expand, json!({ "count": fact.count })),
        Fact::StepEnded(fact) => match &fact.error {
            Some(error) => (step(&fact.step, None), Aspect::EndOfAll, Does::Fail, failure(error)),
            None => (step(&fact.step, None), Aspect::EndOfAll, Does::Succeed, Value::Null),
        },
        Fact::UndoBegun(fact) => (own, Aspect::Undo, Does::Undo, json!({ "count": fact.count })),
        Fact::UndoFailed(fact) => (undo(&fact.step, fact.item), Aspect::UndoFailed, Does::FailBefore, failure(&fact.error)),
        Fact::WaitOpened(fact) if fact.purpose == Purpose::Cancels => {
            (step(&fact.step, None), Aspect::CancelWait, Does::Open, json!({ "trigger": fact.trigger }))
        }
        Fact::WaitMatched(fact) if fact.purpose == Purpose::Cancels => {
            (step(&fact.step, None), Aspect::CancelEvent, Does::Take, json!({ "event": fact.event }))
        }
        Fact::WaitErred(fact) if fact.purpose == Purpose::Cancels => {
            (step(&fact.step, None), Aspect::CancelEventErred, Does::Err, json!({ "event": fact.event }))
        }
        Fact::InquiryWithdrawn(fact) if fact.by.is_some() => (own, Aspect::Question, Does::Withdraw, json!({ "by": fact.by })),
        Fact::WaitOpened(fact) => (step(&fact.step, None), Aspect::Wait, Does::Open, json!({ "trigger": fact.trigger })),
        Fact::WaitMatched(fact) => (step(&fact.step, None), Aspect::Event, Does::Take, json!({ "event": fact.event })),
        Fact::WaitErred(fact) => (step(&fact.step, None), Aspect::EventErred, Does::Err, json!({ "event": fact.event })),
        // An inquiry that the engine opens itself follows from a lost attempt, which is already a decision.
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
        // All other facts came from outside, or describe progress.
        _ => return None,
    })
}

/// Returns how long something sleeps, which is its input.
fn sleep_of(fact: &ExecutionRequested) -> Value {
    match fact.pace {
        Pace::Sleeps { millis } => json!({ "sleep_millis": millis, "wait_millis": fact.wait_millis }),
        Pace::Worked | Pace::AtOnce | Pace::InSteps | Pace::Asks | Pace::Awaits { .. } => json!({ "wait_millis": fact.wait_millis }),
    }
}

/// Returns the whole content of a record, without its position and time. A wait is described by its duration.
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

/// Removes the position from each handle of a body: the bytes are the same wherever they are stored.
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
