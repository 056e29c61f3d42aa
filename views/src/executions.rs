//! Executions: where each run of an action stands, with its last attempts.
//!
//! Parameters and results are handles; the timeline is read from the log ([`timeline`](crate::timeline)), output from where it is
//! kept.

mod waiting;

use ensue_engine::executions::facts::{Evidence, ExecutionRequested, Failure, FailureKind, Pace, Settlement};
use ensue_engine::executions::labels::{Labels, written};
use ensue_engine::executions::milestone::{HowAttemptEnded, HowEnded};
use ensue_engine::fact::{ByNoun, ExecutionFact, Fact, InquiryFact, StepFact};
use ensue_engine::ids::{AttemptId, EnforcementId, EventId, ExecutionId, Id, InquiryId};
use ensue_engine::locks::facts::Lock;
use ensue_engine::names::{ActionRef, RuleRef, StepName, WorkerQueueName};
use ensue_engine::record::{CatalogRevision, Position, Record, Revision, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::{PartRole, SkippedBecause};
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Handle, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 9;

/// What executions can be filtered by.
pub const COLUMNS: &[Column] =
    &[Column::Status, Column::Action, Column::Rule, Column::Correlation, Column::Parent, Column::RerunOf, Column::Label];

/// How many steps without an execution are shown of a workflow: the first.
pub const NOT_STARTED_MAX: usize = 50;

/// How many attempts are shown of an execution: the last.
pub const ATTEMPTS_MAX: usize = 20;

/// The most bytes that a text of outside is shown with.
const TEXT_BYTES_MAX: usize = 448;

/// An execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The place of the request in the log.
    pub position: Position,
    /// The newest revision of its stream that is folded in.
    pub revision: Revision,
    /// The action.
    pub action: ActionRef,
    /// Where it stands.
    pub status: Status,
    /// Where it would stand, while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<Status>,
    /// Since when it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// Its parameters, complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Handle>,
    /// What it gave: that of its last attempt, or of who settled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Handle>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// How many attempts were started.
    pub attempt: u32,
    /// How far its last attempt says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How many artifacts its attempts gave away.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub artifacts: u32,
    /// The rule that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// The event that the rule decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementId>,
    /// The workflow's execution that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ExecutionId>,
    /// The step of the workflow that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// The item of the step, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// The turn of the step, from 1, where that is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Whether it undoes the step, and is not it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undoes: bool,
    /// The execution that it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<ExecutionId>,
    /// The inquiry that it opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inquiry: Option<InquiryId>,
    /// −100 … 100; higher goes first.
    pub priority: i8,
    /// The queue in which it waits for a worker's slot.
    #[serde(default, skip_serializing_if = "WorkerQueueName::is_default")]
    pub queue: WorkerQueueName,
    /// What it is found by, beside what it runs.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Since when it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When its first attempt was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it goes on by itself, where it waits for that: as was said when it began to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<Timestamp>,
    /// The lock that it waits for before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits_lock: Option<AwaitedLock>,
    /// When all of it has taken too long, where that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times_out_at: Option<Timestamp>,
    /// How it is done.
    #[serde(default, skip_serializing_if = "is_worked")]
    pub pace: Pace,
    /// When it ended for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The first record of the chain it stands in: its own id where it begins one.
    pub correlation: Id,
    /// Who asked for it, as the log writes actors.
    pub actor: String,
    /// The catalog in which it and all it needs is looked up.
    pub catalog: CatalogRevision,
    /// What a person said became of it, where it was unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
    /// Its attempts, oldest first: the last [`ATTEMPTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What became of its steps that have no execution of their own, oldest first: the first [`NOT_STARTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_started: Vec<NotStarted>,
    /// How many these are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_started_count: u32,
}

/// A step of a workflow, or an item of one, that has no execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotStarted {
    /// The step.
    pub step: StepName,
    /// The item, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// When that was said.
    pub at: Timestamp,
    /// Why it was skipped; with neither this nor an error, and not taken over, its list of items was empty, and it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkippedBecause>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Whether it had succeeded in the execution that is run again, and is taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_taken_over: bool,
    /// The execution that it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<ExecutionId>,
}

/// How far an attempt says it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done, in thousandths; none where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thousandths: Option<u16>,
    /// What it does, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Handle>,
    /// When it said so.
    pub at: Timestamp,
}

