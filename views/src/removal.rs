//! When executions ended, in the log's own time, and which rows leave the views.

use std::time::Duration;

use ensue_engine::executions::milestone;
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{Position, Record, StreamId};

use crate::view::ViewName;

/// The elapsed time according to the log: the time of its newest record without the steps of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElapsedTime {
    stepped: i64,
    micros: i64,
}

impl ElapsedTime {
    /// Creates it from stored values: how far all steps together moved the clock, and the time without them,
    /// in microseconds.
    pub const fn of(stepped: i64, micros: i64) -> Self {
        Self { stepped, micros }
    }

    /// Returns how far all steps together moved the clock, in microseconds.
    pub const fn total_step(self) -> i64 {
        self.stepped
    }

    /// Returns the time without them, in microseconds.
    pub const fn micros(self) -> i64 {
        self.micros
    }

    /// Returns the time after another `quiet` has passed.
    #[must_use]
    pub(crate) fn and(self, quiet: Duration) -> Self {
        Self { micros: self.micros.saturating_add(i64::try_from(quiet.as_micros()).unwrap_or(i64::MAX)), ..self }
    }

    /// Folds the next records, and returns the executions that ended with them and are not part of a
    /// workflow.
    pub fn fold(&mut self, records: &[Record]) -> Vec<EndedExecution> {
        let mut ended = Vec::new();
        for record in records {
            match &record.fact {
                Fact::ClockStepped(step) => self.stepped = self.stepped.saturating_add(step.to.micros_since(step.from)),
                // A clock that was set back may have been corrected while no node ran. That was not recorded,
                // and it is not elapsed time. If it is, rows are only kept longer.
                Fact::NodeStarted(_) if self.stepped < 0 => {
                    let forward = record.time.micros().saturating_sub(self.micros.saturating_add(self.stepped)).max(0);
                    self.stepped = self.stepped.saturating_add(forward).min(0);
                }
                _ => {}
            }
            self.micros = record.time.micros().saturating_sub(self.stepped);
            if let (Some(milestone::ExecutionEnd { part_of: None, .. }), StreamId::Execution(execution)) =
                (record.fact.execution_end(), &record.stream)
            {
                ended.push(EndedExecution { elapsed: self.micros, at: record.position, execution: *execution });
            }
        }
        ended
    }
}

/// An ended execution that is not part of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedExecution {
    /// When it ended: [`ElapsedTime::micros`] at that time.
    pub elapsed: i64,
    /// The record that ended it.
    pub at: Position,
    /// The execution.
    pub execution: ExecutionId,
}

/// The rows that a round removes from a store, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// The rows, by the positions at which they began. Each of them exists.
    pub rows: Vec<(ViewName, Position)>,
    /// The executions of which nothing is left.
    pub ended: Vec<EndedExecution>,
    /// The number of executions among the rows.
    pub executions: u64,
}

/// How much was removed since the views were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovalCounts {
    /// Executions, including parts of workflows.
    pub executions: u64,
    /// Rows, including those of the executions.
    pub rows: u64,
}

impl RemovalCounts {
    /// Returns the sum with what a round removes.
    #[must_use]
    pub fn with(self, removal: &Removal) -> Self {
        Self { executions: self.executions + removal.executions, rows: self.rows + removal.rows.len() as u64 }
    }
}
