//! The sequencer: it owns the core and the log's writer, forms batches of commands, waits for the disk, and answers
//! callers.
//!
//! The core (`ensue_engine::batch`) decides the content of a batch. Commands gather while the disk is busy, and that
//! forms the groups: no batch is closed before the disk is ready for it. [`Sequencer`] takes one turn at a time and
//! uses no threads and no clock except its port. The thread that drives it waits if there is nothing to do.

mod at_once;
mod bodies;
mod dedupe_keys;
mod gather;
mod handle;
mod owed_reactions;
mod start_rates;
mod timers;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_api::worker_queues::StartRate;
use ensue_api::{QueueName, Queues};
use ensue_engine::access::quota::state::Usage;
use ensue_engine::batch::{BatchInputs, CommittedBatch, OfferOutcome, Sequencing};
use ensue_engine::catalog::Catalogs;
use ensue_engine::command::{Answer, Ask, Command, Novelty, Refusal, Settings};
use ensue_engine::effect::Dispatch;
use ensue_engine::engine::Engine;
use ensue_engine::explain::panic_text;
use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::names::WorkerQueueName;
use ensue_engine::ports::{AppendError, CommitReceipt, Log, LogError, LogReader, SubmitError};
use ensue_engine::record::{Body, Head, Position, StreamId};
use ensue_engine::sensors::state::Sensors;
use ensue_engine::time::Timestamp;
use ensue_engine::timers::state::Hold;
use thiserror::Error;

use crate::clock::SteppedClock;
use crate::crash_file::CrashFile;
use crate::intake::{IntakeGate, KnownSensors};
use crate::metrics::Turns;
use crate::snapshots::{Snapshot, Snapshots};
use bodies::LoggedBodies;
use dedupe_keys::KnownKeys;
use gather::comes_from_inside;
use handle::{SequencerMessage, WaitingCommand};
use start_rates::StartRates;
use timers::Steps;

pub use handle::{Asking, SequencerHandle};
pub use start_rates::QueueGauge;

/// The maximum number of commands that wait for the sequencer; it rejects more as busy.
pub(crate) const COMMANDS_WAITING_MAX: usize = 8_192;
/// How long owed reactions wait while the disk has no room.
const SPACE_EVERY: Duration = Duration::from_millis(200);

/// Why a sequencer ended without being asked to.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SequencerError {
    /// Another node has taken over the right to write to the log.
    #[error("another node now writes to this log: {0}")]
    Deposed(String),
    /// The log could not be reached for longer than its writer waits. The outcome of the last batch may be unknown.
    #[error("the log failed: {0}; everything that was acknowledged is in it: restart the node")]
    OutOfReach(String),
    /// The log lacks records that it acknowledged before. Writing to it would make another one of it.
    #[error("the node stops: {0}")]
    Rewritten(String),
    /// The log failed permanently.
    #[error("the log failed: {0}; everything that was acknowledged is on the disk: restart the node")]
    Log(String),
    /// An internal error in folding a record, which would corrupt the state.
    #[error("folding the records after position {position} stopped at an internal error: {message}")]
    Fold {
        /// The newest position that was folded correctly.
        position: Position,
        /// The error.
        message: String,
    },
}

/// The receiver of the sequencer's notifications after each commit, called on the sequencer's thread: it must not
/// block.
pub trait CommitListener: Send {
    /// The batch is on the disk; callers have not been answered yet.
    fn on_commit(&mut self, batch: &Arc<CommittedBatch>, head: Head);
    /// Callers have been answered: the external effects of the batch may begin.
    fn on_answered(&mut self, batch: &Arc<CommittedBatch>);
    /// Returns the report of an attempt with these parameters that takes no time, or none if a worker must run it. It is
    /// called before the commit, so it must have no effect.
    fn at_once(&mut self, _dispatch: &Dispatch, _params: &Bytes) -> Option<Command> {
        None
    }
}

