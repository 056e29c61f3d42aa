//! Snapshots: copies of the sequencer's state, saved by another thread while the sequencer continues.
//!
//! A copy shares its rows with the state until the state changes them (`engine/src/table.rs`), so a copy costs
//! next to nothing, and only one state is in memory. A snapshot only makes the next start quicker: without it,
//! more of the log must be folded.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ensue_engine::engine::Engine;
use ensue_engine::explain::panic_text;
use ensue_engine::ids::LogId;
use ensue_engine::record::{Head, Position};
use ensue_engine::state::STATE_FORMAT;
use ensue_store::checkpoints::{CheckpointError, Checkpoints};

use crate::release::RELEASE;

/// The number of records after which a snapshot is taken.
pub(crate) const SNAPSHOT_EVERY_RECORDS: u64 = 50_000;

/// The niceness of a thread to which all others have priority.
const LAST: i32 = 19;

/// A state, and the newest record that is folded into it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The state.
    pub engine: Engine,
    /// The record.
    pub head: Head,
}

/// Takes snapshots now and then, on the sequencer's thread.
#[derive(Debug)]
pub struct Snapshots {
    every_records: u64,
    taken_at: Position,
    to: SyncSender<Snapshot>,
    is_free: Arc<AtomicBool>,
}

/// Saves snapshots, each replacing the one before.
#[derive(Debug)]
pub struct SnapshotWriter {
    from: Receiver<Snapshot>,
    /// Whether every snapshot taken has been saved: a snapshot in memory keeps the rows that the state has
    /// changed since.
    is_free: Arc<AtomicBool>,
    saved_at: Position,
    checkpoints: Checkpoints,
    trouble: SnapshotTrouble,
}

/// Why the newest snapshot could not be saved, and how often the reason was an internal error.
#[derive(Clone, Debug, Default)]
pub struct SnapshotTrouble(Arc<Trouble>);

#[derive(Debug, Default)]
struct Trouble {
    why: Mutex<Option<String>>,
    bugs: AtomicU64,
}

/// Creates the parts that take snapshots after this many records and save them. The newest saved snapshot is of
/// `saved_at`.
pub fn snapshots(checkpoints: Checkpoints, saved_at: Position, every_records: u64) -> (Snapshots, SnapshotWriter) {
    let (to, from) = sync_channel(1);
    let is_free = Arc::new(AtomicBool::new(true));
    let writer = SnapshotWriter { from, is_free: is_free.clone(), saved_at, checkpoints, trouble: SnapshotTrouble::default() };
    (Snapshots { every_records, taken_at: saved_at, to, is_free }, writer)
}

impl Snapshots {
    /// Takes a snapshot if one is due. The state holds nothing that is not in the log.
    pub(crate) fn take(&mut self, engine: &Engine, head: Head) {
        if head.position.0 - self.taken_at.0 < self.every_records {
            return;
        }
        self.taken_at = head.position;
        // If the previous one is still being saved, the next is taken when it is due again.
        if self.is_free.swap(false, Ordering::AcqRel) {
            let _ = self.to.try_send(Snapshot { engine: engine.clone(), head });
        }
    }
}

impl SnapshotWriter {
    /// Returns the shared reason why a snapshot could not be saved.
    pub fn trouble(&self) -> SnapshotTrouble {
        self.trouble.clone()
    }

