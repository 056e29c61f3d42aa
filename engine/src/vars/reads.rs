//! The vars that expressions read.
//!
//! Vars are collected only for expressions that read any; other expressions do not pay for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_expression::{Expression, Path, Template};

use crate::catalog::{Action, Rule, Run};
use crate::names::{ActionRef, VarName};

/// The name under which expressions read vars.
pub const VARS: &str = "vars";

/// Which vars expressions read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VarReads {
    /// None.
    #[default]
    Nothing,
    /// The vars whose names are written out.
    Named(BTreeSet<VarName>),
    /// Possibly any.
    All,
}

/// Which vars the expressions of a rule read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleReads {
    /// The vars that any of them reads.
    pub all: VarReads,
    /// Whether its condition reads any, directly or possibly through a local value.
    pub in_condition: bool,
}

impl RuleReads {
    /// Returns the vars that a rule reads, or `None` if it reads none.
    pub fn of(rule: &Rule) -> Option<Self> {
        let local_reads = rule.local.iter().any(|(_, local)| local.reads_root(VARS));
        let in_condition = rule.when.as_ref().is_some_and(|when| when.reads_root(VARS) || (local_reads && when.reads_root("local")));
        let mut all = VarReads::default();
        rule.expressions().into_iter().for_each(|expression| all.note_all(expression));
        (!all.is_nothing()).then_some(Self { all, in_condition })
    }
}

impl VarReads {
    /// Returns the vars that these paths read.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let mut reads = Self::Nothing;
        paths.into_iter().for_each(|path| reads.note(path));
        reads
    }

    /// Adds the vars that one more path reads.
    pub fn note(&mut self, path: &Path) {
        match path.segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            // A name that is not valid belongs to no var: reading it is an error by itself.
            [VARS, name, ..] => match (name.parse(), &mut *self) {
                (Err(_), Self::Nothing) => *self = Self::Named(BTreeSet::new()),
                (Err(_), _) | (Ok(_), Self::All) => {}
                (Ok(name), Self::Named(names)) => drop(names.insert(name)),
                (Ok(name), Self::Nothing) => *self = Self::Named(BTreeSet::from([name])),
            },
            [VARS] => *self = Self::All,
            _ => {}
        }
    }

    /// Adds the vars that an expression reads.
    pub fn note_all(&mut self, expression: &Expression) {
        if expression.reads_root(VARS) {
            expression.reads().iter().for_each(|path| self.note(path));
        }
    }

    /// Adds the vars that the core reads for an action and, in a workflow, for everything below it.
    pub fn note_action(&mut self, action: &Action, actions: &BTreeMap<ActionRef, Arc<Action>>) {
        let mut seen: BTreeSet<&ActionRef> = BTreeSet::new();
        let mut left = vec![action];
        while let Some(action) = left.pop() {
            let Run::Workflow(workflow) = &action.run else { continue };
            action.local.iter().for_each(|(_, local)| self.note_all(local));
            workflow.result().into_iter().flat_map(Template::expressions).for_each(|expression| self.note_all(expression));
            for step in workflow.steps() {
                step.expressions().into_iter().for_each(|expression| self.note_all(expression));
                for name in step.actions() {
                    if let Some((name, action)) = actions.get_key_value(name)
                        && seen.insert(name)
                    {
                        left.push(action);
                    }
                }
            }
        }
    }

    /// Returns true if no var is read.
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}