/// The free space on the log's disk.
pub trait Space: Send {
    /// Returns true if there is enough free space to accept input. Called in each turn, so the answer may be slightly
    /// out of date. Before it finds that there is too little, it calls `release`, which frees what the log does not need.
    fn has_room(&mut self, release: &mut dyn FnMut()) -> bool;
    /// Notes that the log could not write because the disk was full: for a while there is no room.
    fn was_full(&mut self);
}

/// The parts of a sequencer.
pub struct SequencerParts {
    /// The log's writer.
    pub log: Box<dyn Log>,
    /// The state, folded up to the log's head.
    pub engine: Engine,
    /// The log's head.
    pub head: Head,
    /// The clock.
    pub clock: Arc<dyn SteppedClock>,
    /// The built catalogs.
    pub catalogs: Arc<dyn Catalogs + Send + Sync>,
    /// The operator's settings.
    pub settings: Settings,
    /// How many attempts of a queue may start in a period; unlimited for queues that are not listed.
    pub rates: BTreeMap<WorkerQueueName, StartRate>,
    /// The receiver of notifications about commits.
    pub listener: Box<dyn CommitListener>,
    /// The space on the disk.
    pub space: Box<dyn Space>,
    /// Returns the decoded bytes of a stored body.
    pub plain: fn(&Body) -> Result<Option<Bytes>, LogError>,
    /// The component that takes snapshots of the state.
    pub snapshots: Snapshots,
    /// The file that notes which owed reaction is being worked out, and internal errors in folding, for diagnosis.
    pub crash_file: PathBuf,
}

/// The state of the sequencer that is visible outside its thread.
#[derive(Debug, Default)]
pub struct Gauges {
    /// How many attempts run.
    pub running: AtomicU64,
    /// How many inquiries are open.
    pub inquiries: AtomicU64,
    /// The total number of holds of all locks; one lock may be held several times.
    pub locks_held: AtomicU64,
    /// How many executions wait for a lock.
    pub locks_awaited: AtomicU64,
    /// How many attempts run and wait in each queue of executions.
    pub worker_queues: Mutex<Vec<QueueGauge>>,
    /// How many executions wait in queues that do not exist.
    pub unworked: AtomicU64,
    /// How many reactions are parked.
    pub parked: AtomicU64,
    /// The step of the clock that holds, or held, the work that depends on the clock.
    pub hold: Mutex<Option<Hold>>,
    /// How much each identity has used, as the log says.
    pub usage: Mutex<Usage>,
    /// The pulling sensors, as the log says.
    pub sensors: Mutex<Sensors>,
    /// Whether pulling sensors may read more.
    pub intake: IntakeGate,
    /// How many commits there were since the start.
    pub commits: AtomicU64,
    /// The log's newest position.
    pub position: AtomicU64,
    /// Whether the disk has no room.
    pub is_full: AtomicBool,
    /// How long its turns take.
    pub turns: Turns,
}

impl KnownSensors for SequencerHandle {
    fn sensors(&self) -> Sensors {
        self.gauges().sensors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Gauges {
    /// Returns the step of the clock that holds schedules and timers at this time.
    pub fn clock_hold(&self, now: Timestamp) -> Option<Hold> {
        let hold = *self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        hold.filter(|hold| now < hold.until)
    }

    /// Shows the pulling sensors as they are in the log. A copy shares the rows.
    fn set_sensors(&self, sensors: &Sensors) {
        *self.sensors.lock().unwrap_or_else(PoisonError::into_inner) = sensors.clone();
    }

    /// Shows the use as it is in the log. A copy shares the rows.
    fn set_usage(&self, usage: &Usage) {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = usage.clone();
    }
}

/// Creates the handle of a sequencer that is not started yet: commands gather until then.
pub fn sequencer(queues: Queues) -> (SequencerHandle, UnstartedSequencer) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the queue `commands` is its cap: a channel with a cap takes the memory of all its places at once"
    )]
    let (sender, receiver) = channel();
    let gauges = Arc::new(Gauges::default());
    (SequencerHandle { sender, gauges: gauges.clone(), queues: queues.clone() }, UnstartedSequencer { receiver, gauges, queues })
}

