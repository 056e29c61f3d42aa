//! The state of executions: those that are open, the queues of those that wait, and how many run.

mod waiting;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::OnLost;
use crate::command::Settings;
use crate::effect::{Dispatch, Effect};
use crate::events::own::OwnTriggers;
use crate::executions::facts::{AttemptFailed, AttemptLost, AttemptSucceeded, Evidence, ExecutionRequested, GivenEvent, Pace, Settlement};
use crate::executions::heard::Heard;
use crate::executions::labels::Labels;
use crate::executions::queues::{Place, WorkerQueues};
use crate::fact::{ExecutionFact, HealthFact};
use crate::ids::{AttemptId, EnforcementId, EventId, ExecutionId, Id};
use crate::mutants;
use crate::names::{ActionRef, RuleRef, WorkerQueueName};
use crate::record::{Actor, BodyHandle, CatalogRevision, Cause, Position, Record, StreamId};
use crate::table::Table;
use crate::time::Timestamp;
use crate::workflows::facts::PartOf;

/// How many fencing tokens to skip, in addition to the missing records, if the end of a log is missing: after
/// a power loss, it is not known exactly which records were last.
const UNKNOWN_TOKENS: u64 = 1_000_000;

/// The open executions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Executions {
    // Shared: copies of the state hold it as well, and it is large.
    open: Table<ExecutionId, Arc<Execution>>,
    /// The executions that wait for a worker, and the slots taken.
    pub(super) queues: WorkerQueues,
    /// The executions that would wait for a worker, but are paused or are inside a paused one.
    pub(super) aside: Table<Place, ExecutionId>,
    /// The executions that somebody paused.
    pub(super) paused: Table<ExecutionId, ()>,
    /// The executions that hold a worker slot.
    running: Table<ExecutionId, AttemptId>,
    /// The executions that run without a slot.
    at_once: Table<ExecutionId, AttemptId>,
    /// The executions that wait for a moment, an answer or their steps.
    idle: Table<ExecutionId, ()>,
    /// The executions that wait for a person.
    indeterminate: Table<ExecutionId, AttemptId>,
    /// The last fencing token issued, under the only key 0.
    token: Table<u8, u64>,
}

/// An open execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// The action.
    pub action: ActionRef,
    /// The catalog it runs in.
    pub catalog: CatalogRevision,
    /// Its parameters.
    pub params: BodyHandle,
    /// The queue in which it waits for a worker.
    #[serde(default, skip_serializing_if = "WorkerQueueName::is_default")]
    pub queue: WorkerQueueName,
    /// Its place in the queue.
    pub place: Place,
    /// Whether it may be retried if it is unknown whether an attempt took effect.
    pub idempotent: bool,
    /// What to do in that case if it may not be retried.
    pub on_lost: OnLost,
    /// The time limit of an attempt, in milliseconds.
    pub timeout_millis: u64,
    /// How long an attempt may continue after it was asked to stop, in milliseconds.
    pub grace_millis: u64,
    /// The actor that requested it, in the form of the log.
    pub actor: String,
    /// The first record of its chain.
    pub root: Id,
    /// How many events are above it in the chain.
    pub depth: u32,
    /// The W3C trace of the chain.
    pub trace: Option<String>,
    /// Whether its attempts hold a worker slot.
    pub pace: Pace,
    /// How many attempts were started.
    pub attempts: u32,
    /// The worker that was given the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Arc<str>>,
    /// How many of them failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// How many may fail before the execution fails permanently.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub failures_max: u32,
    /// The time limit of the whole execution, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_millis: Option<u64>,
    /// The workflow step that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
    /// The rule whose steps it consists of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_rule: Option<Box<OfRule>>,
    /// The rule that requested it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<Box<AskingRule>>,
    /// The execution that it reruns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<ExecutionId>,
    /// The labels it can be found by.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The engine's own triggers that have an event above it in its chain.
    #[serde(default, skip_serializing_if = "OwnTriggers::is_empty")]
    pub own_above: OwnTriggers,
    /// How many workflows it is nested in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub level: u32,
    /// When it began, if it consists of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// Its result, if a workflow waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BodyHandle>,
    /// Whether its last attempt was lost after somebody had asked it to end: nothing of it starts any longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cancelled: bool,
    /// Whether what it waits for has come: the end of its sleep, the answer, or the end of the time for one.
    /// That ends it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_come: bool,
    /// Whether the whole execution exceeded its time limit: nothing of it starts any longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_timed_out: bool,
    /// Its phase.
    pub phase: Phase,
}

