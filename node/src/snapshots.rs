//! The shadow fold: a second state, folded beside the sequencer's, from which snapshots are saved.
//!
//! The sequencer never stops for it. That the shadow and the live state are equal is looked at when the node stops.

use ensue_engine::engine::{Engine, LoadError, SavedState};
use ensue_engine::ids::LogId;
use ensue_engine::record::{Head, Position, Record};
use ensue_store::checkpoints::{Checkpoint, Checkpoints};

use crate::followers::{AfterPanic, Follow};
use crate::tally::Tally;
use crate::wiring::RELEASE;

/// After how many records a snapshot is saved.
pub(crate) const SNAPSHOT_EVERY_RECORDS: u64 = 50_000;

/// Folds the log beside the sequencer and saves its state from time to time.
pub struct ShadowFold {
    engine: Engine,
    head: Head,
    saved_at: Position,
    every_records: u64,
    checkpoints: Checkpoints,
    tally: Option<Tally>,
    /// A bug of ours left it half folded.
    is_broken: bool,
}

impl ShadowFold {
    /// Begins with the state that was folded at the start.
    pub fn new(engine: Engine, head: Head, saved_at: Position, checkpoints: Checkpoints) -> Self {
        Self { engine, head, saved_at, every_records: SNAPSHOT_EVERY_RECORDS, checkpoints, tally: None, is_broken: false }
    }

    /// Saves a snapshot after so many records.
    #[must_use]
    pub fn saving_every(self, records: u64) -> Self {
        Self { every_records: records, ..self }
    }

    /// Has the records counted as they are folded: it sees each of them once.
    #[must_use]
    pub(crate) fn counted_by(self, tally: Tally) -> Self {
        Self { tally: Some(tally), ..self }
    }

    /// Says whether a bug of ours left it half folded, so that nothing of it counts.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Gives the state.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Saves the state where it is newer than the last that was saved.
    pub fn save(&mut self) {
        if self.head.position == self.saved_at || self.is_broken {
            return;
        }
        // A snapshot only makes the next start quicker: without it the log is folded from further back.
        let checkpoint = Checkpoint { at: self.head, release: RELEASE.to_owned(), state: saved(&self.engine) };
        match self.checkpoints.write(&checkpoint) {
            Ok(_) => self.saved_at = self.head.position,
            Err(error) => tracing::warn!(%error, "a snapshot cannot be saved"),
        }
    }
}

/// Gives a state's bytes: the form's version, u32 little-endian, and the state.
pub(crate) fn saved(engine: &Engine) -> Vec<u8> {
    let SavedState { format, json } = engine.save();
    let mut bytes = Vec::with_capacity(json.len() + 4);
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&json);
    bytes
}

/// Takes a state back from a saved one's bytes.
pub(crate) fn loaded(log: LogId, checkpoint: &Checkpoint) -> Result<Engine, LoadError> {
    let Some((format, json)) = checkpoint.state.split_first_chunk::<4>() else {
        return Err(LoadError::Damaged("it is empty".to_owned()));
    };
    let json = bytes::Bytes::copy_from_slice(json);
    Engine::load(log, &SavedState { format: u32::from_le_bytes(*format), json })
}

impl Follow for ShadowFold {
    fn position(&self) -> Position {
        self.head.position
    }

    fn follow(&mut self, records: &[Record]) -> Result<(), String> {
        for record in records {
            let is_left_out = ensue_engine::mutants::is("snapshot off by one") && records.len() > 1 && Some(record) == records.last();
            if !is_left_out {
                self.engine.apply(record);
            }
            self.head = Head { position: record.position, chain: record.chain };
        }
        self.engine.commit();
        if let Some(tally) = &mut self.tally {
            tally.note(records);
        }
        if self.head.position.0 - self.saved_at.0 >= self.every_records {
            self.save();
        }
        Ok(())
    }

    fn follow_all(&mut self, runs: &[&[Record]]) -> Result<(), String> {
        runs.iter().try_for_each(|run| self.follow(run))
    }

    fn after_panic(&mut self) -> AfterPanic {
        self.is_broken = true;
        AfterPanic::Ends
    }
}
