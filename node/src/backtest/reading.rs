//! The events of a part of the log, as a backtest needs them: several threads read, unpack, parse and judge,
//! each of them a run of positions in turn. The backtest takes what they found in the order of the log.
//!
//! An event that the rule does not match is only counted, so what is passed on is small. A thread has at most
//! one part ready and one in the making; large payloads are passed on as they are stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;
use ensue_api::ports::Patience;
use ensue_engine::events::facts::EventReceived;
use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::fact::Fact;
use ensue_engine::ids::EventId;
use ensue_engine::names::{RuleRef, TriggerRef, VarName};
use ensue_engine::ports::{LogReader, ReadLimit};
use ensue_engine::record::{Body, Position, Record, StreamId};
use ensue_engine::rules::facts::EnforcementMade;
use ensue_engine::rules::flow::facts::{EnforcementReleased, EnforcementSuperseded};
use ensue_engine::rules::judge::{EventView, Judgement};
use ensue_engine::rules::react::DEPTH_MAX;
use ensue_engine::time::Timestamp;
use ensue_engine::vars::facts::{VarRemoved, VarSet};
use ensue_expression::Document;
use ensue_rehearsal::backtest::Judge;

use super::BacktestError;
use crate::followers::kept_bytes;
use crate::log_access::LogReaders;
use crate::plain_body::plain;

/// How many threads read.
const THREADS_MAX: usize = 2;
/// How many positions a thread reads in a row.
const RUN: u64 = 1_000;
/// The size at which a part is passed on, in bytes of memory.
const PART_BYTES_MAX: usize = 512 * 1024;
/// How many parts of a thread wait to be taken.
const PARTS_WAITING_MAX: usize = 1;
/// The largest payload that is passed on parsed, in bytes of memory.
const PARSED_BYTES_MAX: usize = 128 * 1024;
/// The lower scheduling priority of the threads: each gets about a tenth of the processor time of a thread with normal
/// priority.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How the log is divided among threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    /// The number of threads.
    pub(super) threads: usize,
    /// How many positions a thread reads in a row.
    pub(super) run: u64,
    /// The size at which a part is passed on.
    pub(super) part_bytes: usize,
    /// The largest payload that is passed on parsed.
    pub(super) parsed_bytes: usize,
}

impl Division {
    /// Returns the division for this machine.
    pub(super) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads: cores.min(THREADS_MAX), run: RUN, part_bytes: PART_BYTES_MAX, parsed_bytes: PARSED_BYTES_MAX }
    }
}

/// What is read.
#[derive(Clone, Copy)]
pub(super) struct ToRead<'a> {
    /// The log.
    pub(super) log: &'a LogReaders,
    /// The rule.
    pub(super) rule: &'a RuleRef,
    /// Its triggers.
    pub(super) triggers: &'a [TriggerRef],
    /// Only what comes after this position.
    pub(super) after: Position,
    /// The position of the newest record.
    pub(super) head: Position,
    /// Only what was recorded before this time.
    pub(super) until: Option<Timestamp>,
    /// Whether the caller still waits.
    pub(super) patience: &'a Patience,
}

/// A part of a run.
#[derive(Default)]
pub(super) struct RunPart {
    /// What the backtest takes, in order.
    pub(super) items: Vec<BacktestInput>,
    /// How many events the rule does not match.
    pub(super) passed_over: u64,
    /// How many events can no longer be read.
    pub(super) unreadable: u64,
    /// The clock at the end of the part.
    pub(super) clock: RunClock,
    /// The position up to which it was read; none if nothing was.
    pub(super) at: Option<Position>,
    /// What comes after it.
    pub(super) next: AfterPart,
    bytes: usize,
}

/// What comes after a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AfterPart {
    /// The next part of the same run.
    #[default]
    Part,
    /// The next run.
    Run,
    /// Nothing.
    Nothing,
}

/// Something that the backtest takes, and the clock at that time.
pub(super) struct BacktestInput {
    pub(super) clock: RunClock,
    pub(super) what: What,
}

/// Something that the backtest takes.
pub(super) enum What {
    /// The rule matches an event, or may.
    Event(Box<EventJudgement>),
    /// The rule decided something about a match.
    Happened(Box<Record>),
    /// A var was set or removed.
    Var(VarName, Option<Bytes>),
}

/// An event with the judgement of the rule.
pub(super) struct EventJudgement {
    pub(super) position: Position,
    pub(super) id: EventId,
    pub(super) fact: EventReceived,
    pub(super) payload: Payload,
    pub(super) judgement: Judgement,
}

/// The payload of an event.
pub(super) enum Payload {
    Parsed(Document),
    Stored(Body),
}

