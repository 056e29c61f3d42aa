//! What vars are made into: which have a value, and where it stands in the log.

use serde::{Deserialize, Serialize};

use crate::fact::VarFact;
use crate::mutants;
use crate::names::VarName;
use crate::record::{BodyHandle, Record};
use crate::table::Table;

/// The vars that have a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vars {
    values: Table<VarName, BodyHandle>,
}

impl Vars {
    /// Gives where the value of a var stands; none where it has none.
    pub fn get(&self, name: &VarName) -> Option<BodyHandle> {
        self.values.get(name).copied()
    }

    /// Gives how many vars have a value.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Says whether no var has a value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Gives the vars, each with where its value stands, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&VarName, &BodyHandle)> {
        self.values.iter()
    }

    /// Folds a record of a var.
    pub fn apply(&mut self, record: &Record, fact: VarFact<'_>) {
        match fact {
            VarFact::VarSet(fact) => {
                if let Some(value) = record.body_handle() {
                    self.values.insert(fact.name.clone(), value);
                }
            }
            VarFact::VarRemoved(_) if mutants::is("removed var read on") => {}
            VarFact::VarRemoved(fact) => self.values.remove(&fact.name),
        }
    }

    /// Makes all that was folded since the last commit final.
    pub fn commit(&mut self) {
        self.values.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.values.undo();
    }
}
