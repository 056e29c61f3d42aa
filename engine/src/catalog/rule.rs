//! Rules: trigger, condition, and what to do.

use crate::catalog::Mode;
use std::sync::Arc;

use ensue_expression::{Expression, Template};
use serde_json::Value;

use crate::catalog::{Action, Flow, Given, Run};
use crate::ids::RuleId;
use crate::names::{RuleRef, TriggerRef};
use crate::schedule::plan::Plan;

/// A trigger, a condition, and what to do.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its id: a rule that was deleted and created again has another.
    pub id: RuleId,
    /// Its ref.
    pub name: RuleRef,
    /// What it is for.
    pub description: String,
    /// Whether its matches are acted on.
    pub mode: Mode,
    /// The kinds of event it looks at.
    pub triggers: Vec<TriggerRef>,
    /// Its schedule, whose events it alone judges; none where it looks at those of its triggers.
    pub schedule: Option<Arc<Plan>>,
    /// What must hold; none means always.
    pub when: Option<Expression>,
    /// Named values, each computed from the event and the ones before it.
    pub local: Vec<(String, Expression)>,
    /// Which of its matches are acted on, and when; none means all, at once.
    pub flow: Option<Arc<Flow>>,
    /// What to run.
    pub action: Arc<Action>,
    /// What to run it with: renders to an object.
    pub with: Template,
    /// Its pack's configuration: an object.
    pub config: Arc<Value>,
    /// −100 … 100; higher goes first; none means the action's.
    pub priority: Option<i8>,
}

impl Rule {
    /// Gives all its expressions, but those of steps of its own.
    pub fn expressions(&self) -> Vec<&Expression> {
        let keys = self.flow.iter().flat_map(|flow| flow.stages()).filter_map(|stage| stage.key.as_ref());
        let locals = self.local.iter().map(|(_, local)| local);
        self.when.iter().chain(locals).chain(keys).chain(self.with.expressions()).collect()
    }

    /// Says whether it is made of steps of its own, which read its event.
    pub fn has_steps(&self) -> bool {
        matches!(&self.action.run, Run::Workflow(workflow) if workflow.given() == Given::Event)
    }
}
