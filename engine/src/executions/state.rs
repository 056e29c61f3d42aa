//! What executions are made into: those that are open, the queue of those that wait, and how many run.

mod waiting;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::OnLost;
use crate::command::Settings;
use crate::effect::{Dispatch, Effect};
use crate::events::own::OwnTriggers;
use crate::executions::facts::{
    AttemptFailed, AttemptLost, AttemptSucceeded, Evidence, ExecutionRequested, Failure, GivenEvent, Pace, Settlement,
};
use crate::executions::labels::Labels;
use crate::executions::messages::Heard;
use crate::executions::queues::{Place, WorkerQueues};
use crate::fact::{ExecutionFact, HealthFact};
use crate::ids::{AttemptId, EnforcementId, EventId, ExecutionId, Id};
use crate::mutants;
use crate::names::{ActionRef, RuleRef, WorkerQueueName};
use crate::record::{Actor, BodyHandle, CatalogRevision, Cause, Position, Record, StreamId};
use crate::table::Table;
use crate::time::Timestamp;
use crate::workflows::facts::PartOf;

/// How many more fencing tokens than records are passed over where the end of a log is missing: its last records are not known exactly
/// where the machine lost power.
const UNKNOWN_TOKENS: u64 = 1_000_000;

/// The open executions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Executions {
    // Shared: copies of the state have it as well, and it is large.
    open: Table<ExecutionId, Arc<Execution>>,
    /// Those that wait for a worker, and who has one.
    pub(super) queues: WorkerQueues,
    /// Those that would, and are paused or stand in what is.
    pub(super) aside: Table<Place, ExecutionId>,
    /// Those that somebody paused.
    pub(super) paused: Table<ExecutionId, ()>,
    /// Those that hold a worker's slot.
    running: Table<ExecutionId, AttemptId>,
    /// Those that run and hold none.
    at_once: Table<ExecutionId, AttemptId>,
    /// Those that wait: for a moment, an answer or their steps.
    idle: Table<ExecutionId, ()>,
    /// Those that wait for a person.
    indeterminate: Table<ExecutionId, AttemptId>,
    /// The last fencing token given out, under the only key 0.
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
    /// Whether it may be tried again when it is unknown whether an attempt took effect.
    pub idempotent: bool,
    /// What to do then, where it may not.
    pub on_lost: OnLost,
    /// How long an attempt may take, in milliseconds.
    pub timeout_millis: u64,
    /// How long an attempt may go on after it was asked to stop, in milliseconds.
    pub grace_millis: u64,
    /// Who asked for it, as the log writes actors.
    pub actor: String,
    /// The first record of the chain it stands in.
    pub root: Id,
    /// How many events stand above it in the chain.
    pub depth: u32,
    /// The W3C trace of the chain.
    pub trace: Option<String>,
    /// Whether its attempts hold a worker's slot.
    pub pace: Pace,
    /// How many attempts were started.
    pub attempts: u32,
    /// The worker that was given the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Arc<str>>,
    /// How many of them failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// How many may, before it has failed for good.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub failures_max: u32,
    /// How long all of it may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_millis: Option<u64>,
    /// The step of a workflow that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
    /// The rule whose steps it is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_rule: Option<Box<OfRule>>,
    /// The rule that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<Box<AskingRule>>,
    /// The execution that it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<ExecutionId>,
    /// What it is found by.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The engine's own triggers of which an event stands above it in its chain.
    #[serde(default, skip_serializing_if = "OwnTriggers::is_empty")]
    pub own_above: OwnTriggers,
    /// In how many workflows it stands.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub level: u32,
    /// When it began, where it is made of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// What it gave, where a workflow waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BodyHandle>,
    /// Whether its last attempt was lost after somebody had asked that it end: nothing of it starts any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cancelled: bool,
    /// Whether what it waits for has come: the moment for which it sleeps, the answer, or the end of the time for one. It ends by that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_come: bool,
    /// Whether it took longer than all of it may: nothing of it starts any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_timed_out: bool,
    /// Where it stands.
    pub phase: Phase,
}

/// A rule whose steps an execution is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that it decided on.
    pub event: EventId,
    /// The same, as its steps see it.
    pub given: GivenEvent,
}

/// A rule that asked for an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskingRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that it decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementId>,
}

