//! What can happen to an execution and its attempts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalog::OnLost;
use crate::events::own::OwnTriggers;
use crate::executions::artifacts::{ArtifactName, MediaType};
use crate::executions::labels::Labels;
use crate::ids::{AttemptId, EnforcementId, EventId, ExecutionId};
use crate::locks::facts::Claim;
use crate::names::{ActionRef, LabelName, RuleRef, TriggerRef, WorkerQueueName};
use crate::record::{Body, BodyHandle, CatalogRevision, Digest};
use crate::time::Timestamp;
use crate::workflows::facts::PartOf;

/// Somebody or something asked for an action. The body holds the parameters, validated and completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionRequested {
    /// The action.
    pub action: ActionRef,
    /// The catalog in which it and all it needs is looked up.
    pub catalog: CatalogRevision,
    /// The rule that asked, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// The event that the rule decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementId>,
    /// The event as the steps of the rule see it, where the rule is made of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Box<GivenEvent>>,
    /// The step of a workflow that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
    /// The execution that it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<ExecutionId>,
    /// −100 … 100; higher goes first.
    pub priority: i8,
    /// The queue in which it waits for a worker's slot.
    #[serde(default, skip_serializing_if = "WorkerQueueName::is_default")]
    pub queue: WorkerQueueName,
    /// What it is found by, beside what it runs.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Those of its labels that whoever asked for it gave; the others are its action's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given_labels: BTreeSet<LabelName>,
    /// Says whether it may be tried again when it is unknown whether an attempt took effect.
    pub idempotent: bool,
    /// What to do then, where it may not.
    pub on_lost: OnLost,
    /// How long an attempt may take, in milliseconds.
    pub timeout_millis: u64,
    /// How long an attempt may go on after it was asked to stop, in milliseconds.
    pub grace_millis: u64,
    /// How many attempts may fail before it has failed for good; one where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures_max: Option<u32>,
    /// How long all of it may take from when it may start, all attempts or steps together, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_millis: Option<u64>,
    /// When it may start, not before; at once where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    /// The locks that it has to hold while it is open, in the order in which it takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Claim>,
    /// How long it waits before it may start, in milliseconds: a turn of a step that is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_millis: Option<u64>,
    /// Whether its attempts hold a worker's slot.
    #[serde(default, skip_serializing_if = "Pace::is_worked")]
    pub pace: Pace,
    /// The engine's own triggers of which an event stands above it in its chain: of none of them does it make another.
    #[serde(default, skip_serializing_if = "OwnTriggers::is_empty")]
    pub own_above: OwnTriggers,
}

impl ExecutionRequested {
    /// Gives the labels that whoever asked for it gave.
    pub fn labels_given(&self) -> Labels {
        let given = self.labels.iter().filter(|(name, _)| self.given_labels.contains(*name));
        given.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// An event as the steps of a rule see it. Its payload stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenEvent {
    /// Its kind.
    pub trigger: TriggerRef,
    /// Who observed it.
    pub source: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Its payload, in the event's own record.
    pub payload: BodyHandle,
}

/// Whether the attempts of an execution hold a worker's slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// They take time, and one of the slots.
    #[default]
    Worked,
    /// The node itself does them at once: they wait for no slot.
    AtOnce,
    /// It has no attempts: it is made of steps, which are executions of their own.
    InSteps,
    /// It has no attempts: it waits for so long.
    Sleeps {
        /// In milliseconds.
        millis: u64,
    },
    /// It has no attempts: it waits for an answer.
    Asks,
    /// It has no attempts: it waits for an event.
    Awaits {
        /// For how long, in milliseconds; for ever where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_millis: Option<u64>,
    },
}

impl Pace {
    fn is_worked(&self) -> bool {
        *self == Self::Worked
    }
}

/// A worker may begin a try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptStarted {
    /// Which try, from 1.
    pub number: u32,
    /// The fencing token: it grows with each attempt of the log.
    pub token: u64,
    /// The worker.
    pub worker: String,
    /// How long its right lasts without being renewed, in milliseconds.
    pub lease_millis: u64,
}

/// A try said how far it is. The body, where there is one, says in the program's own words what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptProgressed {
    /// The attempt.
    pub attempt: AttemptId,
    /// The message's place among those of the attempt, from 0.
    pub index: u32,
    /// How much is done, in thousandths: at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thousandths: Option<u16>,
}

/// A try emitted an event while it ran; the event's own record follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptEmitted {
    /// The attempt.
    pub attempt: AttemptId,
    /// The message's place among those of the attempt, from 0.
    pub index: u32,
    /// The event.
    pub event: EventId,
}

