//! The shadow fold: a second state, folded beside the sequencer's, from which snapshots are saved.
//!
//! The sequencer never stops for it. That the shadow and the live state are equal is looked at when the node stops.

use bytes::Bytes;
use ensue_engine::engine::{Engine, LoadError, STATE_FORMAT, SavedState};
use ensue_engine::ids::LogId;
use ensue_engine::record::{Head, Position, Record};
use ensue_store::checkpoints::{CheckpointError, Checkpoints};

use crate::followers::{AfterPanic, Follow};
use crate::wiring::RELEASE;

/// After how many records a snapshot is saved.
pub(crate) const SNAPSHOT_EVERY_RECORDS: u64 = 50_000;

/// Which thread writes a snapshot; the fold waits for it in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// The one that folds.
    InPlace,
    /// One of its own, with the least claim to a processor: a large state takes seconds, in which the sequencer must not wait for its turn.
    Niced,
}

/// The niceness of a thread that everything else goes before.
const LAST: i32 = 19;

/// Folds the log beside the sequencer and saves its state from time to time.
pub struct ShadowFold {
    engine: Engine,
    head: Head,
    saved_at: Position,
    every_records: u64,
    checkpoints: Checkpoints,
    saving: Saving,
    /// A bug of ours left it half folded.
    is_broken: bool,
}

impl ShadowFold {
    /// Begins with the state that was folded at the start.
    pub fn new(engine: Engine, head: Head, saved_at: Position, checkpoints: Checkpoints) -> Self {
        Self { engine, head, saved_at, every_records: SNAPSHOT_EVERY_RECORDS, checkpoints, saving: Saving::InPlace, is_broken: false }
    }

    /// Saves a snapshot after so many records.
    #[must_use]
    pub fn saving_every(self, records: u64) -> Self {
        Self { every_records: records, ..self }
    }

    /// Has snapshots written by another thread than the one that folds.
    #[must_use]
    pub fn saving_in(self, saving: Saving) -> Self {
        Self { saving, ..self }
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
        let save = || save(&self.engine, self.head, &self.checkpoints);
        let saved = match self.saving {
            Saving::InPlace => save(),
            Saving::Niced => niced(save),
        };
        match saved {
            Ok(()) => self.saved_at = self.head.position,
            Err(error) => tracing::warn!(%error, "a snapshot cannot be saved"),
        }
    }
}

/// Does `work` in a thread that everything else goes before, and waits for it; in this one where there can be no other.
fn niced<T: Send>(work: impl Fn() -> T + Sync) -> T {
    std::thread::scope(|scope| {
        let niced = || {
            // Of this thread alone, on Linux. Where it is refused, the work takes its turn as any other does.
            let _ = rustix::process::setpriority_process(None, LAST);
            work()
        };
        match std::thread::Builder::new().name("snapshot".into()).spawn_scoped(scope, niced) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => work(),
        }
    })
}

/// Saves a state of a log's head: the form's version, u32 little-endian, and the state.
pub(crate) fn save(engine: &Engine, at: Head, into: &Checkpoints) -> Result<(), CheckpointError> {
    into.write(at, RELEASE, |file| {
        file.write_all(&STATE_FORMAT.to_le_bytes())?;
        serde_json::to_writer(file, engine.in_saved_form()).map_err(std::io::Error::from)
    })
    .map(drop)
}

/// Takes a state back from a saved one's bytes, which are not held twice: a large state has many.
pub(crate) fn loaded(log: LogId, saved: &Bytes) -> Result<Engine, LoadError> {
    let Some(format) = saved.first_chunk::<4>().copied() else {
        return Err(LoadError::Damaged("it is empty".to_owned()));
    };
    Engine::load(log, &SavedState { format: u32::from_le_bytes(format), json: saved.slice(format.len()..) })
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
