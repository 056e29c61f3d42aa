//! The history of an ended execution, read from its records: the state no longer knows it, and a rerun needs it.
//!
//! It reads records that never change, and decides nothing. `workflows/reuse.rs` decides what a rerun takes over.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::access::principal::Principal;
use crate::catalog::{Step, Workflow};
use crate::executions::facts::ExecutionRequested;
use crate::fact::{ByNoun, Fact, InquiryFact};
use crate::ids::{ExecutionId, Id, LogId, Role};
use crate::names::StepName;
use crate::record::{BodyHandle, Cause, Digest, Record};
use crate::workflows::facts::{KeptAs, RerunFrom, ReusableStep, TakenOverPart};

/// The maximum number of steps and items together that a rerun can take over; with more, a rerun is only
/// possible from the start.
pub const KEPT_MAX: usize = 10_000;

/// An execution as its own records describe it.
#[derive(Clone, Debug)]
pub struct History {
    /// Its id.
    pub id: ExecutionId,
    /// Its request.
    pub requested: ExecutionRequested,
    /// On whose rights it ran, if that was recorded.
    pub principal: Option<Principal>,
    /// Its parameters.
    pub params: BodyHandle,
    /// The cause of its chain.
    pub cause: Cause,
    /// How it ended; `None` if it is still open.
    pub end: Option<HistoryEnd>,
    steps: BTreeMap<StepName, RecordedStep>,
    items: BTreeMap<(StepName, u32), TakenOverPart>,
    /// Whether something of it was undone.
    has_undone: bool,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryEnd {
    /// With a result.
    Succeeded,
    /// In any other way.
    Otherwise,
}

/// Why it cannot be determined what succeeded in an execution.
#[derive(Debug, Error)]
pub enum KeptError<E> {
    /// There is more than a rerun can take over.
    #[error("more than {KEPT_MAX} steps and items would be taken over")]
    TooMany,
    /// The records cannot be read.
    #[error("{0}")]
    Unreadable(E),
}

/// What the workflow's own records state about a step.
#[derive(Clone, Debug)]
enum RecordedStep {
    Skipped,
    Each { list: Digest, count: u32 },
    Repeated { collected: Option<BodyHandle> },
    TakenOver(TakenOverPart),
}

impl History {
    /// Builds the history from the records of its stream; returns `None` if they are not those of an execution.
    pub fn of(id: ExecutionId, records: &[Record]) -> Option<Self> {
        let first = records.first()?;
        let Fact::ExecutionRequested(requested) = &first.fact else { return None };
        let mut history = Self {
            id,
            requested: requested.clone(),
            principal: requested.principal(&first.actor),
            params: first.body_handle()?,
            cause: first.cause.from_parent(first.id),
            end: None,
            steps: BTreeMap::new(),
            items: BTreeMap::new(),
            has_undone: false,
        };
        records.iter().for_each(|record| history.apply(record));
        Some(history)
    }

    fn apply(&mut self, record: &Record) {
        match &record.fact {
            Fact::ExecutionSucceeded(_) => self.end = Some(HistoryEnd::Succeeded),
            Fact::ExecutionFailed(_) | Fact::ExecutionTimedOut(_) | Fact::ExecutionCancelled(_) => self.end = Some(HistoryEnd::Otherwise),
            Fact::StepSkipped(fact) => drop(self.steps.insert(fact.step.clone(), RecordedStep::Skipped)),
            Fact::StepExpanded(fact) => {
                if let Some(list) = record.body_handle() {
                    self.steps.insert(fact.step.clone(), RecordedStep::Each { list: list.digest, count: fact.count });
                }
            }
            Fact::StepEnded(fact) if fact.error.is_none() => {
                self.steps.entry(fact.step.clone()).or_insert(RecordedStep::Repeated { collected: record.body_handle() });
            }
            Fact::StepTakenOver(fact) => match fact.item {
                Some(item) => drop(self.items.insert((fact.step.clone(), item), fact.taken.clone())),
                None => drop(self.steps.insert(fact.step.clone(), RecordedStep::TakenOver(fact.taken.clone()))),
            },
            Fact::UndoBegun(_) => self.has_undone = true,
            // Facts about the execution itself are covered by its end.
            _ => {}
        }
    }

    /// Returns what is known about the steps of the workflow in its current form: those that had succeeded
    /// and were not undone, and those that were skipped; ascending by step and item. `read` reads the records
    /// of executions.
    pub fn reusable_steps<E>(
        &self,
        log: LogId,
        workflow: &Workflow,
        from: &RerunFrom,
        mut read: impl FnMut(ExecutionId) -> Result<Vec<Record>, E>,
    ) -> Result<Vec<ReusableStep>, KeptError<E>> {
        let mut kept = Vec::new();
        for step in workflow.steps() {
            if matches!(from, RerunFrom::Step(again) if *again == step.name) {
                continue;
            }
            self.keep(log, step, &mut kept, &mut read)?;
            if kept.len() > KEPT_MAX {
                return Err(KeptError::TooMany);
            }
        }
        kept.sort_by(|one, other| (&one.step, one.item).cmp(&(&other.step, other.item)));
        Ok(kept)
    }

