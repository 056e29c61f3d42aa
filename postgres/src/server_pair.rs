//! A primary and its synchronous standby in memory: a model of what two servers do with a commit, for tests and
//! simulations.
//!
//! A commit is written by the primary, received by the standby, made visible to others, and only then acknowledged. A
//! standby that is gone holds it up after the first step. Every commit locks the log until it is visible, so at most one
//! waits. `postgres/tests/schedules.rs` compares this model with two real servers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, Epoch, Head, Position, Record, Revision, StreamId};
use ensue_store::memory::MemoryLog;

use crate::append::{AppendReply, Calls, LogTail, append};
use crate::classify::Meaning;

/// A primary and its standby with one log; a clone is the same pair.
#[derive(Clone)]
pub struct Pair(Arc<Mutex<State>>);

/// What happens to a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The standby stops. The primary still waits for it with each commit.
    StandbyLeaves,
    /// The standby starts again and receives what it lacks.
    StandbyReturns,
    /// An administrator cancels the statement that waits for the standby.
    Cancel,
    /// The primary is killed and started again.
    Restart,
    /// The primary is killed and its standby is promoted. A copy of it is the new standby.
    Promote,
}

/// Where the connection of the writer is cut. While it is being made or a statement is being prepared, both are the same:
/// nothing was sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before a call arrives.
    Call,
    /// Before its answer arrives.
    Answer,
}

/// An entry of the write-ahead log.
#[derive(Clone)]
enum WalEntry {
    /// A node took the log over.
    Epoch,
    Batch {
        batch: Batch,
        head: Position,
        epoch: Epoch,
    },
    /// A commit that changes nothing.
    Nothing,
}

struct State {
    id: LogId,
    primary: Vec<WalEntry>,
    /// How many entries the standby has.
    received: usize,
    is_standby_here: bool,
    /// The log that the standby has, while it is gone.
    left_at: ReplayedLog,
    /// How many entries are visible. All but the last one, if that waits for the standby.
    shown: usize,
    /// What the primary has written.
    written: ReplayedLog,
    /// What others see.
    visible: ReplayedLog,
    cut: Option<Cut>,
    /// What happens each time that a commit waits.
    meanwhile: VecDeque<Event>,
    /// How often a primary was killed, which closes all connections to it.
    kills: u64,
}

impl Pair {
    /// Makes a pair with an empty log that nobody has led.
    pub fn new(id: LogId) -> Self {
        Self(Arc::new(Mutex::new(State {
            id,
            primary: Vec::new(),
            received: 0,
            is_standby_here: true,
            left_at: ReplayedLog::default(),
            shown: 0,
            written: ReplayedLog::default(),
            visible: ReplayedLog::default(),
            cut: None,
            meanwhile: VecDeque::new(),
            kills: 0,
        })))
    }

    /// Takes the log over under the next epoch. Fails if that commit is not acknowledged.
    pub fn lead(&self) -> Result<PairLog, LogError> {
        let mut state = self.lock();
        let failed = |meaning: Meaning| LogError::Unavailable(meaning.to_string());
        state.arrive().map_err(failed)?;
        let id = state.id;
        state.written.lead(id);
        state.commit(WalEntry::Epoch).map_err(failed)?;
        Ok(PairLog {
            pair: self.clone(),
            id,
            epoch: state.written.log()?.epoch(),
            has_parts: false,
            connection: Some(WriterConnection::to(&state)),
        })
    }

    /// Returns the id of the log.
    pub fn log(&self) -> LogId {
        self.lock().id
    }

    /// Opens a reader of what is visible on the primary, also of a later one.
    pub fn reader(&self) -> Box<dyn LogReader> {
        Box::new(PairReader(self.clone()))
    }

    /// Returns true if no commit is acknowledged before the standby returns.
    pub fn lacks_standby(&self) -> bool {
        !self.lock().is_standby_here
    }

    /// Lets something happen.
    pub fn happen(&self, event: Event) {
        self.lock().happen(event);
    }

    /// Plans what happens each time that a commit waits for the standby, in this order. Returns how many events of the plan
    /// before did not happen.
    pub fn meanwhile(&self, events: &[Event]) -> usize {
        std::mem::replace(&mut self.lock().meanwhile, events.iter().copied().collect()).len()
    }

    /// Plans one cut of the writer's connection, at its next call.
    pub fn cut(&self, cut: Option<Cut>) {
        self.lock().cut = cut;
    }

    /// Returns the batches that are visible on the primary.
    pub fn visible(&self) -> Vec<Id> {
        let state = self.lock();
        batches(&state.primary[..state.shown])
    }

