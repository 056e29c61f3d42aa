//! The facts of an execution and its attempts.

use std::collections::BTreeSet;

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::access::principal::Principal;
use crate::catalog::OnLost;
use crate::events::internal::InternalTriggers;
use crate::events::version::TriggerVersion;
use crate::executions::artifacts::{ArtifactName, MediaType};
use crate::executions::labels::Labels;
use crate::executions::scope::ExecutionScope;
use crate::ids::{AttemptId, EnforcementId, EventId, ExecutionId, InquiryId};
use crate::locks::facts::Claim;
use crate::names::{ActionRef, LabelName, RuleRef, TriggerRef, WorkerQueueName};
use crate::record::{Actor, Body, BodyHandle, CatalogRevision, Digest};
use crate::sparse::is_default;
use crate::text::cut;
use crate::time::Timestamp;
use crate::workflows::facts::PartOf;

/// An action was requested. The body holds the parameters, validated and completed.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionRequested {
    /// The action.
    pub action: ActionRef,
    /// The catalog in which the action and everything it needs is looked up.
    pub catalog: CatalogRevision,
    /// The rule that requested it, if one did.
    pub rule: Option<RuleRef>,
    /// The event that the rule decided on.
    pub event: Option<EventId>,
    /// The rule's decision.
    pub enforcement: Option<EnforcementId>,
    /// The event as the rule's steps see it, if the rule consists of steps.
    pub given: Option<Box<GivenEvent>>,
    /// The workflow step that this execution is.
    pub part_of: Option<PartOf>,
    /// The execution that it reruns.
    pub rerun_of: Option<ExecutionId>,
    /// −100 … 100; a higher priority goes first.
    pub priority: i8,
    /// The queue in which it waits for a worker slot.
    #[serde(default, skip_serializing_if = "WorkerQueueName::is_default")]
    pub queue: WorkerQueueName,
    /// The labels it can be found by, in addition to its action.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The pack, outermost action and labels by which rights are limited to it, unless its own rule and action say them.
    pub scope: Option<Box<ExecutionScope>>,
    /// On whose rights it runs, unless the rule or the actor that requested it says so.
    pub principal: Option<Principal>,
    /// The labels that the caller gave; the others come from its action.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given_labels: BTreeSet<LabelName>,
    /// Whether it may be retried if it is unknown whether an attempt took effect.
    pub idempotent: bool,
    /// What to do in that case if it may not be retried.
    pub on_lost: OnLost,
    /// The time limit of an attempt, in milliseconds.
    pub timeout_millis: u64,
    /// How long an attempt may continue after it was asked to stop, in milliseconds.
    pub grace_millis: u64,
    /// How many attempts may fail before the execution fails permanently; one if not given.
    pub failures_max: Option<u32>,
    /// The time limit of the whole execution, all attempts or steps together, counted from when it may start,
    /// in milliseconds.
    pub limit_millis: Option<u64>,
    /// The earliest time at which it may start; at once if not given.
    pub start_at: Option<Timestamp>,
    /// The locks that it must hold while it is open, in the order in which it takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Claim>,
    /// How long it waits before it may start, in milliseconds; set for a turn of a repeated step.
    pub wait_millis: Option<u64>,
    /// Whether its attempts hold a worker slot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pace: Pace,
    /// The engine's own triggers that have an event above it in its chain: it causes no further event of any of them.
    #[serde(rename = "own_above", default, skip_serializing_if = "InternalTriggers::is_empty")]
    pub internal_above: InternalTriggers,
    /// The link to an inquiry that its parameters have a place for, if it notifies somebody of one.
    pub link: Option<Box<WantedLink>>,
}

/// A link to an inquiry that a notification is to contain. The link itself is never in the log: each attempt of the
/// notification replaces the text with its own.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedLink {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The name of the only person that it asks.
    pub r#for: String,
    /// The digest of what the person is to be shown.
    pub digest: Digest,
    /// When the inquiry expires.
    pub until: Option<Timestamp>,
    /// The text in the parameters that the link replaces: an address of the inquiry that needs a login.
    pub place: String,
}

impl ExecutionRequested {
    /// Returns the scope by which rights are limited to it.
    pub fn scope(&self) -> ExecutionScope {
        self.scope.as_deref().cloned().unwrap_or_else(|| ExecutionScope::of_request(self.rule.as_ref(), &self.action))
    }

