//! The state of executions: those that are open, the queues of those that wait, and how many run.

mod attempts;
mod effects;
mod execution;
mod lists;
mod phase;
mod waiting;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::execution::{AskingRule, Execution, OfRule};
pub use self::phase::{Attempt, AttemptEnd, Phase, Stop};
use crate::access::principal::Principal;
use crate::command::Settings;
use crate::executions::message_counts::MessageCounts;
use crate::executions::milestone::{HowAttemptEnded, Milestone};
use crate::executions::queues::{QueuePlace, WorkerQueues};
use crate::fact::{ExecutionFact, HealthFact};
use crate::ids::{AttemptId, ExecutionId};
use crate::record::{AttemptOf, Position, Record, StreamId};
use crate::table::Table;

/// How many fencing tokens to skip, in addition to the missing records, if the end of a log is missing: after
/// a power loss, it is not known exactly which records were last.
const UNKNOWN_TOKENS: u64 = 1_000_000;

/// The open executions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Executions {
    // Shared: copies of the state hold it as well, and it is large.
    open: Table<ExecutionId, Arc<Execution>>,
    /// The executions that wait for a worker, and the slots taken.
    queues: WorkerQueues,
    /// The executions that would wait for a worker, but are paused or are inside a paused one.
    aside: Table<QueuePlace, ExecutionId>,
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

    /// Returns the execution whose attempt this is, if exactly this one runs and nobody asked it to stop.
    pub(crate) fn running_as(&self, of: AttemptOf) -> Option<(&Execution, Attempt)> {
        let execution = self.get(&of.execution)?;
        match execution.phase {
            Phase::Running(attempt) if attempt.number == of.number => Some((execution, attempt)),
            _ => None,
        }
    }

    /// Returns the caller whose rights bound what the program of an execution may do, besides those of its pack; `None` if
    /// only its pack's rights count.
    pub(crate) fn caller_of_program(&self, execution: &Execution) -> Option<Principal> {
        let part_of = execution.part_of.as_ref()?;
        let of_workflow = self.get(&part_of.workflow).map(|workflow| Principal::Pack(workflow.defined_in()));
        // A workflow that its own pack calls runs its steps on the same rights in both cases.
        execution.principal.clone().filter(|principal| of_workflow.as_ref() != Some(principal))
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
    pub fn queued_count(&self) -> usize {
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
        self.token.get(&0).copied().unwrap_or(0) + 1
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
        match fact.milestone() {
            Milestone::Asked(fact) => {
                let Some(params) = record.body_handle() else { return };
                let above = fact.part_of.as_ref().and_then(|part_of| self.open.get(&part_of.workflow));
                let level = above.map_or(0, |workflow| workflow.level + 1);
                self.insert(*id, Execution::from_request(record, fact, params, level));
            }
            Milestone::AttemptBegan(fact) => {
                let (id_of_attempt, started_at, heard) = (AttemptId(record.id), record.time, MessageCounts::default());
                let attempt = Attempt { id: id_of_attempt, number: fact.number, token: fact.token, started_at, heard };
                self.token.insert(0, fact.token);
                self.change(id, |execution| {
                    execution.attempts = fact.number;
                    execution.worker = Some(fact.worker.as_str().into());
                    execution.phase = Phase::Running(attempt);
                });
            }
            Milestone::Said { index, count } => self.hear(id, index, count),
            Milestone::AttemptEnded(ended) => match ended.how {
                HowAttemptEnded::Succeeded => {
                    self.end_attempt(id, ended.attempt, AttemptEnd::Succeeded);
                    self.keep_result(id, record);
                }
                HowAttemptEnded::Failed(_) => {
                    self.change(id, |execution| execution.failures += 1);
                    self.end_attempt(id, ended.attempt, AttemptEnd::Failed);
                }
                HowAttemptEnded::Lost(fact) => self.lose_attempt(id, fact.evidence),
            },
            Milestone::CancelRequested => self.cancel(id),
            Milestone::Settled(fact) => {
                self.settle(id, &fact.outcome);
                self.keep_result(id, record);
            }
            Milestone::Ended(_) => self.remove(id),
            // `pausing.rs` applies pauses, and `locks` applies locks and decides which executions may continue. That an
            // execution is indeterminate was already applied with the loss of its attempt.
            Milestone::Held | Milestone::Freed | Milestone::Noted => {}
        }
    }

    /// Keeps the result if a workflow waits for the execution and reads it.
    fn keep_result(&mut self, id: &ExecutionId, record: &Record) {
        let is_read = self.open.get(id).is_some_and(|execution| execution.part_of.is_some());
        if let (true, Some(result)) = (is_read, record.body_handle()) {
            self.change(id, |execution| execution.result = Some(result));
        }
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