/// A lock that an execution waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AwaitedLock {
    /// Whose executions it is for, and their key.
    pub lock: Lock,
    /// How many may hold it at once.
    pub limit: u32,
    /// Those that held it when it began to wait, the oldest first: the first few.
    pub behind: Vec<ExecutionId>,
    /// When that was.
    pub since: Timestamp,
}

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for a moment, and then for a worker.
    Delayed,
    /// It waits for a lock or for a worker.
    Queued,
    /// Somebody paused it: nothing of it starts until it is resumed. What runs of it comes to its end.
    Paused,
    /// It is made of steps, and waits for them; or it sleeps, or asks, or waits for an event.
    Waiting,
    /// A worker runs it.
    Running,
    /// It was asked to stop.
    Cancelling,
    /// It does not succeed, and undoes what did of it.
    Undoing,
    /// It is unknown whether it took effect; a person is asked.
    Indeterminate,
    /// It ended with a result.
    Succeeded,
    /// It failed for good.
    Failed,
    /// It took too long.
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
    /// Lists all statuses.
    pub const ALL: [Self; 12] = [
        Self::Delayed,
        Self::Queued,
        Self::Paused,
        Self::Waiting,
        Self::Running,
        Self::Cancelling,
        Self::Undoing,
        Self::Indeterminate,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Queued => "queued",
            Self::Paused => "paused",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Undoing => "undoing",
            Self::Indeterminate => "indeterminate",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }

    /// Says whether it is for good.
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

/// One try of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// Which try, from 1.
    pub number: u32,
    /// Its fencing token.
    pub token: u64,
    /// The worker that took it.
    pub worker: String,
    /// Where it stands.
    pub status: AttemptStatus,
    /// When the worker might begin.
    pub started_at: Timestamp,
    /// When it ended, or its loss was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When its end was reported, where it ended noticeably earlier: its program may end while no node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Timestamp>,
    /// Why it failed; a long message is cut, that of the execution is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What it gave although it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Handle>,
    /// What is known of it, where it was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What its worker said after it had been given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_report: Option<LateReport>,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    /// A worker has it.
    Running,
    /// It gave a result.
    Succeeded,
    /// It gave none.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was stopped because somebody asked for that.
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
    /// Lists all statuses.
    pub const ALL: [Self; 6] = [Self::Running, Self::Succeeded, Self::Failed, Self::TimedOut, Self::Cancelled, Self::Lost];

    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// Gives how an attempt stands that failed so.
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
            | FailureKind::HttpStatus
            | FailureKind::Memory
            | FailureKind::Lost
            | FailureKind::ChildFailed
            | FailureKind::UndoFailed
            | FailureKind::Fail
            | FailureKind::Expired => Self::Failed,
        }
    }
}

/// What a worker said of an attempt that had been given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateReport {
    /// When.
    pub at: Timestamp,
    /// Why it failed; none where it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Handle>,
}

/// What a person said became of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// What.
    pub outcome: SettledAs,
    /// Who, as the log writes actors.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The names of what a person may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettledAs {
    /// It took effect.
    Succeeded,
    /// It did not.
    Failed,
    /// It did not, and is tried again.
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
            let mut execution = Self::requested(*id, fact, record);
            execution.note_queue(record.time);
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
            ByNoun::InquiryFact(
                InquiryFact::InquiryAnswered(_)
                | InquiryFact::InquiryReminded(_)
                | InquiryFact::InquiryEscalated(_)
                | InquiryFact::InquiryNotified(_)
                | InquiryFact::InquiryNotificationFailed(_)
                | InquiryFact::InquiryWithdrawn(_),
            )
            | ByNoun::EventFact(_)
            | ByNoun::RuleFact(_)
            | ByNoun::FlowFact(_)
            | ByNoun::ScheduleFact(_)
            | ByNoun::CatalogFact(_)
            | ByNoun::VarFact(_)
            | ByNoun::AccessFact(_)
            | ByNoun::LetterFact(_)
            | ByNoun::HealthFact(_) => {}
        }
        execution.cover();
        execution.note_queue(record.time);
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
            Some(Term::Texts(self.labels.iter().map(|(name, value)| written(name, value)).collect())),
        ]
    }

    fn life(&self) -> Life {
        if self.status.is_end() { Life::Settled } else { Life::Alive }
    }
}

