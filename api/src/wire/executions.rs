//! Executions and their attempts.

use ensue_engine::executions::facts::{Evidence, Failure, FailureKind, Pace, SettlementWord};
use ensue_engine::executions::labels::Labels;
use ensue_engine::ids::{AttemptId, EnforcementId, EventId, ExecutionId, Id, InquiryId};
use ensue_engine::names::{ActionRef, RuleRef, StepName, WorkerQueueName};
use ensue_engine::ports::{OutputPart, OutputState, OutputStream};
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::SkippedBecause;
use ensue_views::executions::{AttemptStatus, NotStarted, Progress, Settled, SettledAs, Status};
use ensue_views::{Attempt, Execution};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::shapes;
use crate::wire::locks::WireAwaitedLock;

/// An execution.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireExecution {
    #[schemars(with = "shapes::ExecutionId")]
    id: ExecutionId,
    #[schemars(with = "shapes::Position")]
    position: Position,
    #[schemars(with = "shapes::ActionRef")]
    action: ActionRef,
    #[schemars(with = "shapes::Status")]
    status: Status,
    /// Since when it is paused, where it is.
    #[schemars(with = "Option<shapes::Timestamp>")]
    paused_at: Option<Timestamp>,
    error: Option<WireFailure>,
    attempt: u32,
    progress: Option<WireProgress>,
    artifacts: u32,
    #[schemars(with = "Option<shapes::RuleRef>")]
    rule: Option<RuleRef>,
    #[schemars(with = "Option<shapes::EventId>")]
    event: Option<EventId>,
    #[schemars(with = "Option<shapes::EnforcementId>")]
    enforcement: Option<EnforcementId>,
    #[schemars(with = "Option<shapes::ExecutionId>")]
    parent: Option<ExecutionId>,
    /// The step of the workflow `parent` that it is.
    #[schemars(with = "Option<shapes::StepName>")]
    step: Option<StepName>,
    /// The item of the step, from 0.
    item: Option<u32>,
    /// The turn of the step, from 1, where that is repeated.
    turn: Option<u32>,
    /// Whether it undoes the step, or the item, and is not it.
    undoes: bool,
    /// The execution that it runs again.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    rerun_of: Option<ExecutionId>,
    /// The inquiry that it opened: while it waits, it is for an answer to that.
    #[schemars(with = "Option<shapes::InquiryId>")]
    inquiry: Option<InquiryId>,
    priority: i8,
    /// The queue in which it waits for a worker, where it is one that has a worker's slot.
    #[schemars(with = "Option<shapes::WorkerQueueName>")]
    queue: Option<WorkerQueueName>,
    /// What it is found by, beside what it runs: those of its action, and those that whoever asked for it gave.
    #[schemars(with = "shapes::Labels")]
    labels: Labels,
    /// Since when it waits there.
    #[schemars(with = "Option<shapes::Timestamp>")]
    queued_at: Option<Timestamp>,
    #[schemars(with = "shapes::Timestamp")]
    requested_at: Timestamp,
    #[schemars(with = "Option<shapes::Timestamp>")]
    started_at: Option<Timestamp>,
    /// When it goes on by itself, where it waits for that: a later attempt, a sleep's end, its start. As was said when it began to wait;
    /// a step of the clock moves it.
    #[schemars(with = "Option<shapes::Timestamp>")]
    waits_until: Option<Timestamp>,
    /// The lock that it waits for before it begins.
    awaits_lock: Option<WireAwaitedLock>,
    /// When all of it has taken too long, where that is limited.
    #[schemars(with = "Option<shapes::Timestamp>")]
    times_out_at: Option<Timestamp>,
    #[schemars(with = "Option<shapes::Timestamp>")]
    ended_at: Option<Timestamp>,
    #[schemars(with = "shapes::Id")]
    correlation: Id,
    actor: String,
    #[schemars(with = "shapes::CatalogRevision")]
    catalog: CatalogRevision,
    settled: Option<WireSettled>,
    /// How many steps of it, and items of steps, never had an execution: they were skipped, failed before, or had nothing to do.
    not_started_count: u32,
    /// Only of a single execution: the first 50 of these, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_started: Option<Vec<WireNotStarted>>,
    params_bytes: Option<u64>,
    result_bytes: Option<u64>,
    /// Only of a single execution: a list names its size alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Option<Box<RawValue>>>,
    /// Only of a single execution: a list names its size alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Option<Box<RawValue>>>,
}

/// What an execution took and gave; none where there is nothing, or it was erased.
pub(crate) struct Bodies {
    pub(crate) params: Option<Box<RawValue>>,
    pub(crate) result: Option<Box<RawValue>>,
    /// What it does, as its last attempt says.
    pub(crate) doing: Option<String>,
    /// The last lines that its last attempt printed to standard error, where that failed.
    pub(crate) output_tail: Option<String>,
}

