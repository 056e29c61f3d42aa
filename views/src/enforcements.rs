//! Enforcements: each rule's decision on each event that it matches.
//!
//! What the rule asked for is the execution's; why a rule did not match is worked out on demand, not kept.

use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, Id, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::{CatalogRevision, Position, Record, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::view::{Column, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// What enforcements can be filtered by.
pub const COLUMNS: &[Column] = &[Column::Rule, Column::Event, Column::Outcome];

/// An enforcement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enforcement {
    /// Its id.
    pub id: EnforcementId,
    /// Its place in the log.
    pub position: Position,
    /// The rule.
    pub rule: RuleRef,
    /// The rule's id.
    pub rule_id: RuleId,
    /// The catalog by which the rule judged.
    pub rule_revision: CatalogRevision,
    /// The event.
    pub event: EventId,
    /// What became of it.
    pub outcome: OutcomeName,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The execution it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
    /// When it was made.
    pub time: Timestamp,
    /// The first record of the chain it stands in.
    pub correlation: Id,
}

/// The names of what may become of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeName {
    /// The action was asked for.
    Executed,
    /// The rule only watches.
    Shadowed,
    /// What the rule would run cannot be run so.
    Rejected,
}

impl OutcomeName {
    /// Lists all outcomes.
    pub const ALL: [Self; 3] = [Self::Executed, Self::Shadowed, Self::Rejected];

    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Shadowed => "shadowed",
            Self::Rejected => "rejected",
        }
    }
}

impl From<&Outcome> for OutcomeName {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Executed { .. } => Self::Executed,
            Outcome::Shadowed => Self::Shadowed,
            Outcome::Rejected { .. } => Self::Rejected,
        }
    }
}

impl View for Enforcement {
    const NAME: ViewName = ViewName::Enforcements;
    type Key = EnforcementId;

    fn key(record: &Record) -> Option<Touch<EnforcementId>> {
        let (Fact::EnforcementMade(_), StreamId::Enforcement(id)) = (&record.fact, &record.stream) else { return None };
        Some(Touch::Begins(*id))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let (Fact::EnforcementMade(fact), StreamId::Enforcement(id)) = (&record.fact, &record.stream) else { return before };
        let (error, execution) = match &fact.outcome {
            Outcome::Executed { execution } => (None, Some(*execution)),
            Outcome::Shadowed => (None, None),
            Outcome::Rejected { error } => (Some(error.clone()), None),
        };
        Some(Self {
            id: *id,
            position: record.position,
            rule: fact.rule.clone(),
            rule_id: fact.rule_id,
            rule_revision: fact.catalog,
            event: fact.event,
            outcome: OutcomeName::from(&fact.outcome),
            error,
            execution,
            time: record.time,
            correlation: record.cause.root,
        })
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.time
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![Some(self.rule.as_str().into()), Some(self.event.into()), Some(self.outcome.as_str().into())]
    }

    fn life(&self) -> Life {
        Life::Settled
    }
}
