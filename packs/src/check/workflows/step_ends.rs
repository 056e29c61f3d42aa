//! The types of what can be read of an ended step, and how a step can end.

use std::collections::BTreeMap;

use ensue_engine::catalog::{OnExpire, Schema};
use ensue_engine::names::ActionRef;
use ensue_expression::{MapType, Occurrence, Others, ValueType};

use crate::check::schemas::{ValueForm, type_of};

/// How a step can have ended.
const STATUSES: [&str; 5] = ["succeeded", "failed", "timed_out", "cancelled", "skipped"];

/// What is known of the end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownEnd {
    /// It may have ended in any way.
    Any,
    /// It succeeded; otherwise the field that reads it would not be computed.
    Success,
}

/// The kind of a step, which determines the fields that can be read of it.
#[derive(Clone, Copy)]
pub(super) enum ReadableStep<'a> {
    /// One action, with its declared result if it has one.
    Action { name: &'a ActionRef, result: Option<&'a Schema>, times: Times },
    /// A `sleep`.
    Sleep { cancels: Cancels<'a> },
    /// An `inquiry`, with the schema of its answer.
    Inquiry { answer: Option<&'a Schema>, cancels: Cancels<'a> },
    /// A `wait`, with the type of its event.
    Wait { event: Option<&'a ValueType>, on_expire: OnExpire, cancels: Cancels<'a> },
    /// A `fail`.
    Fail,
    /// An `assert`.
    Assert,
    /// It has an error that has been reported.
    Unknown,
}

/// Whether an event can cancel a step.
#[derive(Clone, Copy)]
pub(super) struct Cancels<'a> {
    pub(super) is_possible: bool,
    /// The type of the event, if its trigger is known.
    pub(super) event: Option<&'a ValueType>,
}

impl Cancels<'_> {
    /// Returns the type of `event` of a step that is null unless an event canceled it.
    fn event(self, end: KnownEnd) -> ValueType {
        match end {
            KnownEnd::Success => ValueType::null(),
            KnownEnd::Any => self.event.cloned().unwrap_or_else(ValueType::anything).or_null(),
        }
    }

    /// Adds the event to the fields of a step, if it can be canceled.
    fn to(self, fields: MapType, end: KnownEnd) -> MapType {
        if self.is_possible { fields.with("event", self.event(end), Occurrence::Always) } else { fields }
    }
}

/// How often a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    /// It is repeated, possibly without a single turn.
    Perhaps,
    /// It is repeated, and returns a list of the results of its turns.
    Collected,
    ForEachItem,
}

/// The result types of actions, each computed once.
#[derive(Default)]
pub(super) struct Results(BTreeMap<ActionRef, ValueType>);

impl Results {
    /// Returns the result type of a step that succeeds, or of each of its items.
    pub(super) fn gave(&mut self, ended: ReadableStep<'_>) -> ValueType {
        match ended {
            ReadableStep::Action { name, result, times: Times::Once | Times::ForEachItem } => self.result(name, result),
            ReadableStep::Action { name, result, times: Times::Perhaps } => self.result(name, result).or_null(),
            ReadableStep::Action { times: Times::Collected, .. } => ValueType::list(ValueType::json()),
            ReadableStep::Unknown
            | ReadableStep::Sleep { .. }
            | ReadableStep::Inquiry { .. }
            | ReadableStep::Wait { .. }
            | ReadableStep::Fail
            | ReadableStep::Assert => ValueType::anything(),
        }
    }

    /// Returns the type of `steps.<name>`.
    pub(super) fn of(&mut self, ended: ReadableStep<'_>, end: KnownEnd) -> ValueType {
        let times = match ended {
            ReadableStep::Unknown => return ValueType::anything(),
            ReadableStep::Fail => return failed_step(),
            ReadableStep::Assert => return assert_type(end),
            ReadableStep::Sleep { cancels } => return sleep_type(cancels, end),
            ReadableStep::Inquiry { answer, cancels } => return inquiry_type(answer, cancels, end),
            ReadableStep::Wait { event, on_expire, cancels } => return wait_type(event, on_expire, cancels, end),
            ReadableStep::Action { times, .. } => times,
        };
        let result = self.gave(ended);
        let fields = match (times, end) {
            (Times::Once | Times::Perhaps | Times::Collected, KnownEnd::Success) => {
                one("the fields of a step", ValueType::one_of(["succeeded"]), result, ValueType::null())
            }
            (Times::Once | Times::Perhaps | Times::Collected, KnownEnd::Any) => {
                one("the fields of a step", ValueType::one_of(STATUSES), result.or_null(), error().or_null())
            }
            (Times::ForEachItem, end) => {
                let item = one("the fields of an item", ValueType::one_of(STATUSES), result.or_null(), error().or_null());
                let (status, error) = match end {
                    KnownEnd::Success => (ValueType::one_of(["succeeded"]), ValueType::null()),
                    KnownEnd::Any => (ValueType::one_of(STATUSES), error().or_null()),
                };
                MapType::new(Others::None)
                    .with_wording("the fields of a step with `for_each`", None)
                    .with("status", status, Occurrence::Always)
                    .with("items", ValueType::list(ValueType::map(item)), Occurrence::Always)
                    .with("error", error, Occurrence::Always)
            }
        };
        ValueType::map(fields)
    }

    /// Returns the type of an action's result.
    pub(super) fn result(&mut self, name: &ActionRef, schema: Option<&Schema>) -> ValueType {
        let Some(schema) = schema else { return ValueType::json() };
        let make = || type_of(schema, ValueForm::Sent, "the fields of the result", None);
        self.0.entry(name.clone()).or_insert_with(make).clone()
    }
}