impl WireExecution {
    /// Shows an execution in a list.
    pub(crate) fn listed(execution: Execution) -> Self {
        Self {
            id: execution.id,
            position: execution.position,
            action: execution.action,
            status: execution.status,
            paused_at: execution.paused_at,
            error: execution.error.map(WireFailure::from),
            attempt: execution.attempt,
            progress: execution.progress.map(WireProgress::from),
            artifacts: execution.artifacts,
            rule: execution.rule,
            event: execution.event,
            enforcement: execution.enforcement,
            parent: execution.parent,
            step: execution.step,
            item: execution.item,
            turn: execution.turn,
            undoes: execution.undoes,
            rerun_of: execution.rerun_of,
            inquiry: execution.inquiry,
            priority: execution.priority,
            queue: (execution.pace == Pace::Worked).then_some(execution.queue),
            labels: execution.labels,
            queued_at: execution.queued_at,
            requested_at: execution.requested_at,
            started_at: execution.started_at,
            waits_until: execution.waits_until,
            awaits_lock: execution.awaits_lock.map(WireAwaitedLock::from),
            times_out_at: execution.times_out_at,
            ended_at: execution.ended_at,
            correlation: execution.correlation,
            actor: execution.actor,
            catalog: execution.catalog,
            settled: execution.settled.map(WireSettled::from),
            not_started_count: execution.not_started_count,
            not_started: None,
            params_bytes: execution.params.map(|params| params.bytes),
            result_bytes: execution.result.map(|result| result.bytes),
            params: None,
            result: None,
        }
    }

    /// Shows an execution alone.
    pub(crate) fn whole(mut execution: Execution, bodies: Bodies) -> Self {
        let not_started = std::mem::take(&mut execution.not_started).into_iter().map(WireNotStarted::from).collect();
        let mut whole =
            Self { params: Some(bodies.params), result: Some(bodies.result), not_started: Some(not_started), ..Self::listed(execution) };
        if let Some(progress) = &mut whole.progress {
            progress.message = Some(bodies.doing);
        }
        if let Some(error) = &mut whole.error {
            error.output_tail = bodies.output_tail;
        }
        whole
    }
}

/// A step of a workflow, or an item of one, that has no execution.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireNotStarted {
    #[schemars(with = "shapes::StepName")]
    step: StepName,
    /// The item of the step, from 0.
    item: Option<u32>,
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
    /// Why it was skipped; with neither this nor `error`, and not taken over, its list of items was empty, and it is done.
    #[schemars(with = "Option<shapes::SkippedBecause>")]
    skipped: Option<SkippedBecause>,
    /// Why it failed.
    error: Option<WireFailure>,
    /// Whether it had succeeded in the execution that is run again, and is taken over: nothing was run.
    taken_over: bool,
    /// The execution that it was then.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    taken_from: Option<ExecutionId>,
}

impl From<NotStarted> for WireNotStarted {
    fn from(step: NotStarted) -> Self {
        Self {
            step: step.step,
            item: step.item,
            at: step.at,
            skipped: step.skipped,
            error: step.error.map(WireFailure::from),
            taken_over: step.is_taken_over,
            taken_from: step.taken_from,
        }
    }
}

/// How far an execution is, as its last attempt says.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireProgress {
    done: Option<f64>,
    /// Only of a single execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Option<String>>,
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
}

impl From<Progress> for WireProgress {
    fn from(progress: Progress) -> Self {
        let done = progress.thousandths.map(|thousandths| f64::from(thousandths) / 1_000.0);
        Self { done, message: None, at: progress.at }
    }
}

/// Why something failed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireFailure {
    #[schemars(with = "shapes::FailureKind")]
    kind: FailureKind,
    message: String,
    detail: Option<i64>,
    /// The last lines that the attempt printed to standard error, as long as its output is kept. Only of a single execution, and of its
    /// attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tail: Option<String>,
}

impl From<Failure> for WireFailure {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind, message: failure.message, detail: failure.detail, output_tail: None }
    }
}

/// What a person said became of an execution.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSettled {
    #[schemars(with = "shapes::SettledAs")]
    outcome: SettledAs,
    by: String,
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
}

impl From<Settled> for WireSettled {
    fn from(settled: Settled) -> Self {
        Self { outcome: settled.outcome, by: settled.by, at: settled.at }
    }
}

