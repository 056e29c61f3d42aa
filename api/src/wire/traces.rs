//! Traces: the causal graph around a thing.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ids::{ExecutionId, Id, RuleId};
use ensue_engine::names::{ActionRef, RuleRef, StepName, TriggerRef};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::enforcements::OutcomeName;
use ensue_views::executions::Status;
use serde::Serialize;

use crate::wire::enforcements::{WireBecame, WireHeld};
use crate::wire::executions::WireNotStarted;
use crate::wire::verdicts::WireVerdict;

/// The causal graph around a thing.
#[wire(Serialize)]
pub(crate) struct WireTrace {
    /// The first record of the chain.
    pub(crate) root: Id,
    /// When that record was written; all `micros` count from here.
    pub(crate) began_at: Timestamp,
    /// The id that was asked for.
    pub(crate) asked: Id,
    /// The things, each after its cause. A cause can be on an earlier page, or folded.
    pub(crate) nodes: Vec<WireTraceNode>,
    /// With `fold`, the steps whose items are not in `nodes`, with counts of the items of this page.
    pub(crate) folded: Vec<WireTraceFold>,
    /// The position after which the next page begins; null on the last one.
    pub(crate) next: Option<Position>,
    /// True if there are more things than are shown.
    pub(crate) truncated: bool,
}

/// The items of a step that are counted and not shown.
#[wire(Serialize)]
pub(crate) struct WireTraceFold {
    /// The workflow.
    pub(crate) parent: ExecutionId,
    /// Its step.
    pub(crate) step: StepName,
    /// The number of items.
    pub(crate) items: u32,
    /// The number of items by status.
    pub(crate) statuses: BTreeMap<String, u32>,
    /// The number of executions below the items.
    pub(crate) below: u32,
}

/// One thing in the graph.
#[wire(Serialize)]
pub(crate) struct WireTraceNode {
    pub(crate) id: Id,
    /// Its cause.
    pub(crate) parent: Option<Id>,
    pub(crate) position: Position,
    pub(crate) time: Timestamp,
    pub(crate) micros: i64,
    #[serde(flatten)]
    pub(crate) what: WireTraced,
}

/// The kind of a thing in the graph.
#[wire(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum WireTraced {
    /// An event.
    Event {
        /// Its trigger.
        trigger: TriggerRef,
        /// Its source.
        source: String,
        /// The number of rules that matched it; null if the caller's permission is limited, as is the next one.
        matched: Option<u32>,
        /// The number of rules that could not be evaluated on it.
        erred: Option<u32>,
        /// The rules of its trigger that did not match, and why; null if the catalog that judged it is no
        /// longer stored.
        not_matched: Option<Vec<WireVerdict>>,
    },
    /// An enforcement.
    Enforcement {
        /// The rule.
        rule: RuleRef,
        /// Its id.
        rule_id: RuleId,
        /// Its outcome.
        outcome: OutcomeName,
        /// The flow control that holds it, or held it last; null if it was never held.
        held: Option<WireHeld>,
        /// What became of it after it was held.
        became: Option<WireBecame>,
        /// Why it was rejected.
        error: Option<String>,
    },
    /// An execution.
    Execution {
        /// The action.
        action: ActionRef,
        /// Its status.
        status: Status,
        /// The number of attempts that were started.
        attempt: u32,
        /// When the first attempt started, in microseconds since the beginning.
        started_micros: Option<i64>,
        /// When it ended, in microseconds since the beginning.
        ended_micros: Option<i64>,
        /// Why it failed.
        error: Option<WireTraceError>,
        /// Its step in the workflow.
        step: Option<StepName>,
        /// The item of the step, from 0.
        item: Option<u32>,
        /// The first 50 of its steps, and items of steps, that never had an execution.
        not_started: Vec<WireNotStarted>,
        /// The number of such steps and items.
        not_started_count: u32,
    },
}

/// Why an execution failed.
#[wire(Serialize)]
pub(crate) struct WireTraceError {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}
