//! Which vars expressions read, and their values once these are at hand.
//!
//! The vars of a moment are brought together only for expressions that read any: the others do not pay for them.

use std::collections::BTreeSet;

use ensue_expression::{Document, EVALUATION_BYTES_MAX, Expression, Path, Scope, Template, Value};

use crate::catalog::{Action, Catalog, Rule, Run};
use crate::command::Bodies;
use crate::names::{ActionRef, VarName};
use crate::record::BodyHandle;
use crate::vars::state::Vars;

/// The name under which expressions read vars.
pub const VARS: &str = "vars";

/// Which vars expressions read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VarReads {
    /// None.
    #[default]
    Nothing,
    /// Those whose names are written out.
    Named(BTreeSet<VarName>),
    /// Perhaps any.
    All,
}

/// Which vars the expressions of a rule read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleReads {
    /// Those that any of them reads.
    pub all: VarReads,
    /// Whether its condition reads any, or a local value that may.
    pub in_condition: bool,
}

impl RuleReads {
    /// Gives what a rule reads; none where it reads no var.
    pub fn of(rule: &Rule) -> Option<Self> {
        let local_reads = rule.local.iter().any(|(_, local)| local.reads_root(VARS));
        let in_condition = rule.when.as_ref().is_some_and(|when| when.reads_root(VARS) || (local_reads && when.reads_root("local")));
        let mut all = VarReads::default();
        rule.expressions().into_iter().for_each(|expression| all.note_all(expression));
        (!all.is_nothing()).then_some(Self { all, in_condition })
    }
}

/// Why the vars that expressions read are not at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSeen {
    /// These values must be fetched first.
    Missing(Vec<BodyHandle>),
    /// They are too much for one evaluation.
    TooLarge(String),
}

/// The values of vars, for one evaluation.
#[derive(Clone, Debug, Default)]
pub struct SeenVars {
    /// None where no var is read.
    values: Option<Vec<(VarName, Document)>>,
}

impl VarReads {
    /// Gives which vars these paths read.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let mut reads = Self::Nothing;
        paths.into_iter().for_each(|path| reads.note(path));
        reads
    }

    /// Takes one more path into account.
    pub fn note(&mut self, path: &Path) {
        match path.segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            // What is no name is no var: reading it errs by itself.
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

    /// Takes what an expression reads into account.
    pub fn note_all(&mut self, expression: &Expression) {
        if expression.reads_root(VARS) {
            expression.reads().iter().for_each(|path| self.note(path));
        }
    }

    /// Takes into account what the core reads for an action, and for all that it is made of.
    pub fn note_action(&mut self, action: &Action, catalog: &Catalog) {
        let mut seen: BTreeSet<&ActionRef> = BTreeSet::new();
        let mut left = vec![action];
        while let Some(action) = left.pop() {
            let Run::Workflow(workflow) = &action.run else { continue };
            action.local.iter().for_each(|(_, local)| self.note_all(local));
            workflow.result().into_iter().flat_map(Template::expressions).for_each(|expression| self.note_all(expression));
            for step in workflow.steps() {
                step.expressions().into_iter().for_each(|expression| self.note_all(expression));
                for name in step.actions() {
                    if let Some((name, action)) = catalog.actions().get_key_value(name)
                        && seen.insert(name)
                    {
                        left.push(action);
                    }
                }
            }
        }
    }

    /// Says whether no var is read.
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

impl Vars {
    /// Gives where the values stand that are read; those of vars that have none are left out.
    pub fn read_by(&self, reads: &VarReads) -> Vec<(VarName, BodyHandle)> {
        match reads {
            VarReads::Nothing => Vec::new(),
            VarReads::Named(names) => names.iter().filter_map(|name| Some((name.clone(), self.get(name)?))).collect(),
            VarReads::All => self.iter().map(|(name, value)| (name.clone(), *value)).collect(),
        }
    }

    /// Brings the values together that are read.
    ///
    /// # Errors
    /// Those that must be fetched first, and what takes more bytes than one evaluation may read.
    pub fn seen(&self, reads: &VarReads, bodies: &dyn Bodies) -> Result<SeenVars, NotSeen> {
        if reads.is_nothing() {
            return Ok(SeenVars::default());
        }
        let rows = self.read_by(reads);
        let bytes: u64 = rows.iter().map(|(_, value)| value.bytes).sum();
        if bytes > EVALUATION_BYTES_MAX {
            return Err(NotSeen::TooLarge(format!(
                "it reads all of `vars`: {} of them, with {bytes} bytes together; the limit is {EVALUATION_BYTES_MAX}; write out the \
                 names: `vars[\"sync.cursor\"]`, or `vars[?\"sync.cursor\"].orValue(0)` for one that may be missing",
                rows.len()
            )));
        }
        let mut missing = Vec::new();
        let mut values = Vec::with_capacity(rows.len());
        for (name, value) in rows {
            match bodies.document(&value) {
                Some(document) => values.push((name, document)),
                None => missing.push(value),
            }
        }
        if missing.is_empty() { Ok(SeenVars { values: Some(values) }) } else { Err(NotSeen::Missing(missing)) }
    }
}

impl SeenVars {
    /// Takes values as they are given.
    pub fn given(values: impl IntoIterator<Item = (VarName, Document)>) -> Self {
        Self { values: Some(values.into_iter().collect()) }
    }

    /// Gives a scope in which expressions find them.
    pub fn within<'a>(&'a self, scope: Scope<'a>) -> Scope<'a> {
        let Some(values) = &self.values else { return scope };
        scope.with(VARS, Value::map(values.iter().map(|(name, value)| (name.as_str(), Value::from(value.root())))))
    }
}