    /// Returns on whose rights it runs, if an actor requested it. Returns `None` if that was not recorded: an older release
    /// did not record it for steps.
    pub fn principal(&self, actor: &Actor) -> Option<Principal> {
        let of_rule = || self.rule.as_ref().filter(|_| self.part_of.is_none()).map(|rule| Principal::Pack(rule.pack()));
        self.principal.clone().or_else(|| match actor {
            Actor::Identity { id, .. } => Some(Principal::Identity(*id)),
            Actor::Token(name) => Some(Principal::Token(name.clone())),
            Actor::Engine => of_rule(),
            // The request of a program says it.
            Actor::Execution(_) | Actor::Sensor(_) | Actor::Worker(_) | Actor::Operator => None,
        })
    }

    /// Returns the labels that the caller gave.
    pub fn labels_given(&self) -> Labels {
        let given = self.labels.iter().filter(|(name, _)| self.given_labels.contains(*name));
        given.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// An event as the steps of a rule see it. Its payload stays in the event's own record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenEvent {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// The version of the trigger that its payload has.
    #[serde(default, skip_serializing_if = "TriggerVersion::is_first")]
    pub version: TriggerVersion,
    /// The source that observed it.
    pub source: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Its payload, in the event's own record.
    pub payload: BodyHandle,
}

/// Whether the attempts of an execution hold a worker slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Attempts take time, and hold a slot.
    #[default]
    Worked,
    /// The node runs attempts itself at once: they do not wait for a slot.
    AtOnce,
    /// It has no attempts: it consists of steps, which are separate executions.
    InSteps,
    /// It has no attempts: it waits for a fixed time.
    Sleeps {
        /// The time, in milliseconds.
        millis: u64,
    },
    /// It has no attempts: it waits for an answer.
    Asks,
    /// It has no attempts: it waits for an event.
    Awaits {
        /// For how long, in milliseconds; without limit if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_millis: Option<u64>,
    },
}

/// A worker may begin an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptStarted {
    /// The number of the attempt, from 1.
    pub number: u32,
    /// The fencing token: it increases with each attempt in the log.
    pub token: u64,
    /// The worker.
    pub worker: String,
    /// How long its lease lasts without renewal, in milliseconds.
    pub lease_millis: u64,
}

/// An attempt reported its progress. The body, if there is one, describes in the program's own words what it is doing.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptProgressed {
    /// The attempt.
    pub attempt: AttemptId,
    /// The index of the message among those of the attempt, from 0.
    pub index: u32,
    /// How much is done, in thousandths: at most 1000.
    pub thousandths: Option<u16>,
}

/// An attempt emitted an event while it ran; the event's own record follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptEmitted {
    /// The attempt.
    pub attempt: AttemptId,
    /// The index of the message among those of the attempt, from 0.
    pub index: u32,
    /// The event.
    pub event: EventId,
}

/// An artifact of an attempt was stored. Its bytes are a blob outside the log, and may be deleted before the record is.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactKept {
    /// The attempt.
    pub attempt: AttemptId,
    /// The index of the message among those of the attempt, from 0.
    pub index: u32,
    /// The name under which it is shown and saved.
    pub name: ArtifactName,
    /// The media type that the program stated.
    pub media_type: Option<MediaType>,
    /// The hash of its bytes, under which they are stored.
    pub blob: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A message that an attempt sent while it ran was rejected; it had no other effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRefused {
    /// The attempt.
    pub attempt: AttemptId,
    /// The index of the message among those of the attempt, from 0.
    pub index: u32,
    /// Why.
    pub reason: String,
}

/// An attempt finished and returned a result. The body is the result.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptSucceeded {
    /// The attempt.
    pub attempt: AttemptId,
    /// When it ended, if that was noticeably earlier than the record: a program may end while no node runs.
    pub ended_at: Option<Timestamp>,
}

/// The most bytes of an attempt's standard error that its failure keeps, as JSON.
pub const OUTPUT_TAIL_BYTES_MAX: usize = 4 * 1024;

/// An attempt finished without a result. The body, if there is one, is what it returned nevertheless.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptFailed {
    /// The attempt.
    pub attempt: AttemptId,
    /// Why.
    pub error: Failure,
    /// How long the remote side asks to wait before the next attempt, in milliseconds: `Retry-After` of an
    /// HTTP response.
    pub retry_after_millis: Option<u64>,
    /// The last lines that it printed to standard error, at most [`OUTPUT_TAIL_BYTES_MAX`] as JSON.
    pub output_tail: Option<String>,
    /// When it ended, if that was noticeably earlier than the record: a program may end while no node runs.
    pub ended_at: Option<Timestamp>,
}

