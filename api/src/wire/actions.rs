//! Actions.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::catalog::{Action, Catalog, DefinitionRef, OnLost, Run};
use ensue_engine::executions::labels::Labels;
use ensue_engine::names::{ActionRef, LabelName, PackName, WorkerQueueName};
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::wire::graph::WireStep;

/// An action.
#[wire(Serialize)]
pub(crate) struct WireAction {
    r#ref: ActionRef,
    pack: PackName,
    /// The file of its pack that defines it.
    file: Option<String>,
    /// The line where it begins in the file, from 1.
    line: Option<usize>,
    description: String,
    runner: &'static str,
    parameters: Value,
    result: Option<Value>,
    timeout: f64,
    grace: f64,
    idempotent: bool,
    on_lost: OnLost,
    priority: i8,
    /// The queue in which its executions wait for a worker.
    queue: WorkerQueueName,
    /// Named sets of parameters, each with some or all of them.
    templates: BTreeMap<String, Map<String, Value>>,
    /// The names of the labels that it sets on its executions.
    labels: Vec<LabelName>,
    /// Only for a single action: its steps in the order in which they are written; null if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Option<Vec<WireStep>>>,
}

impl WireAction {
    /// Shows a single action.
    pub(crate) fn whole(action: &Action, catalog: &Catalog) -> Self {
        let steps = match &action.run {
            Run::Workflow(workflow) => Some(WireStep::all(workflow, catalog)),
            Run::Process(_) | Run::Shell(_) | Run::Http(_) | Run::Mail(_) | Run::Emit { .. } | Run::Builtin(_) => None,
        };
        Self { steps: Some(steps), ..Self::for_list(action, catalog) }
    }

    /// Shows an action as an item of a list.
    pub(crate) fn for_list(action: &Action, catalog: &Catalog) -> Self {
        let place = catalog.places().get(&DefinitionRef::Action(action.name.clone()));
        Self {
            r#ref: action.name.clone(),
            pack: action.name.pack(),
            file: place.map(|place| place.file.clone()),
            line: place.map(|place| place.line),
            description: action.description.clone(),
            runner: action.run.runner(),
            parameters: action.parameters.to_json(),
            result: action.result.as_ref().map(ensue_engine::catalog::Schema::to_json),
            timeout: action.timeout.as_secs_f64(),
            grace: action.grace.as_secs_f64(),
            idempotent: action.idempotent,
            on_lost: action.on_lost,
            priority: action.priority,
            queue: action.queue.clone(),
            templates: action.templates.clone(),
            labels: action.labels.keys().cloned().collect(),
            steps: None,
        }
    }
}

/// The parameters and options with which to run an action.
#[wire(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireExecute {
    /// The parameters: an object. Parameters with a default in the action or a value in the template may be
    /// omitted.
    #[serde(default)]
    pub(crate) params: Option<Box<RawValue>>,
    /// The template of the action that supplies the parameters missing from `params`.
    #[serde(default)]
    pub(crate) template: Option<String>,
    /// Additional labels, besides those that the action sets. Their names must differ from the action's labels.
    #[serde(default)]
    pub(crate) labels: Labels,
    /// The earliest start time; without it, or if the time has passed, the execution starts at once.
    #[serde(default)]
    pub(crate) start_at: Option<Timestamp>,
}

/// The maximum number of executions in one request.
pub(crate) const EXECUTIONS_MAX: usize = 1_000;

/// An action to run, with its parameters and options.
#[wire(Deserialize)]
#[schemars(rename = "ExecutionRequest")]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRequest {
    /// The action.
    pub(crate) action: ActionRef,
    /// The parameters: an object. Parameters with a default in the action or a value in the template may be
    /// omitted.
    #[serde(default)]
    pub(crate) params: Option<Box<RawValue>>,
    /// The template of the action that supplies the parameters missing from `params`.
    #[serde(default)]
    pub(crate) template: Option<String>,
    /// Additional labels, besides those that the action sets. Their names must differ from the action's labels.
    #[serde(default)]
    pub(crate) labels: Labels,
    /// The earliest start time; without it, or if the time has passed, the execution starts at once.
    #[serde(default)]
    pub(crate) start_at: Option<Timestamp>,
}

impl WireRequest {
    /// Returns the action, and how it runs. Serde cannot flatten these fields: it would accept unknown ones.
    pub(crate) fn into_parts(self) -> (ActionRef, WireExecute) {
        let Self { action, params, template, labels, start_at } = self;
        (action, WireExecute { params, template, labels, start_at })
    }
}

/// Actions to run.
#[derive(JsonSchema)]
#[schemars(rename = "ExecutionRequests")]
#[expect(dead_code, reason = "it describes input that is parsed by hand, so that errors have their place")]
pub(crate) struct WireRequests(#[schemars(length(max = EXECUTIONS_MAX))] Vec<WireRequest>);