/// A sequencer that is not started yet.
pub struct UnstartedSequencer {
    receiver: Receiver<SequencerMessage>,
    gauges: Arc<Gauges>,
    queues: Queues,
}

impl UnstartedSequencer {
    /// Creates the sequencer for a caller that drives it turn by turn.
    pub fn with(self, parts: SequencerParts) -> Sequencer {
        Sequencer::new(parts, self)
    }

    /// Starts the thread that drives it. The thread returns the final state, or the reason why it could not continue.
    pub(crate) fn start(self, parts: SequencerParts) -> std::io::Result<JoinHandle<Result<Snapshot, SequencerError>>> {
        std::thread::Builder::new().name("sequencer".into()).spawn(move || {
            let mut sequencer = self.with(parts);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sequencer.drive()));
            match outcome {
                Ok(Ok(())) => Ok(sequencer.snapshot()),
                Ok(Err(error)) => Err(error),
                Err(panic) => {
                    let position = sequencer.sequencing.committed_head().position;
                    let message = panic_text(&*panic).to_owned();
                    sequencer.crash.note_bug(position, &message);
                    Err(SequencerError::Fold { position, message })
                }
            }
        })
    }
}

/// The core and the log's writer, driven turn by turn.
pub struct Sequencer {
    sequencing: Sequencing,
    log: Box<dyn Log>,
    reader: RefCell<Option<Box<dyn LogReader>>>,
    clock: Arc<dyn SteppedClock>,
    catalogs: Arc<dyn Catalogs + Send + Sync>,
    settings: Settings,
    listener: Box<dyn CommitListener>,
    space: Box<dyn Space>,
    plain: fn(&Body) -> Result<Option<Bytes>, LogError>,
    snapshots: Snapshots,
    receiver: Receiver<SequencerMessage>,
    /// The message that ended the last wait.
    came: Option<SequencerMessage>,
    /// The commands from outside that wait for a batch.
    outside: VecDeque<WaitingCommand>,
    gauges: Arc<Gauges>,
    queues: Queues,
    /// The chain whose owed piece was served last.
    served: Option<Id>,
    steps: Steps,
    rates: StartRates,
    crash: CrashFile,
    is_stopping: bool,
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was done, and there may be more to do.
    Taken,
    /// There is nothing to do until a command arrives, the next timer is due, or more attempts of a queue may start.
    Idle,
    /// Owed reactions must wait until the disk has room; commands need not.
    NoRoom,
    /// It was asked to stop, and nothing waits any longer. Owed reactions that find no room are left to the next
    /// start.
    Ended,
}

impl Sequencer {
    fn new(parts: SequencerParts, UnstartedSequencer { receiver, gauges, queues }: UnstartedSequencer) -> Self {
        let epoch = parts.log.epoch();
        let steps = Steps::before_the_start(&parts.engine, &*parts.clock);
        let rates = StartRates::begin(parts.rates, &parts.engine, parts.clock.now());
        gauges.set_usage(parts.engine.usage());
        gauges.set_sensors(parts.engine.sensors());
        let new = Self {
            sequencing: Sequencing::new(parts.engine, parts.head, epoch),
            log: parts.log,
            reader: RefCell::new(None),
            clock: parts.clock,
            catalogs: parts.catalogs,
            settings: parts.settings,
            listener: parts.listener,
            space: parts.space,
            plain: parts.plain,
            snapshots: parts.snapshots,
            receiver,
            came: None,
            outside: VecDeque::new(),
            gauges,
            queues,
            served: None,
            steps,
            rates,
            crash: CrashFile::open(&parts.crash_file),
            is_stopping: false,
        };
        new.gauge();
        new
    }

    /// Returns the state, with the accepted input folded in.
    pub fn engine(&self) -> &Engine {
        self.sequencing.engine()
    }

