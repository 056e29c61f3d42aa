//! Owed reactions: those that one turn could not work out. One piece of them is worked out between two batches.
//!
//! The core decides which piece is next.

use std::time::Instant;

use ensue_engine::batch::{BatchInputs, OfferOutcome};
use ensue_engine::command::{Moment, Nothing};
use ensue_engine::health::state::OwedReaction;
use ensue_engine::ports::{AppendError, LogError};
use ensue_engine::record::{Position, Record};

use super::bodies::LoggedBodies;
use super::{Sequencer, SequencerError, Turn, to_sequencer_error, unread};
use crate::crash_file::{Begin, ENDS_MAX};

impl Sequencer {
    /// Works out one piece of the owed reactions.
    pub(super) fn serve(&mut self, owed: OwedReaction) -> Result<Turn, SequencerError> {
        self.served = Some(owed.root);
        let record = self.record_at(owed.of).map_err(|error| unread(&error))?;
        let at = self.moment();
        if self.crash.begin(owed) == Begin::EndsTheProcess {
            tracing::error!(of = %owed.of, "a reaction that ended the process {ENDS_MAX} times is parked");
            let error = format!("the process ended {ENDS_MAX} times during this reaction");
            let turn = self.put_aside(&record, owed, error, &at)?;
            if turn == Turn::Taken {
                self.crash.put_aside();
            }
            return Ok(turn);
        }
        let begin = Instant::now();
        let bodies = LoggedBodies::of(&*self.log, &self.reader, self.plain);
        let beside = BatchInputs { catalogs: &*self.catalogs, bodies: &bodies, seen: &Nothing, settings: &self.settings };
        let offered = self.sequencing.serve(&record, owed, &at, &beside);
        if let Some(error) = bodies.failure() {
            // Nothing was erased: the reaction stays owed, and the next process reads it, unless the read fails as
            // often as an internal error may.
            self.sequencing.undo();
            return Err(unread(&error));
        }
        if let OfferOutcome::Needs(needed) = offered {
            let places: Vec<String> = needed.iter().map(|body| body.at.to_string()).collect();
            let error = format!("bodies that it needs were erased: those of the records at {}", places.join(", "));
            self.sequencing.park(&record, owed, error, &at, &beside);
        }
        self.gauges.turns.decide.took(begin.elapsed());
        match self.append() {
            Ok(batch) => {
                self.release_effects(&batch);
                Ok(Turn::Taken)
            }
            Err(AppendError::Refused { why, .. }) => {
                self.put_aside(&record, owed, format!("the store rejected the resulting records: {why}"), &at)
            }
            Err(error) => {
                // The reaction is worked out: if the process ends after this point, the cause is the disk and not the
                // reaction.
                self.crash.end();
                self.still_owed(&error)
            }
        }
    }

    /// Parks one piece of the owed reactions.
    fn put_aside(&mut self, record: &Record, owed: OwedReaction, error: String, at: &Moment) -> Result<Turn, SequencerError> {
        let bodies = LoggedBodies::of(&*self.log, &self.reader, self.plain);
        let beside = BatchInputs { catalogs: &*self.catalogs, bodies: &bodies, seen: &Nothing, settings: &self.settings };
        self.sequencing.park(record, owed, error, at, &beside);
        match self.append() {
            Ok(batch) => {
                self.release_effects(&batch);
                Ok(Turn::Taken)
            }
            Err(error) => self.still_owed(&error),
        }
    }

    /// If there is no room, the reaction stays owed: the sequencer can only wait for room.
    pub(super) fn still_owed(&mut self, error: &AppendError) -> Result<Turn, SequencerError> {
        match error {
            AppendError::Full => {
                self.space.was_full();
                Ok(Turn::NoRoom)
            }
            error => Err(to_sequencer_error(error)),
        }
    }

    fn record_at(&self, position: Position) -> Result<Record, LogError> {
        let bodies = LoggedBodies::of(&*self.log, &self.reader, self.plain);
        bodies.record_at(position)?.ok_or_else(|| LogError::Store(format!("there is no record at position {position}")))
    }
}
