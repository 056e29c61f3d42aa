//! Executions: the status of each run of an action, with its last attempts.
//!
//! Parameters and results are handles. The timeline is read from the log ([`timeline`](crate::timeline)), and
//! output from its own store.

mod waiting;

use ensue_derive::sparse;
use ensue_engine::access::principal::Principal;
use ensue_engine::executions::facts::{AttemptStarted, Evidence, ExecutionRequested, Failure, FailureKind, Pace, Settlement};
use ensue_engine::executions::labels::{Labels, render_label};
use ensue_engine::executions::milestone::{HowAttemptEnded, HowEnded};
use ensue_engine::executions::scope::ExecutionScope;
use ensue_engine::fact::{ByNoun, ExecutionFact, Fact, InquiryFact, StepFact};
use ensue_engine::ids::{AttemptId, EnforcementId, EventId, ExecutionId, Id, InquiryId};
use ensue_engine::locks::facts::Lock;
use ensue_engine::names::{ActionRef, Names, RuleRef, StepName, WorkerQueueName};
use ensue_engine::record::{CatalogRevision, Position, Record, Revision, StreamId};
use ensue_engine::sparse::is_default;
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::{PartRole, SkippedBecause};
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::reach::RowScope;
use crate::view::{Column, Handle, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 12;

/// The columns by which executions can be filtered.
pub const COLUMNS: &[Column] =
    &[Column::Status, Column::Action, Column::Rule, Column::Correlation, Column::Parent, Column::RerunOf, Column::Label];

/// The maximum number of shown steps without an execution: the first ones.
pub const NOT_STARTED_MAX: usize = 50;

/// The maximum number of shown attempts: the last ones.
pub const ATTEMPTS_MAX: usize = 20;

/// The maximum size of a shown text from outside, in bytes.
const TEXT_BYTES_MAX: usize = 448;

/// An execution.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The position of the request in the log.
    pub position: Position,
    /// The newest folded revision of its stream.
    pub revision: Revision,
    /// The action.
    pub action: ActionRef,
    /// Its status.
    pub status: Status,
    /// The status that it would have if it were not paused.
    pub beneath: Option<Status>,
    /// Since when it has been paused.
    pub paused_at: Option<Timestamp>,
    /// Its complete parameters.
    pub params: Option<Handle>,
    /// Its result: that of its last attempt, or the one with which it was settled.
    pub result: Option<Handle>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// The number of started attempts.
    pub attempt: u32,
    /// The progress that its last attempt reported.
    pub progress: Option<Progress>,
    /// The number of artifacts that its attempts published.
    #[serde(default, skip_serializing_if = "is_default")]
    pub artifacts: u32,
    /// The rule that requested it.
    pub rule: Option<RuleRef>,
    /// The event that the rule decided on.
    pub event: Option<EventId>,
    /// The decision.
    pub enforcement: Option<EnforcementId>,
    /// The execution of the workflow that it is part of.
    pub parent: Option<ExecutionId>,
    /// The step of the workflow that it runs.
    pub step: Option<StepName>,
    /// The item of the step, from 0.
    pub item: Option<u32>,
    /// The turn of the step, from 1, if the step is repeated.
    pub turn: Option<u32>,
    /// Whether it undoes the step instead of running it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undoes: bool,
    /// The execution that it reruns.
    pub rerun_of: Option<ExecutionId>,
    /// The inquiry that it opened.
    pub inquiry: Option<InquiryId>,
    /// −100 … 100; higher goes first.
    pub priority: i8,
    /// The queue in which it waits for a slot of a worker.
    #[serde(default, skip_serializing_if = "WorkerQueueName::is_default")]
    pub queue: WorkerQueueName,
    /// The labels by which it can be found.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The scope by which rights are limited to it, unless its own action alone says it.
    pub scope: Option<Box<ExecutionScope>>,
    /// On whose rights it runs, if that was recorded.
    pub principal: Option<Principal>,
    /// Since when it has been waiting for a slot.
    pub queued_at: Option<Timestamp>,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When its first attempt started, or when the steps of a workflow could begin.
    pub started_at: Option<Timestamp>,
    /// When it continues by itself, if it waits for a time, as planned when the wait began.
    pub waits_until: Option<Timestamp>,
    /// The lock that it waits for before it begins.
    pub awaits_lock: Option<AwaitedLock>,
    /// When the whole execution times out, if that is limited.
    pub times_out_at: Option<Timestamp>,
    /// How it is run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pace: Pace,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The first record of its causal chain; its own id if it begins one.
    pub correlation: Id,
    /// The actor that requested it, in the log's notation.
    pub actor: String,
    /// The revision of the catalog in which it and everything it needs is looked up.
    pub catalog: CatalogRevision,
    /// The decision of a person on its unknown outcome.
    pub settled: Option<OutcomeDecision>,
    /// Its attempts, oldest first: the last [`ATTEMPTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Its steps without an execution of their own, oldest first: the first [`NOT_STARTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_started: Vec<NotStarted>,
    /// The number of those steps.
    #[serde(default, skip_serializing_if = "is_default")]
    pub not_started_count: u32,
}