    /// Returns the batches that the standby has.
    pub fn received_batches(&self) -> Vec<Id> {
        let state = self.lock();
        batches(&state.primary[..state.received])
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log as the entries of the write-ahead log make it. Nobody has led it at first.
#[derive(Default)]
struct ReplayedLog(Option<MemoryLog>);

impl ReplayedLog {
    fn lead(&mut self, id: LogId) {
        self.0 = Some(self.0.as_ref().map_or_else(|| MemoryLog::new(id), |log| log.logs().open(id)));
    }

    fn apply(&mut self, id: LogId, entry: &WalEntry) {
        match (entry, &mut self.0) {
            (WalEntry::Epoch, _) => self.lead(id),
            (WalEntry::Batch { batch, head, epoch }, Some(log)) => {
                // It was checked when it was written, after the same entries.
                let applied = log.append(batch, *head, *epoch);
                debug_assert!(applied.is_ok(), "{applied:?}");
            }
            (WalEntry::Batch { .. }, None) | (WalEntry::Nothing, _) => {}
        }
    }

    fn fork(&self) -> Self {
        Self(self.0.as_ref().map(MemoryLog::fork))
    }

    fn log(&mut self) -> Result<&mut MemoryLog, LogError> {
        self.0.as_mut().ok_or_else(|| LogError::Store("nobody has led the log yet".to_owned()))
    }
}

fn batches(entries: &[WalEntry]) -> Vec<Id> {
    let id = |entry: &WalEntry| match entry {
        WalEntry::Batch { batch, .. } if !batch.records.is_empty() => batch.id,
        WalEntry::Batch { .. } | WalEntry::Epoch | WalEntry::Nothing => None,
    };
    entries.iter().filter_map(id).collect()
}

impl State {
    /// Returns true if the newest commit waits for the standby.
    fn waits(&self) -> bool {
        self.shown < self.primary.len()
    }

    fn happen(&mut self, event: Event) {
        if matches!(event, Event::Restart | Event::Promote) {
            self.kills += 1;
        }
        match event {
            Event::StandbyLeaves if self.is_standby_here => {
                // As long as it was here, it received everything, and everything was shown.
                self.is_standby_here = false;
                self.left_at = self.visible.fork();
            }
            Event::StandbyLeaves => {}
            Event::StandbyReturns => {
                self.is_standby_here = true;
                self.received = self.primary.len();
                self.show();
            }
            // A commit whose wait ends in any other way is visible too, although the standby lacks it.
            Event::Cancel | Event::Restart => self.show(),
            // It has everything, and is the new primary.
            Event::Promote if self.is_standby_here => {}
            Event::Promote => {
                self.primary.truncate(self.received);
                self.is_standby_here = true;
                self.shown = self.received;
                (self.written, self.visible) = (self.left_at.fork(), std::mem::take(&mut self.left_at));
            }
        }
    }

    fn show(&mut self) {
        for entry in &self.primary[self.shown..] {
            self.visible.apply(self.id, entry);
        }
        self.shown = self.primary.len();
    }

    /// Waits for the lock of the log, which a commit may hold that waits itself. Fails if the call does not arrive.
    fn arrive(&mut self) -> Result<(), Meaning> {
        if self.cut == Some(Cut::Call) {
            self.cut = None;
            return Err(Meaning::Unknown("the connection was cut before the call arrived".to_owned()));
        }
        while self.waits() {
            let lost = |why: &str| Err(Meaning::Unknown(why.to_owned()));
            let Some(event) = self.meanwhile.pop_front() else { return lost("no answer in time: another commit holds the lock") };
            self.happen(event);
            if matches!(event, Event::Restart | Event::Promote) {
                return lost("the server was killed");
            }
        }
        Ok(())
    }

    /// Commits an entry that is written already, and acknowledges it.
    fn commit(&mut self, entry: WalEntry) -> Result<(), Meaning> {
        let lost = |why: &str| Err(Meaning::Unknown(why.to_owned()));
        self.primary.push(entry);
        while !self.is_standby_here {
            let Some(event) = self.meanwhile.pop_front() else { return lost("no answer in time: the commit waits for the standby") };
            self.happen(event);
            match event {
                Event::StandbyLeaves | Event::StandbyReturns => {}
                Event::Cancel => return lost("the server warned: canceling wait for synchronous replication"),
                Event::Restart | Event::Promote => return lost("the server was killed"),
            }
        }
        self.received = self.primary.len();
        self.show();
        match self.cut.take_if(|cut| *cut == Cut::Answer) {
            Some(_) => lost("the connection was cut before the answer arrived"),
            None => Ok(()),
        }
    }
}

/// The log of a pair, held by its one writer.
pub struct PairLog {
    pair: Pair,
    id: LogId,
    epoch: Epoch,
    /// Whether the tables for the next records are there for certain. Asking for them is a commit too.
    has_parts: bool,
    /// Absent if it was lost.
    connection: Option<WriterConnection>,
}

/// A statement that a writer sends. Each connection prepares it before it is first sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Statement {
    MakeParts,
    Append,
    Settle,
}

/// A connection of a writer to the primary.
struct WriterConnection {
    /// How often a primary had been killed when it was made.
    kills: u64,
    prepared: BTreeSet<Statement>,
}

impl WriterConnection {
    fn to(primary: &State) -> Self {
        Self { kills: primary.kills, prepared: BTreeSet::new() }
    }
}

impl PairLog {
    /// Sends a statement on the connection, or on another one if it was lost.
    fn send<T>(&mut self, statement: Statement, call: impl FnOnce(&mut State) -> Result<T, Meaning>) -> Result<T, Meaning> {
        let mut state = self.pair.lock();
        let connection = self.connection.take().filter(|connection| connection.kills == state.kills);
        let is_ready = connection.as_ref().is_some_and(|connection| connection.prepared.contains(&statement));
        if !is_ready && state.cut.take().is_some() {
            return Err(Meaning::Again("the connection was cut before the statement was sent".to_owned()));
        }
        let mut connection = connection.unwrap_or_else(|| WriterConnection::to(&state));
        connection.prepared.insert(statement);
        let done = call(&mut state);
        if !matches!(done, Err(Meaning::Unknown(_))) {
            self.connection = Some(connection);
        }
        done
    }
}

impl Log for PairLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn head(&self) -> Result<Head, LogError> {
        self.pair.lock().visible.log()?.head()
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        append(&mut Sending { log: self, batch, head, epoch }, batch, head, epoch)
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        self.pair.lock().visible.log()?.find_keys(keys)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(self.pair.reader())
    }

