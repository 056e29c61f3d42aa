//! The inputs of a step's expressions: the workflow's parameters, and the ends of the steps that they name.

use std::collections::{BTreeMap, BTreeSet};

use ensue_expression::{Document, EVALUATION_BYTES_MAX, Path, Scope, Value};

use crate::catalog::{ALWAYS, Action, FAILED, SUCCEEDED, Step, Workflow};
use crate::command::Context;
use crate::executions::facts::{ExplainedPart, Failure, FailureKind, GivenEvent};
use crate::executions::state::Execution;
use crate::ids::ExecutionId;
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::BodyHandle;
use crate::state::State;
use crate::vars::reads::{VARS, VarReads};
use crate::vars::values::{NotSeen, SeenVars};
use crate::workflows::run::StepError;
use crate::workflows::state::{ItemState, StepState, StepStatus};
use crate::workflows::waits::unreadable;

/// The inputs available to the expressions that are about to be evaluated.
pub(super) struct ExpressionInputs<'a> {
    action: &'a Action,
    execution: &'a Execution,
    ends: Ends,
    id: String,
    /// When the workflow began, or the event happened.
    at: String,
    /// The parameters, or the event's payload.
    given: Option<Document>,
    /// The document with the events of the window, for the steps of a rule that has one.
    events: Option<Document>,
    steps: Vec<(&'a str, StepView<'a>)>,
    vars: SeenVars,
}

/// How the steps that a step needs have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Whether all of them allow the step to start: each succeeded, or failed where its author lets the
    /// workflow continue.
    pub(super) succeeded: bool,
    /// Whether one failed or timed out.
    pub(super) failed: bool,
}

/// A step that was not chosen, as the step that chose others sees it.
static NOT_CHOSEN: StepState = StepState {
    status: StepStatus::Running,
    result: None,
    error: None,
    items: None,
    turns: None,
    is_taken_over: false,
    cancelled_by: None,
};

struct StepView<'a> {
    state: &'a StepState,
    gave: Gave<'a>,
    cancel: Cancel<'a>,
}

/// The event that canceled a step.
enum Cancel<'a> {
    /// No event can cancel it.
    Never,
    /// None has.
    NotYet,
    /// This one has.
    By(Box<CancelledBy<'a>>),
}

/// The event that canceled a step, as expressions see it.
struct CancelledBy<'a> {
    id: String,
    time: String,
    given: &'a GivenEvent,
    payload: Option<Document>,
}

/// The output of a step: a value, or one for each of its items.
enum Gave<'a> {
    Once(Option<Document>),
    /// The result of an inquiry.
    Answer(Option<Document>),
    /// The event that came for a wait.
    Event(Option<Document>),
    ForEach(Vec<SeenItem<'a>>),
}

struct SeenItem<'a> {
    status: StepStatus,
    error: Option<&'a Failure>,
    result: Option<Document>,
}

/// The values that expressions read, as far as bodies are needed for them.
struct InputReads {
    /// Whether the parameters, or the event's payload, are read.
    given: bool,
    /// Whether the events of a window are read.
    events: bool,
    steps: BTreeMap<StepName, OfStep>,
    vars: VarReads,
}

/// What is read of a step; each variant includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum OfStep {
    /// How it ended.
    #[default]
    State,
    /// How its items ended.
    Items,
    /// Its result, or those of its items.
    Results,
}

impl InputReads {
    fn by(reads: &[Path], action: &Action) -> Self {
        let locals = action.local.iter().flat_map(|(_, local)| local.reads());
        let reads_local = reads.iter().any(|path| path.segments[0] == "local");
        let mut wanted = Self { given: false, events: false, steps: BTreeMap::new(), vars: VarReads::default() };
        for path in reads.iter().cloned().chain(locals.filter(|_| reads_local)) {
            match path.segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["params", ..] | ["event"] | ["event", "payload", ..] => wanted.given = true,
                ["events", ..] => wanted.events = true,
                [VARS, ..] => wanted.vars.note(&path),
                ["steps", name, rest @ ..] => {
                    // A name that is not valid is not a step: reading it is an error anyway.
                    let Ok(name) = name.parse() else { continue };
                    let of_step = wanted.steps.entry(name).or_default();
                    *of_step = (*of_step).max(OfStep::by(rest, &path));
                }
                _ => {}
            }
        }
        wanted
    }
}

impl OfStep {
    /// Returns what a path reads that continues like this below the step.
    fn by(rest: &[&str], path: &Path) -> Self {
        match rest {
            ["items"] if !path.extent.may_hold("result") => Self::Items,
            [] | ["items" | "result" | "answer" | "answers" | "event", ..] => Self::Results,
            [_, ..] => Self::State,
        }
    }
}

/// The bodies that are read, and those that are not loaded yet.
struct Fetching<'a> {
    with: &'a Context<'a>,
    missing: BTreeSet<BodyHandle>,
    /// How many bytes of step results are read.
    bytes: u64,
}

