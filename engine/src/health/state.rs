//! What the log's own life is made into: the reactions that are owed, and those that were put aside.

use serde::{Deserialize, Serialize};

use crate::fact::HealthFact;
use crate::ids::Id;
use crate::record::{Position, Record};
use crate::table::Table;

/// The reactions that are owed or were put aside, by the record they are owed to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    owed: Table<Position, Owed>,
    parked: Table<Position, Parked>,
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
        let by_chain = |owed: &&Owed| (owed.root, owed.of);
        let rows = || self.owed.iter().map(|(_, owed)| owed);
        let after = last.and_then(|last| rows().filter(|owed| owed.root > last).min_by_key(by_chain));
        after.or_else(|| rows().min_by_key(by_chain)).copied()
    }

    /// Gives the reactions that were put aside.
    pub fn parked(&self) -> impl Iterator<Item = (&Position, &Parked)> {
        self.parked.iter()
    }

    /// Gives the reaction of a record that was put aside.
    pub fn parked_at(&self, of: Position) -> Option<&Parked> {
        self.parked.get(&of)
    }

    pub(crate) fn apply(&mut self, record: &Record, fact: HealthFact<'_>) {
        match fact {
            HealthFact::ReactionDeferred(fact) => self.owe(fact.of, fact.next, record.cause.root),
            HealthFact::ReactionResumed(fact) => self.owed.remove(&fact.of),
            HealthFact::ReactionParked(fact) => {
                self.owed.remove(&fact.of);
                self.parked.insert(fact.of, Parked { next: fact.next, error: fact.error.clone(), root: record.cause.root });
            }
            HealthFact::ReactionRetried(fact) => {
                if let Some((next, root)) = self.parked.get(&fact.of).map(|parked| (parked.next, parked.root)) {
                    self.parked.remove(&fact.of);
                    self.owe(fact.of, next, root);
                }
            }
            HealthFact::ReactionDismissed(fact) => self.parked.remove(&fact.of),
            // What the clock did is folded by the timers.
            HealthFact::NodeStarted(_) | HealthFact::ClockStepped(_) | HealthFact::ClockAccepted(_) => {}
        }
    }

    fn owe(&mut self, of: Position, next: u32, root: Id) {
        self.owed.insert(of, Owed { of, next, root });
    }

    pub(crate) fn commit(&mut self) {
        self.owed.commit();
        self.parked.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.owed.undo();
        self.parked.undo();
    }
}