/// Why an attempt or an execution failed.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The kind, from a closed list.
    pub kind: FailureKind,
    /// What happened, for people; at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// A number that belongs to the kind: the exit code, the signal, the HTTP status.
    pub detail: Option<i64>,
    /// The parts of the condition that was false, each with its value; the whole condition first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explained: Vec<ExplainedPart>,
}

/// A part of a condition, with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainedPart {
    /// The part as it is written; a long one is truncated.
    pub part: String,
    /// Its value in a few words, or its error.
    pub value: String,
}

/// The maximum length of a failure's message in bytes, as stored.
pub const MESSAGE_BYTES_MAX: usize = 2048;

impl Failure {
    /// Creates a failure; a longer message is truncated with a marker.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: cut(message.into(), MESSAGE_BYTES_MAX), detail: None, explained: Vec::new() }
    }

    /// Returns true if another attempt may succeed, so that `retry` without a `when` repeats it.
    ///
    /// Parameters that do not fit, and a request that the server rejected (4xx other than 408, 425 and 429), and a mail that its server rejected permanently
    /// (5xx), fail again each time. A result
    /// that is unreadable, invalid or too large comes from an attempt that took effect: only an idempotent action is repeated.
    pub fn may_pass(&self, is_idempotent: bool) -> bool {
        match self.kind {
            FailureKind::ParametersInvalid | FailureKind::NotPermitted => false,
            FailureKind::AnswerUnreadable | FailureKind::ResultInvalid | FailureKind::OutputLimit | FailureKind::Output => is_idempotent,
            FailureKind::HttpStatus => !matches!(self.detail, Some(400..=499)) || matches!(self.detail, Some(408 | 425 | 429)),
            FailureKind::SmtpStatus => !matches!(self.detail, Some(500..=599)),
            FailureKind::Expression
            | FailureKind::KeyMissing
            | FailureKind::Sandbox
            | FailureKind::Spawn
            | FailureKind::ExitCode
            | FailureKind::Signal
            | FailureKind::Timeout
            | FailureKind::Network
            | FailureKind::EgressDenied
            | FailureKind::RedirectInvalid
            | FailureKind::TooManyRedirects
            | FailureKind::Memory
            | FailureKind::Lost
            | FailureKind::ChildFailed
            | FailureKind::UndoFailed
            | FailureKind::Fail
            | FailureKind::Expired
            | FailureKind::Cancelled
            | FailureKind::Assertion => true,
        }
    }

    /// Adds the number that belongs to the kind.
    #[must_use]
    pub fn with_detail(self, detail: i64) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The parameters do not fit the action's schema.
    ParametersInvalid,
    /// An expression in the action's `run` or `local` failed.
    Expression,
    /// A key that the action reads is not set.
    KeyMissing,
    /// The sandbox for the action could not be set up.
    Sandbox,
    /// The program could not be started.
    Spawn,
    /// The program exited with a code other than 0; the detail is the code.
    ExitCode,
    /// The program was terminated by a signal; the detail is the signal.
    Signal,
    /// The attempt exceeded its time limit.
    Timeout,
    /// The result does not have the declared shape.
    ResultInvalid,
    /// The program or the response produced more than is accepted.
    OutputLimit,
    /// The remote side could not be reached or closed the connection.
    Network,
    /// The operator does not allow access to the address from here.
    EgressDenied,
    /// A server redirected to something that is not a URL, or not one that is followed.
    RedirectInvalid,
    /// A server redirected again and again.
    TooManyRedirects,
    /// The body of a response is not what it says it is, or not what the action reads.
    AnswerUnreadable,
    /// The remote side responded with an error; the detail is the HTTP status.
    HttpStatus,
    /// A mail server refused; the detail is its SMTP reply code.
    SmtpStatus,
    /// The kernel killed it because memory ran out.
    Memory,
    /// It is unknown whether the attempt took effect.
    Lost,
    /// A step of the workflow failed.
    ChildFailed,
    /// The undo of a step of the workflow failed.
    UndoFailed,
    /// A step of the workflow states that it fails.
    Fail,
    /// Nobody answered in time.
    Expired,
    /// The execution was canceled.
    Cancelled,
    /// The rights on which it runs do not allow it.
    NotPermitted,
    /// The condition that a step of the workflow asserts is false.
    Assertion,
    /// The action's `output` could not be computed from what the runner returned, or does not have the
    /// declared shape.
    Output,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 27] = [
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
        Self::RedirectInvalid,
        Self::TooManyRedirects,
        Self::AnswerUnreadable,
        Self::HttpStatus,
        Self::SmtpStatus,
        Self::Memory,
        Self::Lost,
        Self::ChildFailed,
        Self::UndoFailed,
        Self::Fail,
        Self::Expired,
        Self::Cancelled,
        Self::NotPermitted,
        Self::Assertion,
        Self::Output,
    ];

    /// Returns the kind's name.
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
            Self::RedirectInvalid => "redirect_invalid",
            Self::TooManyRedirects => "too_many_redirects",
            Self::AnswerUnreadable => "answer_unreadable",
            Self::HttpStatus => "http_status",
            Self::SmtpStatus => "smtp_status",
            Self::Memory => "memory",
            Self::Lost => "lost",
            Self::ChildFailed => "child_failed",
            Self::UndoFailed => "undo_failed",
            Self::Fail => "fail",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::NotPermitted => "not_permitted",
            Self::Assertion => "assertion",
            Self::Output => "output",
        }
    }
}

