//! The vars of a node, for rendering what an attempt runs: where their values are in the log, updated with each
//! commit.

use std::sync::{PoisonError, RwLock};

use ensue_engine::fact::ByNoun;
use ensue_engine::names::VarName;
use ensue_engine::record::{BodyHandle, Record};
use ensue_engine::vars::reads::VarReads;
use ensue_engine::vars::state::Vars;

/// The vars that have a value.
pub struct VarTable {
    vars: RwLock<Vars>,
}

impl VarTable {
    /// Starts from the state.
    pub fn new(vars: Vars) -> Self {
        Self { vars: RwLock::new(vars) }
    }

    /// Notes committed records that set or remove a var.
    pub fn note(&self, records: &[Record]) {
        let mut vars = self.vars.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            if let ByNoun::VarFact(fact) = record.fact.by_noun() {
                vars.apply(record, fact);
            }
        }
        vars.commit();
    }
}

impl ensue_executor::ports::Vars for VarTable {
    fn read_by(&self, reads: &VarReads) -> Vec<(VarName, BodyHandle)> {
        self.vars.read().unwrap_or_else(PoisonError::into_inner).read_by(reads)
    }
}
