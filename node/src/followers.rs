//! Followers, which keep up with the log, and the threads that drive them.
//!
//! The sequencer passes on each batch as it is committed. A follower that has fallen behind reads from the log
//! instead, so a slow one never delays the sequencer and never misses a record. [`Follower`] takes one step at a time
//! and never waits. Its thread does the waiting and survives internal errors: it reports what the follower could not
//! process, and tries again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ensue_api::Queue;
use ensue_api::ports::FollowingViews;
use ensue_api::queues::QueuePermit;
use ensue_engine::batch::CommittedBatch;
use ensue_engine::explain::panic_text;
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{Position, Record};

/// The maximum number of batches that wait for a follower; it reads further ones from the log.
pub(crate) const BATCHES_WAITING_MAX: usize = 64;
/// The maximum number of records that are followed at once.
const RECORDS_AT_ONCE: usize = 4_096;
/// How often a follower reads the log by itself, in case it was not notified of a batch.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The maximum wait between the starts of two steps: under load many small batches become a few large ones, which
/// cost half as much.
const STEP_EVERY: Duration = Duration::from_millis(5);
/// How often a follower takes a step earlier because somebody waits for it: under load, that is one step more for each
/// that it would take anyway.
const HURRY_EVERY: Duration = STEP_EVERY;
/// A follower uses at most this fraction of a core (one in so many) while its steps are short: it then waits less,
/// and readers see changes sooner.
const STEPS_TAKE_ONE_IN: u32 = 5;
/// How long a follower waits after an error before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A component that keeps up with the log.
pub trait Follow: Send {
    /// Returns the position of the newest record that it has processed.
    fn position(&self) -> Position;
    /// Processes the next records, which begin directly after [`position`](Self::position).
    fn follow(&mut self, records: &[Record]) -> Result<(), String>;
    /// Processes several consecutive runs of records as one, which costs a copy and saves a transaction.
    fn follow_all(&mut self, runs: &[&[Record]]) -> Result<(), String> {
        match runs {
            [] => Ok(()),
            [run] => self.follow(run),
            several => self.follow(&several.concat()),
        }
    }
    /// Called between two batches, and occasionally when there are none.
    fn between(&mut self) {}
    /// Releases the memory of what it caches for speed. The caches fill again as they are used.
    fn release_caches(&mut self);
    /// Called after a panic in the follower, before it continues from its position.
    fn after_panic(&mut self) {}
}

/// The health of a follower, as seen from outside.
#[derive(Debug, Default)]
pub(crate) struct FollowerHealth {
    trouble: Mutex<Option<String>>,
    bugs: AtomicU64,
}

impl FollowerHealth {
    /// Returns why it cannot follow, or `None` if it can.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how often an internal error interrupted it.
    pub(crate) fn bugs(&self) -> u64 {
        self.bugs.load(Ordering::Relaxed)
    }