/// A step of a workflow, or an item of one, without an execution.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotStarted {
    /// The step.
    pub step: StepName,
    /// The item, from 0.
    pub item: Option<u32>,
    /// When that was decided.
    pub at: Timestamp,
    /// Why it was skipped. Without this, an error and a takeover, its list of items was empty, and it is
    /// done.
    pub skipped: Option<SkippedBecause>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// Whether it had succeeded in the execution that is rerun, and is taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_taken_over: bool,
    /// The execution that ran it then.
    pub taken_from: Option<ExecutionId>,
}

/// The progress that an attempt reported.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The completed part, in thousandths, if reported.
    pub thousandths: Option<u16>,
    /// The attempt's description of what it does.
    pub message: Option<Handle>,
    /// When it was reported.
    pub at: Timestamp,
}

/// A lock that an execution waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AwaitedLock {
    /// The lock: the action or rule that it limits, and the key.
    pub lock: Lock,
    /// How many executions may hold it at once.
    pub limit: u32,
    /// The executions that held it when the wait began, oldest first: the first few.
    pub behind: Vec<ExecutionId>,
    /// When the wait began.
    pub since: Timestamp,
}

/// The status of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for a time, and then for a worker.
    Delayed,
    /// It waits for a lock or for a worker.
    Queued,
    /// Somebody paused it: nothing of it starts until it is resumed. Running parts finish.
    Paused,
    /// It waits for its steps, for a time, for an answer, or for an event.
    Waiting,
    /// A worker runs it.
    Running,
    /// It was asked to stop.
    Cancelling,
    /// It will not succeed, and undoes its steps that did.
    Undoing,
    /// It is unknown whether it took effect; a person must decide.
    Indeterminate,
    /// It ended with a result.
    Succeeded,
    /// It failed permanently.
    Failed,
    /// It exceeded its timeout.
    TimedOut,
    /// It ended because it was asked to.
    Cancelled,
}

impl From<HowEnded> for Status {
    fn from(how: HowEnded) -> Self {
        match how {
            HowEnded::Succeeded => Self::Succeeded,
            HowEnded::Failed => Self::Failed,
            HowEnded::TimedOut => Self::TimedOut,
            HowEnded::Cancelled => Self::Cancelled,
        }
    }
}

impl Status {
    /// Returns true if the status is final.
    pub fn is_end(self) -> bool {
        match self {
            Self::Delayed
            | Self::Queued
            | Self::Paused
            | Self::Waiting
            | Self::Running
            | Self::Cancelling
            | Self::Undoing
            | Self::Indeterminate => false,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Cancelled => true,
        }
    }
}

/// An attempt of an execution.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// Its number, from 1.
    pub number: u32,
    /// Its fencing token.
    pub token: u64,
    /// The worker that took it.
    pub worker: String,
    /// Its status.
    pub status: AttemptStatus,
    /// When the worker was allowed to begin.
    pub started_at: Timestamp,
    /// When it ended, or its loss was noted.
    pub ended_at: Option<Timestamp>,
    /// When its end was reported, if it ended noticeably earlier: its program may end while no node runs.
    pub reported_at: Option<Timestamp>,
    /// Why it failed. A long message is truncated; the execution has the whole message.
    pub error: Option<Failure>,
    /// The result that it returned although it failed.
    pub result: Option<Handle>,
    /// What is known about it, if it was lost.
    pub evidence: Option<Evidence>,
    /// What its worker reported after it had been given up.
    pub late_report: Option<LateReport>,
}

/// The status of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    /// A worker has it.
    Running,
    /// It returned a result.
    Succeeded,
    /// It failed.
    Failed,
    /// It exceeded its timeout.
    TimedOut,
    /// It was stopped on request.
    Cancelled,
    /// Its worker is gone.
    Lost,
}

