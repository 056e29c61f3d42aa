//! The state of the log's health: the reactions that are owed, held or parked.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::fact::HealthFact;
use crate::ids::{ExecutionId, Id};
use crate::record::{Position, Record};
use crate::table::{Table, undone_together};

/// The reactions that are owed, held or parked, by the record they are owed to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    owed: Table<Position, OwedReaction>,
    /// The owed reactions by chain. Not saved, but rebuilt from the others.
    #[serde(skip)]
    by_chain: Table<(Id, Position), ()>,
    parked: Table<Position, ParkedReaction>,
    /// The reactions that are held until the execution is resumed.
    held: Table<(ExecutionId, Position), OwedReaction>,
}

undone_together!(pub(crate) Health { owed, by_chain, parked, held });

/// A reaction that is owed, because one turn could not finish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedReaction {
    /// The record it is owed to.
    pub of: Position,
    /// The first of the record's consequences that is owed.
    pub next: u32,
    /// The root of the chain. Owed pieces are served fairly among the chains.
    pub root: Id,
}

/// A parked reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedReaction {
    /// The first of the record's consequences that could not be computed; those after it wait with it.
    pub next: u32,
    /// The error.
    pub error: String,
    /// The root of the chain.
    pub root: Id,
}

impl Health {
    /// Returns the number of owed reactions.
    pub fn owed_count(&self) -> usize {
        self.owed.len()
    }

    /// Returns the reaction that is owed to a record.
    pub fn owed_at(&self, of: Position) -> Option<OwedReaction> {
        self.owed.get(&of).copied()
    }

    /// Returns the owed reaction to serve after one of the chain `last`: the oldest reaction of the next
    /// chain, in turn.
    pub fn next_owed(&self, last: Option<Id>) -> Option<OwedReaction> {
        let after = last.and_then(|last| self.by_chain.range((Bound::Excluded((last, Position(u64::MAX))), Bound::Unbounded)).next());
        let ((_, of), ()) = after.or_else(|| self.by_chain.first())?;
        self.owed_at(*of)
    }

    /// Returns the parked reactions.
    pub fn parked_reactions(&self) -> impl Iterator<Item = (&Position, &ParkedReaction)> {
        self.parked.iter()
    }

    /// Returns the parked reaction of a record.
    pub fn parked_at(&self, of: Position) -> Option<&ParkedReaction> {
        self.parked.get(&of)
    }

    /// Returns the number of held reactions.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Returns true if a consequence of a record between two others is owed, parked or held.
    pub(crate) fn owes_between(&self, after: Position, before: Position) -> bool {
        let between = (Bound::Excluded(after), Bound::Excluded(before));
        let is_held = || self.held.iter().any(|((_, of), _)| after < *of && *of < before);
        self.owed.range(between).next().is_some() || self.parked.range(between).next().is_some() || is_held()
    }

    /// The execution is no longer paused: its held reactions are now owed.
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
                self.parked.insert(fact.of, ParkedReaction { next: fact.next, error: fact.error.clone(), root: record.cause.root });
            }
            HealthFact::ReactionHeld(fact) => {
                self.forgive(fact.of);
                let owed = OwedReaction { of: fact.of, next: fact.next, root: record.cause.root };
                self.held.insert((fact.execution, fact.of), owed);
            }
            HealthFact::ReactionRetried(fact) => {
                if let Some((next, root)) = self.parked.get(&fact.of).map(|parked| (parked.next, parked.root)) {
                    self.parked.remove(&fact.of);
                    self.owe(fact.of, next, root);
                }
            }
            HealthFact::ReactionDismissed(fact) => self.parked.remove(&fact.of),
            // The timers fold facts about the clock.
            HealthFact::NodeStarted(_) | HealthFact::ClockStepped(_) | HealthFact::ClockAccepted(_) | HealthFact::LogRestored(_) => {}
        }
    }

    fn owe(&mut self, of: Position, next: u32, root: Id) {
        self.owed.insert(of, OwedReaction { of, next, root });
        self.by_chain.insert((root, of), ());
    }

    fn forgive(&mut self, of: Position) {
        if let Some(root) = self.owed.get(&of).map(|owed| owed.root) {
            self.owed.remove(&of);
            self.by_chain.remove(&(root, of));
        }
    }

    /// Rebuilds the tables that are not saved.
    pub(crate) fn index(&mut self) {
        let owed: Vec<(Id, Position)> = self.owed.iter().map(|(of, owed)| (owed.root, *of)).collect();
        owed.into_iter().for_each(|key| self.by_chain.insert(key, ()));
        self.by_chain.commit();
    }
}
