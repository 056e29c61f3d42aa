//! What led to an inquiry, for those who answer it: texts only.

use ensue_derive::wire;
use ensue_engine::executions::labels::Labels;
use ensue_engine::ids::{EventId, ExecutionId, InquiryId};
use ensue_engine::names::{ActionRef, RuleRef, StepName, TriggerRef};
use ensue_engine::time::Timestamp;
use serde::Serialize;

use crate::wire::graph::WireStepState;

/// What led to an inquiry.
#[wire(Serialize)]
pub(crate) struct WireWhy {
    pub(crate) inquiry: InquiryId,
    /// The causes, the first one first; the last one is the execution that asks.
    pub(crate) chain: Vec<WireCause>,
    /// The steps that start, or do not start, after the answer.
    pub(crate) waiting: Vec<StepName>,
}

/// One of the causes.
#[wire(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum WireCause {
    /// An event came.
    Event { id: EventId, trigger: TriggerRef, at: Timestamp },
    /// A rule matched it.
    Rule {
        r#ref: RuleRef,
        /// Empty if the rule is no longer installed, or has no description.
        description: String,
    },
    /// A workflow ran, and one of its steps is the next cause.
    Workflow {
        id: ExecutionId,
        action: ActionRef,
        /// Empty if its definition is no longer stored, or has no description.
        description: String,
        labels: Labels,
        at: Timestamp,
        /// The execution that it reruns.
        rerun_of: Option<ExecutionId>,
        /// The steps that have ended.
        ended: Vec<WireEndedStep>,
        /// The step that is the next cause.
        step: Option<StepName>,
        /// The item of that step, from 0.
        item: Option<u32>,
    },
    /// An execution asks.
    Question { id: ExecutionId, action: ActionRef, labels: Labels, at: Timestamp },
}

/// A step that has ended.
#[wire(Serialize)]
pub(crate) struct WireEndedStep {
    pub(crate) step: StepName,
    pub(crate) state: WireStepState,
    /// From its request until its end; null if it never started.
    pub(crate) seconds: Option<f64>,
}