impl Execution {
    fn requested(id: ExecutionId, fact: &ExecutionRequested, record: &Record) -> Self {
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

    /// What is paused is shown so, wherever it would stand; what is ending is not held up.
    fn cover(&mut self) {
        let is_ending = self.status.is_end() || matches!(self.status, Status::Cancelling | Status::Undoing);
        if is_ending {
            self.paused_at = None;
        } else if self.paused_at.is_some() && self.status != Status::Indeterminate {
            // Who waits for a person is to be found.
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
            StepFact::StepFailed(fact) => NotStarted { error: Some(shortened(&fact.error)), ..of(&fact.step, fact.item) },
            StepFact::StepExpanded(fact) if fact.count == 0 => of(&fact.step, None),
            StepFact::StepTakenOver(fact) => {
                NotStarted { is_taken_over: true, taken_from: fact.taken.execution, ..of(&fact.step, fact.item) }
            }
            StepFact::UndoBegun(_) => {
                self.status = Status::Undoing;
                return;
            }
            // Why an undo did not start is told by the workflow's end.
            StepFact::StepExpanded(_)
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
            ExecutionFact::AttemptStarted(fact) => {
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
                    attempt.error = Some(shortened(&fact.error));
                    attempt.result = body;
                }
            }
            ExecutionFact::AttemptLost(fact) => {
                if let Some(attempt) = self.end_attempt(fact.attempt, AttemptStatus::Lost, None, record.time) {
                    attempt.evidence = Some(fact.evidence);
                    attempt.error = fact.error.as_ref().map(shortened);
                }
                // What may not be tried again leaves the queue with the next record, in the same commit.
                if self.status == Status::Running {
                    self.status = Status::Queued;
                }
            }
            ExecutionFact::AttemptReportedLate(fact) => {
                if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.id == fact.attempt) {
                    attempt.late_report = Some(LateReport { at: record.time, error: fact.error.as_ref().map(shortened), result: body });
                }
            }
            ExecutionFact::ExecutionSucceeded(_) => {
                self.result = body.or(self.result);
                self.end(Status::Succeeded, None, record.time);
            }
            ExecutionFact::ExecutionFailed(fact) => self.end(Status::Failed, Some(fact.error.clone()), record.time),
            ExecutionFact::ExecutionTimedOut(fact) => self.end(Status::TimedOut, Some(fact.error.clone()), record.time),
            ExecutionFact::ExecutionCancelled(fact) => self.end(Status::Cancelled, fact.error.clone(), record.time),
            ExecutionFact::LockAwaited(fact) => self.await_lock(fact, record.time),
            ExecutionFact::LockAcquired(_) => self.go_on_with_lock(),
            ExecutionFact::ExecutionCancelRequested(_) => self.status = Status::Cancelling,
            ExecutionFact::ExecutionPaused(_) => self.paused_at = Some(record.time),
            ExecutionFact::ExecutionResumed(_) => self.paused_at = None,
            ExecutionFact::ExecutionBecameIndeterminate(_) => self.status = Status::Indeterminate,
            ExecutionFact::ExecutionSettled(fact) => {
                let outcome = match &fact.outcome {
                    Settlement::Succeeded => SettledAs::Succeeded,
                    Settlement::Failed { .. } => SettledAs::Failed,
                    Settlement::Retry => SettledAs::Retry,
                };
                match outcome {
                    SettledAs::Succeeded => self.result = body,
                    SettledAs::Failed => {}
                    SettledAs::Retry => self.status = Status::Queued,
                }
                let by = cut(&record.actor.to_string(), TEXT_BYTES_MAX);
                self.settled = Some(Settled { outcome, by, at: record.time });
            }
            // The first makes the execution, and so never comes to one. The others are told by the timeline.
            ExecutionFact::ExecutionRequested(_) | ExecutionFact::AttemptEmitted(_) | ExecutionFact::MessageRefused(_) => {}
        }
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
        // What follows from the end of an attempt in the same moment ended with it.
        let with_attempt = self.attempts.last().filter(|attempt| attempt.reported_at == Some(at)).and_then(|attempt| attempt.ended_at);
        self.ended_at = Some(with_attempt.unwrap_or(at));
    }
}

fn is_worked(pace: &Pace) -> bool {
    *pace == Pace::Worked
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn shortened(error: &Failure) -> Failure {
    Failure { kind: error.kind, message: cut(&error.message, TEXT_BYTES_MAX), detail: error.detail }
}
