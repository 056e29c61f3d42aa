//! Traces: the causal graph around a thing.

use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::{ActionRef, RuleRef, TriggerRef};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::enforcements::OutcomeName;
use ensue_views::executions::Status;
use serde::Serialize;

use crate::wire::verdicts::WireVerdict;

/// The causal graph around a thing.
#[derive(Serialize)]
pub(crate) struct WireTrace {
    /// The first record of the chain.
    pub(crate) root: Id,
    /// When that was; all `micros` count from here.
    pub(crate) began_at: Timestamp,
    /// What was asked for.
    pub(crate) asked: Id,
    /// The things, each after the one that led to it.
    pub(crate) nodes: Vec<WireTraceNode>,
    /// Says whether there are more things than are shown.
    pub(crate) truncated: bool,
}

/// One thing in the graph.
#[derive(Serialize)]
pub(crate) struct WireTraceNode {
    pub(crate) id: Id,
    /// What led to it.
    pub(crate) parent: Option<Id>,
    pub(crate) position: Position,
    pub(crate) time: Timestamp,
    pub(crate) micros: i64,
    #[serde(flatten)]
    pub(crate) what: WireTraced,
}

/// What a thing in the graph is.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum WireTraced {
    /// An event.
    Event {
        /// Its kind.
        trigger: TriggerRef,
        /// Who observed it.
        source: String,
        /// How many rules were enforced on it.
        matched: u32,
        /// How many could not be evaluated on it.
        erred: u32,
        /// The rules of its trigger that did not match, and why; null where the catalog that judged it is not kept any more.
        not_matched: Option<Vec<WireVerdict>>,
    },
    /// An enforcement.
    Enforcement {
        /// The rule.
        rule: RuleRef,
        /// Its id.
        rule_id: RuleId,
        /// What became of it.
        outcome: OutcomeName,
        /// Why it was rejected.
        error: Option<String>,
    },
    /// An execution.
    Execution {
        /// The action.
        action: ActionRef,
        /// Where it stands.
        status: Status,
        /// How many attempts were started.
        attempt: u32,
        /// When the first was, in microseconds since the beginning.
        started_micros: Option<i64>,
        /// When it ended, in microseconds since the beginning.
        ended_micros: Option<i64>,
        /// Why it failed.
        error: Option<WireTraceError>,
    },
}

/// Why an execution failed.
#[derive(Serialize)]
pub(crate) struct WireTraceError {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}
