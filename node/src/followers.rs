//! Followers: what keeps up with the log, and the threads that drive it.
//!
//! The sequencer hands over each batch as it is committed; a follower that is behind reads from the log instead, so a slow one
//! never holds the sequencer up and never misses a record. [`Follower`] takes one step at a time and waits for nothing; its thread
//! does the waiting, and outlives a bug of ours: what it cannot follow is told, and tried again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ensue_api::Queue;
use ensue_api::queues::Held;
use ensue_engine::batch::CommittedBatch;
use ensue_engine::explain::panic_text;
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{Position, Record};

/// The most batches that wait for a follower; further ones it reads from the log.
pub(crate) const BATCHES_WAITING_MAX: usize = 64;
/// The most records that are followed at once.
const RECORDS_AT_ONCE: usize = 4_096;
/// How often a follower looks at the log by itself, in case that it was not told of a batch.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most that is waited between the begins of two steps: under load many small batches become few large ones, which cost half as much.
const STEP_EVERY: Duration = Duration::from_millis(5);
/// A follower takes at most one part in so many of a core as long as its steps are short: then it waits less, and readers see sooner.
const STEPS_TAKE_ONE_IN: u32 = 5;
/// How long a follower waits after an error before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What keeps up with the log.
pub trait Follow: Send {
    /// Gives the position of the newest record that it knows of.
    fn position(&self) -> Position;
    /// Takes the records that follow; they begin right behind [`position`](Self::position).
    fn follow(&mut self, records: &[Record]) -> Result<(), String>;
    /// Takes several runs of records, each right behind the one before: as one, which costs a copy and saves a transaction.
    fn follow_all(&mut self, runs: &[&[Record]]) -> Result<(), String> {
        match runs {
            [] => Ok(()),
            [run] => self.follow(run),
            several => self.follow(&several.concat()),
        }
    }
    /// Is called between two batches, and now and then when there are none.
    fn between(&mut self) {}
    /// Is called after a panic in it, before it goes on from its position.
    fn after_panic(&mut self) {}
}

/// How a follower fares, as it can be seen from outside.
#[derive(Debug, Default)]
pub(crate) struct Fares {
    trouble: Mutex<Option<String>>,
    bugs: AtomicU64,
}

impl Fares {
    /// Gives why it cannot follow; none where it does.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives how often a bug of ours interrupted it.
    pub(crate) fn bugs(&self) -> u64 {
        self.bugs.load(Ordering::Relaxed)
    }

    fn note(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The way to tell a follower of batches.
#[derive(Clone)]
pub struct FollowerHandle {
    sender: SyncSender<Told>,
    waiting: Waiting,
}

enum Told {
    Batch(Arc<CommittedBatch>, [Held; 2]),
    Stop,
}

/// The queues of what waits for a follower.
#[derive(Clone)]
pub struct Waiting {
    /// The batches.
    pub batches: Arc<Queue>,
    /// Their bytes.
    pub bytes: Arc<Queue>,
}

impl FollowerHandle {
    /// Tells of a batch. Never waits: a follower that is behind reads it from the log.
    pub fn tell(&self, batch: &Arc<CommittedBatch>) {
        let Some(one) = self.waiting.batches.enter(1) else { return };
        let Some(bytes) = self.waiting.bytes.enter(bytes_of(batch)) else { return };
        let _ = self.sender.try_send(Told::Batch(batch.clone(), [one, bytes]));
    }

    /// Asks the follower to take in what the log has and then to end.
    pub fn stop(&self) {
        let _ = self.sender.send(Told::Stop);
    }
}

/// The bytes that a batch holds: its facts and the bodies as they are kept, and something for each record.
fn bytes_of(batch: &CommittedBatch) -> u64 {
    batch.records.iter().map(|record| size_of::<Record>() + kept_bytes(record)).sum::<usize>() as u64
}

/// The bytes of a record's fact and of its body as it is kept.
pub(crate) fn kept_bytes(record: &Record) -> usize {
    record.fact_json.len() + record.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, bytes::Bytes::len)
}

/// Makes a follower, for whoever drives it step by step.
pub fn follower<F: Follow>(follow: F, reader: Box<dyn LogReader>, waiting: Waiting) -> (FollowerHandle, Follower<F>) {
    let (sender, receiver) = sync_channel(BATCHES_WAITING_MAX);
    (FollowerHandle { sender, waiting }, Follower { follow, reader, receiver, came: None, is_ending: false })
}

/// Starts a follower's thread; it gives the follower back at its end, and says meanwhile how it fares.
pub(crate) fn start<F: Follow + 'static>(
    name: &str,
    follow: F,
    reader: Box<dyn LogReader>,
    (waiting, fares): (Waiting, Arc<Fares>),
) -> std::io::Result<(FollowerHandle, JoinHandle<F>)> {
    let (handle, follower) = follower(follow, reader, waiting);
    let mut thread = FollowerThread { name: name.to_owned(), follower, fares, stepped: Instant::now(), took: Duration::ZERO };
    let joined = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        thread.run();
        thread.follower.follow
    })?;
    Ok((handle, joined))
}