    fn note(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// A handle that notifies a follower of batches.
#[derive(Clone)]
pub struct FollowerHandle {
    sender: SyncSender<FollowerMessage>,
    waiting: Waiting,
    hurry: Arc<Hurry>,
}

enum FollowerMessage {
    Batch(Arc<CommittedBatch>, [QueuePermit; 2]),
    ReleaseCaches,
    Stop,
}

/// The queues of the batches that wait for a follower.
#[derive(Clone)]
pub struct Waiting {
    /// The number of batches.
    pub batches: Arc<Queue>,
    /// Their size in bytes.
    pub bytes: Arc<Queue>,
}

impl FollowerHandle {
    /// Notifies the follower of a batch. Never waits: a follower that has fallen behind reads the batch from the log.
    pub fn notify(&self, batch: &Arc<CommittedBatch>) {
        let Some(one) = self.waiting.batches.enter(1) else { return };
        let Some(bytes) = self.waiting.bytes.enter(bytes_of(batch)) else { return };
        let _ = self.sender.try_send(FollowerMessage::Batch(batch.clone(), [one, bytes]));
    }

    /// Asks the follower to release the memory of its caches. One with so many messages waiting is not idle, and does not.
    pub(crate) fn release_caches(&self) {
        let _ = self.sender.try_send(FollowerMessage::ReleaseCaches);
    }

    /// Asks the follower to process the rest of the log and then to end.
    pub fn stop(&self) {
        let _ = self.sender.send(FollowerMessage::Stop);
    }
}

impl FollowingViews for FollowerHandle {
    fn hurry(&self) {
        self.hurry.ask();
    }
}

/// Whether somebody waits for a follower.
#[derive(Debug, Default)]
struct Hurry {
    is_asked: Mutex<bool>,
    told: Condvar,
}

impl Hurry {
    fn ask(&self) {
        *self.is_asked() = true;
        self.told.notify_one();
    }

    /// Rests until `until`, or from `early` on only until somebody asks. Returns true if somebody did.
    fn rest(&self, until: Instant, early: Instant) -> bool {
        let mut is_asked = self.is_asked();
        loop {
            let now = Instant::now();
            let end = if *is_asked { until.min(early) } else { until };
            let left = end.saturating_duration_since(now);
            if left.is_zero() {
                return std::mem::take(&mut *is_asked) && now < until;
            }
            is_asked = self.told.wait_timeout(is_asked, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_asked(&self) -> MutexGuard<'_, bool> {
        self.is_asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the size of a batch in bytes: its facts, the stored bodies, and some overhead for each record.
fn bytes_of(batch: &CommittedBatch) -> u64 {
    batch.records.iter().map(|record| size_of::<Record>() + kept_bytes(record)).sum::<usize>() as u64
}

/// Returns the size in bytes of a record's fact and of its stored body.
pub(crate) fn kept_bytes(record: &Record) -> usize {
    record.fact_json.len() + record.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, bytes::Bytes::len)
}

/// Creates a follower for a caller that drives it step by step.
pub fn follower<F: Follow>(follow: F, reader: Box<dyn LogReader>, waiting: Waiting) -> (FollowerHandle, Follower<F>) {
    let (sender, receiver) = sync_channel(BATCHES_WAITING_MAX);
    let handle = FollowerHandle { sender, waiting, hurry: Arc::default() };
    (handle, Follower { follow, reader, receiver, came: None, is_ending: false })
}

/// Starts a follower's thread, which returns the follower when it ends and reports its health while it runs.
pub(crate) fn start<F: Follow + 'static>(
    name: &str,
    follow: F,
    reader: Box<dyn LogReader>,
    (waiting, health): (Waiting, Arc<FollowerHealth>),
) -> std::io::Result<(FollowerHandle, JoinHandle<F>)> {
    let (handle, follower) = follower(follow, reader, waiting);
    let (name, hurry, now) = (name.to_owned(), handle.hurry.clone(), Instant::now());
    let mut thread = FollowerThread { name, follower, health, hurry, stepped: now, hurried: None, took: Duration::ZERO };
    let joined = std::thread::Builder::new().name(thread.name.clone()).spawn(move || {
        thread.run();
        thread.follower.follow
    })?;
    Ok((handle, joined))
}

/// Keeps up with the log, one step at a time.
pub struct Follower<F> {
    follow: F,
    reader: Box<dyn LogReader>,
    receiver: Receiver<FollowerMessage>,
    /// The message that ended the last wait.
    came: Option<FollowerMessage>,
    /// Whether it was asked to end.
    is_ending: bool,
}

/// Whether a follower continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There will be more.
    GoOn,
    /// It was asked to end, and has processed the rest of the log.
    End,
}

impl<F: Follow> Follower<F> {
    /// Returns the component that follows.
    pub fn follow(&self) -> &F {
        &self.follow
    }

    /// Returns the component that follows, mutably.
    pub fn follow_mut(&mut self) -> &mut F {
        &mut self.follow
    }

    /// Processes the batches that it was notified of; if there are none, reads the log. Never waits.
    pub fn step(&mut self) -> Result<Next, String> {
        let mut batches = Vec::new();
        let mut records = 0;
        let (mut next, mut releases) = (Next::GoOn, false);
        while records < RECORDS_AT_ONCE && next == Next::GoOn {
            let told = match self.came.take() {
                Some(told) => Ok(told),
                None => self.receiver.try_recv(),
            };
            match told {
                Ok(FollowerMessage::Batch(batch, held)) => {
                    records += batch.records.len();
                    batches.push((batch, held));
                }
                Ok(FollowerMessage::ReleaseCaches) => releases = true,
                Ok(FollowerMessage::Stop) | Err(TryRecvError::Disconnected) => {
                    next = Next::End;
                    self.is_ending = true;
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        self.take(&batches)?;
        if batches.is_empty() || next == Next::End {
            self.catch_up()?;
        }
        self.follow.between();
        if releases {
            self.follow.release_caches();
            self.reader.release_caches();
        }
        Ok(next)
    }

    fn take(&mut self, batches: &[(Arc<CommittedBatch>, [QueuePermit; 2])]) -> Result<(), String> {
        let mut known = self.follow.position();
        let mut runs: Vec<&[Record]> = Vec::with_capacity(batches.len());
        for (batch, _) in batches {
            let run = &batch.records[batch.records.partition_point(|record| record.position <= known)..];
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if first.position != known.next() {
                // The follower was not notified of a batch: the log has it.
                return self.catch_up();
            }
            known = last.position;
            runs.push(run);
        }
        self.follow.follow_all(&runs)
    }

    fn catch_up(&mut self) -> Result<(), String> {
        loop {
            let limit = ReadLimit { records: RECORDS_AT_ONCE, ..ReadLimit::default() };
            let records = self.reader.read(self.follow.position(), limit).map_err(|error: LogError| error.to_string())?;
            if records.is_empty() {
                return Ok(());
            }
            self.follow.follow(&records)?;
        }
    }
}

struct FollowerThread<F> {
    name: String,
    follower: Follower<F>,
    health: Arc<FollowerHealth>,
    hurry: Arc<Hurry>,
    /// When it began its last step, and how long the step took.
    stepped: Instant,
    took: Duration,
    /// When it last took a step earlier because somebody waited.
    hurried: Option<Instant>,
}

impl<F: Follow> FollowerThread<F> {
    fn run(&mut self) {
        loop {
            self.wait();
            let stepped = catch_unwind(AssertUnwindSafe(|| self.follower.step()));
            self.took = self.stepped.elapsed();
            match stepped {
                Ok(Ok(Next::GoOn)) => self.health.note(None),
                Ok(Ok(Next::End)) => return,
                Ok(Err(error)) => {
                    tracing::error!(follower = %self.name, %error, "a follower cannot follow the log; it tries again");
                    self.health.note(Some(error));
                }
                Err(panic) => self.stopped_at_a_bug(&*panic),
            }
            // The request to end is not repeated; the next start catches up on the records that are missing.
            if self.follower.is_ending {
                return;
            }
            if self.health.trouble().is_some() {
                std::thread::sleep(RETRY_AFTER);
                // What it waits for may be what fixes it.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.follower.follow.between())) {
                    self.stopped_at_a_bug(&*panic);
                }
            }
        }
    }

    fn stopped_at_a_bug(&mut self, panic: &(dyn Any + Send)) {
        let position = self.follower.follow.position();
        let why = format!("an internal error after position {position}: {}", panic_text(panic));
        tracing::error!(follower = %self.name, error = %why, "a follower stopped at an internal error: report this");
        self.health.bugs.fetch_add(1, Ordering::Relaxed);
        self.health.note(Some(why));
        self.follower.follow.after_panic();
    }

    /// Waits until there is something to follow, but still reads the log from time to time.
    fn wait(&mut self) {
        match self.follower.receiver.recv_timeout(LOOK_EVERY) {
            Ok(told @ FollowerMessage::Batch(..)) => {
                self.follower.came = Some(told);
                let apart = STEP_EVERY.min(self.took * STEPS_TAKE_ONE_IN);
                let early = self.hurried.map_or(self.stepped, |hurried| hurried + HURRY_EVERY);
                if self.hurry.rest(self.stepped + apart, early) {
                    self.hurried = Some(Instant::now());
                }
            }
            Ok(told @ (FollowerMessage::ReleaseCaches | FollowerMessage::Stop)) => self.follower.came = Some(told),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        self.stepped = Instant::now();
    }
}

#[cfg(test)]
mod tests;
