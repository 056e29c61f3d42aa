//! Executions and their attempts.

use ensue_derive::wire;
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind, Pace, SettlementWord};
use ensue_engine::executions::labels::Labels;
use ensue_engine::ids::{AttemptId, EnforcementId, EventId, ExecutionId, Id, InquiryId};
use ensue_engine::names::{ActionRef, RuleRef, StepName, WorkerQueueName};
use ensue_engine::ports::{OutputPart, OutputState, OutputStream};
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::SkippedBecause;
use ensue_views::executions::{AttemptStatus, NotStarted, OutcomeDecision, Progress, SettledAs, Status};
use ensue_views::{Attempt, Execution};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::shapes;
use crate::wire::locks::WireAwaitedLock;
use crate::wire::waits::WireWaitsFor;

/// An execution.
#[wire(Serialize)]
pub(crate) struct WireExecution {
    id: ExecutionId,
    position: Position,
    action: ActionRef,
    status: Status,
    /// Since when it has been paused, if it is paused.
    paused_at: Option<Timestamp>,
    error: Option<WireFailure>,
    attempt: u32,
    progress: Option<WireProgress>,
    artifacts: u32,
    rule: Option<RuleRef>,
    event: Option<EventId>,
    enforcement: Option<EnforcementId>,
    parent: Option<ExecutionId>,
    /// Its step in the workflow `parent`.
    step: Option<StepName>,
    /// The item of the step, from 0.
    item: Option<u32>,
    /// The turn of the step, from 1, if the step is repeated.
    turn: Option<u32>,
    /// Whether it undoes the step or item, rather than running it.
    undoes: bool,
    /// The execution that it reruns.
    rerun_of: Option<ExecutionId>,
    /// The inquiry that it opened: while it waits, it waits for an answer to that inquiry.
    inquiry: Option<InquiryId>,
    priority: i8,
    /// The queue in which it waits for a worker, if it needs a worker's slot.
    queue: Option<WorkerQueueName>,
    /// Its labels, by which you can find it: those that its action sets, and those that the request added.
    labels: Labels,
    /// Since when it has been waiting in the queue.
    queued_at: Option<Timestamp>,
    requested_at: Timestamp,
    started_at: Option<Timestamp>,
    /// When it continues on its own, if it waits for a time: a later attempt, the end of a sleep, or its start.
    /// This is the time computed when it began to wait; a clock jump shifts it.
    waits_until: Option<Timestamp>,
    /// The lock that it waits for before it starts.
    awaits_lock: Option<WireAwaitedLock>,
    /// What it waits for; null if it runs or has ended.
    waits_for: Option<WireWaitsFor>,
    /// The deadline of the whole execution, if it has a timeout.
    times_out_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    correlation: Id,
    actor: String,
    /// On whose rights it runs: `identity/<id>`, `token/<name>` or `pack/<name>`. Null for steps that an older release
    /// requested.
    principal: Option<String>,
    catalog: CatalogRevision,
    settled: Option<WireSettled>,
    /// The number of its steps, and items of steps, that never had an execution: they were skipped, failed
    /// earlier, or had nothing to do.
    not_started_count: u32,
    /// Only for a single execution: the first 50 of them, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_started: Option<Vec<WireNotStarted>>,
    params_bytes: Option<u64>,
    result_bytes: Option<u64>,
    /// Only for a single execution: a list shows only its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Option<Box<RawValue>>>,
    /// Only for a single execution: a list shows only its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Option<Box<RawValue>>>,
    /// Only if the execution itself is read: the last execution of the same action and rule before it that succeeded; null if
    /// there is none that the caller may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<Option<ExecutionId>>,
}

/// The parameters and result of an execution; none if there are none, or they were erased.
pub(crate) struct ExecutionBodies {
    pub(crate) params: Option<Box<RawValue>>,
    pub(crate) result: Option<Box<RawValue>>,
    /// What it is doing, as reported by its last attempt.
    pub(crate) doing: Option<String>,
    /// The last lines that its last attempt printed to standard error, if that attempt failed.
    pub(crate) output_tail: Option<String>,
}

impl WireExecution {
    /// Adds the last execution before it that succeeded.
    pub(crate) fn after(self, last_success: Option<ExecutionId>) -> Self {
        Self { last_success: Some(last_success), ..self }
    }

    /// Shows an execution as an item of a list.
    pub(crate) fn for_list(execution: Execution) -> Self {
        let waits_for = WireWaitsFor::of(&execution);
        Self {
            waits_for,
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
            principal: execution.principal.map(|principal| principal.to_string()),
            catalog: execution.catalog,
            settled: execution.settled.map(WireSettled::from),
            not_started_count: execution.not_started_count,
            not_started: None,
            params_bytes: execution.params.map(|params| params.bytes),
            result_bytes: execution.result.map(|result| result.bytes),
            last_success: None,
            params: None,
            result: None,
        }
    }

    /// Shows a single execution.
    pub(crate) fn whole(mut execution: Execution, bodies: ExecutionBodies) -> Self {
        let not_started = std::mem::take(&mut execution.not_started).into_iter().map(WireNotStarted::from).collect();
        let mut whole =
            Self { params: Some(bodies.params), result: Some(bodies.result), not_started: Some(not_started), ..Self::for_list(execution) };
        if let Some(progress) = &mut whole.progress {
            progress.message = Some(bodies.doing);
        }
        if let Some(error) = &mut whole.error {
            error.output_tail = bodies.output_tail;
        }
        whole
    }
}

