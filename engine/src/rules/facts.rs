//! The facts of a rule: it decides on an event, errs, or is suspended.

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::catalog::{Control, Mode};
use crate::ids::{EnforcementId, EventId, ExecutionId, RuleId};
use crate::names::RuleRef;
use crate::record::{CatalogRevision, Digest, Position};
use crate::rules::flow::facts::ControlledMatch;
use crate::time::Timestamp;

/// A rule decided on an event that matches it.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcementMade {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The catalog that it judged by.
    pub catalog: CatalogRevision,
    /// The event.
    pub event: EventId,
    /// What became of the match.
    pub outcome: Outcome,
    /// What the rule's flow control keeps about it; `None` if nothing.
    pub flow: Option<ControlledMatch>,
}

/// What became of a match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The action was requested.
    Executed {
        /// The execution.
        execution: ExecutionId,
    },
    /// It waits; a separate record states what becomes of it.
    Held {
        /// The flow control that holds it.
        by: Control,
        /// Until when, if nothing else happens first.
        until: Timestamp,
    },
    /// It repeats another match, and is dropped.
    Deduplicated {
        /// The match that it repeats.
        of: EnforcementId,
    },
    /// There were too many matches in a period, and it is dropped.
    Throttled,
    /// As many of the rule's executions are open as allowed, and it does not wait for them to end.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The rule only observes.
    Shadowed,
    /// The rule's action cannot be run with this input.
    Rejected {
        /// Why.
        error: String,
    },
}

impl Outcome {
    /// Returns the outcome's name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Executed { .. } => "executed",
            Self::Held { .. } => "held",
            Self::Deduplicated { .. } => "deduplicated",
            Self::Throttled => "throttled",
            Self::Skipped { .. } => "skipped",
            Self::Shadowed => "shadowed",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// A rule erred on an event with an error that it had not had before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleErred {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The event.
    pub event: EventId,
    /// The hash of the message, which identifies the error.
    pub error: Digest,
    /// The message.
    pub message: String,
}

/// A rule erred again with a known error: a summary, a minute after the last record of that error; sooner
/// only for an event that was received before the error was known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleErrorsCounted {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The newest event that it erred on.
    pub event: EventId,
    /// The known error: the position of the `rule.erred` that has the message.
    pub error: Position,
    /// How often it erred since the last record of this error.
    pub count: u64,
}

/// Somebody set a rule's mode, which overrides that of its pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleModeSet {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The mode from now on.
    pub mode: Mode,
}

/// A chain of events that led to each other grew too long; the rule that would continue it is suspended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopStopped {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The event at the end of the chain.
    pub event: EventId,
    /// How many events are in the chain.
    pub depth: u32,
}
