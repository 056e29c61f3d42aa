//! The state of vars: which have a value, and where it is in the log.

use serde::{Deserialize, Serialize};

use crate::fact::VarFact;
use crate::names::VarName;
use crate::record::{BodyHandle, Record};
use crate::table::{Table, undone_together};

/// The vars that have a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vars {
    values: Table<VarName, BodyHandle>,
}

undone_together!(pub Vars { values });

impl Vars {
    /// Returns the handle of a var's value, or `None` if it has none.
    pub fn get(&self, name: &VarName) -> Option<BodyHandle> {
        self.values.get(name).copied()
    }

    /// Returns the number of vars with a value.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns true if no var has a value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the vars, each with the handle of its value, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&VarName, &BodyHandle)> {
        self.values.iter()
    }

    /// Folds a record about a var.
    pub fn apply(&mut self, record: &Record, fact: VarFact<'_>) {
        match fact {
            VarFact::VarSet(fact) => {
                if let Some(value) = record.body_handle() {
                    self.values.insert(fact.name.clone(), value);
                }
            }
            VarFact::VarRemoved(fact) => self.values.remove(&fact.name),
        }
    }
}