impl Fetching<'_> {
    fn document(&mut self, handle: Option<BodyHandle>) -> Option<Document> {
        let handle = handle?;
        let document = self.with.bodies.document(&handle);
        if document.is_none() {
            self.missing.insert(handle);
        }
        document
    }

    /// Counts the results of a step or its items, before any of them is read.
    fn reads(&mut self, results: impl Iterator<Item = Option<BodyHandle>>) -> Result<(), Failure> {
        for result in results.flatten() {
            self.bytes = self.bytes.saturating_add(result.bytes);
        }
        if self.bytes <= EVALUATION_BYTES_MAX {
            return Ok(());
        }
        let message = format!(
            "it reads the results of `steps`, which are {} bytes together; the limit is {EVALUATION_BYTES_MAX}; return less from the \
             steps, return files as artifacts, or read only `status` and `error`",
            self.bytes
        );
        Err(Failure::new(FailureKind::Expression, message))
    }
}

impl<'a> ExpressionInputs<'a> {
    /// Collects the inputs that `reads` need; returns which bodies must be loaded first, or that they are too large.
    pub(super) fn of(
        state: &'a State,
        id: ExecutionId,
        execution: &'a Execution,
        (action, workflow): (&'a Action, &'a Workflow),
        (ends, reads, hidden): (Ends, &[Path], &[StepName]),
        with: &Context<'_>,
    ) -> Result<Self, StepError> {
        let wanted = InputReads::by(reads, action);
        let mut bodies = Fetching { with, missing: BTreeSet::new(), bytes: 0 };
        let given = execution.of_rule.as_ref().map_or(execution.params, |of| of.given.payload);
        let given = if wanted.given { bodies.document(Some(given)) } else { None };
        let events = if wanted.events { bodies.document(Some(execution.params)) } else { None };
        let mut steps = Vec::with_capacity(wanted.steps.len());
        for (name, of_step) in &wanted.steps {
            // Whatever becomes of a step that was not chosen, the reader sees it as it was then.
            if hidden.contains(name) {
                if let Some(step) = workflow.step(name) {
                    steps.push((step.name.as_str(), StepView { state: &NOT_CHOSEN, gave: Gave::Once(None), cancel: Cancel::Never }));
                }
                continue;
            }
            let Some((name, seen)) = state.workflows().step_of(id, name) else { continue };
            let step = workflow.step(name);
            let is_done_for_each = step.is_some_and(|step| step.for_each.is_some());
            let asks = step.is_some_and(Step::asks);
            let waits = step.is_some_and(|step| step.wait.is_some());
            let items = || state.workflows().items(id, name);
            let gave = match (is_done_for_each, of_step) {
                (false, OfStep::Results) => {
                    bodies.reads(std::iter::once(seen.result))?;
                    let result = bodies.document(seen.result);
                    match (asks, waits) {
                        (true, _) => Gave::Answer(result),
                        (false, true) => Gave::Event(result),
                        (false, false) => Gave::Once(result),
                    }
                }
                (false, OfStep::State | OfStep::Items) => Gave::Once(None),
                (true, OfStep::Results) => {
                    bodies.reads(items().map(|item| item.result))?;
                    Gave::ForEach(items().map(|item| SeenItem { result: bodies.document(item.result), ..SeenItem::of(item) }).collect())
                }
                (true, OfStep::Items) => Gave::ForEach(items().map(SeenItem::of).collect()),
                (true, OfStep::State) => Gave::ForEach(Vec::new()),
            };
            let cancel = match (step.is_some_and(|step| step.cancel_when.is_some()), seen.cancelled_by.as_deref()) {
                (_, Some((event, given))) => {
                    let payload = if *of_step == OfStep::Results { bodies.document(Some(given.payload)) } else { None };
                    let payload = payload.map(|payload| as_read(given, &payload, execution, with)).transpose()?;
                    Cancel::By(Box::new(CancelledBy { id: event.to_string(), time: given.occurred_at.to_string(), given, payload }))
                }
                (true, None) => Cancel::NotYet,
                (false, None) => Cancel::Never,
            };
            steps.push((name.as_str(), StepView { state: seen, gave, cancel }));
        }
        let vars = match state.vars().collect_values(&wanted.vars, with.bodies) {
            Ok(vars) => vars,
            Err(NotSeen::TooLarge(message)) => return Err(Failure::new(FailureKind::Expression, message).into()),
            Err(NotSeen::Missing(values)) => {
                bodies.missing.extend(values);
                SeenVars::default()
            }
        };
        if bodies.missing.is_empty() {
            let given = match (&execution.of_rule, given) {
                (Some(of), Some(payload)) => Some(as_read(&of.given, &payload, execution, with)?),
                (_, given) => given,
            };
            let (id, at) = match &execution.of_rule {
                Some(of) => (of.event.to_string(), of.given.occurred_at),
                None => (id.to_string(), execution.began_at.unwrap_or_default()),
            };
            Ok(Self { action, execution, ends, id, at: at.to_string(), given, events, steps, vars })
        } else {
            Err(Reaction::Needs(bodies.missing.into_iter().collect()).into())
        }
    }