/// One try of an execution.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireAttempt {
    #[schemars(with = "shapes::AttemptId")]
    id: AttemptId,
    number: u32,
    worker: String,
    #[schemars(with = "shapes::AttemptStatus")]
    status: AttemptStatus,
    #[schemars(with = "shapes::Timestamp")]
    started_at: Timestamp,
    #[schemars(with = "Option<shapes::Timestamp>")]
    ended_at: Option<Timestamp>,
    error: Option<WireFailure>,
    result_bytes: Option<u64>,
    #[schemars(with = "Option<shapes::Evidence>")]
    evidence: Option<Evidence>,
    late_report: Option<WireLateReport>,
}

/// What a worker said of an attempt that had been given up.
#[derive(Serialize, JsonSchema)]
struct WireLateReport {
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
    error: Option<WireFailure>,
    result_bytes: Option<u64>,
}

impl WireAttempt {
    /// Shows an attempt, with the last lines that it printed to standard error where it failed.
    pub(crate) fn shown(attempt: Attempt, output_tail: Option<String>) -> Self {
        Self {
            id: attempt.id,
            number: attempt.number,
            worker: attempt.worker,
            status: attempt.status,
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            error: attempt.error.map(|error| WireFailure { output_tail, ..WireFailure::from(error) }),
            result_bytes: attempt.result.map(|result| result.bytes),
            evidence: attempt.evidence,
            late_report: attempt.late_report.map(|report| WireLateReport {
                at: report.at,
                error: report.error.map(WireFailure::from),
                result_bytes: report.result.map(|result| result.bytes),
            }),
        }
    }
}

/// What a caller says became of an indeterminate execution.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireSettlement {
    pub(crate) outcome: SettlementWord,
    #[serde(default)]
    pub(crate) result: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// What goes with which outcome, for those who read the document: it is told apart by hand, so that what is wrong with it is told well.
#[derive(JsonSchema)]
#[schemars(rename = "Settlement")]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum WireOutcome {
    /// It took effect.
    Succeeded {
        /// What it gave.
        result: Option<Value>,
        error: Option<()>,
    },
    /// It did not, and is not to be tried again.
    Failed {
        /// Why.
        error: String,
        result: Option<()>,
    },
    /// It did not, and is to be tried again.
    Retry { result: Option<()>, error: Option<()> },
}

/// How an execution is run again.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRerun {
    /// What of it: all of it, `start`, which is what happens without it; what did not succeed, `failed`; or what did not and this step, by its
    /// name. What needs a step that runs again runs again. The others are taken over as they were.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// Parameters with other values than before, where all of it is run again; those that are not named stay as they were.
    #[serde(default)]
    #[schemars(with = "Option<shapes::Params>")]
    pub(crate) params: Option<Map<String, Value>>,
}

/// A part of what an attempt printed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireOutput {
    attempt: u32,
    #[schemars(with = "shapes::OutputStream")]
    stream: &'static str,
    offset: u64,
    next: u64,
    state: WireOutputState,
    bytes_dropped: u64,
    text: String,
}

/// What there is of it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireOutputState {
    /// All so far; more may come.
    Open,
    /// All there was.
    Complete,
    /// What is over the cap was dropped.
    Truncated,
    /// It was thrown away.
    Removed,
}

impl WireOutput {
    /// Shows a part that begins at an offset; what is no UTF-8 in it is shown as such.
    pub(crate) fn new(attempt: u32, stream: OutputStream, offset: u64, part: &OutputPart) -> Self {
        let (state, bytes_dropped) = match part.state {
            OutputState::Open => (WireOutputState::Open, 0),
            OutputState::Complete => (WireOutputState::Complete, 0),
            OutputState::Truncated { bytes_dropped } => (WireOutputState::Truncated, bytes_dropped),
            OutputState::Removed => (WireOutputState::Removed, 0),
        };
        let text = String::from_utf8_lossy(&part.bytes).into_owned();
        Self { attempt, stream: stream.as_str(), offset, next: part.next, state, bytes_dropped, text }
    }
}

/// Says what the state of a part is once its attempt is over: what was never ended, because nothing was printed or its node went down,
/// is all there is.
pub(crate) fn settled(part: OutputPart, bytes_max: usize) -> OutputPart {
    let is_all = part.bytes.len() < bytes_max;
    let state = match part.state {
        OutputState::Open if is_all => OutputState::Complete,
        state @ (OutputState::Open | OutputState::Complete | OutputState::Truncated { .. } | OutputState::Removed) => state,
    };
    OutputPart { state, ..part }
}

/// Parts of what an attempt printed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireOutputs {
    pub(crate) items: Vec<WireOutput>,
    pub(crate) next: Option<String>,
}

/// The end of what an execution printed.
#[derive(Serialize)]
pub(crate) struct WireOutputEnd {
    pub(crate) status: Status,
}
