//! The ends of executions as they are committed, for requests that wait for them.
//!
//! A request learns of an end from here, and then reads the views once they have reached it. What happened to the
//! newest executions is remembered, because one may end before the request that asked for it begins to wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::executions::milestone::Milestone;
use ensue_engine::fact::ByNoun;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{Position, Record, StreamId};
use tokio::sync::watch;

/// How many begins and ends of executions are remembered.
const REMEMBERED_MAX: usize = 1_024;

/// The newest begins and ends of executions, and the requests that wait for ends. Parts of workflows are not noted:
/// no request waits for one.
#[derive(Debug)]
pub struct Ends(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The position of the newest noted record.
    newest: Position,
    /// The newest begins and ends, oldest first; an end has its position.
    recent: VecDeque<(ExecutionId, Option<Position>)>,
    waiting: BTreeMap<ExecutionId, watch::Sender<Option<Position>>>,
}

/// What is known of an execution's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    /// It ended at this position.
    Ended(Position),
    /// It has not ended.
    Open,
    /// It may have ended at or before this position.
    Unsure(Position),
}

/// A request that waits for an execution's end.
#[derive(Debug)]
pub(crate) struct EndWaiter {
    ends: Arc<Ends>,
    execution: ExecutionId,
    known: EndState,
    ended: watch::Receiver<Option<Position>>,
    is_reported: bool,
}

impl Ends {
    /// Starts after a position: nothing is known of what happened before.
    pub fn after(head: Position) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { newest: head, recent: VecDeque::new(), waiting: BTreeMap::new() })))
    }

    /// Notes the records of a commit. Quick.
    pub fn note(&self, records: &[Record]) {
        let Some(newest) = records.last() else { return };
        let mut state = self.state();
        for record in records {
            let (ByNoun::ExecutionFact(fact), StreamId::Execution(id)) = (record.fact.by_noun(), &record.stream) else { continue };
            match fact.milestone() {
                Milestone::Asked(asked) if asked.part_of.is_none() => state.remember(*id, None),
                Milestone::Ended(ended) if ended.part_of.is_none() => state.end(*id, record.position),
                _ => {}
            }
        }
        state.newest = newest.position;
    }

    /// Begins to wait for the end of an execution.
    pub(crate) fn wait(self: &Arc<Self>, execution: ExecutionId) -> EndWaiter {
        let mut state = self.state();
        let known = state.end_state(execution);
        let ended = state.waiting.entry(execution).or_insert_with(|| watch::Sender::new(None)).subscribe();
        EndWaiter { ends: self.clone(), execution, known, ended, is_reported: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self, execution: ExecutionId, at: Position) {
        if let Some(waiting) = self.waiting.remove(&execution) {
            waiting.send_replace(Some(at));
        }
        self.remember(execution, Some(at));
    }

    fn remember(&mut self, execution: ExecutionId, ended: Option<Position>) {
        if self.recent.len() == REMEMBERED_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((execution, ended));
    }

    fn end_state(&self, execution: ExecutionId) -> EndState {
        match self.recent.iter().rev().find(|(known, _)| *known == execution) {
            Some((_, Some(at))) => EndState::Ended(*at),
            Some((_, None)) => EndState::Open,
            None => EndState::Unsure(self.newest),
        }
    }
}

impl EndWaiter {
    /// Returns what was known at the beginning.
    pub(crate) fn end_state(&self) -> EndState {
        self.known
    }

    /// Waits for an end that was not known at the beginning, and returns its position. It is reported once.
    pub(crate) async fn await_end(&mut self) -> Position {
        if !self.is_reported {
            let ended = self.ended.wait_for(Option::is_some).await.ok().and_then(|at| *at);
            self.is_reported = true;
            if let Some(at) = ended {
                return at;
            }
        }
        std::future::pending().await
    }
}

impl Drop for EndWaiter {
    fn drop(&mut self) {
        let ends = self.ends.clone();
        let mut state = ends.state();
        // Given up under the lock, so that the last receiver finds none.
        self.ended = watch::Sender::new(None).subscribe();
        if state.waiting.get(&self.execution).is_some_and(|waiting| waiting.receiver_count() == 0) {
            state.waiting.remove(&self.execution);
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::executions::facts::ExecutionSucceeded;
    use ensue_test_support::single::{execution_request, id, record};

    use super::*;

    fn execution(number: u128) -> ExecutionId {
        ExecutionId(id(number))
    }

    fn request_record(number: u128, position: u64) -> Record {
        let record = record(id(number), StreamId::Execution(execution(number)), 1, None, execution_request("core.noop"));
        Record { position: Position(position), ..record }
    }

    fn end_record(number: u128, position: u64) -> Record {
        let fact = ExecutionSucceeded { part_of: None };
        let record = record(id(number), StreamId::Execution(execution(number)), 1, None, fact);
        Record { position: Position(position), ..record }
    }

    #[test]
    fn end_before_the_wait_is_known_and_an_open_execution_too() {
        let ends = Ends::after(Position(4));
        ends.note(&[request_record(1, 5), request_record(2, 6), end_record(1, 7)]);
        assert_eq!(ends.wait(execution(1)).end_state(), EndState::Ended(Position(7)));
        assert_eq!(ends.wait(execution(2)).end_state(), EndState::Open);
        assert_eq!(ends.wait(execution(3)).end_state(), EndState::Unsure(Position(7)));
    }

    #[test]
    fn forgotten_execution_may_have_ended_by_the_newest_position() {
        let ends = Ends::after(Position(0));
        ends.note(&[request_record(0, 1), end_record(0, 2)]);
        let others: Vec<Record> = (1..=REMEMBERED_MAX as u64).map(|number| request_record(u128::from(number), number + 2)).collect();
        ends.note(&others);
        assert_eq!(ends.wait(execution(0)).end_state(), EndState::Unsure(Position(REMEMBERED_MAX as u64 + 2)));
        assert_eq!(ends.state().recent.len(), REMEMBERED_MAX);
    }

    #[tokio::test]
    async fn end_is_reported_to_every_waiting_request_once() {
        let ends = Ends::after(Position(0));
        ends.note(&[request_record(1, 1)]);
        let (mut one, mut other) = (ends.wait(execution(1)), ends.wait(execution(1)));
        ends.note(&[end_record(1, 2)]);
        assert_eq!((one.await_end().await, other.await_end().await), (Position(2), Position(2)));
        let again = tokio::time::timeout(std::time::Duration::from_millis(1), one.await_end()).await;
        assert!(again.is_err(), "{again:?}");
    }

    #[test]
    fn request_that_no_longer_waits_leaves_nothing_behind() {
        let ends = Ends::after(Position(0));
        ends.note(&[request_record(1, 1)]);
        let (one, other) = (ends.wait(execution(1)), ends.wait(execution(1)));
        drop(one);
        assert_eq!(ends.state().waiting.len(), 1);
        drop(other);
        assert_eq!(ends.state().waiting.len(), 0);
    }

    #[test]
    fn request_that_waited_for_an_end_does_not_remove_the_entry_of_a_later_one() {
        let ends = Ends::after(Position(0));
        ends.note(&[request_record(1, 1)]);
        let early = ends.wait(execution(1));
        ends.note(&[end_record(1, 2)]);
        let late = ends.wait(execution(1));
        drop(early);
        assert_eq!(ends.state().waiting.len(), 1);
        drop(late);
        assert_eq!(ends.state().waiting.len(), 0);
    }
}
