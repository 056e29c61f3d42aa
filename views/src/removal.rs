//! When executions ended, by the time that the log itself measured, and which rows leave the views.

use std::time::Duration;

use ensue_engine::fact::{ByNoun, ExecutionFact, Fact};
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{Position, Record, StreamId};

use crate::view::ViewName;

/// How much time has passed, as the log tells it: the time of its newest record without the steps of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elapsed {
    stepped: i64,
    micros: i64,
}

impl Elapsed {
    /// Puts together what a store kept: how far all steps together moved the clock, and the time without them, in microseconds.
    pub const fn of(stepped: i64, micros: i64) -> Self {
        Self { stepped, micros }
    }

    /// Gives how far all steps together moved the clock, in microseconds.
    pub const fn stepped(self) -> i64 {
        self.stepped
    }

    /// Gives the time without them, in microseconds.
    pub const fn micros(self) -> i64 {
        self.micros
    }

    /// Returns the time once `quiet` has passed as well.
    #[must_use]
    pub(crate) fn and(self, quiet: Duration) -> Self {
        Self { micros: self.micros.saturating_add(i64::try_from(quiet.as_micros()).unwrap_or(i64::MAX)), ..self }
    }

    /// Folds the next records in, and gives the executions that ended with them and stand in no workflow.
    pub fn fold(&mut self, records: &[Record]) -> Vec<Ended> {
        let mut ended = Vec::new();
        for record in records {
            match &record.fact {
                Fact::ClockStepped(step) => self.stepped = self.stepped.saturating_add(step.to.micros_since(step.from)),
                // A clock that was set back may have been set right while no node ran: nobody noted that, and it is no time that has passed.
                // Where it is, what is kept is kept for longer.
                Fact::NodeStarted(_) if self.stepped < 0 => {
                    let forward = record.time.micros().saturating_sub(self.micros.saturating_add(self.stepped)).max(0);
                    self.stepped = self.stepped.saturating_add(forward).min(0);
                }
                _ => {}
            }
            self.micros = record.time.micros().saturating_sub(self.stepped);
            if let (true, StreamId::Execution(execution)) = (ends_outermost(&record.fact), &record.stream) {
                ended.push(Ended { elapsed: self.micros, at: record.position, execution: *execution });
            }
        }
        ended
    }
}

/// Says whether an execution ends that stands in no workflow.
fn ends_outermost(fact: &Fact) -> bool {
    let part_of = match fact.by_noun() {
        ByNoun::ExecutionFact(ExecutionFact::ExecutionSucceeded(fact)) => &fact.part_of,
        ByNoun::ExecutionFact(ExecutionFact::ExecutionFailed(fact)) => &fact.part_of,
        ByNoun::ExecutionFact(ExecutionFact::ExecutionTimedOut(fact)) => &fact.part_of,
        ByNoun::ExecutionFact(ExecutionFact::ExecutionCancelled(fact)) => &fact.part_of,
        _ => return false,
    };
    part_of.is_none()
}

/// An execution that stands in no workflow and has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ended {
    /// When, as [`Elapsed::micros`] was then.
    pub elapsed: i64,
    /// The record that ended it.
    pub at: Position,
    /// It.
    pub execution: ExecutionId,
}

/// What a round takes out of a store, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// The rows, by the positions at which they began; each is there.
    pub rows: Vec<(ViewName, Position)>,
    /// Those of which nothing is left.
    pub ended: Vec<Ended>,
    /// How many of the rows are executions.
    pub executions: u64,
}

/// How much was taken out since the views were begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Executions, parts of workflows among them.
    pub executions: u64,
    /// Rows, those of the executions among them.
    pub rows: u64,
}

impl Removed {
    /// Gives how much it is with what a round takes.
    #[must_use]
    pub fn with(self, removal: &Removal) -> Self {
        Self { executions: self.executions + removal.executions, rows: self.rows + removal.rows.len() as u64 }
    }
}
