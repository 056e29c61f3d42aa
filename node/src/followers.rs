//! Followers: threads that keep something up with the log.
//!
//! The sequencer hands over each batch as it is committed; a follower that is behind reads from the log instead, so a slow one
//! never holds the sequencer up and never misses a record.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ensue_engine::batch::CommittedBatch;
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{Position, Record};

/// The most batches that wait for a follower; further ones it reads from the log.
const BATCHES_WAITING_MAX: usize = 64;
/// The most records that are followed at once.
const RECORDS_AT_ONCE: usize = 4_096;
/// How often a follower looks at the log by itself, in case that it was not told of a batch.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The least time between two steps: under load many small batches become few large ones, which cost half as much.
const STEP_EVERY: Duration = Duration::from_millis(5);
/// How long a follower waits after an error before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What keeps up with the log.
pub(crate) trait Follow: Send {
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
}

/// The way to tell a follower of batches.
#[derive(Clone)]
pub(crate) struct FollowerHandle {
    sender: SyncSender<Told>,
}

enum Told {
    Batch(Arc<CommittedBatch>),
    Stop,
}

impl FollowerHandle {
    /// Tells of a batch. Never waits: a follower that is behind reads it from the log.
    pub(crate) fn tell(&self, batch: &Arc<CommittedBatch>) {
        let _ = self.sender.try_send(Told::Batch(batch.clone()));
    }

    /// Asks the follower to take in what the log has and then to end.
    pub(crate) fn stop(&self) {
        let _ = self.sender.send(Told::Stop);
    }
}

/// Starts a follower's thread; it gives the follower back at its end.
pub(crate) fn start<F: Follow + 'static>(
    name: &str,
    follower: F,
    reader: Box<dyn LogReader>,
) -> std::io::Result<(FollowerHandle, JoinHandle<F>)> {
    let (sender, receiver) = sync_channel(BATCHES_WAITING_MAX);
    let mut thread = FollowerThread { name: name.to_owned(), follower, reader, receiver, stepped: Instant::now() };
    let joined = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        thread.run();
        thread.follower
    })?;
    Ok((FollowerHandle { sender }, joined))
}

struct FollowerThread<F> {
    name: String,
    follower: F,
    reader: Box<dyn LogReader>,
    receiver: Receiver<Told>,
    stepped: Instant,
}

/// Whether a follower is to go on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl<F: Follow> FollowerThread<F> {
    fn run(&mut self) {
        loop {
            let next = match self.step() {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(follower = %self.name, %error, "a follower cannot keep up with the log; it tries again");
                    std::thread::sleep(RETRY_AFTER);
                    Next::GoOn
                }
            };
            if next == Next::End {
                return;
            }
        }
    }

    fn step(&mut self) -> Result<Next, String> {
        let mut batches = Vec::new();
        let mut next = Next::GoOn;
        match self.receiver.recv_timeout(LOOK_EVERY) {
            Ok(Told::Batch(batch)) => batches.push(batch),
            Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => next = Next::End,
            Err(RecvTimeoutError::Timeout) => {
                self.catch_up()?;
                self.follower.between();
                return Ok(Next::GoOn);
            }
        }
        if next == Next::GoOn {
            std::thread::sleep(STEP_EVERY.saturating_sub(self.stepped.elapsed()));
        }
        self.stepped = Instant::now();
        while batches.iter().map(|batch| batch.records.len()).sum::<usize>() < RECORDS_AT_ONCE {
            match self.receiver.try_recv() {
                Ok(Told::Batch(batch)) => batches.push(batch),
                Ok(Told::Stop) => next = Next::End,
                Err(_) => break,
            }
        }
        self.take(&batches)?;
        self.follower.between();
        if next == Next::End {
            self.catch_up()?;
        }
        Ok(next)
    }

    fn take(&mut self, batches: &[Arc<CommittedBatch>]) -> Result<(), String> {
        let mut known = self.follower.position();
        let mut runs: Vec<&[Record]> = Vec::with_capacity(batches.len());
        for batch in batches {
            let run = &batch.records[batch.records.partition_point(|record| record.position <= known)..];
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if first.position != known.next() {
                // A batch was not told of: the log has it.
                return self.catch_up();
            }
            known = last.position;
            runs.push(run);
        }
        self.follower.follow_all(&runs)
    }

    fn catch_up(&mut self) -> Result<(), String> {
        loop {
            let limit = ReadLimit { records: RECORDS_AT_ONCE, ..ReadLimit::default() };
            let records = self.reader.read(self.follower.position(), limit).map_err(|error: LogError| error.to_string())?;
            if records.is_empty() {
                return Ok(());
            }
            self.follower.follow(&records)?;
        }
    }
}
