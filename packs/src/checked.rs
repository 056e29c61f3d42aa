//! The definitions of packs, checked and compiled.

use std::sync::Arc;

use ensue_engine::catalog::{Action, Defined, Flow, Mode, Place, Retry, Sensor, Trigger};
use ensue_engine::names::{ActionRef, RuleRef, TriggerRef};
use ensue_engine::schedule::plan::Plan;
use ensue_expression::{Expression, Template};
use serde_json::Value;

use crate::diagnostics::Report;
use crate::written;

/// The definitions of a pack, checked and compiled.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) sensors: Vec<Sensor>,
    pub(crate) actions: Vec<Action>,
    pub(crate) rules: Vec<CheckedRule>,
    /// Where its definitions are written.
    pub(crate) places: Vec<(Defined, Place)>,
}

/// The content of a pack without errors, as written and as understood.
pub(crate) struct Definitions<'a> {
    pub(crate) pack: &'a written::Pack,
    pub(crate) parts: &'a Parts,
    /// The diagnostics of the checks.
    pub(crate) report: &'a Report,
    /// Whether findings about this pack are reported to its author.
    pub(crate) is_reported: bool,
}

/// A checked rule whose action is still a ref: the catalog is built from all packs at once.
pub(crate) struct CheckedRule {
    pub(crate) name: RuleRef,
    pub(crate) description: String,
    pub(crate) mode: Mode,
    pub(crate) triggers: Vec<TriggerRef>,
    pub(crate) schedule: Option<Arc<Plan>>,
    pub(crate) when: Option<Expression>,
    pub(crate) local: Vec<(String, Expression)>,
    pub(crate) flow: Option<Arc<Flow>>,
    pub(crate) task: CheckedTask,
    pub(crate) with: Template,
    pub(crate) config: Arc<Value>,
    pub(crate) retry: Option<Retry>,
    pub(crate) priority: Option<i8>,
}

/// What a rule does.
pub(crate) enum CheckedTask {
    Action(ActionRef),
    /// Its steps, as an action that only the rule runs.
    Steps(Arc<Action>),
}

impl CheckedRule {
    /// Returns the ref of the action that it runs: a named one, or its own.
    pub(crate) fn runs(&self) -> &ActionRef {
        match &self.task {
            CheckedTask::Action(action) => action,
            CheckedTask::Steps(action) => &action.name,
        }
    }
}