    /// Returns the names and their values, except `local` and the step's own values.
    pub(super) fn scope(&self) -> Scope<'_> {
        let steps = self.steps.iter().map(|(name, seen)| (*name, seen.value()));
        self.vars
            .within(self.of_rule_or_action())
            .with("config", Value::from_json(&self.action.config))
            .with("steps", Value::map(steps))
            .with(SUCCEEDED, Value::from(self.ends.succeeded))
            .with(FAILED, Value::from(self.ends.failed))
            .with(ALWAYS, Value::from(true))
    }
}

/// Returns the payload of an event in the form in which the steps of an execution read it.
fn as_read(given: &GivenEvent, payload: &Document, execution: &Execution, with: &Context<'_>) -> Result<Document, Failure> {
    match with.catalogs.at(execution.catalog) {
        Some(catalog) => catalog.as_read(&given.trigger, given.version, payload).map_err(|why| unreadable(&why)),
        None => Ok(payload.clone()),
    }
}

impl ExpressionInputs<'_> {
    /// Returns the names that only the steps of a rule see, or only those of an action.
    fn of_rule_or_action(&self) -> Scope<'_> {
        let (id, at, given) = (Value::from(self.id.as_str()), Value::from(self.at.as_str()), document(self.given.as_ref()));
        let Some(of) = &self.execution.of_rule else {
            let actor = Value::from(self.execution.actor.as_str());
            let execution = Value::map([("actor", actor), ("attempt", Value::from(1_i64)), ("id", id), ("started_at", at)]);
            return Scope::new().with("params", given).with("execution", execution);
        };
        let event = Value::map([
            ("id", id),
            ("payload", given),
            ("source", Value::from(of.given.source.as_str())),
            ("time", at),
            ("trigger", Value::from(of.given.trigger.as_str())),
        ]);
        let scope = Scope::new().with("event", event);
        let events = self.events.as_ref().and_then(|params| params.root().get("events"));
        let scope = if let Some(events) = events { scope.with("events", Value::from(events)) } else { scope };
        scope.with("rule", Value::map([("ref", Value::from(of.rule.as_str()))]))
    }
}

impl<'a> SeenItem<'a> {
    /// Returns the status and error of an item, without its result.
    fn of(item: &'a ItemState) -> Self {
        Self { status: item.status, error: item.error.as_ref(), result: None }
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Fails(failure)
    }
}

impl StepView<'_> {
    fn value(&self) -> Value<'_> {
        let mut fields = vec![("error", error(self.state.error.as_ref())), ("status", Value::from(self.state.status.as_str()))];
        match &self.gave {
            Gave::Once(result) => fields.push(("result", document(result.as_ref()))),
            Gave::Answer(result) => {
                let part = |name: &str| result.as_ref().and_then(|result| result.root().get(name)).map_or(Value::Null, Value::from);
                fields.extend([("answer", part("answer")), ("answers", part("answers")), ("result", document(result.as_ref()))]);
            }
            Gave::Event(result) => {
                let event = result.as_ref().and_then(|result| result.root().get("event")).map_or(Value::Null, Value::from);
                fields.extend([("event", event), ("result", document(result.as_ref()))]);
            }
            Gave::ForEach(items) => {
                let items = items.iter().map(|item| {
                    Value::map([
                        ("error", error(item.error)),
                        ("result", document(item.result.as_ref())),
                        ("status", Value::from(item.status.as_str())),
                    ])
                });
                fields.push(("items", Value::list(items)));
            }
        }
        match &self.cancel {
            Cancel::Never => {}
            Cancel::NotYet if matches!(self.gave, Gave::Event(_)) => {}
            Cancel::NotYet => fields.push(("event", Value::Null)),
            Cancel::By(by) => {
                fields.retain(|(name, _)| *name != "event");
                fields.push(("event", by.value()));
            }
        }
        Value::map(fields)
    }
}

impl CancelledBy<'_> {
    fn value(&self) -> Value<'_> {
        Value::map([
            ("id", Value::from(self.id.as_str())),
            ("payload", document(self.payload.as_ref())),
            ("source", Value::from(self.given.source.as_str())),
            ("time", Value::from(self.time.as_str())),
            ("trigger", Value::from(self.given.trigger.as_str())),
        ])
    }
}

/// Returns a body as expressions see it; null if there is none.
pub(super) fn document(document: Option<&Document>) -> Value<'_> {
    document.map_or(Value::Null, |document| Value::from(document.root()))
}

fn error<'a>(error: Option<&'a Failure>) -> Value<'a> {
    error.map_or(Value::Null, |error| {
        let mut fields = vec![
            ("detail", error.detail.map_or(Value::Null, Value::from)),
            ("kind", Value::from(error.kind.as_str())),
            ("message", Value::from(error.message.as_str())),
        ];
        if !error.explained.is_empty() {
            let part = |part: &'a ExplainedPart| {
                Value::map([("part", Value::from(part.part.as_str())), ("value", Value::from(part.value.as_str()))])
            };
            fields.push(("explained", Value::list(error.explained.iter().map(part))));
        }
        Value::map(fields)
    })
}