fn one(called: &'static str, status: ValueType, result: ValueType, error: ValueType) -> MapType {
    MapType::new(Others::None)
        .with_wording(called, None)
        .with("status", status, Occurrence::Always)
        .with("result", result, Occurrence::Always)
        .with("error", error, Occurrence::Always)
}

/// The type of a needed step that `any` did not choose. An expression must guard all fields except the status and the
/// error, because they may be missing.
pub(super) fn not_chosen() -> ValueType {
    let fields = MapType::new(Others::None)
        .with_wording("the fields of a step", None)
        .with("status", ValueType::one_of(["running"]), Occurrence::Always)
        .with("error", ValueType::null(), Occurrence::Always);
    ValueType::map(fields)
}

/// A step that sleeps has no result.
fn sleep_type(cancels: Cancels<'_>, end: KnownEnd) -> ValueType {
    let (status, error) = match end {
        KnownEnd::Success => (ValueType::one_of(["succeeded"]), ValueType::null()),
        KnownEnd::Any => (ValueType::one_of(STATUSES), error().or_null()),
    };
    ValueType::map(cancels.to(one("the fields of a step with `sleep`", status, ValueType::null(), error), end))
}

/// An inquiry returns the answer that counts, and all answers.
fn inquiry_type(schema: Option<&Schema>, cancels: Cancels<'_>, end: KnownEnd) -> ValueType {
    let answer = schema.map_or_else(ValueType::anything, |schema| type_of(schema, ValueForm::Accepted, "the fields of the answer", None));
    let given = MapType::new(Others::None)
        .with_wording("the fields of one of the answers", None)
        .with("by", ValueType::text(), Occurrence::Always)
        .with("at", ValueType::text(), Occurrence::Always)
        .with("verdict", ValueType::one_of(["counts", "decides", "vetoes"]), Occurrence::Always)
        .with("answer", answer.clone(), Occurrence::Always);
    let answers = ValueType::list(ValueType::map(given));
    let (status, answer, answers, error) = match end {
        KnownEnd::Success => (ValueType::one_of(["succeeded"]), answer, answers, ValueType::null()),
        KnownEnd::Any => (ValueType::one_of(STATUSES), answer.or_null(), answers.or_null(), error().or_null()),
    };
    let fields = MapType::new(Others::None)
        .with_wording("the fields of a step with `inquiry`", None)
        .with("status", status, Occurrence::Always)
        .with("answer", answer, Occurrence::Always)
        .with("answers", answers, Occurrence::Always)
        .with("error", error, Occurrence::Always);
    ValueType::map(cancels.to(fields, end))
}

/// A step that waits returns the event, or null if it succeeds without one.
fn wait_type(event: Option<&ValueType>, on_expire: OnExpire, cancels: Cancels<'_>, end: KnownEnd) -> ValueType {
    let event = event.cloned().unwrap_or_else(ValueType::anything);
    let event = if on_expire == OnExpire::Succeed { event.or_null() } else { event };
    let (status, event, error) = match end {
        KnownEnd::Success => (ValueType::one_of(["succeeded"]), event, ValueType::null()),
        KnownEnd::Any if cancels.is_possible => (ValueType::one_of(STATUSES), event.or(cancels.event(end)), error().or_null()),
        KnownEnd::Any => (ValueType::one_of(STATUSES), event.or_null(), error().or_null()),
    };
    let fields = MapType::new(Others::None)
        .with_wording("the fields of a step with `wait`", None)
        .with("status", status, Occurrence::Always)
        .with("event", event, Occurrence::Always)
        .with("error", error, Occurrence::Always);
    ValueType::map(fields)
}

/// A step that asserts has no result. Its error may explain the condition.
fn assert_type(end: KnownEnd) -> ValueType {
    let (status, error) = match end {
        KnownEnd::Success => (ValueType::one_of(["succeeded"]), ValueType::null()),
        KnownEnd::Any => (ValueType::one_of(STATUSES), ValueType::map(with_explanation(error_fields())).or_null()),
    };
    let fields = MapType::new(Others::None)
        .with_wording("the fields of a step with `assert`", None)
        .with("status", status, Occurrence::Always)
        .with("error", error, Occurrence::Always);
    ValueType::map(fields)
}

fn with_explanation(error: MapType) -> MapType {
    let part = MapType::new(Others::None)
        .with_wording("the fields of a part of the condition", None)
        .with("part", ValueType::text(), Occurrence::Always)
        .with("value", ValueType::text(), Occurrence::Always);
    error.with("explained", ValueType::list(ValueType::map(part)), Occurrence::Sometimes)
}

/// A `fail` step never succeeds and has no result.
fn failed_step() -> ValueType {
    let statuses = STATUSES.into_iter().filter(|status| *status != "succeeded");
    let fields = MapType::new(Others::None)
        .with_wording("the fields of a step with `fail`", None)
        .with("status", ValueType::one_of(statuses), Occurrence::Always)
        .with("error", error().or_null(), Occurrence::Always);
    ValueType::map(fields)
}

fn error() -> ValueType {
    ValueType::map(error_fields())
}

fn error_fields() -> MapType {
    MapType::new(Others::None)
        .with_wording("the fields of an error", None)
        .with("kind", ValueType::text(), Occurrence::Always)
        .with("message", ValueType::text(), Occurrence::Always)
        .with("detail", ValueType::json(), Occurrence::Always)
}
