//! What the log's own life is made into: the reactions that are owed, and those that were put aside.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::fact::HealthFact;
use crate::ids::{ExecutionId, Id};
use crate::record::{Position, Record};
use crate::table::Table;

/// The reactions that are owed or were put aside, by the record they are owed to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    owed: Table<Position, Owed>,
    /// The owed ones by their chains; not saved, but made of the others.
    #[serde(skip)]
    by_chain: Table<(Id, Position), ()>,
    parked: Table<Position, Parked>,
    /// Those that wait until something is resumed that is paused.
    held: Table<(ExecutionId, Position), Owed>,
}

/// A reaction that is owed: what one turn could not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// The record it is owed to.
    pub of: Position,
    /// The first of the record's consequences that is owed.
    pub next: u32,
    /// The root of the chain: owed pieces are served fairly by it.
    pub root: Id,
}

/// A reaction that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The first of the record's consequences that did not come about; those after it wait with it.
    pub next: u32,
    /// What went wrong.
    pub error: String,
    /// The root of the chain.
    pub root: Id,
}

impl Health {
    /// Gives how many reactions are owed.
    pub fn owed_count(&self) -> usize {
        self.owed.len()
    }

    /// Gives the reaction that is owed to a record.
    pub fn owed_at(&self, of: Position) -> Option<Owed> {
        self.owed.get(&of).copied()
    }

    /// Gives the owed reaction to serve after one of the chain `last`: the oldest of the chain that comes next, round and round.
    pub fn next_owed(&self, last: Option<Id>) -> Option<Owed> {
        let after = last.and_then(|last| self.by_chain.range((Bound::Excluded((last, Position(u64::MAX))), Bound::Unbounded)).next());
        let ((_, of), ()) = after.or_else(|| self.by_chain.first())?;
        self.owed_at(*of)
    }

    /// Gives the reactions that were put aside.
    pub fn parked(&self) -> impl Iterator<Item = (&Position, &Parked)> {
        self.parked.iter()
    }

    /// Gives the reaction of a record that was put aside.
    pub fn parked_at(&self, of: Position) -> Option<&Parked> {
        self.parked.get(&of)
    }

    /// Gives how many reactions wait until something is resumed.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Says whether anything is owed, put aside or held that follows from a record between two others.
    pub(crate) fn owes_between(&self, after: Position, before: Position) -> bool {
        let between = (Bound::Excluded(after), Bound::Excluded(before));
        let is_held = || self.held.iter().any(|((_, of), _)| after < *of && *of < before);
        self.owed.range(between).next().is_some() || self.parked.range(between).next().is_some() || is_held()
    }

    /// What was paused is so no more: what waited for that is owed.
    pub(crate) fn release(&mut self, execution: ExecutionId) {
        let rows = self.held.range((execution, Position::default())..=(execution, Position(u64::MAX)));
        let rows: Vec<_> = rows.map(|(key, owed)| (*key, *owed)).collect();
        for (key, owed) in rows {
            self.held.remove(&key);
            self.owe(owed.of, owed.next, owed.root);
        }
    }

    pub(crate) fn apply(&mut self, record: &Record, fact: HealthFact<'_>) {
        match fact {
            HealthFact::ReactionDeferred(fact) => self.owe(fact.of, fact.next, record.cause.root),
            HealthFact::ReactionResumed(fact) => self.forgive(fact.of),
            HealthFact::ReactionParked(fact) => {
                self.forgive(fact.of);
                self.parked.insert(fact.of, Parked { next: fact.next, error: fact.error.clone(), root: record.cause.root });
            }
            HealthFact::ReactionHeld(fact) => {
                self.forgive(fact.of);
                let owed = Owed { of: fact.of, next: fact.next, root: record.cause.root };
                self.held.insert((fact.execution, fact.of), owed);
            }
            HealthFact::ReactionRetried(fact) => {
                if let Some((next, root)) = self.parked.get(&fact.of).map(|parked| (parked.next, parked.root)) {
                    self.parked.remove(&fact.of);
                    self.owe(fact.of, next, root);
                }
            }
            HealthFact::ReactionDismissed(fact) => self.parked.remove(&fact.of),
            // What the clock did is folded by the timers.
            HealthFact::NodeStarted(_) | HealthFact::ClockStepped(_) | HealthFact::ClockAccepted(_) | HealthFact::LogRestored(_) => {}
        }
    }

    fn owe(&mut self, of: Position, next: u32, root: Id) {
        self.owed.insert(of, Owed { of, next, root });
        self.by_chain.insert((root, of), ());
    }

    fn forgive(&mut self, of: Position) {
        if let Some(root) = self.owed.get(&of).map(|owed| owed.root) {
            self.owed.remove(&of);
            self.by_chain.remove(&(root, of));
        }
    }

    /// Makes anew what is not saved.
    pub(crate) fn index(&mut self) {
        let owed: Vec<(Id, Position)> = self.owed.iter().map(|(of, owed)| (owed.root, *of)).collect();
        owed.into_iter().for_each(|key| self.by_chain.insert(key, ()));
        self.by_chain.commit();
    }

    pub(crate) fn commit(&mut self) {
        self.owed.commit();
        self.by_chain.commit();
        self.parked.commit();
        self.held.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.owed.undo();
        self.by_chain.undo();
        self.parked.undo();
        self.held.undo();
    }
}