impl From<HowAttemptEnded<'_>> for AttemptStatus {
    fn from(how: HowAttemptEnded<'_>) -> Self {
        match how {
            HowAttemptEnded::Succeeded => Self::Succeeded,
            HowAttemptEnded::Failed(error) => Self::after(error.kind),
            HowAttemptEnded::Lost(_) => Self::Lost,
        }
    }
}

impl AttemptStatus {
    /// Returns the status of an attempt after this failure.
    pub fn after(failure: FailureKind) -> Self {
        match failure {
            FailureKind::Timeout => Self::TimedOut,
            FailureKind::Cancelled => Self::Cancelled,
            FailureKind::ParametersInvalid
            | FailureKind::Expression
            | FailureKind::KeyMissing
            | FailureKind::Sandbox
            | FailureKind::Spawn
            | FailureKind::ExitCode
            | FailureKind::Signal
            | FailureKind::ResultInvalid
            | FailureKind::OutputLimit
            | FailureKind::Network
            | FailureKind::EgressDenied
            | FailureKind::RedirectInvalid
            | FailureKind::TooManyRedirects
            | FailureKind::AnswerUnreadable
            | FailureKind::HttpStatus
            | FailureKind::SmtpStatus
            | FailureKind::Memory
            | FailureKind::Lost
            | FailureKind::ChildFailed
            | FailureKind::UndoFailed
            | FailureKind::Fail
            | FailureKind::Expired
            | FailureKind::NotPermitted
            | FailureKind::Assertion
            | FailureKind::Output => Self::Failed,
        }
    }
}

/// A worker's report on an attempt that had been given up.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateReport {
    /// When it was made.
    pub at: Timestamp,
    /// Why it failed; `None` if it succeeded.
    pub error: Option<Failure>,
    /// Its result.
    pub result: Option<Handle>,
}

/// A person's decision on the outcome of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeDecision {
    /// The decision.
    pub outcome: SettledAs,
    /// The actor, in the log's notation.
    pub by: String,
    /// When it was made.
    pub at: Timestamp,
}

/// The names of the possible decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettledAs {
    /// It took effect.
    Succeeded,
    /// It did not take effect.
    Failed,
    /// It did not take effect, and is tried again.
    Retry,
}

impl View for Execution {
    const NAME: ViewName = ViewName::Executions;
    type Key = ExecutionId;

    fn key(record: &Record) -> Option<Touch<ExecutionId>> {
        let StreamId::Execution(id) = &record.stream else { return None };
        let begins = matches!(record.fact, Fact::ExecutionRequested(_));
        Some(if begins { Touch::Begins(*id) } else { Touch::Changes(*id) })
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let StreamId::Execution(id) = &record.stream else { return before };
        if let Fact::ExecutionRequested(fact) = &record.fact {
            let mut execution = Self::from_request(*id, fact, record);
            execution.note_queue(record.time);
            execution.note_steps(record.time);
            return Some(execution);
        }
        let mut execution = before?;
        execution.revision = record.revision;
        if let Some(beneath) = execution.beneath.take() {
            execution.status = beneath;
        }
        match record.fact.by_noun() {
            ByNoun::ExecutionFact(fact) => execution.change(record, fact),
            ByNoun::StepFact(fact) => execution.note_step(record, fact),
            ByNoun::TimerFact(fact) => execution.note_timer(fact),
            ByNoun::InquiryFact(InquiryFact::InquiryOpened(_)) => execution.inquiry = Some(InquiryId(record.id)),
            _ => {}
        }
        execution.cover();
        execution.note_queue(record.time);
        execution.note_steps(record.time);
        Some(execution)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.requested_at
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![
            Some(self.status.as_str().into()),
            Some(self.action.as_str().into()),
            self.rule.as_ref().map(|rule| rule.as_str().into()),
            Some(self.correlation.into()),
            self.parent.map(|parent| parent.0.into()),
            self.rerun_of.map(|of| of.0.into()),
            Some(Term::Texts(self.labels.iter().map(|(name, value)| render_label(name, value)).collect())),
        ]
    }

    fn scope(&self) -> Option<RowScope> {
        Some(RowScope::from(&self.execution_scope()))
    }

    fn life(&self) -> Life {
        if self.status.is_end() { Life::Settled } else { Life::Alive }
    }
}

impl Execution {
    /// Returns the scope by which rights are limited to it.
    pub fn execution_scope(&self) -> ExecutionScope {
        self.scope.as_deref().cloned().unwrap_or_else(|| ExecutionScope::of_request(self.rule.as_ref(), &self.action))
    }

