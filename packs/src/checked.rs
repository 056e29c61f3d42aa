//! What packs define, checked and compiled.

use std::sync::Arc;

use ensue_engine::catalog::{Action, Flow, Mode, Sensor, Trigger};
use ensue_engine::names::{ActionRef, RuleRef, TriggerRef};
use ensue_engine::schedule::plan::Plan;
use ensue_expression::{Expression, Template};
use serde_json::Value;

use crate::diagnostics::Report;
use crate::written;

/// What a pack defines, checked and compiled.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) sensors: Vec<Sensor>,
    pub(crate) actions: Vec<Action>,
    pub(crate) rules: Vec<CheckedRule>,
}

/// What a pack without mistakes says, as it is written and as it was understood.
pub(crate) struct Definitions<'a> {
    pub(crate) pack: &'a written::Pack,
    pub(crate) parts: &'a Parts,
    /// What the checks told of it.
    pub(crate) told: &'a Report,
    /// Whether its author is the one who asks.
    pub(crate) is_told_of: bool,
}

/// A rule that is checked, its action still a ref: the catalog is built of all packs at once.
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
    pub(crate) priority: Option<i8>,
}

/// What a rule does.
pub(crate) enum CheckedTask {
    Action(ActionRef),
    /// The steps, as an action that only the rule runs.
    Steps(Arc<Action>),
}

impl CheckedRule {
    /// Gives the ref of what it runs: an action's, or its own.
    pub(crate) fn runs(&self) -> &ActionRef {
        match &self.task {
            CheckedTask::Action(action) => action,
            CheckedTask::Steps(action) => &action.name,
        }
    }
}