    /// Saves a snapshot that was taken and not saved yet, if any.
    pub fn save_next(&mut self) {
        match self.from.try_recv() {
            Ok(snapshot) => self.save_taken(snapshot),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }

    fn save_taken(&mut self, snapshot: Snapshot) {
        self.save(&snapshot);
        drop(snapshot);
        self.is_free.store(true, Ordering::Release);
    }

    /// Saves a snapshot if it is newer than the last saved one.
    pub fn save(&mut self, snapshot: &Snapshot) {
        let at = snapshot.head.position;
        if at == self.saved_at {
            return;
        }
        let saved = catch_unwind(AssertUnwindSafe(|| save(&snapshot.engine, snapshot.head, &self.checkpoints)));
        let trouble = match saved {
            Ok(Ok(())) => {
                self.saved_at = at;
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => {
                self.trouble.0.bugs.fetch_add(1, Ordering::Relaxed);
                Some(format!("an internal error: {}", panic_text(&*panic)))
            }
        };
        if let Some(why) = &trouble {
            tracing::warn!(%why, "a snapshot cannot be saved");
        }
        *self.trouble.0.why.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Starts the thread that saves snapshots until no more are taken. It has the lowest priority: a large
    /// state takes seconds to save, and the sequencer must not wait for the processor meanwhile.
    pub(crate) fn start(mut self) -> std::io::Result<JoinHandle<Self>> {
        std::thread::Builder::new().name("snapshots".into()).spawn(move || {
            // Applies to this thread alone, on Linux. If it is refused, the thread runs at normal priority.
            let _ = rustix::process::setpriority_process(None, LAST);
            while let Ok(snapshot) = self.from.recv() {
                self.save_taken(snapshot);
            }
            self
        })
    }
}

impl SnapshotTrouble {
    /// Returns the reason, or none if the snapshot was saved.
    pub fn why(&self) -> Option<String> {
        self.0.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how often an internal error prevented a save.
    pub(crate) fn bugs(&self) -> u64 {
        self.0.bugs.load(Ordering::Relaxed)
    }
}

/// Saves a state at a log's head: the format version, u32 little-endian, then the state.
pub(crate) fn save(engine: &Engine, at: Head, into: &Checkpoints) -> Result<(), CheckpointError> {
    into.write(at, RELEASE, |file| {
        file.write_all(&STATE_FORMAT.to_le_bytes())?;
        serde_json::to_writer(file, engine.in_saved_form()).map_err(std::io::Error::from)
    })
    .map(drop)
}

/// Restores a state from the saved bytes, piece by piece: a large state has many.
pub(crate) fn loaded(log: LogId, saved: &mut dyn Read) -> Result<Engine, String> {
    let mut format = [0; 4];
    saved.read_exact(&mut format).map_err(|error| error.to_string())?;
    let mut json = serde_json::Deserializer::from_reader(saved);
    Engine::of_saved_form(log, u32::from_le_bytes(format), &mut json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;

    use super::*;

    fn log() -> LogId {
        LogId(Id::root(Timestamp::from_micros(1_774_699_200_000_000), 1))
    }

    struct World {
        folder: tempfile::TempDir,
        snapshots: Snapshots,
        writer: SnapshotWriter,
    }

    fn every(records: u64) -> World {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(&folder.path().join("checkpoints"), log()).unwrap();
        let (snapshots, writer) = snapshots(checkpoints, Position(0), records);
        World { folder, snapshots, writer }
    }

    impl World {
        fn stands_at(&mut self, position: u64) {
            self.snapshots.take(&Engine::new(log()), at(position));
        }

        fn saved(&self) -> Vec<String> {
            let files = std::fs::read_dir(self.folder.path().join("checkpoints")).unwrap();
            let mut files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            files.sort();
            files
        }
    }

    fn at(position: u64) -> Head {
        Head { position: Position(position), ..Head::default() }
    }

    #[test]
    fn snapshot_is_saved_after_the_configured_number_of_records() {
        let mut world = every(10);
        world.stands_at(9);
        world.writer.save_next();
        assert_eq!(world.writer.saved_at, Position(0));
        world.stands_at(12);
        world.stands_at(21);
        world.writer.save_next();
        world.writer.save_next();
        assert_eq!((world.writer.saved_at, world.saved().len()), (Position(12), 1), "the next is due after ten more");
    }

    #[test]
    fn no_snapshot_is_taken_while_one_waits_to_be_saved() {
        let mut world = every(10);
        (1..5).for_each(|round| world.stands_at(round * 10));
        world.writer.save_next();
        world.writer.save_next();
        assert_eq!(world.writer.saved_at, Position(10));
        world.stands_at(50);
        world.writer.save_next();
        assert_eq!(world.writer.saved_at, Position(50));
    }

    #[test]
    fn no_snapshot_is_taken_while_one_is_being_saved() {
        let mut world = every(10);
        world.stands_at(10);
        let first = world.writer.from.try_recv().unwrap();
        world.stands_at(20);
        assert!(world.writer.from.try_recv().is_err(), "a second copy of the state would be held");
        world.writer.save_taken(first);
        world.stands_at(30);
        world.writer.save_next();
        assert_eq!(world.writer.saved_at, Position(30));
    }

    #[test]
    fn snapshot_error_is_reported_until_one_is_saved() {
        let mut world = every(10);
        let trouble = world.writer.trouble();
        let folder = world.folder.path().join("checkpoints");
        std::fs::remove_dir_all(&folder).unwrap();
        world.writer.save(&Snapshot { engine: Engine::new(log()), head: at(10) });
        assert!(trouble.why().is_some_and(|why| why.contains("checkpoints")), "{:?}", trouble.why());
        std::fs::create_dir(&folder).unwrap();
        world.writer.save(&Snapshot { engine: Engine::new(log()), head: at(10) });
        assert_eq!((trouble.why(), world.writer.saved_at), (None, Position(10)));
    }
}
