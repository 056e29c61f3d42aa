//! What is told of the log to who watches the node: its records are counted, and told of in traces.
//!
//! It is a follower of its own, so that a bug in it touches nothing that matters. It sees each record once, or, where it stopped at a bug
//! of ours, not at all.

#[cfg(test)]
pub(crate) mod spec;

use ensue_engine::record::{Position, Record};

use crate::followers::Follow;
use crate::tally::Tally;
use crate::traces::Tracing;

/// Counts records, and tells of them in traces.
pub(crate) struct Telemetry {
    position: Position,
    tally: Tally,
    tracing: Option<Tracing>,
}

impl Telemetry {
    /// Begins behind `position`; without `tracing`, records are only counted.
    pub(crate) fn new(position: Position, tally: Tally, tracing: Option<Tracing>) -> Self {
        Self { position, tally, tracing }
    }
}

impl Follow for Telemetry {
    fn position(&self) -> Position {
        self.position
    }

    fn follow(&mut self, records: &[Record]) -> Result<(), String> {
        // A record at which it stops is not met again: no figure is worth going round in circles.
        self.position = records.last().map_or(self.position, |last| last.position);
        self.tally.note(records);
        if let Some(tracing) = &mut self.tracing {
            tracing.note(records);
        }
        Ok(())
    }

    fn follow_all(&mut self, runs: &[&[Record]]) -> Result<(), String> {
        runs.iter().try_for_each(|run| self.follow(run))
    }
}
