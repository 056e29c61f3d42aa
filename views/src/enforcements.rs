//! Enforcements: each rule's decision on each event that it matches.
//!
//! The requested work is in the execution. Why a rule did not match is computed on demand and not stored.

use ensue_derive::sparse;
use ensue_engine::catalog::Control;
use ensue_engine::fact::{ByNoun, Fact, FlowFact};
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, Id, RuleId};
use ensue_engine::names::{Names, RuleRef};
use ensue_engine::record::{CatalogRevision, Position, Record, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::flow::facts::{Release, SupersededBecause};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::reach::RowScope;
use crate::view::{Column, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 4;

/// The columns by which enforcements can be filtered.
pub const COLUMNS: &[Column] = &[Column::Rule, Column::Event, Column::Outcome];

/// An enforcement.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enforcement {
    /// Its id.
    pub id: EnforcementId,
    /// Its position in the log.
    pub position: Position,
    /// The rule.
    pub rule: RuleRef,
    /// The rule's id.
    pub rule_id: RuleId,
    /// The revision of the catalog with which the rule judged.
    pub rule_revision: CatalogRevision,
    /// The event.
    pub event: EventId,
    /// Its immediate outcome.
    pub outcome: OutcomeName,
    /// What holds it, or held it last.
    pub held: Option<HeldBy>,
    /// Its outcome after it was held.
    pub became: Option<FinalOutcome>,
    /// The enforcement that it repeats.
    pub repeats: Option<EnforcementId>,
    /// Why it was rejected or skipped, at once or later.
    pub error: Option<String>,
    /// The execution that it requested.
    pub execution: Option<ExecutionId>,
    /// When it was made.
    pub time: Timestamp,
    /// The first record of its causal chain.
    pub correlation: Id,
}

/// What holds an enforcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBy {
    /// The flow control of its rule.
    pub by: Control,
    /// The end of the hold, unless something else ends it earlier.
    pub until: Timestamp,
}

/// The outcome of an enforcement after it was held.
#[sparse(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalOutcome {
    /// The outcome.
    pub outcome: ReleasedName,
    /// If it was superseded, the reason.
    pub why: Option<SupersededBecause>,
    /// The enforcement that replaced it, if one did.
    pub by: Option<EnforcementId>,
    /// When that was decided.
    pub time: Timestamp,
}

/// The names of the possible outcomes after a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum ReleasedName {
    /// The action was requested.
    Executed,
    /// The maximum number of the rule's executions was open.
    Skipped,
    /// The rule is in shadow mode.
    Shadowed,
    /// The action cannot be run with the rendered parameters.
    Rejected,
    /// It is not acted on.
    Superseded,
}

impl From<&Release> for ReleasedName {
    fn from(release: &Release) -> Self {
        match release {
            Release::Executed { .. } => Self::Executed,
            Release::Skipped { .. } => Self::Skipped,
            Release::Shadowed => Self::Shadowed,
            Release::Rejected { .. } => Self::Rejected,
        }
    }
}

/// The names of the possible outcomes of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeName {
    /// The action was requested.
    Executed,
    /// It waits, or waited, because of its rule's flow control.
    Held,
    /// It repeats another match.
    Deduplicated,
    /// There were too many matches within the window.
    Throttled,
    /// The maximum number of the rule's executions was open.
    Skipped,
    /// The rule is in shadow mode.
    Shadowed,
    /// The action cannot be run with the rendered parameters.
    Rejected,
}

impl From<&Outcome> for OutcomeName {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Executed { .. } => Self::Executed,
            Outcome::Held { .. } => Self::Held,
            Outcome::Deduplicated { .. } => Self::Deduplicated,
            Outcome::Throttled => Self::Throttled,
            Outcome::Skipped { .. } => Self::Skipped,
            Outcome::Shadowed => Self::Shadowed,
            Outcome::Rejected { .. } => Self::Rejected,
        }
    }
}

impl View for Enforcement {
    const NAME: ViewName = ViewName::Enforcements;
    type Key = EnforcementId;

    fn key(record: &Record) -> Option<Touch<EnforcementId>> {
        match (record.fact.by_noun(), &record.stream) {
            (ByNoun::RuleFact(_), StreamId::Enforcement(id)) => Some(Touch::Begins(*id)),
            (ByNoun::FlowFact(_), StreamId::Enforcement(id)) => Some(Touch::Changes(*id)),
            _ => None,
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let (Fact::EnforcementMade(fact), StreamId::Enforcement(id)) = (&record.fact, &record.stream) else {
            return before.map(|before| before.fold_outcome(record));
        };
        let mut made = Self {
            id: *id,
            position: record.position,
            rule: fact.rule.clone(),
            rule_id: fact.rule_id,
            rule_revision: fact.catalog,
            event: fact.event,
            outcome: OutcomeName::from(&fact.outcome),
            held: None,
            became: None,
            repeats: None,
            error: None,
            execution: None,
            time: record.time,
            correlation: record.cause.root,
        };
        match &fact.outcome {
            Outcome::Executed { execution } => made.execution = Some(*execution),
            Outcome::Held { by, until } => made.held = Some(HeldBy { by: *by, until: *until }),
            Outcome::Deduplicated { of } => made.repeats = Some(*of),
            Outcome::Throttled | Outcome::Shadowed => {}
            Outcome::Skipped { reason } => made.error = Some(reason.clone()),
            Outcome::Rejected { error } => made.error = Some(error.clone()),
        }
        Some(made)
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

    fn scope(&self) -> Option<RowScope> {
        Some(RowScope::of_pack(self.rule.pack().as_str()))
    }

    fn life(&self) -> Life {
        if self.held.is_some() && self.became.is_none() { Life::Alive } else { Life::Settled }
    }
}

impl Enforcement {
    /// Folds its outcome after it was held.
    fn fold_outcome(self, record: &Record) -> Self {
        let ByNoun::FlowFact(fact) = record.fact.by_noun() else { return self };
        let became = |outcome| Some(FinalOutcome { outcome, why: None, by: None, time: record.time });
        match fact {
            FlowFact::EnforcementHeldOn(fact) => Self { held: Some(HeldBy { by: fact.by, until: fact.until }), ..self },
            FlowFact::EnforcementReleased(fact) => {
                let became = became(ReleasedName::from(&fact.outcome));
                match &fact.outcome {
                    Release::Executed { execution } => Self { became, execution: Some(*execution), ..self },
                    Release::Shadowed => Self { became, ..self },
                    Release::Skipped { reason } => Self { became, error: Some(reason.clone()), ..self },
                    Release::Rejected { error } => Self { became, error: Some(error.clone()), ..self },
                }
            }
            FlowFact::EnforcementSuperseded(fact) => {
                let became = FinalOutcome { outcome: ReleasedName::Superseded, why: Some(fact.why), by: fact.by, time: record.time };
                Self { became: Some(became), ..self }
            }
            FlowFact::RuleKeyForgotten(_) | FlowFact::RuleFlowEnded(_) => self,
        }
    }
}
