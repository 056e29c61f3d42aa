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
use std::time::{Duration, Instant};

use ensue_engine::engine::Engine;
use ensue_engine::explain::panic_text;
use ensue_engine::ids::LogId;
use ensue_engine::record::{Head, Position};
use ensue_engine::state::STATE_FORMAT;
use ensue_engine::time::Timestamp;
use ensue_store::checkpoints::{CheckpointError, Checkpoints};
use ensue_store::objects::SharedStates;

use crate::release::RELEASE;

/// The number of records after which a snapshot is taken.
pub(crate) const SNAPSHOT_EVERY_RECORDS: u64 = 50_000;

/// How often a snapshot is copied to the shared store.
const SHARE_EVERY: Duration = Duration::from_secs(600);

/// How long a start waits for a snapshot of the shared store.
const FETCH_PATIENCE: Duration = Duration::from_secs(30);

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
    shared: Option<Sharing>,
    trouble: SnapshotTrouble,
}

/// Copies snapshots to where other machines find them, now and then, on a thread of its own: the next snapshot and the stop
/// of the node do not wait for a store.
struct Sharing {
    states: SharedStates,
    last: Option<Instant>,
    is_free: Arc<AtomicBool>,
}

impl std::fmt::Debug for Sharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sharing").finish_non_exhaustive()
    }
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
    let trouble = SnapshotTrouble::default();
    let writer = SnapshotWriter { from, is_free: is_free.clone(), saved_at, checkpoints, shared: None, trouble };
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

    /// Copies snapshots to a shared store too.
    #[must_use]
    pub(crate) fn sharing(mut self, states: Option<SharedStates>) -> Self {
        self.shared = states.map(|states| Sharing { states, last: None, is_free: Arc::new(AtomicBool::new(true)) });
        self
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
        let (at, time) = (snapshot.head.position, snapshot.engine.time());
        drop(snapshot);
        self.is_free.store(true, Ordering::Release);
        if let Some(shared) = self.shared.as_mut().filter(|_| self.saved_at == at) {
            shared.copy((at, time), &self.checkpoints);
        }
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

impl Sharing {
    /// Copies the snapshot at a position, unless one was copied a short time ago or is being copied.
    fn copy(&mut self, (at, time): (Position, Timestamp), checkpoints: &Checkpoints) {
        if self.last.is_some_and(|last| last.elapsed() < SHARE_EVERY) || !self.is_free.swap(false, Ordering::AcqRel) {
            return;
        }
        self.last = Some(Instant::now());
        let (states, is_free, path) = (self.states.clone(), self.is_free.clone(), checkpoints.path(at));
        let copying = std::thread::Builder::new().name("shared-snapshot".into()).spawn(move || {
            let copied = std::fs::read(&path).map_err(|error| error.to_string());
            match copied.and_then(|content| states.keep(at, &content, time).map_err(|error| error.to_string())) {
                Ok(()) => tracing::debug!(position = %at, "the snapshot is in the shared store too"),
                Err(why) => tracing::warn!(%why, "a snapshot is not in the shared store; the next one will be"),
            }
            is_free.store(true, Ordering::Release);
        });
        if let Err(error) = copying {
            tracing::warn!(%error, "a snapshot is not in the shared store: its thread cannot be started");
            self.is_free.store(true, Ordering::Release);
        }
    }
}

/// Fetches the newest snapshot of the shared store into a folder if that saves much of the fold. A node can start without
/// it, so it waits for the store only for a while, and an error is only reported.
pub(crate) fn fetch_shared(states: SharedStates, checkpoints: &Checkpoints) {
    let local = checkpoints.newest_position().unwrap_or_default();
    let (tell, told) = sync_channel(1);
    let fetching = std::thread::Builder::new().name("shared-snapshot".into()).spawn(move || {
        // The caller may have stopped waiting.
        let _ = tell.send(newer(&states, local));
    });
    let fetched = match fetching {
        Ok(_) => told.recv_timeout(FETCH_PATIENCE).unwrap_or_else(|_| Err(format!("no answer within {} s", FETCH_PATIENCE.as_secs()))),
        Err(error) => Err(error.to_string()),
    };
    match fetched.and_then(|content| content.map(|content| checkpoints.adopt(&content)).transpose()) {
        Ok(Some(path)) => tracing::info!(file = %path.display(), "a snapshot was fetched from the shared store"),
        Ok(None) => {}
        Err(why) => tracing::warn!(%why, "no snapshot was fetched from the shared store; the node folds more of the log"),
    }
}

/// Returns the newest snapshot of the shared store if it is much newer than another one.
fn newer(states: &SharedStates, local: Position) -> Result<Option<Vec<u8>>, String> {
    let newest = states.newest().map_err(|error| error.to_string())?;
    if newest.is_none_or(|newest| newest.0 < local.0.saturating_add(SNAPSHOT_EVERY_RECORDS)) {
        return Ok(None);
    }
    states.fetch().map_err(|error| error.to_string())
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
pub(crate) fn load_engine(log: LogId, saved: &mut dyn Read) -> Result<Engine, String> {
    let mut format = [0; 4];
    saved.read_exact(&mut format).map_err(|error| error.to_string())?;
    let mut json = serde_json::Deserializer::from_reader(saved);
    Engine::of_saved_form(log, u32::from_le_bytes(format), &mut json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_store::master_key::MasterKey;
    use ensue_store::objects::MemoryObjects;

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

        fn saved_files(&self) -> Vec<String> {
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
        assert_eq!((world.writer.saved_at, world.saved_files().len()), (Position(12), 1), "the next is due after ten more");
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

    fn shared_states(objects: &Arc<MemoryObjects>) -> SharedStates {
        SharedStates::of(objects.clone(), MasterKey::from_bytes([7; 32]).into())
    }

    #[test]
    fn snapshot_is_copied_to_the_shared_store_at_most_every_ten_minutes() {
        let objects = Arc::new(MemoryObjects::default());
        let mut world = every(10);
        world.writer = world.writer.sharing(Some(shared_states(&objects)));
        for position in [60_000, 120_000] {
            world.stands_at(position);
            world.writer.save_next();
            let (begin, sharing) = (Instant::now(), world.writer.shared.as_ref().unwrap());
            while !sharing.is_free.load(Ordering::Acquire) {
                assert!(begin.elapsed() < Duration::from_secs(60), "the copy does not end");
                std::thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(shared_states(&objects).newest().unwrap(), Some(Position(60_000)), "after position {position}");
        }

        let other = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(other.path(), log()).unwrap();
        fetch_shared(shared_states(&objects), &checkpoints);
        let found = checkpoints.read(&checkpoints.path(Position(60_000)), |saved| load_engine(log(), saved)).unwrap();
        assert_eq!(found.at, at(60_000));
    }

    #[test]
    fn snapshot_of_the_shared_store_is_fetched_only_if_it_saves_much() {
        let objects = Arc::new(MemoryObjects::default());
        let mut world = every(10);
        world.stands_at(20_000);
        world.writer.save_next();
        let content = std::fs::read(world.writer.checkpoints.path(Position(20_000))).unwrap();
        shared_states(&objects).keep(Position(20_000), &content, Timestamp::from_micros(1)).unwrap();
        let other = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(other.path(), log()).unwrap();
        fetch_shared(shared_states(&objects), &checkpoints);
        assert_eq!(checkpoints.newest_position().unwrap(), Position(0));
        objects.go_away();
        fetch_shared(shared_states(&objects), &checkpoints);
        assert_eq!(checkpoints.newest_position().unwrap(), Position(0), "a store that is away is only reported");
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
