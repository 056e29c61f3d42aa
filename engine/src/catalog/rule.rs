//! Rules: a trigger, a condition, and an action.

use crate::catalog::Mode;
use std::sync::Arc;

use ensue_expression::{Expression, Template};
use serde_json::Value;

use crate::catalog::{Action, Flow, Retry, Run, Stage, WorkflowInput};
use crate::ids::RuleId;
use crate::names::{RuleRef, TriggerRef};
use crate::schedule::plan::Plan;

/// A trigger, a condition, and an action.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its id. A rule that was deleted and created again has a new id.
    pub id: RuleId,
    /// Its ref.
    pub name: RuleRef,
    /// Its purpose.
    pub description: String,
    /// Whether its matches are acted on.
    pub mode: Mode,
    /// The triggers whose events it judges.
    pub triggers: Vec<TriggerRef>,
    /// Its schedule, if it has one: the rule then judges only the schedule's events, and no events of
    /// triggers.
    pub schedule: Option<Arc<Plan>>,
    /// Its condition; `None` means that every event matches.
    pub when: Option<Expression>,
    /// Named values, each computed from the event and the earlier values.
    pub local: Vec<(String, Expression)>,
    /// Which of its matches are acted on, and when; `None` means all of them, immediately.
    pub flow: Option<Arc<Flow>>,
    /// The action to run.
    pub action: Arc<Action>,
    /// The parameters of the action: a template that renders to an object.
    pub with: Template,
    /// The configuration of its pack: an object.
    pub config: Arc<Value>,
    /// Whether and when its executions are retried; `None` means as the action says.
    pub retry: Option<Retry>,
    /// The priority, −100 … 100; higher goes first; `None` means the action's.
    pub priority: Option<i8>,
}

impl Rule {
    /// Returns all its expressions except those of its own steps.
    pub fn expressions(&self) -> Vec<&Expression> {
        let keys = self.flow.iter().flat_map(|flow| flow.stages()).flat_map(Stage::expressions);
        let locals = self.local.iter().map(|(_, local)| local);
        self.when.iter().chain(locals).chain(keys).chain(self.with.expressions()).collect()
    }

    /// Returns true if the rule has steps of its own, which can read its event.
    pub fn has_steps(&self) -> bool {
        matches!(&self.action.run, Run::Workflow(workflow) if workflow.input() == WorkflowInput::Event)
    }
}