/// A file that a try gave away was kept. Its bytes are a blob beside the log, and may be thrown away before the record is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactKept {
    /// The attempt.
    pub attempt: AttemptId,
    /// The message's place among those of the attempt, from 0.
    pub index: u32,
    /// The name it is shown and saved under.
    pub name: ArtifactName,
    /// What the program says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The hash of its bytes, under which they are kept.
    pub blob: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

/// What a try said while it ran could not be taken; it changed nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRefused {
    /// The attempt.
    pub attempt: AttemptId,
    /// The message's place among those of the attempt, from 0.
    pub index: u32,
    /// Why.
    pub reason: String,
}

/// A try reached its end and gave a result. The body is the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptSucceeded {
    /// The attempt.
    pub attempt: AttemptId,
    /// When it ended, if that was noticeably earlier than the record: a program may end while no node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// A try reached its end without a result. The body, where there is one, is what it gave nevertheless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptFailed {
    /// The attempt.
    pub attempt: AttemptId,
    /// Why.
    pub error: Failure,
    /// How long the other side asks to wait before the next attempt, in milliseconds: `Retry-After` of an HTTP answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_millis: Option<u64>,
    /// When it ended, if that was noticeably earlier than the record: a program may end while no node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Why an attempt or an execution failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The kind, from a closed list.
    pub kind: FailureKind,
    /// What happened, for people; at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// A number that belongs to the kind: the exit code, the signal, the HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<i64>,
}

/// The most bytes that a failure's message is kept with.
pub const MESSAGE_BYTES_MAX: usize = 2048;

impl Failure {
    /// Makes a failure; a longer message is cut with a mark.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: cut(message.into(), MESSAGE_BYTES_MAX), detail: None }
    }

    /// Returns true if another attempt may succeed, so that `retry` without a `when` repeats it.
    ///
    /// Parameters that do not fit, and a request that the server rejected (4xx other than 408, 425 and 429), fail again each time. A result
    /// that is invalid or too large comes from an attempt that took effect: only an idempotent action is repeated.
    pub fn may_pass(&self, is_idempotent: bool) -> bool {
        match self.kind {
            FailureKind::ParametersInvalid => false,
            FailureKind::ResultInvalid | FailureKind::OutputLimit => is_idempotent,
            FailureKind::HttpStatus => !matches!(self.detail, Some(400..=499)) || matches!(self.detail, Some(408 | 425 | 429)),
            FailureKind::Expression
            | FailureKind::KeyMissing
            | FailureKind::Sandbox
            | FailureKind::Spawn
            | FailureKind::ExitCode
            | FailureKind::Signal
            | FailureKind::Timeout
            | FailureKind::Network
            | FailureKind::EgressDenied
            | FailureKind::Memory
            | FailureKind::Lost
            | FailureKind::ChildFailed
            | FailureKind::UndoFailed
            | FailureKind::Fail
            | FailureKind::Expired
            | FailureKind::Cancelled => true,
        }
    }

    /// Adds the number that belongs to the kind.
    #[must_use]
    pub fn with_detail(self, detail: i64) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

/// Cuts a text to at most `bytes_max` bytes, at a character's border and with a mark.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    const MARK: &str = " … (cut)";
    if text.len() > bytes_max {
        let mut end = bytes_max - MARK.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The parameters do not fit the action's schema.
    ParametersInvalid,
    /// An expression of the action's `run` or `local` erred.
    Expression,
    /// A key that the action reads is not set.
    KeyMissing,
    /// The box around the action could not be made.
    Sandbox,
    /// The program could not be started.
    Spawn,
    /// The program ended with another exit code than 0; the detail is the code.
    ExitCode,
    /// The program was ended by a signal; the detail is the signal.
    Signal,
    /// The attempt took longer than it may.
    Timeout,
    /// The result is not of the declared shape.
    ResultInvalid,
    /// The program or the answer gave more than is taken.
    OutputLimit,
    /// The other side could not be reached or broke off.
    Network,
    /// The address may not be reached from here.
    EgressDenied,
    /// The other side answered with an error; the detail is the HTTP status.
    HttpStatus,
    /// The kernel killed it because memory ran out.
    Memory,
    /// It is unknown whether the attempt took effect.
    Lost,
    /// A step of the workflow failed.
    ChildFailed,
    /// What undoes a step of the workflow failed.
    UndoFailed,
    /// A step of the workflow says that it fails.
    Fail,
    /// Nobody answered in time.
    Expired,
    /// The execution was cancelled.
    Cancelled,
}

impl FailureKind {
    /// Lists all of them.
    pub const ALL: [Self; 20] = [
        Self::ParametersInvalid,
        Self::Expression,
        Self::KeyMissing,
        Self::Sandbox,
        Self::Spawn,
        Self::ExitCode,
        Self::Signal,
        Self::Timeout,
        Self::ResultInvalid,
        Self::OutputLimit,
        Self::Network,
        Self::EgressDenied,
        Self::HttpStatus,
        Self::Memory,
        Self::Lost,
        Self::ChildFailed,
        Self::UndoFailed,
        Self::Fail,
        Self::Expired,
        Self::Cancelled,
    ];

