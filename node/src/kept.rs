//! What is kept beside the log: what attempts print and the files they give away, and the job that throws away what is old.
//!
//! How they are kept is the store's; here is what the operator allows, and when it is looked at.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ensue_engine::ids::AttemptId;
use ensue_store::blobs::{BlobLimits, FolderBlobs};
use ensue_store::outputs::{FolderOutputs, Now, OUTPUT_BYTES_MAX, OutputLimits};
use ensue_store::retention::{Disposable, RetentionLimits, Round, Step};

use crate::backend::Folder;
use crate::clock::Clock;

/// How much more than the log's own reserve is left free of the disk: when it is nearly full, the log fills what is left.
const FREE_BESIDE_RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// How long what is kept may go unlooked at.
const ROUND_EVERY: Duration = Duration::from_secs(600);
/// How often is looked whether the quota is nearly used up.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a round the next one begins at the soonest, where room could not be made.
const ROUND_PAUSE: Duration = Duration::from_secs(10);
/// How long the job rests between two parts of a round, for the disk's sake.
const PART_PAUSE: Duration = Duration::from_millis(1);

/// What the operator allows of one kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSettings {
    /// The most bytes of one: of an attempt's output, of a file.
    pub one_bytes_max: u64,
    /// The most bytes of all.
    pub quota_bytes: u64,
    /// How long is kept.
    pub keep: Duration,
}

impl KeptSettings {
    /// What holds of outputs where nobody says anything: 10 MiB of an attempt, 2 GiB of all, 30 days.
    pub fn of_outputs() -> Self {
        Self { one_bytes_max: OUTPUT_BYTES_MAX, quota_bytes: 2 << 30, keep: days(30) }
    }

    /// What holds of artifacts where nobody says anything: 100 MiB a file, 5 GiB of all, 30 days.
    pub fn of_artifacts() -> Self {
        Self { one_bytes_max: ensue_executor::ARTIFACT_BYTES_MAX, quota_bytes: 5 << 30, keep: days(30) }
    }

    fn retention(&self) -> RetentionLimits {
        RetentionLimits { quota_bytes: self.quota_bytes, keep: Some(self.keep) }
    }
}

/// Gives so many days.
pub(crate) fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

/// What is kept beside the log; a clone is the same.
#[derive(Clone)]
pub(crate) struct KeptBeside {
    /// What attempts print.
    pub(crate) outputs: Arc<FolderOutputs>,
    /// The files they give away.
    pub(crate) blobs: FolderBlobs,
    outputs_set: KeptSettings,
    artifacts_set: KeptSettings,
}

/// How much of the disk is used, and how much may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// How much is.
    pub(crate) bytes: u64,
    /// How much may be.
    pub(crate) quota_bytes: u64,
}

impl KeptBeside {
    /// Opens both. `running` are the attempts that may print more.
    pub(crate) fn open(
        data: &Folder,
        (outputs_set, artifacts_set): (KeptSettings, KeptSettings),
        min_free_bytes: u64,
        clock: &Arc<dyn Clock>,
        running: impl IntoIterator<Item = AttemptId>,
    ) -> io::Result<Self> {
        let clock = clock.clone();
        let now: Now = Arc::new(move || clock.now());
        // An operator who lets the log fill the disk lets this as well.
        let free_bytes = if min_free_bytes == 0 { 0 } else { min_free_bytes.saturating_add(FREE_BESIDE_RESERVE_BYTES) };
        let limits = OutputLimits { attempt_bytes: outputs_set.one_bytes_max, quota_bytes: outputs_set.quota_bytes, free_bytes };
        let outputs = FolderOutputs::open(&data.outputs(), limits, now.clone())?;
        for error in outputs.go_on(running) {
            tracing::warn!(%error, "the output of a running attempt cannot be read, so no more of it is kept");
        }
        let blobs = FolderBlobs::open(&data.blobs(), BlobLimits { quota_bytes: artifacts_set.quota_bytes, free_bytes }, now)?;
        Ok(Self { outputs: Arc::new(outputs), blobs, outputs_set, artifacts_set })
    }

    /// Says how much output is kept.
    pub(crate) fn outputs_used(&self) -> Used {
        Used { bytes: self.outputs.used_bytes(), quota_bytes: self.outputs_set.quota_bytes }
    }

    /// Says how much of artifacts is kept.
    pub(crate) fn artifacts_used(&self) -> Used {
        Used { bytes: self.blobs.used_bytes(), quota_bytes: self.artifacts_set.quota_bytes }
    }

    fn is_crowded(&self) -> bool {
        self.outputs_set.retention().is_crowded(self.outputs.used_bytes())
            || self.artifacts_set.retention().is_crowded(self.blobs.used_bytes())
    }
}

/// The job that throws away what is old or too much, until it is dropped.
pub(crate) struct Housekeeper {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeper {
    /// Starts the job.
    pub(crate) fn start(kept: KeptBeside, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let rests = move |pause: Duration| stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
        let thread = std::thread::Builder::new().name("housekeeper".into()).spawn(move || {
            let mut due = Instant::now();
            let mut soonest = due;
            loop {
                let now = Instant::now();
                if now >= due || (now >= soonest && kept.is_crowded()) {
                    let outputs = kept.outputs_set.retention();
                    let artifacts = kept.artifacts_set.retention();
                    let goes_on = round("outputs", &*kept.outputs, outputs, &*clock, &rests)
                        && round("artifacts", &kept.blobs, artifacts, &*clock, &rests);
                    if !goes_on {
                        return;
                    }
                    due = Instant::now() + ROUND_EVERY;
                    soonest = Instant::now() + ROUND_PAUSE;
                }
                if !rests(LOOK_EVERY) {
                    return;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the job that deletes old outputs panicked");
        }
    }
}

/// Goes through one kind of thing once, resting between its parts; says whether the job goes on.
fn round<S: Disposable>(
    what: &'static str,
    store: &S,
    limits: RetentionLimits,
    clock: &dyn Clock,
    rests: &impl Fn(Duration) -> bool,
) -> bool {
    let mut round = Round::begin(limits, clock.now());
    loop {
        match round.step(store) {
            Ok(Step::More) => {}
            Ok(Step::Over(thrown)) => {
                if thrown.things > 0 {
                    tracing::info!(what, things = thrown.things, bytes = thrown.bytes, "old outputs and artifacts were deleted");
                }
                return true;
            }
            Err(error) => tracing::warn!(what, %error, "a part of the stored outputs and artifacts cannot be read"),
        }
        if !rests(PART_PAUSE) {
            return false;
        }
    }
}
