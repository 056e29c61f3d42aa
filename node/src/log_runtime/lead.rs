//! The leader of a log: the sequencer that writes it, the snapshots of its state, and the notification that it has
//! ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use ensue_engine::command::Settings;
use ensue_engine::ports::{Log, LogError};
use ensue_engine::record::{Epoch, Position};
use ensue_postgres::LeadWatch;
use tokio::sync::watch;

use super::RuntimeContext;
use super::disk_space::DiskSpace;
use super::follow::Following;
use super::open::OpenedDirectory;
use super::stores::Stores;
use super::work::Working;
use crate::backend::Folder;
use crate::commit_listeners::CommitListeners;
use crate::config::Config;
use crate::outside_writer::OutsideWriter;
use crate::plain_body::plain;
use crate::sequencer::{SequencerError, SequencerHandle, SequencerParts, UnstartedSequencer};
use crate::snapshots::{SNAPSHOT_EVERY_RECORDS, Snapshot, SnapshotTrouble, SnapshotWriter, snapshots};
use crate::start_error::{StartError, machine};

/// A wrapper around a log before it is written to: a measurement may need a slower log.
pub type LogOver = Box<dyn FnOnce(Box<dyn Log>) -> Box<dyn Log> + Send>;

/// The running leader of a log.
pub(crate) struct Leading {
    /// The epoch under which the log is written.
    pub(crate) epoch: Epoch,
    /// The log's newest position when this node took it over: everything up to it was acknowledged before.
    pub(crate) taken_over_at: Position,
    /// Whether the log was never written to before.
    pub(crate) is_first_start: bool,
    /// The sequencer's thread, which returns the final state.
    pub(crate) thread: JoinHandle<Result<Snapshot, SequencerError>>,
    /// The error that the sequencer failed with, if it has failed.
    pub(crate) failed: watch::Receiver<Option<SequencerError>>,
    /// Whether the sequencer has failed.
    pub(crate) is_failed: Arc<AtomicBool>,
    /// The watch that says whether another node leads the log by now; `None` if no other one can.
    pub(crate) watch: Option<LeadWatch>,
    /// The task that saves snapshots of the state.
    pub(crate) snapshots: JoinHandle<SnapshotWriter>,
    /// Why the state could not be saved.
    pub(crate) snapshot_trouble: SnapshotTrouble,
    /// The head that is stored outside the directory.
    pub(crate) outside: OutsideWriter,
    /// The data directory, held exclusively by this process.
    pub(crate) data: Folder,
}

impl Leading {
    /// Starts the sequencer: from then on the log is written to.
    pub(crate) fn start(
        config: &Config,
        opened: OpenedDirectory,
        over: LogOver,
        (stores, following, working, around): (&Stores, &Following, &Working, &RuntimeContext),
        unstarted: UnstartedSequencer,
    ) -> Result<Self, StartError> {
        let (taken, writer) = snapshots(opened.checkpoints, opened.saved_at, SNAPSHOT_EVERY_RECORDS);
        let writer = writer.sharing(opened.shared);
        let snapshot_trouble = writer.trouble();
        let snapshots = writer.start().map_err(|why| machine("starting the thread that saves the state", &why))?;
        let outside = OutsideWriter::new(opened.outside);
        let listener = CommitListeners {
            catalogs: stores.catalogs.clone(),
            keys: stores.keys.clone(),
            vars: stores.vars.clone(),
            tokens: stores.tokens.clone(),
            bodies: stores.bodies.clone(),
            outside: outside.clone(),
            ends: stores.ends.clone(),
            executor: working.executor.clone(),
            sensors: Some(working.sensors.clone()),
            followers: vec![following.views.follower.0.clone(), following.telemetry.follower.clone()],
        };
        let watch = opened.backend.lead_watch();
        let (epoch, taken_over_at) = (opened.log.epoch(), opened.head.position);
        let is_first_start = taken_over_at.0 == 0;
        let parts = SequencerParts {
            log: over(opened.log),
            engine: opened.engine,
            head: opened.head,
            clock: around.clock.clone(),
            catalogs: stores.catalogs.clone(),
            settings: Settings { worker: working.name.clone(), ..around.settings.clone() },
            rates: config.queues.rates.clone(),
            listener: Box::new(listener),
            space: Box::new(DiskSpace::new(opened.data.path().to_owned(), config.min_free_bytes)),
            plain,
            snapshots: taken,
            crash_file: opened.data.crash(),
        };
        let thread = unstarted.start(parts).map_err(|why| machine("starting the sequencer", &why))?;
        let (thread, failed, is_failed) = watch_sequencer(thread)?;
        Ok(Self {
            epoch,
            taken_over_at,
            is_first_start,
            thread,
            failed,
            is_failed,
            watch,
            snapshots,
            snapshot_trouble,
            outside,
            data: opened.data,
        })
    }

    /// Ends the sequencer of a start that failed. Returns the failure of the log, if the log has failed, because a
    /// caller of the sequencer learns only that its command may be lost; else returns the error.
    pub(crate) async fn why_failed(&self, handle: &SequencerHandle, error: StartError) -> StartError {
        handle.stop();
        match self.failed.clone().wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone()) {
            Some(SequencerError::Log(why)) => StartError::LogFailed(why),
            Some(SequencerError::OutOfReach(why)) => StartError::Log(LogError::Unavailable(why)),
            Some(other) => StartError::LogFailed(other.to_string()),
            None => error,
        }
    }
}

/// The sequencer's thread, its error once it has failed, and whether it has failed.
type WatchedSequencer = (JoinHandle<Result<Snapshot, SequencerError>>, watch::Receiver<Option<SequencerError>>, Arc<AtomicBool>);

/// Starts a thread that waits for the sequencer's end and reports a failure.
fn watch_sequencer(thread: JoinHandle<Result<Snapshot, SequencerError>>) -> Result<WatchedSequencer, StartError> {
    let (tell, failed) = watch::channel(None);
    let is_failed = Arc::new(AtomicBool::new(false));
    let noted = is_failed.clone();
    let watcher = std::thread::Builder::new()
        .name("sequencer-watch".into())
        .spawn(move || {
            let ended = thread.join().unwrap_or_else(|_| Err(SequencerError::Log("the sequencer's thread panicked".to_owned())));
            if let Err(error) = &ended {
                noted.store(true, Ordering::Relaxed);
                tell.send_replace(Some(error.clone()));
            }
            ended
        })
        .map_err(|why| machine("watching the sequencer", &why))?;
    Ok((watcher, failed, is_failed))
}
