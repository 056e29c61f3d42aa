//! What is owed: reactions that one turn could not work out, one piece of them between two batches.
//!
//! Which piece is next is the core's.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ensue_engine::batch::{Beside, Offered};
use ensue_engine::command::{Bodies, Moment, Nothing};
use ensue_engine::health::state::Owed;
use ensue_engine::ports::{AppendError, LogError, ReadLimit};
use ensue_engine::record::{Body, BodyHandle, Digest, Position, Record};

use super::{Sequencer, SequencerError, Turn, failed};
use crate::crash_file::{Begin, ENDS_MAX};

impl Sequencer {
    /// Works out one piece of what is owed.
    pub(super) fn serve(&mut self, owed: Owed) -> Result<Turn, SequencerError> {
        self.served = Some(owed.root);
        let record = self.record_at(owed.of).map_err(|error| SequencerError::Log(error.to_string()))?;
        let at = self.clock.moment();
        if self.crash.begin(owed) == Begin::EndsTheProcess {
            tracing::error!(of = %owed.of, "a reaction that ended the process {ENDS_MAX} times is put aside");
            let error = format!("the process ended {ENDS_MAX} times while this was worked out");
            let turn = self.put_aside(&record, owed, error, &at)?;
            if turn == Turn::Taken {
                self.crash.put_aside();
            }
            return Ok(turn);
        }
        let begin = Instant::now();
        let mut fetched = BTreeMap::new();
        loop {
            let bodies = KeptBodies { plain: self.plain, fetched: &fetched };
            let beside = Beside { catalogs: &*self.catalogs, bodies: &bodies, seen: &Nothing, settings: &self.settings };
            let Offered::Needs(needed) = self.sequencing.serve(&record, owed, &at, &beside) else { break };
            if let Err(gone) = self.fetch(&needed, &mut fetched).map_err(|error| SequencerError::Log(error.to_string()))? {
                let error = format!("the body of the record at position {} that it needs was erased", gone.at);
                self.sequencing.park(&record, owed, error, &at);
                break;
            }
        }
        self.gauges.turns.decide.took(begin.elapsed());
        match self.append() {
            Ok(batch) => {
                self.released(&batch);
                Ok(Turn::Taken)
            }
            Err(AppendError::Refused { why, .. }) => self.put_aside(&record, owed, format!("the store refused what follows: {why}"), &at),
            Err(error) => {
                // It was worked out: an end of the process from here on is the disk's fault and not the reaction's.
                self.crash.end();
                self.still_owed(&error)
            }
        }
    }

    /// Puts a piece of what is owed aside.
    fn put_aside(&mut self, record: &Record, owed: Owed, error: String, at: &Moment) -> Result<Turn, SequencerError> {
        self.sequencing.park(record, owed, error, at);
        match self.append() {
            Ok(batch) => {
                self.released(&batch);
                Ok(Turn::Taken)
            }
            Err(error) => self.still_owed(&error),
        }
    }

    /// Where there is no room it stays owed: there is nothing to do but to wait for room.
    fn still_owed(&mut self, error: &AppendError) -> Result<Turn, SequencerError> {
        match error {
            AppendError::Full => {
                self.space.was_full();
                Ok(Turn::NoRoom)
            }
            error => Err(failed(error)),
        }
    }

    /// Reads bodies out of the log; gives one that is not there any more, or was fetched before and did not help.
    fn fetch(&mut self, needed: &[BodyHandle], fetched: &mut BTreeMap<Digest, Bytes>) -> Result<Result<(), BodyHandle>, LogError> {
        for handle in needed {
            let record = self.record_at(handle.at)?;
            let body = record.body.as_ref().filter(|body| body.digest == handle.digest);
            match body.map(|body| (self.plain)(body)) {
                Some(Ok(Some(plain))) if !fetched.contains_key(&handle.digest) => drop(fetched.insert(handle.digest, plain)),
                Some(Ok(Some(_) | None) | Err(_)) | None => return Ok(Err(*handle)),
            }
        }
        Ok(Ok(()))
    }

    fn record_at(&mut self, position: Position) -> Result<Record, LogError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.log.reader()?,
        };
        let before = Position(position.0.saturating_sub(1));
        let read = reader.read(before, ReadLimit { records: 1, ..ReadLimit::default() });
        self.reader = Some(reader);
        read?.into_iter().next().ok_or_else(|| LogError::Store(format!("there is no record at position {position}")))
    }
}

/// What was fetched for a piece of what is owed, and the way to read what was just taken.
pub(super) struct KeptBodies<'a> {
    pub(super) plain: fn(&Body) -> Result<Option<Bytes>, LogError>,
    pub(super) fetched: &'a BTreeMap<Digest, Bytes>,
}

impl Bodies for KeptBodies<'_> {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        self.fetched.get(&body.digest).cloned()
    }

    fn decoded(&self, body: &Body) -> Option<Bytes> {
        (self.plain)(body).ok().flatten()
    }
}