    fn from_request(id: ExecutionId, fact: &ExecutionRequested, record: &Record) -> Self {
        let part = fact.part_of.as_ref();
        let role = part.map(|part_of| part_of.role);
        Self {
            id,
            position: record.position,
            revision: record.revision,
            action: fact.action.clone(),
            status: waiting::begin(fact),
            beneath: None,
            paused_at: None,
            params: record.body_handle().map(Handle::from),
            result: None,
            error: None,
            attempt: 0,
            progress: None,
            artifacts: 0,
            rule: fact.rule.clone(),
            event: fact.event,
            enforcement: fact.enforcement,
            parent: part.map(|part_of| part_of.workflow),
            step: part.map(|part_of| part_of.step.clone()),
            item: part.and_then(|part_of| part_of.item).filter(|_| role != Some(PartRole::Turn)),
            turn: part.and_then(|part_of| part_of.item).filter(|_| role == Some(PartRole::Turn)).map(|turn| turn.saturating_add(1)),
            undoes: role == Some(PartRole::Undo),
            rerun_of: fact.rerun_of,
            inquiry: None,
            priority: fact.priority,
            queue: fact.queue.clone(),
            labels: fact.labels.clone(),
            scope: fact.scope.clone(),
            principal: fact.principal(&record.actor),
            queued_at: None,
            requested_at: record.time,
            started_at: None,
            waits_until: fact.start_at,
            awaits_lock: None,
            times_out_at: None,
            pace: fact.pace,
            ended_at: None,
            correlation: record.cause.root,
            actor: cut(&record.actor.to_string(), TEXT_BYTES_MAX),
            catalog: fact.catalog,
            settled: None,
            attempts: Vec::new(),
            not_started: Vec::new(),
            not_started_count: 0,
        }
    }

    /// Shows a paused execution as paused, whatever its status would be. An execution that is ending cannot
    /// be paused.
    fn cover(&mut self) {
        let is_ending = self.status.is_end() || matches!(self.status, Status::Cancelling | Status::Undoing);
        if is_ending {
            self.paused_at = None;
        } else if self.paused_at.is_some() && self.status != Status::Indeterminate {
            // An execution that waits for a person must be easy to find, so it keeps its status.
            self.beneath = Some(std::mem::replace(&mut self.status, Status::Paused));
        }
    }

    fn note_step(&mut self, record: &Record, fact: StepFact<'_>) {
        let at = record.time;
        let of = |step: &StepName, item| NotStarted {
            step: step.clone(),
            item,
            at,
            skipped: None,
            error: None,
            is_taken_over: false,
            taken_from: None,
        };
        let step = match fact {
            StepFact::StepSkipped(fact) => NotStarted { skipped: Some(fact.because), ..of(&fact.step, None) },
            StepFact::StepFailed(fact) => {
                let error = Failure { explained: fact.error.explained.clone(), ..shorten(&fact.error) };
                NotStarted { error: Some(error), ..of(&fact.step, fact.item) }
            }
            StepFact::StepExpanded(fact) if fact.count == 0 => of(&fact.step, None),
            StepFact::StepTakenOver(fact) => {
                NotStarted { is_taken_over: true, taken_from: fact.taken.execution, ..of(&fact.step, fact.item) }
            }
            StepFact::UndoBegun(_) => {
                self.status = Status::Undoing;
                return;
            }
            // The workflow's end shows why an undo did not start.
            StepFact::StepChosen(_)
            | StepFact::StepExpanded(_)
            | StepFact::StepEnded(_)
            | StepFact::UndoFailed(_)
            | StepFact::WaitOpened(_)
            | StepFact::WaitMatched(_)
            | StepFact::WaitErred(_)
            | StepFact::RerunPlanned(_) => return,
        };
        self.not_started_count = self.not_started_count.saturating_add(1);
        if self.not_started.len() < NOT_STARTED_MAX {
            self.not_started.push(step);
        }
    }