/// Something that keeps up with the log, one step after the other.
pub struct Follower<F> {
    follow: F,
    reader: Box<dyn LogReader>,
    receiver: Receiver<Told>,
    /// What ended the last wait.
    came: Option<Told>,
    /// Whether it was asked to end.
    is_ending: bool,
}

/// Whether a follower is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There will be more.
    GoOn,
    /// It was asked to end, and has taken in what the log has.
    End,
}

impl<F: Follow> Follower<F> {
    /// Gives what follows.
    pub fn follow(&self) -> &F {
        &self.follow
    }

    /// Gives what follows, to be changed.
    pub fn follow_mut(&mut self) -> &mut F {
        &mut self.follow
    }

    /// Takes the batches that it was told of; where it was told of none, what the log has. It waits for nothing.
    pub fn step(&mut self) -> Result<Next, String> {
        let mut batches = Vec::new();
        let mut records = 0;
        let mut next = Next::GoOn;
        while records < RECORDS_AT_ONCE && next == Next::GoOn {
            let told = match self.came.take() {
                Some(told) => Ok(told),
                None => self.receiver.try_recv(),
            };
            match told {
                Ok(Told::Batch(batch, held)) => {
                    records += batch.records.len();
                    batches.push((batch, held));
                }
                Ok(Told::Stop) | Err(TryRecvError::Disconnected) => {
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
        Ok(next)
    }

    fn take(&mut self, batches: &[(Arc<CommittedBatch>, [Held; 2])]) -> Result<(), String> {
        let mut known = self.follow.position();
        let mut runs: Vec<&[Record]> = Vec::with_capacity(batches.len());
        for (batch, _) in batches {
            let run = &batch.records[batch.records.partition_point(|record| record.position <= known)..];
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if first.position != known.next() && !ensue_engine::mutants::is("follower skips a batch") {
                // A batch was not told of: the log has it.
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
    fares: Arc<Fares>,
    /// When it began its last step, and how long that took.
    stepped: Instant,
    took: Duration,
}

impl<F: Follow> FollowerThread<F> {
    fn run(&mut self) {
        loop {
            self.wait();
            let stepped = catch_unwind(AssertUnwindSafe(|| self.follower.step()));
            self.took = self.stepped.elapsed();
            match stepped {
                Ok(Ok(Next::GoOn)) => self.fares.note(None),
                Ok(Ok(Next::End)) => return,
                Ok(Err(error)) => {
                    tracing::error!(follower = %self.name, %error, "a follower cannot follow the log; it tries again");
                    self.fares.note(Some(error));
                }
                Err(panic) => self.stopped_at_a_bug(&*panic),
            }
            // What was asked for is not asked twice, and what is missing is made up for by the next start.
            if self.follower.is_ending {
                return;
            }
            if self.fares.trouble().is_some() {
                std::thread::sleep(RETRY_AFTER);
                // What it waits for may be what mends it.
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
        self.fares.bugs.fetch_add(1, Ordering::Relaxed);
        self.fares.note(Some(why));
        self.follower.follow.after_panic();
    }

    /// Waits until there is something to follow, but looks at the log now and then all the same.
    fn wait(&mut self) {
        match self.follower.receiver.recv_timeout(LOOK_EVERY) {
            Ok(told @ Told::Batch(..)) => {
                self.follower.came = Some(told);
                let apart = STEP_EVERY.min(self.took * STEPS_TAKE_ONE_IN);
                std::thread::sleep(apart.saturating_sub(self.stepped.elapsed()));
            }
            Ok(told @ Told::Stop) => self.follower.came = Some(told),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        self.stepped = Instant::now();
    }
}

#[cfg(test)]
mod tests;
