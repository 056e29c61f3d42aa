//! Telemetry from the log: records are counted and become traces.
//!
//! It is a separate follower, so that an internal error in it affects nothing important. It sees each record
//! once, or not at all if it stopped at an internal error.

use ensue_engine::record::{Position, Record};

use crate::followers::Follow;
use crate::tally::Tally;
use crate::traces::Tracing;

/// Counts records and turns them into traces.
pub(crate) struct Telemetry {
    position: Position,
    tally: Tally,
    tracing: Option<Tracing>,
}

impl Telemetry {
    /// Starts after `position`; without `tracing`, records are only counted.
    pub(crate) fn new(position: Position, tally: Tally, tracing: Option<Tracing>) -> Self {
        Self { position, tally, tracing }
    }
}

impl Follow for Telemetry {
    fn position(&self) -> Position {
        self.position
    }

    fn follow(&mut self, records: &[Record]) -> Result<(), String> {
        // A record at which it stops is not read again: no metric is worth an endless loop.
        self.position = records.last().map_or(self.position, |last| last.position);
        self.tally.note(records);
        if let Some(tracing) = &mut self.tracing {
            tracing.note(records);
        }
        Ok(())
    }

    fn release_caches(&mut self) {}

    fn follow_all(&mut self, runs: &[&[Record]]) -> Result<(), String> {
        runs.iter().try_for_each(|run| self.follow(run))
    }
}
