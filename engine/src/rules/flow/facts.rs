//! What can happen to what the flow control of a rule holds, and to what it keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::Control;
use crate::events::own::OwnTriggers;
use crate::executions::facts::GivenEvent;
use crate::ids::{EnforcementId, ExecutionId, RuleId};
use crate::names::RuleRef;
use crate::record::Digest;
use crate::time::Timestamp;

/// What the flow control of a rule made of a match: a part of `enforcement.made`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controlled {
    /// What tells the rule's flow control from another.
    pub flow: Digest,
    /// What tells the match from others, for each flow control that it has come to or comes to later.
    pub keys: BTreeMap<Control, ControlKey>,
    /// The event, where the enforcement is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<GivenEvent>,
    /// The engine's own triggers of which an event stands above what it leads to, where it is held.
    #[serde(default, skip_serializing_if = "OwnTriggers::is_empty")]
    pub own_above: OwnTriggers,
}

/// What tells a match from others for one flow control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlKey {
    /// The digest of the key.
    pub key: Digest,
    /// Until when it says something to later matches, where the flow control keeps it: of `throttle` until when all is as if none had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What held an enforcement let it go, and a later flow control of its rule holds it now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcementHeldOn {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The flow control that holds it now.
    pub by: Control,
    /// Until when, if nothing else comes about.
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
    /// The action was asked for.
    Executed {
        /// The execution.
        execution: ExecutionId,
    },
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

/// A held enforcement is not acted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcementSuperseded {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// Why.
    pub why: SupersededBecause,
    /// The enforcement that came in its place, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<EnforcementId>,
}

/// Why a held enforcement is not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupersededBecause {
    /// A newer match of its key came.
    Newer,
    /// Its window has become full: the last match of it is acted on, with all of its events.
    WindowFilled,
    /// Its window has not become full in time.
    WindowPassed,
    /// Its rule holds too many, and it was the oldest.
    CrowdedOut,
    /// Its rule has another flow control now, or none.
    RuleChanged,
    /// Its rule is gone.
    RuleRemoved,
    /// Its rule is disabled.
    RuleDisabled,
}

impl SupersededBecause {
    /// Lists all of them.
    pub const ALL: [Self; 7] =
        [Self::Newer, Self::WindowFilled, Self::WindowPassed, Self::CrowdedOut, Self::RuleChanged, Self::RuleRemoved, Self::RuleDisabled];

    /// Gives the reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newer => "newer",
            Self::WindowFilled => "window_filled",
            Self::WindowPassed => "window_passed",
            Self::CrowdedOut => "crowded_out",
            Self::RuleChanged => "rule_changed",
            Self::RuleRemoved => "rule_removed",
            Self::RuleDisabled => "rule_disabled",
        }
    }
}

/// A rule keeps too many keys: the one that was used longest ago is not known any more, and its next match counts as its first.
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

/// Nothing is kept for the flow control of a rule any more.
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

/// Why nothing is kept for the flow control of a rule any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEndedBecause {
    /// The rule has another flow control now, or none.
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