    /// Returns the state as it is in the log; call it between two turns.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { engine: self.engine().clone(), head: self.sequencing.committed_head() }
    }

    /// Takes the waiting commands into one batch, appends and answers it, fires due timers, and works out one piece
    /// of the owed reactions. It waits only for the disk.
    pub fn turn(&mut self) -> Result<Turn, SequencerError> {
        let waiting = self.gather();
        let is_owed = self.sequencing.next_owed(self.served).is_some();
        if !is_owed {
            self.crash.end();
        }
        let is_due = self.is_due();
        if waiting.is_empty() && !is_owed && !is_due {
            return Ok(if self.may_end() { Turn::Ended } else { Turn::Idle });
        }
        self.take_in(waiting)?;
        let fired = if is_due { self.fire()? } else { Turn::Taken };
        let turn = match self.sequencing.next_owed(self.served) {
            Some(owed) => self.serve(owed)?,
            None => fired,
        };
        Ok(if turn == Turn::NoRoom && self.may_end() { Turn::Ended } else { turn })
    }

    /// Returns true if it was asked to stop and has no callers left to answer.
    fn may_end(&self) -> bool {
        self.is_stopping && self.outside.is_empty()
    }

    /// Waits for the next message, until the next timer is due; while the disk is full, only until the next check of
    /// the disk.
    fn next_item(&self) -> Result<SequencerMessage, RecvTimeoutError> {
        let look = self.gauges.is_full.load(Ordering::Relaxed).then_some(SPACE_EVERY);
        match look.into_iter().chain(self.until_due()).min() {
            Some(wait) => self.receiver.recv_timeout(wait),
            None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Takes turns until it is asked to stop.
    fn drive(&mut self) -> Result<(), SequencerError> {
        loop {
            match self.turn()? {
                Turn::Taken => {}
                Turn::Idle => match self.next_item() {
                    Ok(item) => self.came = Some(item),
                    // No input is offered to a full disk, so only the sequencer can find that there is room again.
                    Err(RecvTimeoutError::Timeout) => {
                        self.has_room();
                    }
                    Err(RecvTimeoutError::Disconnected) => self.is_stopping = true,
                },
                Turn::NoRoom => std::thread::sleep(SPACE_EVERY),
                Turn::Ended => return Ok(()),
            }
        }
    }

    /// Offers the commands to the core and appends the results. If the store rejects a batch because of one record,
    /// the commands are tried again one by one.
    fn take_in(&mut self, waiting: Vec<WaitingCommand>) -> Result<(), SequencerError> {
        self.take_in_with(waiting, Follow::AtOnce)
    }

    fn take_in_with(&mut self, waiting: Vec<WaitingCommand>, follow: Follow) -> Result<(), SequencerError> {
        let mut waiting = self.turned_away_when_full(waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let seen = match self.seen_keys(&waiting) {
            Ok(seen) => seen,
            Err(error) => {
                for one in waiting {
                    one.answer(Err(SubmitError::Unknown));
                }
                return Err(unread(&error));
            }
        };
        let begin = Instant::now();
        let mut told = Vec::with_capacity(waiting.len());
        for waiting in &mut waiting {
            waiting.is_offered = true;
            told.push(self.offer(&waiting.command, &seen));
        }
        let ended = match follow {
            Follow::AtOnce => self.end_at_once(),
            Follow::Later => 0,
        };
        self.gauges.turns.decide.took(begin.elapsed());
        match self.append() {
            Ok(batch) => {
                let begin = Instant::now();
                for (one, _) in waiting.iter().zip(&told).filter(|(one, told)| brought_a_new_event(&one.command, told)) {
                    self.gauges.turns.committed.took(begin.saturating_duration_since(one.since));
                }
                answer_all(waiting, told);
                self.release_effects(&batch);
                self.gauges.turns.release.took(begin.elapsed());
                Ok(())
            }
            Err(AppendError::Refused { .. }) if waiting.len() > 1 => waiting.into_iter().try_for_each(|one| self.take_in(vec![one])),
            // A caller is not rejected because of what follows from its command.
            Err(AppendError::Refused { .. } | AppendError::Full) if ended > 0 => self.take_in_with(waiting, Follow::Later),
            Err(AppendError::Refused { why, .. }) => {
                let refusal = Refusal::Unstorable(why);
                for one in waiting {
                    one.answer(Err(SubmitError::Refused(refusal.clone())));
                }
                Ok(())
            }
            Err(AppendError::Full) => {
                self.space.was_full();
                self.gauges.is_full.store(true, Ordering::Relaxed);
                for one in waiting {
                    one.answer(Err(SubmitError::StorageFull));
                }
                Ok(())
            }
            Err(error) => {
                for one in waiting {
                    one.answer(Err(SubmitError::Unknown));
                }
                Err(to_sequencer_error(&error))
            }
        }
    }

    /// If the disk has no room, commands from outside are rejected before they are decided. Commands that the log
    /// itself leads to (a report, a loss, a cancel) continue, because room is reserved for them. So do commands that
    /// only look up a request.
    fn turned_away_when_full(&mut self, waiting: Vec<WaitingCommand>) -> Vec<WaitingCommand> {
        if self.has_room() {
            return waiting;
        }
        let (inside, outside): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| comes_from_inside(&waiting.command) || matches!(waiting.command.ask, Ask::Recall(_)));
        for one in outside {
            one.answer(Err(SubmitError::StorageFull));
        }
        inside
    }

    fn has_room(&mut self) -> bool {
        let has_room = self.space.has_room(&mut || self.log.release_caches());
        self.gauges.is_full.store(!has_room, Ordering::Relaxed);
        self.set_intake();
        has_room
    }

    fn offer(&mut self, command: &Command, seen: &KnownKeys) -> Result<CommitReceipt, SubmitError> {
        let at = self.moment();
        let bodies = LoggedBodies::of(&*self.log, &self.reader, self.plain);
        let beside = BatchInputs { catalogs: &*self.catalogs, bodies: &bodies, seen, settings: &self.settings };
        match self.sequencing.offer(command, &at, &beside) {
            OfferOutcome::Taken { position, answer } => Ok(CommitReceipt { position, answer }),
            OfferOutcome::Refused(refusal) => {
                if let Refusal::TooMuchOpen { .. } = &refusal {
                    self.queues.of(QueueName::OpenWork).reject();
                }
                if let Refusal::Bug(message) = &refusal {
                    tracing::error!(%message, "a command stopped at an internal error");
                }
                Err(SubmitError::Refused(refusal))
            }
            // A command must include the bodies that are needed to decide it, so this is an internal error.
            OfferOutcome::Needs(digests) => {
                let message = format!("a command needs {} bodies that it did not bring", digests.len());
                Err(SubmitError::Refused(Refusal::Bug(message)))
            }
        }
    }

    /// Appends the batch. The log itself looks up commits whose outcome it does not learn.
    fn append(&mut self) -> Result<Arc<CommittedBatch>, AppendError> {
        let before = self.sequencing.committed_head();
        let batch = self.sequencing.batch();
        let has_records = !batch.records.is_empty();
        if !has_records && batch.seen.is_empty() {
            return Ok(Arc::new(self.sequencing.mark_committed()));
        }
        let begin = Instant::now();
        let appended = self.log.append(self.sequencing.batch(), before.position, self.sequencing.epoch());
        match appended {
            Ok(_) => {
                self.steps.note_written();
                let batch = Arc::new(self.sequencing.mark_committed());
                self.gauges.turns.commit.took(begin.elapsed());
                self.gauges.commits.fetch_add(1, Ordering::Relaxed);
                if !has_records {
                    return Ok(batch);
                }
                self.gauges.turns.note(&batch);
                self.gauges.set_usage(self.sequencing.engine().usage());
                if changes_sensors(&batch, self.sequencing.engine()) {
                    self.gauges.set_sensors(self.sequencing.engine().sensors());
                }
                self.gauges.position.store(self.sequencing.committed_head().position.0, Ordering::Relaxed);
                self.gauge();
                self.listener.on_commit(&batch, self.sequencing.committed_head());
                Ok(batch)
            }
            Err(error) => {
                self.sequencing.undo();
                self.steps.undone();
                Err(error)
            }
        }
    }

    fn release_effects(&mut self, batch: &Arc<CommittedBatch>) {
        if !batch.records.is_empty() {
            self.listener.on_answered(batch);
            self.snapshots.take(self.sequencing.engine(), self.sequencing.committed_head());
        }
    }

    fn open_work(&self) -> u64 {
        let engine = self.sequencing.engine();
        engine.executions().open_work() + engine.health().owed_count() as u64
    }

    /// Opens or closes the intake of pulling sensors.
    fn set_intake(&self) {
        let has_room = !self.gauges.is_full.load(Ordering::Relaxed);
        self.gauges.intake.set(self.open_work(), self.settings.open_work_max, has_room);
    }

    /// Shows the state after a commit, before its callers have an answer: what they ask next must include it.
    fn gauge(&self) {
        let engine = self.sequencing.engine();
        let open = self.open_work();
        self.set_intake();
        self.queues.of(QueueName::OpenWork).set(open);
        self.queues.of(QueueName::Attempts).set(u64::from(engine.executions().running()));
        self.gauges.running.store(u64::from(engine.executions().running()), Ordering::Relaxed);
        self.gauges.inquiries.store(engine.inquiries().count() as u64, Ordering::Relaxed);
        let (held, awaited) = engine.locks().totals();
        self.gauges.locks_held.store(held as u64, Ordering::Relaxed);
        self.gauges.locks_awaited.store(awaited as u64, Ordering::Relaxed);
        let queues = start_rates::gauges(engine, &self.settings);
        let worked: usize = queues.iter().map(|queue| queue.waiting).sum();
        self.gauges.unworked.store(engine.executions().queued_count().saturating_sub(worked) as u64, Ordering::Relaxed);
        *self.gauges.worker_queues.lock().unwrap_or_else(PoisonError::into_inner) = queues;
        *self.gauges.hold.lock().unwrap_or_else(PoisonError::into_inner) = engine.timers().hold(engine.time());
        self.gauges.parked.store(engine.health().parked_reactions().count() as u64, Ordering::Relaxed);
    }
}

/// When attempts that take no time end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    /// In the batch that starts them.
    AtOnce,
    /// In a later batch.
    Later,
}