/// A rule whose steps an execution consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that the rule decided on.
    pub event: EventId,
    /// The event as the rule's steps see it.
    pub given: GivenEvent,
}

/// A rule that requested an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskingRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that the rule decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The rule's decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementId>,
}

/// The phase of an open execution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a moment, and then for a worker.
    Delayed,
    /// It waits for a lock, and then continues as if it had just been requested.
    Blocked,
    /// It waits for a worker.
    Queued,
    /// It waits for a moment, and then ends.
    Asleep,
    /// It waits for people to answer, and then ends.
    Asking,
    /// It waits for an event, and then ends.
    Awaiting,
    /// It consists of steps, and waits for them.
    InSteps,
    /// A worker runs it.
    Running(Attempt),
    /// A worker was asked to stop it.
    Cancelling(Attempt),
    /// It is unknown whether its last attempt took effect.
    Indeterminate(Attempt),
    /// Somebody asked it to end while nothing of it ran; its end is being worked out.
    Withdrawn,
    /// Its attempt has ended; the consequences are being worked out.
    Ending {
        /// The attempt that has ended.
        attempt: AttemptId,
        /// How it ended: the consequences are worked out from the record that says so, and from no other.
        how: AttemptEnd,
        /// Whether somebody had asked it to end.
        cancelled: bool,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// Its worker is gone.
    Lost,
}

/// The latest attempt of an open execution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// Its number, from 1.
    pub number: u32,
    /// Its fencing token.
    pub token: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// Counts of its messages since then.
    #[serde(default, skip_serializing_if = "Heard::is_nothing")]
    pub heard: Heard,
}

impl Phase {
    /// Returns the attempt for which a report still counts.
    pub fn attempt(self) -> Option<Attempt> {
        match self {
            Self::Running(attempt) | Self::Cancelling(attempt) | Self::Indeterminate(attempt) => Some(attempt),
            Self::Delayed
            | Self::Blocked
            | Self::Queued
            | Self::Asleep
            | Self::Asking
            | Self::Awaiting
            | Self::InSteps
            | Self::Withdrawn
            | Self::Ending { .. } => None,
        }
    }
}

impl OfRule {
    fn of(fact: &ExecutionRequested) -> Option<Self> {
        let (rule, event, given) = (fact.rule.as_ref()?, fact.event?, fact.given.as_ref()?);
        Some(Self { rule: rule.clone(), event, given: GivenEvent::clone(given) })
    }
}

impl AskingRule {
    fn of(fact: &ExecutionRequested) -> Option<Self> {
        let rule = fact.rule.clone()?;
        Some(Self { rule, event: fact.event, enforcement: fact.enforcement })
    }
}

impl Execution {
    /// Returns the cause of a record that `parent` led to in this execution's chain.
    pub fn cause(&self, parent: Id) -> Cause {
        Cause { parent: Some(parent), root: self.root, depth: self.depth, trace: self.trace.clone() }
    }

    /// Returns true if this actor is the worker that was given the last attempt.
    pub(crate) fn is_given_to(&self, actor: &Actor) -> bool {
        matches!((actor, &self.worker), (Actor::Worker(name), Some(worker)) if **worker == **name)
    }

