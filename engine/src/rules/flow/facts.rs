//! The facts of enforcements that a rule's flow control holds, and of the state that it keeps.

use std::collections::BTreeMap;

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::catalog::Control;
use crate::events::internal::InternalTriggers;
use crate::executions::facts::GivenEvent;
use crate::ids::{EnforcementId, ExecutionId, RuleId};
use crate::names::{Names, RuleRef};
use crate::record::Digest;
use crate::time::Timestamp;

/// What the flow control of a rule made of a match: a part of `enforcement.made`.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlledMatch {
    /// The digest that identifies the rule's flow control.
    pub flow: Digest,
    /// The keys of the match, for each flow control that it has passed or reaches later.
    pub keys: BTreeMap<Control, ControlKey>,
    /// The digest of the value by which its window tells matches apart, if the enforcement is held and may
    /// reach such a window.
    pub distinct: Option<Digest>,
    /// The event, if the enforcement is held.
    pub given: Option<GivenEvent>,
    /// The engine's own triggers that have an event above the consequences of the enforcement, if it is held.
    #[serde(rename = "own_above", default, skip_serializing_if = "InternalTriggers::is_empty")]
    pub internal_above: InternalTriggers,
}

/// The key of a match for one flow control.
#[sparse(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlKey {
    /// The digest of the key.
    pub key: Digest,
    /// Until when it matters to later matches, if the flow control keeps it; for `throttle`, until everything
    /// is as if no match had come.
    pub until: Option<Timestamp>,
}

/// A flow control released an enforcement, and a later one of the same rule holds it now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcementHeldOn {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The flow control that holds it now.
    pub by: Control,
    /// Until when, if nothing else happens first.
    pub until: Timestamp,
}

/// A held enforcement is acted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcementReleased {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// What became of it.
    pub outcome: Release,
}

/// What became of an enforcement that was released.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Release {
    /// The action was requested.
    Executed {
        /// The execution.
        execution: ExecutionId,
    },
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

/// A held enforcement is not acted on.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcementSuperseded {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// Why.
    pub why: SupersededBecause,
    /// The enforcement that replaces it, if there is one.
    pub by: Option<EnforcementId>,
}

/// Why a held enforcement is not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum SupersededBecause {
    /// A newer match with the same key came.
    Newer,
    /// Its window filled, or the time to gather is over: the last match is acted on, with all events.
    WindowFilled,
    /// Its window did not fill in time.
    WindowPassed,
    /// Its rule holds too many enforcements, and it was the oldest.
    CrowdedOut,
    /// Its rule has a different flow control now, or none.
    RuleChanged,
    /// Its rule is gone.
    RuleRemoved,
    /// Its rule is disabled.
    RuleDisabled,
}

/// A rule keeps too many keys: the least recently used one is forgotten, and its next match counts as its first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleKeyForgotten {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The flow control that kept it.
    pub control: Control,
    /// The digest of the key.
    pub key: Digest,
}

/// The state of a rule's flow control is no longer kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFlowEnded {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// Why.
    pub why: FlowEndedBecause,
}

/// Why the state of a rule's flow control is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEndedBecause {
    /// The rule has a different flow control now, or none.
    Changed,
    /// The rule is gone.
    Removed,
    /// The rule is disabled.
    Disabled,
}

impl From<FlowEndedBecause> for SupersededBecause {
    fn from(why: FlowEndedBecause) -> Self {
        match why {
            FlowEndedBecause::Changed => Self::RuleChanged,
            FlowEndedBecause::Removed => Self::RuleRemoved,
            FlowEndedBecause::Disabled => Self::RuleDisabled,
        }
    }
}