impl Payload {
    /// Returns the document, or `None` if it can no longer be read.
    pub(super) fn document(self) -> Option<Document> {
        match self {
            Self::Parsed(document) => Some(document),
            Self::Stored(body) => parse_body(&body),
        }
    }
}

fn parse_body(body: &Body) -> Option<Document> {
    Document::parse(plain(body).ok().flatten()?).ok()
}

/// The clock of the log since the beginning of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunClock {
    /// When the newest record was made, as if no step in the run had moved the clock, in microseconds.
    latest: Option<i64>,
    /// How far steps moved the clock, in microseconds.
    stepped: i64,
}

impl RunClock {
    fn pass(&mut self, record: &Record) {
        if let Fact::ClockStepped(step) = &record.fact {
            self.stepped = self.stepped.saturating_add(step.to.micros().saturating_sub(step.from.micros()));
        }
        self.latest = self.latest.max(Some(record.time.micros().saturating_sub(self.stepped)));
    }
}

/// The clock of the log over several runs. Delays continue as if steps of the clock had not happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogClock {
    /// When the newest record was made, as if no step had moved the clock.
    now: Timestamp,
    /// How far steps in earlier runs moved the clock, in microseconds.
    stepped: i64,
}

impl LogClock {
    /// Returns the clock before everything.
    pub(super) fn new() -> Self {
        Self { now: Timestamp::from_micros(0), stepped: 0 }
    }

    /// Returns the time.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves to a moment of the current run.
    pub(super) fn pass(&mut self, run: RunClock) {
        if let Some(latest) = run.latest {
            self.now = self.now.max(Timestamp::from_micros(latest.saturating_sub(self.stepped)));
        }
    }

    /// Moves past the end of the current run.
    pub(super) fn end_run(&mut self, run: RunClock) {
        self.stepped = self.stepped.saturating_add(run.stepped);
    }
}

/// Threads that read.
pub(super) struct ReaderThreads<'scope> {
    threads: Vec<ReaderThread<'scope>>,
    /// The thread that has the current run.
    current: usize,
    is_over: &'scope AtomicBool,
}

/// A thread that reads.
struct ReaderThread<'scope> {
    parts: Receiver<Result<RunPart, BacktestError>>,
    /// None once it was joined.
    handle: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> ReaderThreads<'scope> {
    /// Starts the threads. They end when everything is read, or soon after this is dropped.
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        (what, judge): (ToRead<'scope>, &Judge),
        division: Division,
        is_over: &'scope AtomicBool,
    ) -> Result<Self, BacktestError> {
        let mut reading = Self { threads: Vec::new(), current: 0, is_over };
        for number in 0..division.threads.max(1) {
            let (send, receive) = sync_channel(PARTS_WAITING_MAX);
            let thread = Thread { what, judge: judge.clone(), division, number: number as u64, send, is_over };
            let handle = std::thread::Builder::new()
                .name("backtest".to_owned())
                .spawn_scoped(scope, move || thread.read())
                .map_err(BacktestError::NoThread)?;
            reading.threads.push(ReaderThread { parts: receive, handle: Some(handle) });
        }
        Ok(reading)
    }

    /// Returns the next part of the log.
    pub(super) fn next(&mut self) -> Result<RunPart, BacktestError> {
        let ReaderThread { parts, handle } = &mut self.threads[self.current];
        match parts.recv() {
            Ok(part) => {
                let part = part?;
                if part.next == AfterPart::Run {
                    self.current = (self.current + 1) % self.threads.len();
                }
                Ok(part)
            }
            // A thread ends only after its last run, so this one stopped at an internal error.
            Err(_) => match handle.take().map(ScopedJoinHandle::join) {
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                Some(Ok(())) | None => std::panic::resume_unwind(Box::new("a thread of a backtest ended before the log did")),
            },
        }
    }
}

impl Drop for ReaderThreads<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// One of the threads.
struct Thread<'a> {
    what: ToRead<'a>,
    judge: Judge,
    division: Division,
    number: u64,
    send: SyncSender<Result<RunPart, BacktestError>>,
    is_over: &'a AtomicBool,
}

/// Why a thread reads no further.
enum ReadEnd {
    /// Everything is read, or nobody wants the rest.
    Over,
    /// It cannot.
    Failed(BacktestError),
}

