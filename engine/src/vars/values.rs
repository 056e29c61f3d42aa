//! The values of the vars that expressions read, collected once they are in memory.

use ensue_expression::{Document, EVALUATION_BYTES_MAX, Scope, Value};

use crate::command::Bodies;
use crate::names::VarName;
use crate::record::BodyHandle;
use crate::vars::reads::{VARS, VarReads};
use crate::vars::state::Vars;

/// Why the values of vars are not available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSeen {
    /// These values must be fetched first.
    Missing(Vec<BodyHandle>),
    /// The values are too large for one evaluation.
    TooLarge(String),
}

/// The values of vars, for one evaluation.
#[derive(Clone, Debug, Default)]
pub struct SeenVars {
    /// `None` if no var is read.
    values: Option<Vec<(VarName, Document)>>,
}

impl Vars {
    /// Returns the handles of the values that are read; vars without a value are left out.
    pub fn read_by(&self, reads: &VarReads) -> Vec<(VarName, BodyHandle)> {
        match reads {
            VarReads::Nothing => Vec::new(),
            VarReads::Named(names) => names.iter().filter_map(|name| Some((name.clone(), self.get(name)?))).collect(),
            VarReads::All => self.iter().map(|(name, value)| (name.clone(), *value)).collect(),
        }
    }

    /// Collects the values that are read.
    ///
    /// # Errors
    /// Returns the values that must be fetched first, or an error if they have more bytes than one evaluation
    /// may read.
    pub fn collect_values(&self, reads: &VarReads, bodies: &dyn Bodies) -> Result<SeenVars, NotSeen> {
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
    /// Creates it from given values.
    pub fn from_values(values: impl IntoIterator<Item = (VarName, Document)>) -> Self {
        Self { values: Some(values.into_iter().collect()) }
    }

    /// Returns a scope in which expressions find them.
    pub fn within<'a>(&'a self, scope: Scope<'a>) -> Scope<'a> {
        let Some(values) = &self.values else { return scope };
        scope.with(VARS, Value::map(values.iter().map(|(name, value)| (name.as_str(), Value::from(value.root())))))
    }
}