/// A step of a workflow, or an item of a step, that has no execution.
#[wire(Serialize)]
pub(crate) struct WireNotStarted {
    step: StepName,
    /// The item of the step, from 0.
    item: Option<u32>,
    at: Timestamp,
    /// Why it was skipped. If this and `error` are both null and it was not taken over, its list of items was
    /// empty and it is done.
    skipped: Option<SkippedBecause>,
    /// Why it failed.
    error: Option<WireFailure>,
    /// Whether it had succeeded in the original execution and was taken over: nothing was run.
    taken_over: bool,
    /// Its execution at that time.
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

/// The progress of an execution, as reported by its last attempt.
#[wire(Serialize)]
pub(crate) struct WireProgress {
    done: Option<f64>,
    /// Only for a single execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Option<String>>,
    at: Timestamp,
}

impl From<Progress> for WireProgress {
    fn from(progress: Progress) -> Self {
        let done = progress.thousandths.map(|thousandths| f64::from(thousandths) / 1_000.0);
        Self { done, message: None, at: progress.at }
    }
}

/// Why something failed.
#[wire(Serialize)]
pub(crate) struct WireFailure {
    kind: FailureKind,
    message: String,
    detail: Option<i64>,
    /// The last lines that the attempt printed to standard error, as long as its output is stored. Only for a
    /// single execution and for its attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tail: Option<String>,
    /// The parts of the condition that was false, each with its value, if a step asserts one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    explained: Vec<WireExplainedPart>,
}

/// A part of a condition, with its value.
#[wire(Serialize)]
pub(crate) struct WireExplainedPart {
    part: String,
    value: String,
}

impl From<Failure> for WireFailure {
    fn from(failure: Failure) -> Self {
        let explained = failure.explained.into_iter().map(|part| WireExplainedPart { part: part.part, value: part.value });
        Self { kind: failure.kind, message: failure.message, detail: failure.detail, output_tail: None, explained: explained.collect() }
    }
}

/// How a person settled an execution.
#[wire(Serialize)]
pub(crate) struct WireSettled {
    outcome: SettledAs,
    by: String,
    at: Timestamp,
}

impl From<OutcomeDecision> for WireSettled {
    fn from(settled: OutcomeDecision) -> Self {
        Self { outcome: settled.outcome, by: settled.by, at: settled.at }
    }
}

/// One attempt of an execution.
#[wire(Serialize)]
pub(crate) struct WireAttempt {
    id: AttemptId,
    number: u32,
    worker: String,
    status: AttemptStatus,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    error: Option<WireFailure>,
    result_bytes: Option<u64>,
    evidence: Option<Evidence>,
    late_report: Option<WireLateReport>,
}

/// What a worker reported about an attempt that had been given up.
#[wire(Serialize)]
struct WireLateReport {
    at: Timestamp,
    error: Option<WireFailure>,
    result_bytes: Option<u64>,
}

impl WireAttempt {
    /// Shows an attempt, with the last lines that it printed to standard error if it failed.
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

/// How a caller settles an indeterminate execution.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireSettlement {
    pub(crate) outcome: SettlementWord,
    #[serde(default)]
    pub(crate) result: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// The fields of each outcome, for the OpenAPI document. Parsed by hand, so that errors are reported well.
#[derive(JsonSchema)]
#[schemars(rename = "Settlement")]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum WireOutcome {
    /// It took effect.
    Succeeded {
        /// Its result.
        result: Option<Value>,
        error: Option<()>,
    },
    /// It did not take effect, and must not be retried.
    Failed {
        /// The reason.
        error: String,
        result: Option<()>,
    },
    /// It did not take effect, and will be retried.
    Retry { result: Option<()>, error: Option<()> },
}

/// How to rerun an execution.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRerun {
    /// The part to rerun: `start` (the default) reruns everything; `failed` reruns what did not succeed; the
    /// name of a step reruns what did not succeed and that step. Everything that depends on a step that runs
    /// again also runs again. The other steps are taken over as they were.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// Parameters with new values, if everything is rerun; parameters that are not named keep their values.
    #[serde(default)]
    #[schemars(with = "Option<shapes::Params>")]
    pub(crate) params: Option<Map<String, Value>>,
}

/// A part of an attempt's output.
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

/// How much of the output there is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireOutputState {
    /// Everything so far; more may come.
    Open,
    /// Everything.
    Complete,
    /// Output over the limit was dropped.
    Truncated,
    /// The output was removed.
    Removed,
}

impl WireOutput {
    /// Shows a part that begins at an offset; bytes that are not UTF-8 are shown as replacement characters.
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

/// Returns a part with the state that holds once its attempt is over: an output that was never closed, because
/// nothing was printed or its node went down, is complete.
pub(crate) fn with_final_state(part: OutputPart, bytes_max: usize) -> OutputPart {
    let is_all = part.bytes.len() < bytes_max;
    let state = match part.state {
        OutputState::Open if is_all => OutputState::Complete,
        state @ (OutputState::Open | OutputState::Complete | OutputState::Truncated { .. } | OutputState::Removed) => state,
    };
    OutputPart { state, ..part }
}

/// Parts of an attempt's output.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireOutputs {
    pub(crate) items: Vec<WireOutput>,
    pub(crate) next: Option<String>,
}

/// The end of an execution's output.
#[derive(Serialize)]
pub(crate) struct WireOutputEnd {
    pub(crate) status: Status,
}