/// The worker of an attempt is gone, and no result arrived.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptLost {
    /// The attempt.
    pub attempt: AttemptId,
    /// What is known about it.
    pub evidence: Evidence,
    /// Why it was given up, if more is known than that its worker is gone.
    pub error: Option<Failure>,
}

/// What is known about a lost attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It provably never began: nothing happened.
    NotBegun,
    /// It began, or a beginning cannot be ruled out: it may have taken effect.
    MayHaveBegun,
}

/// A worker reported on an attempt that had been given up; the report changed nothing. The body is the
/// result, if there is one.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptReportedLate {
    /// The attempt.
    pub attempt: AttemptId,
    /// Why it failed; `None` if it succeeded.
    pub error: Option<Failure>,
}

/// An execution ended with a result: that of its last attempt or of the person who settled it, or, for a
/// workflow, the body.
#[sparse(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionSucceeded {
    /// The workflow step that it was.
    pub part_of: Option<PartOf>,
}

/// An execution failed permanently.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionFailed {
    /// Why.
    pub error: Failure,
    /// The workflow step that it was.
    pub part_of: Option<PartOf>,
    /// Its scope, if it is not a step.
    pub scope: Option<Box<ExecutionScope>>,
}

/// An execution failed permanently because its attempt took too long.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionTimedOut {
    /// Why.
    pub error: Failure,
    /// The workflow step that it was.
    pub part_of: Option<PartOf>,
    /// Its scope, if it is not a step.
    pub scope: Option<Box<ExecutionScope>>,
}

/// Somebody asked an execution to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionCancelRequested {}

/// Somebody paused an execution: nothing of it starts until it is resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionPaused {}

/// Somebody resumed a paused execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionResumed {}

/// An execution ended because it was asked to, or because others hold a lock that it does not wait for.
#[sparse(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionCancelled {
    /// Why, if nobody asked for it.
    pub error: Option<Failure>,
    /// The workflow step that it was.
    pub part_of: Option<PartOf>,
    /// The event that canceled it. Its step counts as skipped.
    pub by: Option<EventId>,
}

/// It is unknown whether an execution took effect, and a person must decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionBecameIndeterminate {}

/// A person stated what became of an indeterminate execution. The body is the result, if one was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionSettled {
    /// The person's statement.
    pub outcome: Settlement,
}

/// What a person states became of an indeterminate execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Settlement {
    /// It took effect.
    Succeeded,
    /// It did not, and must not be retried.
    Failed {
        /// Why.
        error: String,
    },
    /// It did not, and must be retried.
    Retry,
}

/// What a person states became of an indeterminate execution, as a single word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettlementWord {
    /// It took effect.
    Succeeded,
    /// It did not, and must not be retried.
    Failed,
    /// It did not, and must be retried.
    Retry,
}

/// Parts of a settlement that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettlementMisfit {
    /// Only a success has a result.
    #[error("only the outcome `succeeded` can have a `result`")]
    ResultOfNoSuccess,
    /// Only a failure has an error.
    #[error("only the outcome `failed` can have an `error`")]
    ErrorOfNoFailure,
    /// A failure must include the reason.
    #[error("the outcome `failed` needs an `error` that explains why")]
    FailureWithoutError,
}

impl SettlementWord {
    /// All words.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Retry];

    /// Returns the word as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retry => "retry",
        }
    }

    /// Combines the word with its result or error into a settlement.
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
    /// Returns the name of the part that is wrong or missing.
    pub fn part(self) -> &'static str {
        match self {
            Self::ResultOfNoSuccess => "result",
            Self::ErrorOfNoFailure | Self::FailureWithoutError => "error",
        }
    }
}