/// Returns true if a commit changed something that the log says about pulling sensors.
fn changes_sensors(batch: &CommittedBatch, engine: &Engine) -> bool {
    batch.records.iter().any(|record| match (&record.stream, &record.fact) {
        (StreamId::Sensor(_), _) | (_, Fact::NodeStarted(_)) => true,
        (_, Fact::EventReceived(event)) => event.sensor.as_ref().is_some_and(|sensor| engine.sensors().of(sensor).is_some()),
        _ => false,
    })
}

/// Returns true if the command added a new event; false if it was rejected, a duplicate or only a check.
fn brought_a_new_event(command: &Command, told: &Result<CommitReceipt, SubmitError>) -> bool {
    if matches!(command.ask, Ask::Check(_)) {
        return false;
    }
    let Ok(CommitReceipt { answer: Answer::Events(events), .. }) = told else { return false };
    events.iter().any(|event| event.novelty == Novelty::New)
}

/// Returns the sequencer's error for a failed append.
fn to_sequencer_error(error: &AppendError) -> SequencerError {
    match error {
        AppendError::Behind(_) | AppendError::Deposed(_) => SequencerError::Deposed(error.to_string()),
        AppendError::Unknown => SequencerError::OutOfReach(error.to_string()),
        AppendError::Rewritten(why) => SequencerError::Rewritten(why.clone()),
        _ => SequencerError::Log(error.to_string()),
    }
}

/// Returns the sequencer's error for a failed read.
fn unread(error: &LogError) -> SequencerError {
    match error {
        LogError::Unavailable(_) => SequencerError::OutOfReach(error.to_string()),
        _ => SequencerError::Log(error.to_string()),
    }
}

fn answer_all(waiting: Vec<WaitingCommand>, told: Vec<Result<CommitReceipt, SubmitError>>) {
    for (waiting, told) in waiting.into_iter().zip(told) {
        waiting.answer(told);
    }
}

#[cfg(test)]
mod tests;