    /// Returns its priority, −100 … 100.
    pub fn priority(&self) -> i8 {
        i8::try_from(-self.place.0).unwrap_or(0)
    }

    fn dispatch(&self, id: ExecutionId, attempt: Attempt) -> Effect {
        Effect::Dispatch(Box::new(Dispatch {
            execution: id,
            attempt: attempt.id,
            number: attempt.number,
            token: attempt.token,
            // Whatever runs was given to a worker.
            worker: self.worker.clone().unwrap_or_default(),
            action: self.action.clone(),
            catalog: self.catalog,
            params: self.params,
            started_at: attempt.started_at,
            timeout_millis: self.timeout_millis,
            grace_millis: self.grace_millis,
            actor: self.actor.clone(),
            trace: self.trace.clone(),
        }))
    }
}

fn one() -> u32 {
    1
}

fn is_one(count: &u32) -> bool {
    *count == 1
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Executions {
    /// Returns an open execution.
    pub fn get(&self, id: &ExecutionId) -> Option<&Execution> {
        self.open.get(id).map(Arc::as_ref)
    }

    /// Returns the open executions, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = (&ExecutionId, &Execution)> {
        self.open.iter().map(|(id, execution)| (id, execution.as_ref()))
    }

    /// Returns how much work is open: executions that wait for a person, a moment or their steps do not count.
    pub fn open_work(&self) -> u64 {
        (self.open.len() - self.indeterminate.len() - self.idle.len() - self.aside.len()) as u64
    }

    /// Returns true if a person must decide what became of an execution, and nobody has.
    pub fn is_indeterminate(&self, id: &ExecutionId) -> bool {
        self.indeterminate.contains(id)
    }

    /// Returns how many executions hold a worker slot.
    pub fn running(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    /// Returns the executions that hold a worker slot, with their attempts.
    pub fn at_work(&self) -> impl Iterator<Item = (&ExecutionId, &AttemptId)> {
        self.running.iter()
    }

    /// Returns how many executions wait for a worker.
    pub fn queued(&self) -> usize {
        self.queues.waiting_in_all()
    }

    /// Returns the queues: the waiting executions of each, and how many are working.
    pub fn queues(&self) -> &WorkerQueues {
        &self.queues
    }

    /// Returns the execution to start now: among the first of each queue with a free slot and a start left,
    /// the one with the highest priority, then the oldest.
    pub fn next_to_start(&self, settings: &Settings) -> Option<(ExecutionId, &Execution)> {
        let may_start = settings.worker_queues().filter(|(queue, workers)| self.queues.may_start(queue, *workers, settings) > 0);
        let (_, id) = may_start.filter_map(|(queue, _)| self.queues.waiting(queue).next()).min()?;
        self.get(&id).map(|execution| (id, execution))
    }

    /// Returns the executions to start now, the next first, at most `most`.
    pub(crate) fn all_to_start(&self, settings: &Settings, most: usize) -> Vec<(ExecutionId, &Execution)> {
        let all = settings.worker_queues().flat_map(|(queue, workers)| {
            let free = usize::try_from(self.queues.may_start(queue, workers, settings)).unwrap_or(most);
            self.queues.waiting(queue).take(free.min(most))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all.into_iter().take(most).filter_map(|(_, id)| self.get(&id).map(|execution| (id, execution))).collect()
    }

    /// Returns the first of each queue.
    pub(crate) fn first_queued(&self) -> impl Iterator<Item = (ExecutionId, &Execution)> {
        let first = self.queues.names().filter_map(|queue| self.queues.waiting(queue).next());
        first.filter_map(|(_, id)| self.get(&id).map(|execution| (id, execution)))
    }

    /// Rebuilds the parts that are not saved.
    pub(crate) fn index(&mut self) {
        let open = &self.open;
        let queues = self.running.iter().filter_map(|(id, _)| open.get(id)).map(|execution| &execution.queue);
        self.queues.index(queues);
    }

    /// Returns the fencing token for the next attempt.
    pub fn next_token(&self) -> u64 {
        self.token.get(&0).copied().unwrap_or(0) + u64::from(!mutants::is("token given out twice"))
    }

    /// Applies what happened to the log itself.
    pub(crate) fn apply_health(&mut self, record: &Record, fact: HealthFact<'_>) {
        match fact {
            HealthFact::ClockStepped(fact) => self.queues.step(fact.to.micros_since(fact.from)),
            HealthFact::LogRestored(fact) => self.void_tokens(record.position, fact.known),
            HealthFact::NodeStarted(_)
            | HealthFact::ClockAccepted(_)
            | HealthFact::ReactionDeferred(_)
            | HealthFact::ReactionHeld(_)
            | HealthFact::ReactionParked(_)
            | HealthFact::ReactionResumed(_)
            | HealthFact::ReactionRetried(_)
            | HealthFact::ReactionDismissed(_) => {}
        }
    }

    /// Skips each fencing token that the missing records may have issued: at most one per record.
    fn void_tokens(&mut self, from: Position, known: Position) {
        let last = self.token.get(&0).copied().unwrap_or(0);
        let missing = known.0.saturating_sub(from.0).saturating_add(1);
        self.token.insert(0, last.saturating_add(missing).saturating_add(UNKNOWN_TOKENS));
    }

    pub(crate) fn apply(&mut self, record: &Record, fact: ExecutionFact<'_>) {
        let StreamId::Execution(id) = &record.stream else { return };
        match fact {
            ExecutionFact::ExecutionRequested(fact) => {
                let Some(params) = record.body_handle() else { return };
                let place = (-i16::from(fact.priority), record.position);
                let above = fact.part_of.as_ref().and_then(|part_of| self.open.get(&part_of.workflow));
                let level = above.map_or(0, |workflow| workflow.level + 1);
                let execution = Execution {
                    action: fact.action.clone(),
                    catalog: fact.catalog,
                    params,
                    queue: fact.queue.clone(),
                    place,
                    idempotent: fact.idempotent,
                    on_lost: fact.on_lost,
                    timeout_millis: fact.timeout_millis,
                    grace_millis: fact.grace_millis,
                    actor: record.actor.to_string(),
                    root: record.cause.root,
                    depth: record.cause.depth,
                    trace: record.cause.trace.clone(),
                    pace: fact.pace,
                    attempts: 0,
                    worker: None,
                    failures: 0,
                    failures_max: fact.failures_max.unwrap_or(1),
                    limit_millis: fact.limit_millis,
                    part_of: fact.part_of.clone(),
                    of_rule: OfRule::of(fact).map(Box::new),
                    asked_by: AskingRule::of(fact).map(Box::new),
                    rerun_of: fact.rerun_of,
                    labels: fact.labels.clone(),
                    own_above: fact.own_above.clone(),
                    level,
                    began_at: (fact.pace == Pace::InSteps).then_some(record.time),
                    result: None,
                    is_cancelled: false,
                    has_come: false,
                    is_timed_out: false,
                    phase: Phase::begin(fact),
                };
                self.open.insert(*id, Arc::new(execution));
                self.settle_in(id);
            }
            ExecutionFact::AttemptStarted(fact) => {
                let attempt = Attempt {
                    id: AttemptId(record.id),
                    number: fact.number,
                    token: fact.token,
                    started_at: record.time,
                    heard: Heard::default(),
                };
                self.token.insert(0, fact.token);
                let Some(execution) = self.open.get(id) else { return };
                self.queues.remove(&execution.queue, execution.place);
                match execution.pace {
                    Pace::Worked => {
                        self.running.insert(*id, attempt.id);
                        self.queues.start(&execution.queue, record.time);
                    }
                    Pace::AtOnce => self.at_once.insert(*id, attempt.id),
                    Pace::InSteps | Pace::Sleeps { .. } | Pace::Asks | Pace::Awaits { .. } => {}
                }
                self.change(id, |execution| {
                    execution.attempts = fact.number;
                    execution.worker = Some(fact.worker.as_str().into());
                    execution.phase = Phase::Running(attempt);
                });
            }
            ExecutionFact::AttemptProgressed(fact) => self.hear(id, fact.index, |heard| heard.progressed += 1),
            ExecutionFact::AttemptEmitted(fact) => self.hear(id, fact.index, |heard| heard.emitted += 1),
            ExecutionFact::ArtifactKept(fact) => self.hear(id, fact.index, |heard| heard.artifacts += 1),
            ExecutionFact::MessageRefused(fact) => self.hear(id, fact.index, |heard| heard.refused += 1),
            ExecutionFact::AttemptSucceeded(fact) => {
                self.end_attempt(id, fact.attempt, AttemptEnd::Succeeded);
                self.keep_result(id, record);
            }
            ExecutionFact::AttemptFailed(fact) => {
                self.change(id, |execution| execution.failures += 1);
                self.end_attempt(id, fact.attempt, AttemptEnd::Failed);
            }
            ExecutionFact::AttemptLost(fact) => self.lose_attempt(id, fact.evidence),
            ExecutionFact::ExecutionCancelRequested(_) => self.cancel(id),
            ExecutionFact::ExecutionSettled(fact) => {
                self.indeterminate.remove(id);
                self.keep_result(id, record);
                let is_cancelled = self.open.get(id).is_some_and(|execution| execution.is_cancelled);
                match &fact.outcome {
                    Settlement::Retry if !is_cancelled => self.requeue(id),
                    Settlement::Retry | Settlement::Succeeded | Settlement::Failed { .. } => {}
                }
            }
            ExecutionFact::ExecutionSucceeded(_)
            | ExecutionFact::ExecutionFailed(_)
            | ExecutionFact::ExecutionTimedOut(_)
            | ExecutionFact::ExecutionCancelled(_) => {
                self.dequeue(id);
                self.leave(id);
                self.idle.remove(id);
                self.indeterminate.remove(id);
                self.open.remove(id);
            }
            // That the execution is indeterminate was already applied with the loss of the attempt.
            ExecutionFact::ExecutionBecameIndeterminate(_) | ExecutionFact::AttemptReportedLate(_) => {}
            // `pausing.rs` applies these.
            ExecutionFact::ExecutionPaused(_) | ExecutionFact::ExecutionResumed(_) => {}
            // `locks` applies these, and decides which executions may continue.
            ExecutionFact::LockAwaited(_) | ExecutionFact::LockAcquired(_) => {}
        }
    }

    fn change(&mut self, id: &ExecutionId, change: impl FnOnce(&mut Execution)) {
        self.open.change(id, |execution| change(Arc::make_mut(execution)));
    }

    /// Counts a message of the running attempt, and advances past its index.
    fn hear(&mut self, id: &ExecutionId, index: u32, count: impl FnOnce(&mut Heard)) {
        self.change(id, |execution| {
            if let Phase::Running(attempt) | Phase::Cancelling(attempt) = &mut execution.phase {
                attempt.heard.next = index.saturating_add(1);
                count(&mut attempt.heard);
            }
        });
    }

    /// Applies a request to end: a waiting execution will not start.
    fn cancel(&mut self, id: &ExecutionId) {
        let Some(execution) = self.open.get(id) else { return };
        let phase = match execution.phase {
            Phase::Queued => {
                self.dequeue(id);
                Phase::Withdrawn
            }
            Phase::Indeterminate(_) => {
                self.indeterminate.remove(id);
                Phase::Withdrawn
            }
            Phase::Asleep | Phase::Asking | Phase::Awaiting if execution.has_come => return,
            Phase::Delayed | Phase::Asleep | Phase::Asking | Phase::Awaiting => {
                self.idle.remove(id);
                Phase::Withdrawn
            }
            Phase::Running(attempt) => Phase::Cancelling(attempt),
            // An execution that has failed may be about to be retried.
            Phase::Ending { attempt, how, .. } => Phase::Ending { attempt, how, cancelled: true },
            Phase::Blocked => Phase::Withdrawn,
            Phase::InSteps | Phase::Cancelling(_) | Phase::Withdrawn => return,
        };
        self.change(id, |execution| execution.phase = phase);
    }

    fn end_attempt(&mut self, id: &ExecutionId, attempt: AttemptId, how: AttemptEnd) {
        self.leave(id);
        self.indeterminate.remove(id);
        self.change(id, |execution| {
            let cancelled = execution.is_cancelled || matches!(execution.phase, Phase::Cancelling(_));
            execution.phase = Phase::Ending { attempt, how, cancelled };
        });
    }

    /// Applies the loss of an attempt: its slot is freed at once, and it is never dispatched again. If it is
    /// unknown whether the attempt took effect, the reaction to the loss decides what becomes of the
    /// execution.
    fn lose_attempt(&mut self, id: &ExecutionId, evidence: Evidence) {
        let Some(execution) = self.open.get(id) else { return };
        let may_try_again = mutants::is("lost attempt always tried again")
            || evidence == Evidence::NotBegun
            || execution.idempotent
            || execution.on_lost == OnLost::Retry;
        match execution.phase {
            Phase::Running(_) if may_try_again => self.requeue(id),
            Phase::Cancelling(_) if may_try_again && mutants::is("cancel forgotten at a loss") => self.requeue(id),
            Phase::Cancelling(attempt) if may_try_again => self.end_attempt(id, attempt.id, AttemptEnd::Lost),
            Phase::Running(attempt) | Phase::Cancelling(attempt) => {
                if !mutants::is("slot kept by an indeterminate execution") {
                    self.leave(id);
                }
                self.indeterminate.insert(*id, attempt.id);
                self.change(id, |execution| {
                    execution.is_cancelled = matches!(execution.phase, Phase::Cancelling(_));
                    execution.phase = Phase::Indeterminate(attempt);
                });
            }
            Phase::Delayed
            | Phase::Blocked
            | Phase::Queued
            | Phase::Asleep
            | Phase::Asking
            | Phase::Awaiting
            | Phase::InSteps
            | Phase::Indeterminate(_)
            | Phase::Withdrawn
            | Phase::Ending { .. } => {}
        }
    }

    /// Keeps the result if a workflow waits for the execution and reads it.
    fn keep_result(&mut self, id: &ExecutionId, record: &Record) {
        let is_read = self.open.get(id).is_some_and(|execution| execution.part_of.is_some());
        if let (true, Some(result)) = (is_read, record.body_handle()) {
            self.change(id, |execution| execution.result = Some(result));
        }
    }

    fn requeue(&mut self, id: &ExecutionId) {
        self.leave(id);
        self.change(id, |execution| execution.phase = Phase::Queued);
        self.enqueue(id);
    }

    /// Queues an execution that needs a slot. One that needs none is started by the record that requested it.
    fn enqueue(&mut self, id: &ExecutionId) {
        if let Some(execution) = self.open.get(id)
            && execution.pace == Pace::Worked
        {
            self.queues.insert(&execution.queue, execution.place, *id);
        }
    }

    /// Removes an execution from its queue: it does not wait for a worker any longer, and will not start.
    fn dequeue(&mut self, id: &ExecutionId) {
        let Some(execution) = self.open.get(id) else { return };
        if !mutants::is("ended execution stays queued") {
            self.queues.remove(&execution.queue, execution.place);
            self.aside.remove(&execution.place);
        }
    }

    fn leave(&mut self, id: &ExecutionId) {
        if let (true, Some(execution)) = (self.running.contains(id), self.open.get(id)) {
            self.queues.leave(&execution.queue);
        }
        self.running.remove(id);
        self.at_once.remove(id);
    }

    /// Returns the effect owed after `record`, the last one that was applied.
    pub(crate) fn effects_of(&self, record: &Record, fact: ExecutionFact<'_>) -> Option<Effect> {
        let StreamId::Execution(id) = record.stream else { return None };
        match fact {
            ExecutionFact::AttemptStarted(_) => {
                let execution = self.open.get(&id)?;
                match execution.phase {
                    Phase::Running(attempt) => Some(execution.dispatch(id, attempt)),
                    Phase::Delayed
                    | Phase::Blocked
                    | Phase::Queued
                    | Phase::Asleep
                    | Phase::Asking
                    | Phase::Awaiting
                    | Phase::InSteps
                    | Phase::Cancelling(_)
                    | Phase::Indeterminate(_)
                    | Phase::Withdrawn
                    | Phase::Ending { .. } => None,
                }
            }
            ExecutionFact::ExecutionCancelRequested(_) => {
                let attempt = self.running.get(&id).or_else(|| self.at_once.get(&id))?;
                Some(Effect::Stop { execution: id, attempt: *attempt })
            }
            ExecutionFact::AttemptSucceeded(AttemptSucceeded { attempt, .. })
            | ExecutionFact::AttemptFailed(AttemptFailed { attempt, .. })
            | ExecutionFact::AttemptLost(AttemptLost { attempt, .. }) => Some(Effect::Release { execution: id, attempt: *attempt }),
            ExecutionFact::ExecutionRequested(_)
            | ExecutionFact::AttemptProgressed(_)
            | ExecutionFact::AttemptEmitted(_)
            | ExecutionFact::ArtifactKept(_)
            | ExecutionFact::MessageRefused(_)
            | ExecutionFact::AttemptReportedLate(_)
            | ExecutionFact::ExecutionSucceeded(_)
            | ExecutionFact::ExecutionFailed(_)
            | ExecutionFact::ExecutionTimedOut(_)
            | ExecutionFact::ExecutionCancelled(_)
            | ExecutionFact::ExecutionPaused(_)
            | ExecutionFact::ExecutionResumed(_)
            | ExecutionFact::LockAwaited(_)
            | ExecutionFact::LockAcquired(_)
            | ExecutionFact::ExecutionBecameIndeterminate(_)
            | ExecutionFact::ExecutionSettled(_) => None,
        }
    }

    /// Returns the effects owed by the whole state: each running attempt, and each requested stop.
    pub(crate) fn owed_effects(&self) -> Vec<Effect> {
        let mut owed = Vec::new();
        for id in self.running.iter().chain(self.at_once.iter()).map(|(id, _)| id) {
            let Some(execution) = self.open.get(id) else { continue };
            match execution.phase {
                Phase::Running(attempt) => owed.push(execution.dispatch(*id, attempt)),
                Phase::Cancelling(attempt) => {
                    owed.push(execution.dispatch(*id, attempt));
                    if !mutants::is("stop forgotten at a restart") {
                        owed.push(Effect::Stop { execution: *id, attempt: attempt.id });
                    }
                }
                Phase::Delayed
                | Phase::Blocked
                | Phase::Queued
                | Phase::Asleep
                | Phase::Asking
                | Phase::Awaiting
                | Phase::InSteps
                | Phase::Indeterminate(_)
                | Phase::Withdrawn
                | Phase::Ending { .. } => {}
            }
        }
        owed
    }

    pub(crate) fn commit(&mut self) {
        self.open.commit();
        self.queues.commit();
        self.aside.commit();
        self.paused.commit();
        self.running.commit();
        self.at_once.commit();
        self.idle.commit();
        self.indeterminate.commit();
        self.token.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.open.undo();
        self.queues.undo();
        self.aside.undo();
        self.paused.undo();
        self.running.undo();
        self.at_once.undo();
        self.idle.undo();
        self.indeterminate.undo();
        self.token.undo();
    }
}