/// Where an open execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a moment, and then for a worker.
    Delayed,
    /// It waits for a lock, and then goes on as if it had just been asked for.
    Blocked,
    /// It waits for a worker.
    Queued,
    /// It waits for a moment, and ends then.
    Asleep,
    /// It waits for people to answer, and ends then.
    Asking,
    /// It waits for an event, and ends then.
    Awaiting,
    /// It is made of steps, and waits for them.
    InSteps,
    /// A worker runs it.
    Running(Attempt),
    /// A worker was asked to stop it.
    Cancelling(Attempt),
    /// It is unknown whether its last attempt took effect.
    Indeterminate(Attempt),
    /// Somebody asked that it end while nothing of it ran; its end is being worked out.
    Withdrawn,
    /// Its attempt has ended; what follows from that is being worked out.
    Ending {
        /// The attempt that has ended.
        attempt: AttemptId,
        /// How: what follows is worked out of the record that says so, and of no other.
        how: AttemptEnd,
        /// Whether somebody had asked that it end.
        cancelled: bool,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// It did what was asked.
    Succeeded,
    /// It did not.
    Failed,
    /// Its worker is gone.
    Lost,
}

/// The latest try of an open execution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// Which try, from 1.
    pub number: u32,
    /// Its fencing token.
    pub token: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// What it has said since.
    #[serde(default, skip_serializing_if = "Heard::is_nothing")]
    pub heard: Heard,
}

impl Phase {
    /// Gives the attempt of which a report still counts.
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
    /// Gives the cause of a record that `parent` led to in this execution's chain.
    pub fn cause(&self, parent: Id) -> Cause {
        Cause { parent: Some(parent), root: self.root, depth: self.depth, trace: self.trace.clone() }
    }

    /// Returns true if this actor is the worker that was given the last attempt.
    pub(crate) fn is_given_to(&self, actor: &Actor) -> bool {
        matches!((actor, &self.worker), (Actor::Worker(name), Some(worker)) if **worker == **name)
    }

    /// Gives its priority, −100 … 100.
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

impl<'a> ExecutionFact<'a> {
    /// Gives why an execution gave up that stands in no workflow: it failed or timed out for good. None for anything else: what stands in one is
    /// that workflow's to deal with.
    pub fn gave_up(self) -> Option<&'a Failure> {
        match self {
            Self::ExecutionFailed(fact) if fact.part_of.is_none() => Some(&fact.error),
            Self::ExecutionTimedOut(fact) if fact.part_of.is_none() => Some(&fact.error),
            _ => None,
        }
    }

    /// Says whether it is the last of its execution.
    pub(crate) fn is_end(self) -> bool {
        match self {
            Self::ExecutionSucceeded(_) | Self::ExecutionFailed(_) | Self::ExecutionTimedOut(_) | Self::ExecutionCancelled(_) => true,
            Self::ExecutionRequested(_)
            | Self::AttemptStarted(_)
            | Self::AttemptProgressed(_)
            | Self::AttemptEmitted(_)
            | Self::ArtifactKept(_)
            | Self::MessageRefused(_)
            | Self::AttemptSucceeded(_)
            | Self::AttemptFailed(_)
            | Self::AttemptLost(_)
            | Self::AttemptReportedLate(_)
            | Self::ExecutionCancelRequested(_)
            | Self::ExecutionPaused(_)
            | Self::ExecutionResumed(_)
            | Self::LockAwaited(_)
            | Self::LockAcquired(_)
            | Self::ExecutionBecameIndeterminate(_)
            | Self::ExecutionSettled(_) => false,
        }
    }
}

impl Executions {
    /// Gives an open execution.
    pub fn get(&self, id: &ExecutionId) -> Option<&Execution> {
        self.open.get(id).map(Arc::as_ref)
    }