impl<E: Into<BacktestError>> From<E> for ReadEnd {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Thread<'_> {
    fn read(self) {
        // On other systems the priority would apply to the whole process.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let ended = match self.what.log.with_reader(|reader| Ok(self.runs(reader))) {
            Ok(ended) => ended,
            Err(error) => Err(error.into()),
        };
        if let Err(ReadEnd::Failed(error)) = ended {
            // Nobody wants it if the backtest has failed already.
            let _ = self.send.send(Err(error));
        }
    }

    /// Reads the thread's runs.
    fn runs(&self, reader: &dyn LogReader) -> Result<(), ReadEnd> {
        let (run, threads) = (self.division.run.max(1), self.division.threads.max(1) as u64);
        let first = self.what.after.0.saturating_add(self.number.saturating_mul(run));
        let mut from = Position(first);
        while from < self.what.head {
            let to = Position(from.0.saturating_add(run)).min(self.what.head);
            self.run(reader, from, to)?;
            from = Position(from.0.saturating_add(run.saturating_mul(threads)));
        }
        Ok(())
    }

    fn run(&self, reader: &dyn LogReader, from: Position, to: Position) -> Result<(), ReadEnd> {
        let (mut part, mut at) = (RunPart::default(), from);
        while at < to {
            let records = usize::try_from(to.0 - at.0).unwrap_or(usize::MAX);
            let limit = ReadLimit::default();
            let records = reader.read(at, ReadLimit { records: records.min(limit.records), ..limit })?;
            if records.is_empty() {
                return self.pass_on(&mut part, AfterPart::Nothing);
            }
            for record in records {
                if self.what.until.is_some_and(|until| record.time >= until) {
                    return self.pass_on(&mut part, AfterPart::Nothing);
                }
                self.what.patience.demand()?;
                at = record.position;
                part.clock.pass(&record);
                part.at = Some(at);
                self.take(record, &mut part);
                if part.bytes >= self.division.part_bytes {
                    self.pass_on(&mut part, AfterPart::Part)?;
                }
            }
        }
        let next = if to == self.what.head { AfterPart::Nothing } else { AfterPart::Run };
        self.pass_on(&mut part, next)
    }

    fn pass_on(&self, part: &mut RunPart, next: AfterPart) -> Result<(), ReadEnd> {
        let fresh = RunPart { clock: part.clock, ..RunPart::default() };
        let part = RunPart { next, ..std::mem::replace(part, fresh) };
        if self.is_over.load(Ordering::Relaxed) {
            return Err(ReadEnd::Over);
        }
        self.send.send(Ok(part)).map_err(|_| ReadEnd::Over)
    }

    fn take(&self, record: Record, part: &mut RunPart) {
        let stream = record.stream.clone();
        match (&record.fact, stream) {
            (Fact::EventReceived(fact), StreamId::Event(id)) => {
                let is_too_deep = record.cause.depth > DEPTH_MAX && InternalTrigger::of(&fact.trigger).is_none();
                if self.what.triggers.contains(&fact.trigger) && fact.rule.is_none() && !is_too_deep {
                    self.judge(record, id, part);
                }
            }
            (Fact::EnforcementMade(EnforcementMade { rule, .. }), _)
            | (Fact::EnforcementReleased(EnforcementReleased { rule, .. }), _)
            | (Fact::EnforcementSuperseded(EnforcementSuperseded { rule, .. }), _)
                if rule == self.what.rule =>
            {
                part.put(size_of::<Record>() + kept_bytes(&record), What::Happened(Box::new(Record { body: None, ..record })));
            }
            (Fact::VarSet(VarSet { name, .. }), _) => {
                let value = record.body.as_ref().and_then(|body| plain(body).ok().flatten());
                part.put(value.as_ref().map_or(0, Bytes::len), What::Var(name.clone(), value));
            }
            (Fact::VarRemoved(VarRemoved { name, .. }), _) => part.put(0, What::Var(name.clone(), None)),
            _ => {}
        }
    }

    fn judge(&self, record: Record, id: EventId, part: &mut RunPart) {
        let Record { position, fact: Fact::EventReceived(fact), body: Some(body), .. } = record else {
            part.unreadable += 1;
            return;
        };
        let Some(payload) = parse_body(&body) else {
            part.unreadable += 1;
            return;
        };
        let view = EventView { id, trigger: &fact.trigger, source: &fact.source, time: fact.occurred_at, payload: &payload, only: None };
        let Some(judgement) = self.judge.judge(&view, fact.version) else {
            part.passed_over += 1;
            return;
        };
        let (bytes, payload) = if payload.memory() > self.division.parsed_bytes {
            (body.content.as_ref().map_or(0, Bytes::len), Payload::Stored(body))
        } else {
            (payload.memory(), Payload::Parsed(payload))
        };
        part.put(size_of::<EventJudgement>() + bytes, What::Event(Box::new(EventJudgement { position, id, fact, payload, judgement })));
    }
}

impl RunPart {
    fn put(&mut self, bytes: usize, what: What) {
        self.bytes += size_of::<BacktestInput>() + bytes;
        self.items.push(BacktestInput { clock: self.clock, what });
    }
}