    fn change(&mut self, record: &Record, fact: ExecutionFact<'_>) {
        let body = record.body_handle().map(Handle::from);
        match fact {
            ExecutionFact::AttemptStarted(fact) => self.begin_attempt(record, fact),
            ExecutionFact::AttemptProgressed(fact) => {
                self.progress = Some(Progress { thousandths: fact.thousandths, message: body, at: record.time });
            }
            ExecutionFact::ArtifactKept(_) => self.artifacts = self.artifacts.saturating_add(1),
            ExecutionFact::AttemptSucceeded(fact) => {
                self.end_attempt(fact.attempt, AttemptStatus::Succeeded, fact.ended_at, record.time);
                self.result = body;
            }
            ExecutionFact::AttemptFailed(fact) => {
                if let Some(attempt) = self.end_attempt(fact.attempt, AttemptStatus::after(fact.error.kind), fact.ended_at, record.time) {
                    attempt.error = Some(shorten(&fact.error));
                    attempt.result = body;
                }
            }
            ExecutionFact::AttemptLost(fact) => {
                if let Some(attempt) = self.end_attempt(fact.attempt, AttemptStatus::Lost, None, record.time) {
                    attempt.evidence = Some(fact.evidence);
                    attempt.error = fact.error.as_ref().map(shorten);
                }
                // If it may not be tried again, it leaves the queue with the next record of the same commit.
                if self.status == Status::Running {
                    self.status = Status::Queued;
                }
            }
            ExecutionFact::AttemptReportedLate(fact) => {
                if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.id == fact.attempt) {
                    attempt.late_report = Some(LateReport { at: record.time, error: fact.error.as_ref().map(shorten), result: body });
                }
            }
            ExecutionFact::LockAwaited(fact) => self.await_lock(fact, record.time),
            ExecutionFact::LockAcquired(_) => self.go_on_with_lock(),
            ExecutionFact::ExecutionCancelRequested(_) => self.status = Status::Cancelling,
            ExecutionFact::ExecutionPaused(_) => self.paused_at = Some(record.time),
            ExecutionFact::ExecutionResumed(_) => self.paused_at = None,
            ExecutionFact::ExecutionBecameIndeterminate(_) => self.status = Status::Indeterminate,
            ExecutionFact::ExecutionSettled(fact) => self.settle(record, &fact.outcome),
            // The timeline has the others.
            _ => {
                if let Some(ended) = fact.execution_end() {
                    self.result = body.filter(|_| ended.how == HowEnded::Succeeded).or(self.result);
                    self.end(ended.how.into(), ended.error.cloned(), record.time);
                }
            }
        }
    }

    fn begin_attempt(&mut self, record: &Record, fact: &AttemptStarted) {
        if self.attempts.len() == ATTEMPTS_MAX {
            self.attempts.remove(0);
        }
        self.attempts.push(Attempt {
            id: AttemptId(record.id),
            number: fact.number,
            token: fact.token,
            worker: cut(&fact.worker, TEXT_BYTES_MAX),
            status: AttemptStatus::Running,
            started_at: record.time,
            ended_at: None,
            reported_at: None,
            error: None,
            result: None,
            evidence: None,
            late_report: None,
        });
        self.attempt = fact.number;
        self.progress = None;
        self.status = Status::Running;
        self.started_at.get_or_insert(record.time);
    }

    fn settle(&mut self, record: &Record, outcome: &Settlement) {
        let outcome = match outcome {
            Settlement::Succeeded => SettledAs::Succeeded,
            Settlement::Failed { .. } => SettledAs::Failed,
            Settlement::Retry => SettledAs::Retry,
        };
        match outcome {
            SettledAs::Succeeded => self.result = record.body_handle().map(Handle::from),
            SettledAs::Failed => {}
            SettledAs::Retry => self.status = Status::Queued,
        }
        let by = cut(&record.actor.to_string(), TEXT_BYTES_MAX);
        self.settled = Some(OutcomeDecision { outcome, by, at: record.time });
    }

    fn end_attempt(
        &mut self,
        id: AttemptId,
        status: AttemptStatus,
        ended_at: Option<Timestamp>,
        reported_at: Timestamp,
    ) -> Option<&mut Attempt> {
        let attempt = self.attempts.iter_mut().rev().find(|attempt| attempt.id == id)?;
        attempt.status = status;
        attempt.ended_at =
            Some(ended_at.map_or(reported_at, |ended_at| ended_at.clamp(attempt.started_at, reported_at.max(attempt.started_at))));
        attempt.reported_at = ended_at.map(|_| reported_at);
        Some(attempt)
    }

    fn end(&mut self, status: Status, error: Option<Failure>, at: Timestamp) {
        self.status = status;
        self.error = error;
        self.waits_until = None;
        self.awaits_lock = None;
        self.times_out_at = None;
        // Whatever follows from the end of an attempt at the same time ended with it.
        let with_attempt = self.attempts.last().filter(|attempt| attempt.reported_at == Some(at)).and_then(|attempt| attempt.ended_at);
        self.ended_at = Some(with_attempt.unwrap_or(at));
    }
}

fn shorten(error: &Failure) -> Failure {
    Failure { kind: error.kind, message: cut(&error.message, TEXT_BYTES_MAX), detail: error.detail, explained: Vec::new() }
}