    fn release_caches(&mut self) {}
}

/// A reader of the primary of the moment.
struct PairReader(Pair);

impl PairReader {
    fn on_primary<T>(&self, read: impl FnOnce(&dyn LogReader) -> Result<T, LogError>) -> Result<T, LogError> {
        let reader = self.0.lock().visible.log()?.reader()?;
        read(&*reader)
    }
}

impl LogReader for PairReader {
    fn head(&self) -> Result<Head, LogError> {
        self.on_primary(|reader| reader.head())
    }

    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        self.on_primary(|reader| reader.read(after, limit))
    }

    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        self.on_primary(|reader| reader.read_stream(stream, after, limit))
    }

    fn record_by_id(&self, id: Id) -> Result<Option<Record>, LogError> {
        self.on_primary(|reader| reader.record_by_id(id))
    }

    fn body_at(&self, position: Position) -> Result<Option<Body>, LogError> {
        self.on_primary(|reader| reader.body_at(position))
    }

    fn batch_at(&self, position: Position) -> Result<Option<Id>, LogError> {
        self.on_primary(|reader| reader.batch_at(position))
    }

    fn check_indexes(&self) -> Result<(), LogError> {
        self.on_primary(|reader| reader.check_indexes())
    }

    fn release_caches(&self) {}
}

/// A batch on its way to the pair.
struct Sending<'a> {
    log: &'a mut PairLog,
    batch: &'a Batch,
    head: Position,
    epoch: Epoch,
}

impl Calls for Sending<'_> {
    fn append(&mut self) -> Result<AppendReply, Meaning> {
        let (batch, head, epoch) = (self.batch, self.head, self.epoch);
        if !batch.records.is_empty() && !self.log.has_parts {
            // They can be asked for again at any time.
            let made = self.log.send(Statement::MakeParts, |state| state.arrive().and_then(|()| state.commit(WalEntry::Nothing)));
            made.map_err(|meaning| Meaning::Again(meaning.to_string()))?;
            self.log.has_parts = true;
        }
        self.log.send(Statement::Append, |state| {
            state.arrive()?;
            let written = state.written.log().map_err(|error| Meaning::Refused(error.to_string()))?;
            let (entry, told) = match written.append(batch, head, epoch) {
                Ok(_) => (WalEntry::Batch { batch: batch.clone(), head, epoch }, AppendReply::Kept),
                // A call that locked the row of the log has a commit too.
                Err(AppendError::Behind(head)) => (WalEntry::Nothing, AppendReply::Behind(head)),
                Err(AppendError::Deposed(epoch)) => (WalEntry::Nothing, AppendReply::Deposed(epoch)),
                Err(error) => (WalEntry::Nothing, AppendReply::Rejected(error)),
            };
            state.commit(entry)?;
            Ok(told)
        })
    }

    fn settle(&mut self) -> Result<LogTail, Meaning> {
        let next = self.head.next();
        self.log.send(Statement::Settle, |state| {
            state.arrive()?;
            let look = |log: &MemoryLog| -> Result<LogTail, LogError> {
                Ok(LogTail { epoch: log.epoch(), head: log.head()?, batch: log.reader()?.batch_at(next)? })
            };
            let found = state.written.log().and_then(|log| look(log)).map_err(|error| Meaning::Refused(error.to_string()))?;
            state.commit(WalEntry::Nothing)?;
            Ok(found)
        })
    }

    fn find_rejected(&mut self) -> Option<usize> {
        // The log names the record itself.
        None
    }

    fn pause(&mut self) -> bool {
        // Without a further event, the wait has no end.
        let state = self.log.pair.lock();
        !(state.waits() && state.meanwhile.is_empty())
    }
}