    fn keep<E>(
        &self,
        log: LogId,
        step: &Step,
        kept: &mut Vec<ReusableStep>,
        read: &mut impl FnMut(ExecutionId) -> Result<Vec<Record>, E>,
    ) -> Result<(), KeptError<E>> {
        let name = &step.name;
        let of_step = Id::derive(log, self.id.0, Role::Step(name));
        let mut read = |id: Id| read(ExecutionId(id)).map_err(KeptError::Unreadable);
        let undo = |item: u32| Id::derive(log, self.id.0, Role::Undo(name, item));
        let whole = |what| ReusableStep { step: name.clone(), item: None, what };
        match self.steps.get(name) {
            Some(RecordedStep::Skipped) => kept.push(whole(KeptAs::Skipped)),
            Some(RecordedStep::TakenOver(taken)) => kept.push(whole(KeptAs::Done(taken.clone()))),
            Some(RecordedStep::Each { list, count }) => {
                kept.push(whole(KeptAs::Each { list: *list }));
                for item in 0..*count {
                    let taken = match self.items.get(&(name.clone(), item)) {
                        Some(taken) => Some(taken.clone()),
                        None => read_success(&read(Id::derive(log, of_step, Role::Item(item)))?),
                    };
                    let Some(taken) = taken else { continue };
                    if !self.has_undone || read(undo(item))?.is_empty() {
                        kept.push(ReusableStep { step: name.clone(), item: Some(item), what: KeptAs::Done(taken) });
                    }
                    if kept.len() > KEPT_MAX {
                        return Err(KeptError::TooMany);
                    }
                }
            }
            Some(RecordedStep::Repeated { collected }) => {
                if self.has_undone && !read(undo(0))?.is_empty() {
                    return Ok(());
                }
                let last = last_turn(&mut |turn| read(Id::derive(log, of_step, Role::Iteration(turn))))?;
                let last = last.and_then(|records| read_success(&records));
                let taken =
                    last.unwrap_or(TakenOverPart { execution: None, action: None, is_repeated: true, question: None, result: None });
                let result = collected.or(taken.result);
                kept.push(whole(KeptAs::Done(TakenOverPart { is_repeated: true, question: None, result, ..taken })));
            }
            None => {
                let Some(taken) = read_success(&read(of_step)?) else { return Ok(()) };
                if !self.has_undone || read(undo(0))?.is_empty() {
                    kept.push(whole(KeptAs::Done(taken)));
                }
            }
        }
        Ok(())
    }
}

/// Returns what an execution returned, if it succeeded.
fn read_success(records: &[Record]) -> Option<TakenOverPart> {
    let first = records.first()?;
    let Fact::ExecutionRequested(requested) = &first.fact else { return None };
    let mut taken = TakenOverPart {
        execution: Some(ExecutionId(first.id)),
        action: Some(requested.action.clone()),
        is_repeated: false,
        question: None,
        result: None,
    };
    let mut has_succeeded = false;
    for record in records {
        match record.fact.by_noun() {
            ByNoun::InquiryFact(InquiryFact::InquiryOpened(fact)) if fact.attempt.is_none() => taken.question = Some(fact.digest),
            ByNoun::ExecutionFact(_) => match &record.fact {
                Fact::AttemptSucceeded(_) | Fact::ExecutionSettled(_) => taken.result = record.body_handle().or(taken.result),
                Fact::ExecutionSucceeded(_) => {
                    taken.result = record.body_handle().or(taken.result);
                    has_succeeded = true;
                }
                _ => {}
            },
            _ => {}
        }
    }
    has_succeeded.then_some(taken)
}

/// Returns the records of the last turn. Turns have no gaps, so it is found by binary search.
fn last_turn<E>(read: &mut impl FnMut(u32) -> Result<Vec<Record>, E>) -> Result<Option<Vec<Record>>, E> {
    let (mut there, mut found) = (0, None);
    let mut beyond = 1;
    loop {
        let records = read(beyond)?;
        if records.is_empty() {
            break;
        }
        (there, found) = (beyond, Some(records));
        beyond = beyond.saturating_mul(2);
    }
    while beyond - there > 1 {
        let middle = there + (beyond - there) / 2;
        let records = read(middle)?;
        if records.is_empty() { beyond = middle } else { (there, found) = (middle, Some(records)) }
    }
    Ok(found)
}
