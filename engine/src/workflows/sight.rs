//! What the expressions of a step see: the workflow's parameters, and how the steps ended that they name.

use std::collections::{BTreeMap, BTreeSet};

use ensue_expression::{Document, Path, Scope, Value};

use crate::catalog::{ALWAYS, Action, FAILED, SUCCEEDED, Workflow};
use crate::command::Context;
use crate::engine::{Engine, Reaction};
use crate::executions::facts::Failure;
use crate::executions::state::Execution;
use crate::ids::ExecutionId;
use crate::names::StepName;
use crate::record::BodyHandle;
use crate::workflows::state::{ItemState, StepState, StepStatus};

/// What is at hand for the expressions that are about to be evaluated.
pub(super) struct Sight<'a> {
    action: &'a Action,
    execution: &'a Execution,
    ends: Ends,
    id: String,
    started_at: String,
    params: Option<Document>,
    steps: Vec<(&'a str, Seen<'a>)>,
}

/// How the steps ended that a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Whether none of them is in the way: each succeeded, or failed where its author lets the workflow go on.
    pub(super) succeeded: bool,
    /// Whether one failed or timed out.
    pub(super) failed: bool,
}

struct Seen<'a> {
    state: &'a StepState,
    gave: Gave<'a>,
}

/// What a step gave: a value, or one for each of its items.
enum Gave<'a> {
    Once(Option<Document>),
    ForEach(Vec<SeenItem<'a>>),
}

struct SeenItem<'a> {
    status: StepStatus,
    error: Option<&'a Failure>,
    result: Option<Document>,
}

/// What expressions read, as far as bodies are needed for it.
struct Wanted {
    params: bool,
    /// The steps, each with whether what it gave is read.
    steps: BTreeMap<StepName, bool>,
}

impl Wanted {
    fn by(reads: &[Path], action: &Action) -> Self {
        let locals = action.local.iter().flat_map(|(_, local)| local.reads());
        let reads_local = reads.iter().any(|path| path.segments[0] == "local");
        let mut wanted = Self { params: false, steps: BTreeMap::new() };
        for path in reads.iter().cloned().chain(locals.filter(|_| reads_local)) {
            match path.segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["params", ..] => wanted.params = true,
                ["steps", name, rest @ ..] => {
                    // What is no name is no step: reading it errs by itself.
                    let Ok(name) = name.parse() else { continue };
                    *wanted.steps.entry(name).or_default() |= rest.first().is_none_or(|field| matches!(*field, "result" | "items"));
                }
                _ => {}
            }
        }
        wanted
    }
}

/// Bodies that are read, and those that are not at hand.
struct Fetching<'a> {
    with: &'a Context<'a>,
    missing: BTreeSet<BodyHandle>,
}

impl Fetching<'_> {
    /// Gives a body as a value; a text that is no JSON is a string.
    fn document(&mut self, handle: Option<BodyHandle>) -> Option<Document> {
        let handle = handle?;
        let Some(plain) = self.with.bodies.plain(&handle) else {
            self.missing.insert(handle);
            return None;
        };
        let as_text = |bytes: &[u8]| Document::from_value(&String::from_utf8_lossy(bytes).into());
        Some(Document::parse(plain.clone()).unwrap_or_else(|_| as_text(&plain)))
    }
}

impl<'a> Sight<'a> {
    /// Brings together what `reads` need; says which bodies must be at hand first.
    pub(super) fn of(
        engine: &'a Engine,
        id: ExecutionId,
        execution: &'a Execution,
        (action, workflow): (&'a Action, &Workflow),
        (ends, reads): (Ends, &[Path]),
        with: &Context<'_>,
    ) -> Result<Self, Reaction> {
        let wanted = Wanted::by(reads, action);
        let mut bodies = Fetching { with, missing: BTreeSet::new() };
        let params = if wanted.params { bodies.document(Some(execution.params)) } else { None };
        let mut steps = Vec::with_capacity(wanted.steps.len());
        for (name, is_read) in &wanted.steps {
            let Some((name, state)) = engine.workflows().step_of(id, name) else { continue };
            let is_done_for_each = workflow.step(name).is_some_and(|step| step.for_each.is_some());
            let gave = match (is_done_for_each, is_read) {
                (false, true) => Gave::Once(bodies.document(state.result)),
                (false, false) => Gave::Once(None),
                (true, true) => Gave::ForEach(engine.workflows().items(id, name).map(|item| SeenItem::of(item, &mut bodies)).collect()),
                (true, false) => Gave::ForEach(Vec::new()),
            };
            steps.push((name.as_str(), Seen { state, gave }));
        }
        if bodies.missing.is_empty() {
            let (started_at, id) = (execution.requested_at.unwrap_or_default().to_string(), id.to_string());
            Ok(Self { action, execution, ends, id, started_at, params, steps })
        } else {
            Err(Reaction::Needs(bodies.missing.into_iter().collect()))
        }
    }

    /// Gives the names and their values, but `local` and what is the step's own.
    pub(super) fn scope(&self) -> Scope<'_> {
        let execution = Value::map([
            ("actor", Value::from(self.execution.actor.as_str())),
            ("attempt", Value::from(1_i64)),
            ("id", Value::from(self.id.as_str())),
            ("started_at", Value::from(self.started_at.as_str())),
        ]);
        let steps = self.steps.iter().map(|(name, seen)| (*name, seen.value()));
        Scope::new()
            .with("params", document(self.params.as_ref()))
            .with("config", Value::from_json(&self.action.config))
            .with("execution", execution)
            .with("steps", Value::map(steps))
            .with(SUCCEEDED, Value::from(self.ends.succeeded))
            .with(FAILED, Value::from(self.ends.failed))
            .with(ALWAYS, Value::from(true))
    }
}

impl<'a> SeenItem<'a> {
    fn of(item: &'a ItemState, bodies: &mut Fetching<'_>) -> Self {
        Self { status: item.status, error: item.error.as_ref(), result: bodies.document(item.result) }
    }
}

impl Seen<'_> {
    fn value(&self) -> Value<'_> {
        let mut fields = vec![("error", error(self.state.error.as_ref())), ("status", Value::from(self.state.status.as_str()))];
        match &self.gave {
            Gave::Once(result) => fields.push(("result", document(result.as_ref()))),
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
        Value::map(fields)
    }
}

fn document(document: Option<&Document>) -> Value<'_> {
    document.map_or(Value::Null, |document| Value::from(document.root()))
}

fn error(error: Option<&Failure>) -> Value<'_> {
    error.map_or(Value::Null, |error| {
        Value::map([
            ("detail", error.detail.map_or(Value::Null, Value::from)),
            ("kind", Value::from(error.kind.as_str())),
            ("message", Value::from(error.message.as_str())),
        ])
    })
}
