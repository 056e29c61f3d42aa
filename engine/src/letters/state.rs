//! What the letters that nobody has dealt with are made into: a bounded table of the newest.

use serde::{Deserialize, Serialize};

use crate::fact::{EventFact, ExecutionFact, LetterFact};
use crate::ids::Id;
use crate::record::{Position, Record, StreamId};
use crate::table::Table;

/// The most letters that can be dealt with: of more, the oldest stay in the views as they are.
pub const OPEN_LETTERS_MAX: usize = 100_000;

/// The letters that are open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Letters {
    open: Table<Id, Position>,
    /// The same by their age; not saved, but made of the others.
    #[serde(skip)]
    by_age: Table<Position, Id>,
}

impl Letters {
    /// Says whether a letter is open: the id of a refused delivery's record, or of an execution.
    pub fn is_open(&self, of: Id) -> bool {
        self.open.get(&of).is_some()
    }

    /// Gives how many are open.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn apply_event(&mut self, record: &Record, fact: EventFact<'_>) {
        match fact {
            EventFact::DeliveryRefused(_) => self.begin(record.id, record.position),
            EventFact::EventReceived(_) => {}
        }
    }

    /// What stands in a workflow is that workflow's to deal with.
    pub(crate) fn apply_execution(&mut self, record: &Record, fact: ExecutionFact<'_>) {
        match fact {
            ExecutionFact::ExecutionFailed(fact) if fact.part_of.is_none() => self.begin_of(record),
            ExecutionFact::ExecutionTimedOut(fact) if fact.part_of.is_none() => self.begin_of(record),
            ExecutionFact::ExecutionRequested(fact) => {
                if let Some(of) = fact.rerun_of {
                    self.end(of.0);
                }
            }
            ExecutionFact::ExecutionFailed(_)
            | ExecutionFact::ExecutionTimedOut(_)
            | ExecutionFact::AttemptStarted(_)
            | ExecutionFact::AttemptProgressed(_)
            | ExecutionFact::AttemptEmitted(_)
            | ExecutionFact::ArtifactKept(_)
            | ExecutionFact::MessageRefused(_)
            | ExecutionFact::AttemptSucceeded(_)
            | ExecutionFact::AttemptFailed(_)
            | ExecutionFact::AttemptLost(_)
            | ExecutionFact::AttemptReportedLate(_)
            | ExecutionFact::ExecutionSucceeded(_)
            | ExecutionFact::ExecutionCancelRequested(_)
            | ExecutionFact::ExecutionPaused(_)
            | ExecutionFact::ExecutionResumed(_)
            | ExecutionFact::ExecutionCancelled(_)
            | ExecutionFact::LockAwaited(_)
            | ExecutionFact::LockAcquired(_)
            | ExecutionFact::ExecutionBecameIndeterminate(_)
            | ExecutionFact::ExecutionSettled(_) => {}
        }
    }

    pub(crate) fn apply(&mut self, fact: LetterFact<'_>) {
        match fact {
            LetterFact::DeadLetterRetried(fact) => self.end(fact.of),
            LetterFact::DeadLetterDismissed(fact) => self.end(fact.of),
        }
    }

    fn begin_of(&mut self, record: &Record) {
        if let StreamId::Execution(id) = &record.stream {
            self.begin(id.0, record.position);
        }
    }

    fn begin(&mut self, of: Id, position: Position) {
        self.open.insert(of, position);
        self.by_age.insert(position, of);
        if self.open.len() > OPEN_LETTERS_MAX
            && let Some(oldest) = self.by_age.first().map(|(_, of)| *of)
        {
            self.end(oldest);
        }
    }

    fn end(&mut self, of: Id) {
        if let Some(position) = self.open.get(&of).copied() {
            self.open.remove(&of);
            self.by_age.remove(&position);
        }
    }

    /// Makes anew what is not saved.
    pub(crate) fn index(&mut self) {
        let open: Vec<(Position, Id)> = self.open.iter().map(|(of, position)| (*position, *of)).collect();
        open.into_iter().for_each(|(position, of)| self.by_age.insert(position, of));
        self.by_age.commit();
    }

    pub(crate) fn commit(&mut self) {
        self.open.commit();
        self.by_age.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.open.undo();
        self.by_age.undo();
    }
}
