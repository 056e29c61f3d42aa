//! The outputs and artifacts of attempts, stored next to the log, and the job that deletes old ones and releases the
//! caches of an idle node.
//!
//! The store decides how they are stored; this file holds the operator's limits and the timing of the job.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ensue_engine::ids::{AttemptId, LogId};
use ensue_engine::ports::Vault;
use ensue_store::blobs::BlobLimits;
use ensue_store::disk_retention::{Expiring, RetentionLimits, Round, Step};
use ensue_store::outputs::{Now, OUTPUT_BYTES_MAX, OutputLimits};

use crate::backend::{Backend, KeptBlobs, KeptOutputs};
use crate::clock::SteppedClock;
use crate::idle::IdleWatch;

/// How much more free disk space than the log's own reserve is required: if the disk is nearly full, the log
/// gets the rest.
const FREE_BESIDE_RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// How long after the start the first round begins: the start itself has the processor first.
const FIRST_ROUND_AFTER: Duration = Duration::from_secs(3);
/// The longest time between two rounds.
const ROUND_EVERY: Duration = Duration::from_secs(600);
/// How often the job checks whether the quota is nearly used up, and whether the node is idle.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a round the next one begins at the earliest, if no room could be made.
const ROUND_PAUSE: Duration = Duration::from_secs(10);
/// How long the job rests between two parts of a round, to spare the disk.
const PART_PAUSE: Duration = Duration::from_millis(1);

/// The operator's limits for one kind of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageLimits {
    /// The most bytes of one item: an attempt's output or a file.
    pub one_bytes_max: u64,
    /// The most bytes of all items.
    pub quota_bytes: u64,
    /// How long items are kept.
    pub keep: Duration,
}

impl StorageLimits {
    /// Returns the default limits of outputs: 10 MiB per attempt, 2 GiB in total, 30 days.
    pub fn of_outputs() -> Self {
        Self { one_bytes_max: OUTPUT_BYTES_MAX, quota_bytes: 2 << 30, keep: days(30) }
    }

    /// Returns the default limits of artifacts: 100 MiB per file, 5 GiB in total, 30 days.
    pub fn of_artifacts() -> Self {
        Self { one_bytes_max: ensue_executor::ARTIFACT_BYTES_MAX, quota_bytes: 5 << 30, keep: days(30) }
    }

    fn retention(&self) -> RetentionLimits {
        RetentionLimits { quota_bytes: self.quota_bytes, keep: Some(self.keep) }
    }
}

/// Returns a duration of this many days.
pub(crate) fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

/// The outputs and artifacts stored next to the log; a clone shares them.
#[derive(Clone)]
pub(crate) struct OutputStores {
    /// The outputs of attempts.
    pub(crate) outputs: Arc<dyn KeptOutputs>,
    /// The artifacts of attempts.
    pub(crate) blobs: Arc<dyn KeptBlobs>,
    outputs_set: StorageLimits,
    artifacts_set: StorageLimits,
}

/// How many bytes are used, and how many may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceUse {
    /// The bytes used.
    pub(crate) bytes: u64,
    /// The bytes allowed.
    pub(crate) quota_bytes: u64,
}

impl OutputStores {
    /// Opens both stores. `running` are the attempts that may still write output.
    pub(crate) fn open(
        (backend, log, vault): (&dyn Backend, LogId, &dyn Vault),
        (outputs_set, artifacts_set): (StorageLimits, StorageLimits),
        min_free_bytes: u64,
        clock: &Arc<dyn SteppedClock>,
        running: impl IntoIterator<Item = AttemptId>,
    ) -> io::Result<Self> {
        let clock = clock.clone();
        let now: Now = Arc::new(move || clock.now());
        // An operator who lets the log fill the disk accepts the same for this data.
        let free_bytes = if min_free_bytes == 0 { 0 } else { min_free_bytes.saturating_add(FREE_BESIDE_RESERVE_BYTES) };
        let limits = OutputLimits { attempt_bytes: outputs_set.one_bytes_max, quota_bytes: outputs_set.quota_bytes, free_bytes };
        let outputs = backend.outputs((log, vault), limits, now.clone())?;
        for error in outputs.go_on(running.into_iter().collect()) {
            tracing::warn!(%error, "the output of a running attempt cannot be read, so no more of it is kept");
        }
        let blobs = backend.blobs(log, BlobLimits { quota_bytes: artifacts_set.quota_bytes, free_bytes }, now)?;
        Ok(Self { outputs, blobs, outputs_set, artifacts_set })
    }

    /// Returns how much output is stored.
    pub(crate) fn outputs_used(&self) -> SpaceUse {
        SpaceUse { bytes: self.outputs.used_bytes(), quota_bytes: self.outputs_set.quota_bytes }
    }

    /// Returns how much artifact data is stored.
    pub(crate) fn artifacts_used(&self) -> SpaceUse {
        SpaceUse { bytes: self.blobs.used_bytes(), quota_bytes: self.artifacts_set.quota_bytes }
    }

    fn is_crowded(&self) -> bool {
        self.outputs_set.retention().is_crowded(self.outputs.used_bytes())
            || self.artifacts_set.retention().is_crowded(self.blobs.used_bytes())
    }
}

/// The job that deletes old or excess data, and releases the caches of an idle node, until it is dropped.
pub(crate) struct Housekeeper {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeper {
    /// Starts the job, which also watches whether the node is idle.
    pub(crate) fn start(kept: OutputStores, clock: Arc<dyn SteppedClock>, mut idle: IdleWatch) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let rests = move |pause: Duration| stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
        let thread = std::thread::Builder::new().name("housekeeper".into()).spawn(move || {
            let mut soonest = Instant::now();
            let mut due = soonest + FIRST_ROUND_AFTER;
            loop {
                let now = Instant::now();
                if now >= due || (now >= soonest && kept.is_crowded()) {
                    let outputs = kept.outputs_set.retention();
                    let artifacts = kept.artifacts_set.retention();
                    let goes_on = round("outputs", &*kept.outputs, outputs, &*clock, &rests)
                        && round("artifacts", &*kept.blobs, artifacts, &*clock, &rests);
                    if !goes_on {
                        return;
                    }
                    due = Instant::now() + ROUND_EVERY;
                    soonest = Instant::now() + ROUND_PAUSE;
                }
                if !rests(LOOK_EVERY) {
                    return;
                }
                idle.look();
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

/// Goes through one kind of data once, resting between its parts. Returns true if the job continues.
fn round(
    what: &'static str,
    store: &dyn Expiring,
    limits: RetentionLimits,
    clock: &dyn SteppedClock,
    rests: &impl Fn(Duration) -> bool,
) -> bool {
    let mut round = Round::begin(limits, clock.now());
    loop {
        match store.step(&mut round) {
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
