//! What can happen to a rule: it decides on an event, errs, or is taken out of the way.

use serde::{Deserialize, Serialize};

use crate::catalog::{Control, Mode};
use crate::ids::{EnforcementId, EventId, ExecutionId, RuleId};
use crate::names::RuleRef;
use crate::record::{CatalogRevision, Digest, Position};
use crate::rules::flow::facts::Controlled;
use crate::time::Timestamp;

/// A rule decided on an event that it matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcementMade {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The catalog by which it judged.
    pub catalog: CatalogRevision,
    /// The event.
    pub event: EventId,
    /// What became of it.
    pub outcome: Outcome,
    /// What the rule's flow control keeps of it; none where that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Controlled>,
}

/// What became of a match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The action was asked for.
    Executed {
        /// The execution.
        execution: ExecutionId,
    },
    /// It waits; what becomes of it is a record of its own.
    Held {
        /// For which flow control.
        by: Control,
        /// Until when, if nothing else comes about.
        until: Timestamp,
    },
    /// It repeats another match, and nothing becomes of it.
    Deduplicated {
        /// That one.
        of: EnforcementId,
    },
    /// There were too many in a while, and nothing becomes of it.
    Throttled,
    /// As many of the rule's executions are open as may be, and it does not wait for them to end.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The rule only watches.
    Shadowed,
    /// What the rule would run cannot be run so.
    Rejected {
        /// Why.
        error: String,
    },
}

impl Outcome {
    /// Gives the outcome's name.
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

/// A rule erred on an event, in a way it had not erred before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleErred {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The event.
    pub event: EventId,
    /// The way: the hash of the message.
    pub error: Digest,
    /// The message.
    pub message: String,
}

/// A rule erred again in a way it had erred before: a summary, a minute after the last record of that way; sooner only for an event
/// that was received before the way was known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleErrorsCounted {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The newest event it erred on.
    pub event: EventId,
    /// The way: the position of the `rule.erred` that has the message.
    pub error: Position,
    /// How often, since the last record of this way.
    pub count: u64,
}

/// Somebody set what becomes of a rule's matches, over what its pack says.
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

/// A chain of events that led to each other grew too long; the rule that would go on is suspended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopStopped {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The event at the end of the chain.
    pub event: EventId,
    /// How many events stand in it.
    pub depth: u32,
}
