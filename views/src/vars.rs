//! Vars: which have a value, since when and by whom. The value is a handle.

use ensue_derive::sparse;
use ensue_engine::fact::{ByNoun, VarFact};
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::VarName;
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Handle, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// The columns by which vars can be filtered: none.
pub const COLUMNS: &[Column] = &[];

/// The maximum size of a shown actor, in bytes.
const ACTOR_BYTES_MAX: usize = 1024;

/// A var that has a value.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Var {
    /// Its name.
    pub name: VarName,
    /// The position of the record that set it last.
    pub position: Position,
    /// Its value.
    pub value: Option<Handle>,
    /// When it was set.
    pub set_at: Timestamp,
    /// The actor that set it, in the log's notation.
    pub set_by: String,
    /// The execution that set it, if one did.
    pub execution: Option<ExecutionId>,
}

impl View for Var {
    const NAME: ViewName = ViewName::Vars;
    type Key = VarName;

    fn key(record: &Record) -> Option<Touch<VarName>> {
        let ByNoun::VarFact(fact) = record.fact.by_noun() else { return None };
        Some(Touch::Changes(match fact {
            VarFact::VarSet(fact) => fact.name.clone(),
            VarFact::VarRemoved(fact) => fact.name.clone(),
        }))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let ByNoun::VarFact(fact) = record.fact.by_noun() else { return before };
        match fact {
            VarFact::VarSet(fact) => Some(Self {
                name: fact.name.clone(),
                position: record.position,
                value: record.body_handle().map(Handle::from),
                set_at: record.time,
                set_by: cut(&record.actor.to_string(), ACTOR_BYTES_MAX),
                execution: fact.execution,
            }),
            VarFact::VarRemoved(_) => None,
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.set_at
    }
}