    /// Gives the open executions in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&ExecutionId, &Execution)> {
        self.open.iter().map(|(id, execution)| (id, execution.as_ref()))
    }

    /// Gives how much work is open: what waits for a person, a moment or its steps does not count.
    pub fn open_work(&self) -> u64 {
        (self.open.len() - self.indeterminate.len() - self.idle.len() - self.aside.len()) as u64
    }

    /// Says whether a person is to say what became of an execution, and nobody has.
    pub fn is_indeterminate(&self, id: &ExecutionId) -> bool {
        self.indeterminate.contains(id)
    }

    /// Gives how many executions hold a worker's slot.
    pub fn running(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    /// Gives the executions that hold a worker's slot, with their attempts.
    pub fn at_work(&self) -> impl Iterator<Item = (&ExecutionId, &AttemptId)> {
        self.running.iter()
    }

    /// Gives how many executions wait for a worker.
    pub fn queued(&self) -> usize {
        self.queues.waiting_in_all()
    }

    /// Gives the queues: who waits in which, and how many are at work.
    pub fn queues(&self) -> &WorkerQueues {
        &self.queues
    }

    /// Gives the execution that is to start now: of the first of each queue with a free slot and a start left, the one of the highest
    /// priority, then the oldest.
    pub fn next_to_start(&self, settings: &Settings) -> Option<(ExecutionId, &Execution)> {
        let may_start = settings.worker_queues().filter(|(queue, workers)| self.queues.may_start(queue, *workers, settings) > 0);
        let (_, id) = may_start.filter_map(|(queue, _)| self.queues.waiting(queue).next()).min()?;
        self.get(&id).map(|execution| (id, execution))
    }

    /// Gives all that are to start now, the next first, and at most so many.
    pub(crate) fn all_to_start(&self, settings: &Settings, most: usize) -> Vec<(ExecutionId, &Execution)> {
        let all = settings.worker_queues().flat_map(|(queue, workers)| {
            let free = usize::try_from(self.queues.may_start(queue, workers, settings)).unwrap_or(most);
            self.queues.waiting(queue).take(free.min(most))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all.into_iter().take(most).filter_map(|(_, id)| self.get(&id).map(|execution| (id, execution))).collect()
    }

    /// Gives the first of each queue.
    pub(crate) fn first_queued(&self) -> impl Iterator<Item = (ExecutionId, &Execution)> {
        let first = self.queues.names().filter_map(|queue| self.queues.waiting(queue).next());
        first.filter_map(|(_, id)| self.get(&id).map(|execution| (id, execution)))
    }

    /// Makes anew what is not saved.
    pub(crate) fn index(&mut self) {
        let open = &self.open;
        let queues = self.running.iter().filter_map(|(id, _)| open.get(id)).map(|execution| &execution.queue);
        self.queues.index(queues);
    }

    /// Gives the fencing token for the next attempt.
    pub fn next_token(&self) -> u64 {
        self.token.get(&0).copied().unwrap_or(0) + u64::from(!mutants::is("token given out twice"))
    }

    /// Folds what happened to the log itself.
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

    /// Passes over each fencing token that the missing records may have given out: there is at most one a record.
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
            // That it is unknown whether the attempt took effect is folded with its loss.
            ExecutionFact::ExecutionBecameIndeterminate(_) | ExecutionFact::AttemptReportedLate(_) => {}
            // These are folded by `pausing.rs`.
            ExecutionFact::ExecutionPaused(_) | ExecutionFact::ExecutionResumed(_) => {}
            // These are folded by `locks`, which say what may go on.
            ExecutionFact::LockAwaited(_) | ExecutionFact::LockAcquired(_) => {}
        }
    }

    fn change(&mut self, id: &ExecutionId, change: impl FnOnce(&mut Execution)) {
        self.open.change(id, |execution| change(Arc::make_mut(execution)));
    }

    /// Counts a message of the attempt that runs, and passes its index.
    fn hear(&mut self, id: &ExecutionId, index: u32, count: impl FnOnce(&mut Heard)) {
        self.change(id, |execution| {
            if let Phase::Running(attempt) | Phase::Cancelling(attempt) = &mut execution.phase {
                attempt.heard.next = index.saturating_add(1);
                count(&mut attempt.heard);
            }
        });
    }

    /// What waits is over with the asking: it starts no more.
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
            // What has failed may be about to be tried again.
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

    /// A lost attempt gives its slot back at once, and is never dispatched again. What becomes of the execution where nobody knows
    /// whether the attempt took effect is said by the reaction to its loss.
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

    /// A workflow that waits for an execution reads what that gives.
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

    /// What holds no slot waits for none: it is started by the very record that asked for it.
    fn enqueue(&mut self, id: &ExecutionId) {
        if let Some(execution) = self.open.get(id)
            && execution.pace == Pace::Worked
        {
            self.queues.insert(&execution.queue, execution.place, *id);
        }
    }

    /// It waits for a worker no more, and starts no more.
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

    /// What the world owes after `record`, the last that was folded.
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

    /// What the world owes the whole state: each attempt that runs, and each stop that was asked for.
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
