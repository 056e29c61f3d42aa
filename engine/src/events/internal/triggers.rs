//! The names of the engine's own triggers.

use crate::names::TriggerRef;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One of the engine's own triggers, to which any rule may listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum InternalTrigger {
    /// An execution that is not a step ended.
    #[serde(rename = "core.execution_ended")]
    ExecutionEnded,
    /// It is unknown whether an attempt took effect, and a person is asked.
    #[serde(rename = "core.attempt_indeterminate")]
    AttemptIndeterminate,
    /// People were asked a question.
    #[serde(rename = "core.inquiry_opened")]
    InquiryOpened,
    /// A reminder of a question is due.
    #[serde(rename = "core.inquiry_reminded")]
    InquiryReminded,
    /// Others are asked as well.
    #[serde(rename = "core.inquiry_escalated")]
    InquiryEscalated,
    /// A question ended: answered, expired, cancelled or withdrawn.
    #[serde(rename = "core.inquiry_ended")]
    InquiryEnded,
    /// A rule failed with an error that it had not had before.
    #[serde(rename = "core.rule_erred")]
    RuleErred,
    /// The value of a key expires soon.
    #[serde(rename = "core.key_expiring")]
    KeyExpiring,
    /// A pulling sensor keeps failing.
    #[serde(rename = "core.sensor_failed")]
    SensorFailed,
    /// A pulling sensor works again after an outage.
    #[serde(rename = "core.sensor_recovered")]
    SensorRecovered,
    /// A part of what a pulling sensor reads began to fail.
    #[serde(rename = "core.sensor_part_failed")]
    SensorPartFailed,
    /// Such a part works again.
    #[serde(rename = "core.sensor_part_recovered")]
    SensorPartRecovered,
}

/// Some of the engine's own triggers.
pub type InternalTriggers = BTreeSet<InternalTrigger>;

impl InternalTrigger {
    /// All variants.
    pub const ALL: [Self; 12] = [
        Self::ExecutionEnded,
        Self::AttemptIndeterminate,
        Self::InquiryOpened,
        Self::InquiryReminded,
        Self::InquiryEscalated,
        Self::InquiryEnded,
        Self::RuleErred,
        Self::KeyExpiring,
        Self::SensorFailed,
        Self::SensorRecovered,
        Self::SensorPartFailed,
        Self::SensorPartRecovered,
    ];

    /// Returns its ref as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExecutionEnded => "core.execution_ended",
            Self::AttemptIndeterminate => "core.attempt_indeterminate",
            Self::InquiryOpened => "core.inquiry_opened",
            Self::InquiryReminded => "core.inquiry_reminded",
            Self::InquiryEscalated => "core.inquiry_escalated",
            Self::InquiryEnded => "core.inquiry_ended",
            Self::RuleErred => "core.rule_erred",
            Self::KeyExpiring => "core.key_expiring",
            Self::SensorFailed => "core.sensor_failed",
            Self::SensorRecovered => "core.sensor_recovered",
            Self::SensorPartFailed => "core.sensor_part_failed",
            Self::SensorPartRecovered => "core.sensor_part_recovered",
        }
    }

    /// Returns its ref.
    pub fn trigger(self) -> TriggerRef {
        self.as_str().parse().expect("each is written as a ref is, `<pack>.<name>`")
    }

    /// Returns the variant that a ref names, or `None` if it names another trigger.
    pub fn of(trigger: &TriggerRef) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.as_str() == trigger.as_str())
    }
}