    /// Gives the kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ParametersInvalid => "parameters_invalid",
            Self::Expression => "expression",
            Self::KeyMissing => "key_missing",
            Self::Sandbox => "sandbox",
            Self::Spawn => "spawn",
            Self::ExitCode => "exit_code",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::ResultInvalid => "result_invalid",
            Self::OutputLimit => "output_limit",
            Self::Network => "network",
            Self::EgressDenied => "egress_denied",
            Self::HttpStatus => "http_status",
            Self::Memory => "memory",
            Self::Lost => "lost",
            Self::ChildFailed => "child_failed",
            Self::UndoFailed => "undo_failed",
            Self::Fail => "fail",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The worker of a try is gone, and no result came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptLost {
    /// The attempt.
    pub attempt: AttemptId,
    /// What is known of it.
    pub evidence: Evidence,
    /// Why it was given up, where more is known than that its worker is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// What is known of a lost attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It provably never began: nothing happened.
    NotBegun,
    /// It began, or that cannot be ruled out: it may have taken effect.
    MayHaveBegun,
}

/// A worker reported on an attempt that had been given up; it changed nothing. The body is the result, where there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptReportedLate {
    /// The attempt.
    pub attempt: AttemptId,
    /// Why it failed; none where it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// An execution ended with a result: that of its last attempt, or of who settled it, or, of a workflow, the body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionSucceeded {
    /// The step of a workflow that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
}

/// An execution failed for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionFailed {
    /// Why.
    pub error: Failure,
    /// The step of a workflow that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
}

/// An execution failed for good because its attempt took too long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionTimedOut {
    /// Why.
    pub error: Failure,
    /// The step of a workflow that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
}

/// Somebody asked that an execution end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionCancelRequested {}

/// Somebody asked that nothing of an execution start any more until it is resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionPaused {}

/// Somebody asked that a paused execution go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionResumed {}

/// An execution ended because it was asked to, or because others hold a lock that it does not wait for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionCancelled {
    /// Why, where nobody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The step of a workflow that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
}

/// It is unknown whether an execution took effect, and a person is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionBecameIndeterminate {}

/// A person said what became of an indeterminate execution. The body is the result, where one was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionSettled {
    /// What the person said.
    pub outcome: Settlement,
}

/// What a person says became of an indeterminate execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Settlement {
    /// It took effect.
    Succeeded,
    /// It did not, and is not to be tried again.
    Failed {
        /// Why.
        error: String,
    },
    /// It did not, and is to be tried again.
    Retry,
}

/// What a person says became of an indeterminate execution, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettlementWord {
    /// It took effect.
    Succeeded,
    /// It did not, and is not to be tried again.
    Failed,
    /// It did not, and is to be tried again.
    Retry,
}

/// Parts of a settlement that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettlementMisfit {
    /// Only a success has a result.
    #[error("only the outcome `succeeded` can have a `result`")]
    ResultOfNoSuccess,
    /// Only a failure has an error.
    #[error("only the outcome `failed` can have an `error`")]
    ErrorOfNoFailure,
    /// A failure says why.
    #[error("the outcome `failed` needs an `error` that explains why")]
    FailureWithoutError,
}

impl SettlementWord {
    /// Lists all of them.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Retry];

    /// Gives it as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retry => "retry",
        }
    }

    /// Puts it together with what goes with it.
    pub fn with(self, result: Option<Body>, error: Option<String>) -> Result<(Settlement, Option<Body>), SettlementMisfit> {
        match (self, result, error) {
            (Self::Succeeded, result, None) => Ok((Settlement::Succeeded, result)),
            (Self::Failed, None, Some(error)) => Ok((Settlement::Failed { error }, None)),
            (Self::Failed, None, None) => Err(SettlementMisfit::FailureWithoutError),
            (Self::Retry, None, None) => Ok((Settlement::Retry, None)),
            (Self::Failed | Self::Retry, Some(_), _) => Err(SettlementMisfit::ResultOfNoSuccess),
            (Self::Succeeded | Self::Retry, _, Some(_)) => Err(SettlementMisfit::ErrorOfNoFailure),
        }
    }
}

impl SettlementMisfit {
    /// Gives the part that is wrong, or missing.
    pub fn part(self) -> &'static str {
        match self {
            Self::ResultOfNoSuccess => "result",
            Self::ErrorOfNoFailure | Self::FailureWithoutError => "error",
        }
    }
}
