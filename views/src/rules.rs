//! The activity of rules: their matches by outcome, their errors by kind, and the modes that an operator set
//! over their pack.
//!
//! The definition of a rule is in the catalog.

use ensue_derive::sparse;
use ensue_engine::catalog::Mode;
use ensue_engine::fact::{ByNoun, FlowFact, RuleFact};
use ensue_engine::ids::{EventId, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::{Position, Record};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::flow::facts::Release;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 3;

/// The columns by which the activity of rules can be filtered.
pub const COLUMNS: &[Column] = &[Column::Rule];

/// The maximum number of kinds of errors kept per rule: the most recent ones.
pub const ERRORS_MAX: usize = 20;

/// The maximum size of a stored error message, in bytes.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The activity of one rule. A rule that was deleted and created again is another rule with another id.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleActivity {
    /// The rule's id.
    pub id: RuleId,
    /// Its ref.
    pub rule: RuleRef,
    /// The position of the first record that names it.
    pub position: Position,
    /// The time of that record.
    pub since: Timestamp,
    /// Its matches, by outcome.
    pub matched: Matches,
    /// When it last matched.
    pub matched_at: Option<Timestamp>,
    /// How often it erred. Repeated errors are counted when the log sums them up, at most once a minute.
    pub erred: u64,
    /// Its errors by kind, most recent first: at most [`ERRORS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<RuleError>,
    /// The mode that an operator or a suspension set over the one in its pack.
    pub mode: Option<Mode>,
    /// Why it is suspended; `None` if it is not.
    pub suspended: Option<Suspension>,
}

/// Matches by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matches {
    /// The action was requested.
    pub executed: u64,
    /// The rule was in shadow mode.
    pub shadowed: u64,
    /// The action could not be run with the rendered parameters.
    pub rejected: u64,
    /// The rule's flow control holds them.
    #[serde(default)]
    pub held: u64,
    /// They were held, and others were acted on instead.
    #[serde(default)]
    pub superseded: u64,
    /// They repeated another match.
    #[serde(default)]
    pub deduplicated: u64,
    /// There were too many matches within the window.
    #[serde(default)]
    pub throttled: u64,
    /// The maximum number of the rule's executions was open.
    #[serde(default)]
    pub skipped: u64,
}

impl Matches {
    /// Counts one more.
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Executed { .. } => self.executed += 1,
            Outcome::Shadowed => self.shadowed += 1,
            Outcome::Rejected { .. } => self.rejected += 1,
            Outcome::Held { .. } => self.held += 1,
            Outcome::Deduplicated { .. } => self.deduplicated += 1,
            Outcome::Throttled => self.throttled += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
    }

    /// Counts the outcome of a match that was held.
    pub(crate) fn count_held(&mut self, fact: FlowFact<'_>) {
        let became = match fact {
            FlowFact::EnforcementReleased(fact) => match fact.outcome {
                Release::Executed { .. } => &mut self.executed,
                Release::Skipped { .. } => &mut self.skipped,
                Release::Shadowed => &mut self.shadowed,
                Release::Rejected { .. } => &mut self.rejected,
            },
            FlowFact::EnforcementSuperseded(_) => &mut self.superseded,
            FlowFact::EnforcementHeldOn(_) | FlowFact::RuleKeyForgotten(_) | FlowFact::RuleFlowEnded(_) => return,
        };
        *became += 1;
        self.held = self.held.saturating_sub(1);
    }
}

/// One kind of error of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleError {
    /// The record with the whole message.
    pub position: Position,
    /// The message.
    pub message: String,
    /// The number of occurrences.
    pub count: u64,
    /// The first event with this error.
    pub first_event: EventId,
    /// When that error occurred.
    pub first_at: Timestamp,
    /// The newest event with this error.
    pub last_event: EventId,
    /// When that was counted: at most about a minute after the event, while a node runs.
    pub last_at: Timestamp,
}

/// Why a rule is suspended: a chain of events that caused each other became too long at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// The event at the end of the chain.
    pub event: EventId,
    /// The number of events in the chain.
    pub depth: u32,
    /// When it was stopped.
    pub at: Timestamp,
}

impl View for RuleActivity {
    const NAME: ViewName = ViewName::Rules;
    type Key = RuleId;

    fn key(record: &Record) -> Option<Touch<RuleId>> {
        match record.fact.by_noun() {
            ByNoun::RuleFact(fact) => Some(Touch::Changes(rule_of(fact).0)),
            ByNoun::FlowFact(FlowFact::EnforcementReleased(fact)) => Some(Touch::Changes(fact.rule_id)),
            ByNoun::FlowFact(FlowFact::EnforcementSuperseded(fact)) => Some(Touch::Changes(fact.rule_id)),
            _ => None,
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        if let ByNoun::FlowFact(fact) = record.fact.by_noun() {
            return before.map(|mut activity| {
                activity.matched.count_held(fact);
                activity
            });
        }
        let ByNoun::RuleFact(fact) = record.fact.by_noun() else { return before };
        let mut activity = before.unwrap_or_else(|| {
            let (id, rule) = rule_of(fact);
            Self::begun(id, rule.clone(), record)
        });
        activity.change(record, fact);
        Some(activity)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.since
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![Some(self.rule.as_str().into())]
    }

    fn life(&self) -> Life {
        Life::Alive
    }
}

/// Returns the rule that a fact is about.
fn rule_of(fact: RuleFact<'_>) -> (RuleId, &RuleRef) {
    match fact {
        RuleFact::EnforcementMade(fact) => (fact.rule_id, &fact.rule),
        RuleFact::RuleErred(fact) => (fact.rule_id, &fact.rule),
        RuleFact::RuleErrorsCounted(fact) => (fact.rule_id, &fact.rule),
        RuleFact::RuleModeSet(fact) => (fact.rule_id, &fact.rule),
        RuleFact::LoopStopped(fact) => (fact.rule_id, &fact.rule),
    }
}

impl RuleActivity {
    fn begun(id: RuleId, rule: RuleRef, record: &Record) -> Self {
        Self {
            id,
            rule,
            position: record.position,
            since: record.time,
            matched: Matches::default(),
            matched_at: None,
            erred: 0,
            errors: Vec::new(),
            mode: None,
            suspended: None,
        }
    }

    fn change(&mut self, record: &Record, fact: RuleFact<'_>) {
        match fact {
            RuleFact::EnforcementMade(fact) => {
                self.matched.count(&fact.outcome);
                self.matched_at = Some(record.time);
            }
            RuleFact::RuleErred(fact) => {
                self.erred += 1;
                self.errors.truncate(ERRORS_MAX - 1);
                let error = RuleError {
                    position: record.position,
                    message: cut(&fact.message, MESSAGE_BYTES_MAX),
                    count: 1,
                    first_event: fact.event,
                    first_at: record.time,
                    last_event: fact.event,
                    last_at: record.time,
                };
                self.errors.insert(0, error);
            }
            RuleFact::RuleErrorsCounted(fact) => {
                self.erred += fact.count;
                if let Some(at) = self.errors.iter().position(|error| error.position == fact.error) {
                    let mut error = self.errors.remove(at);
                    error.count += fact.count;
                    error.last_event = fact.event;
                    error.last_at = record.time;
                    self.errors.insert(0, error);
                }
            }
            RuleFact::RuleModeSet(fact) => {
                self.mode = Some(fact.mode);
                self.suspended = None;
            }
            RuleFact::LoopStopped(fact) => {
                self.mode = Some(Mode::Disabled);
                self.suspended = Some(Suspension { event: fact.event, depth: fact.depth, at: record.time });
            }
        }
    }
}
