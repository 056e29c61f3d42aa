//! Creates a long log for a measurement: events, and for some of them the rule, the execution and the attempt
//! that follow, through the real core into the real stores.
//!
//! There is no network, no worker and no packs folder: the packs installed in the directory judge the events,
//! and each attempt is reported as the plan says. It is not part of a running node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_engine::batch::{BatchInputs, CommittedBatch, OfferOutcome, Sequencing};
use ensue_engine::catalog::Catalog;
use ensue_engine::command::{Ask, Command, Conflict, Dedupe, DedupeKey, Nothing, ObservedEvent, Refusal, Report, ReportOutcome, Settings};
use ensue_engine::effect::Effect;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::{ActionRef, TriggerRef};
use ensue_engine::ports::Log;
use ensue_engine::record::{Actor, Body, Digest, Head, Position, Record};
use ensue_engine::rules::judge::{EventView, judge};
use ensue_expression::Document;
use ensue_store::checkpoints::Checkpoints;
use ensue_store::encode::compress;
use ensue_store::state_folder::{Durability, OutsideHead};
use ensue_views::{Projector, ViewError};

use crate::backend::{Folder, Views};
use crate::catalogs::NodeCatalogs;
use crate::clock::{ClockStep, SteppedClock, SystemClock};
use crate::config::Config;
use crate::log_runtime::open::{OpenedDirectory, open};
use crate::offline::OfflineError;
use crate::snapshots::{SNAPSHOT_EVERY_RECORDS, save};
use crate::start_error::{StartError, machine};

/// The number of events in one commit.
const EVENTS_PER_BATCH: u64 = 1_000;
/// The number of commits before any counts: connections are made and statements prepared in them.
const WARM_UP_COMMITS: usize = 2;
/// The number of batches that wait for the views.
const BATCHES_WAITING_MAX: usize = 4;
/// The number of executions that may run at once: none must wait for a slot.
const WORKERS: u32 = 1_000_000;

/// The log to create.
#[derive(Clone, Debug)]
pub struct LongLogPlan {
    /// The least number of records.
    pub records: u64,
    /// The trigger of the events.
    pub trigger: TriggerRef,
    /// The length of a payload, in bytes: `{"n": <number>, "text": "…"}`.
    pub payload_bytes: usize,
    /// The number of executions that stay open at the end, waiting for a worker.
    pub open: u64,
    /// The action whose attempts fail; attempts of all other actions succeed.
    pub failing: Option<ActionRef>,
}

/// Lengthens the log of a data directory without a running node as planned. Its views follow, and a state is
/// saved as far before the end as a running node's is at most. `step` is called for each commit.
pub fn lengthen(config: &Config, plan: &LongLogPlan, step: impl FnMut(Position)) -> Result<Position, OfflineError> {
    let clock = SystemClock::default();
    let opened = open(config, &clock)?;
    let views = opened.backend.views(opened.engine.log()).map_err(StartError::from)?;
    let reader = opened.log.reader().map_err(StartError::from)?;
    let (send, receive) = sync_channel(BATCHES_WAITING_MAX);
    let (writer, Beneath { _data, mut outside }) = Writer::of(opened, clock, plan)?;
    let head = std::thread::scope(|scope| {
        let views = scope.spawn(move || follow(views, &*reader, &receive));
        let written = writer.write(plan, step, &|batch| drop(send.send(batch)));
        drop(send);
        match views.join() {
            Ok(followed) => followed?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        written
    })?;
    outside.write(head, Durability::Synced).map_err(StartError::from)?;
    Ok(head.position)
}

/// A log that is written at full speed, without its views and without saved states.
pub struct Appending {
    writer: Writer,
    plan: LongLogPlan,
    _beneath: Beneath,
}

/// What the writer of an [`Appending`] did.
#[derive(Debug, Default)]
pub struct AppendStats {
    /// How many records it wrote.
    pub records: u64,
    /// How long each of its commits took.
    pub commits: Vec<Duration>,
}

impl Appending {
    /// Opens the log of a data directory without a running node, and writes the first batches.
    pub fn open(config: &Config, plan: LongLogPlan) -> Result<Self, OfflineError> {
        let clock = SystemClock::default();
        let opened = open(config, &clock)?;
        // Connections that only the start of a node needs: the server has a limit for all logs.
        opened.backend.has_started();
        let (mut writer, beneath) = Writer::of(opened, clock, &plan)?;
        if let Some(ClockStep { from, to }) = writer.set_back {
            writer.offer(Ask::NoteClockStep { from, to })?;
        }
        for _ in 0..WARM_UP_COMMITS {
            writer.turn(&plan)?;
        }
        Ok(Self { writer, plan, _beneath: beneath })
    }

    /// Writes as many records as the plan says, or until `is_over`. Then it is over for all that share `is_over`.
    pub fn write(&mut self, is_over: &AtomicBool) -> Result<AppendStats, OfflineError> {
        let appended = self.written_until(is_over);
        is_over.store(true, Ordering::Relaxed);
        appended
    }

    fn written_until(&mut self, is_over: &AtomicBool) -> Result<AppendStats, OfflineError> {
        let begin = self.writer.head().position.0;
        let mut appended = AppendStats::default();
        while appended.records < self.plan.records && !is_over.load(Ordering::Relaxed) {
            appended.commits.push(self.writer.turn(&self.plan)?);
            appended.records = self.writer.head().position.0 - begin;
        }
        Ok(appended)
    }
}

/// What a writer needs to stay open, and what is written after it.
struct Beneath {
    _data: Folder,
    outside: OutsideHead,
}

/// Keeps the views up to date with the written records, from their position on.
fn follow(
    mut views: Box<dyn Views>,
    reader: &dyn ensue_engine::ports::LogReader,
    batches: &Receiver<CommittedBatch>,
) -> Result<(), OfflineError> {
    use ensue_engine::ports::ReadLimit;

    let mut projector = Projector::new();
    let mut advance = |records: &[Record], views: &mut dyn Views| -> Result<(), OfflineError> {
        match projector.advance(views, records) {
            Ok(_) => Ok(()),
            // Records from before the views began are read from the log.
            Err(ViewError::Gap { next, .. }) => {
                while views.position() < Position(next.0 - 1) {
                    let earlier = reader.read(views.position(), ReadLimit::default()).map_err(StartError::from)?;
                    projector.advance(views, &earlier)?;
                }
                projector.advance(views, records)?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    };
    batches.iter().try_for_each(|batch| advance(&batch.records, &mut *views))
}

/// Creates events of one trigger, each with its number in it, judged by a catalog.
pub struct Ticks {
    /// The catalog that judges the events.
    pub catalog: Arc<Catalog>,
    /// The trigger of the events.
    pub trigger: TriggerRef,
    /// The number of the newest event.
    pub number: u64,
    text: String,
}

impl Ticks {
    /// Starts after a number, with payloads of this many bytes.
    pub fn after(number: u64, payload_bytes: usize, trigger: TriggerRef, catalog: Arc<Catalog>) -> Self {
        let text = "x".repeat(payload_bytes.saturating_sub(r#"{"n":12345678,"text":""}"#.len()));
        Self { catalog, trigger, number, text }
    }

    /// Creates the next event.
    pub fn next(&mut self, clock: &dyn SteppedClock) -> Result<ObservedEvent, Refusal> {
        self.number += 1;
        let moment = clock.moment();
        let payload = Bytes::from(format!(r#"{{"n":{},"text":"{}"}}"#, self.number, self.text));
        let document = Document::parse(payload.clone()).map_err(|why| Refusal::Bug(why.to_string()))?;
        let (id, source) = (EventId(Id::root(moment.time, moment.entropy)), "api".to_owned());
        let view = EventView { id, trigger: &self.trigger, source: &source, time: moment.time, payload: &document, only: None };
        let key = DedupeKey { scope: "events/bench".to_owned(), hash: Digest::of(&self.number.to_le_bytes()) };
        let body = compress(Body::json(payload));
        let dedupe = Some(Dedupe { key, content: body.digest, conflict: Conflict::IsRepeat });
        Ok(ObservedEvent { dedupe, body, ..ObservedEvent::from_view(&view, judge(&self.catalog, &view)) })
    }
}

struct Writer {
    sequencing: Sequencing,
    log: Box<dyn Log>,
    catalogs: NodeCatalogs,
    checkpoints: Checkpoints,
    clock: SystemClock,
    /// The clock step that happened while no node ran.
    set_back: Option<ClockStep>,
    settings: Settings,
    ticks: Ticks,
    running: Vec<Effect>,
}

impl Writer {
    fn of(opened: OpenedDirectory, clock: SystemClock, plan: &LongLogPlan) -> Result<(Self, Beneath), OfflineError> {
        let OpenedDirectory { data, log, engine, head, outside, checkpoints, .. } = opened;
        let set_back = clock.go_on_from(engine.time());
        let reader = log.reader().map_err(StartError::from)?;
        let catalogs = NodeCatalogs::open(data.packs(), engine.packs().clone(), reader).map_err(StartError::from)?;
        let writer = Self {
            sequencing: Sequencing::new(engine, head, log.epoch()),
            log,
            ticks: Ticks::after(head.position.0, plan.payload_bytes, plan.trigger.clone(), catalogs.current()),
            catalogs,
            checkpoints,
            clock,
            set_back,
            settings: Settings { workers: WORKERS, open_work_max: u64::MAX, ..Settings::default() },
            running: Vec::new(),
        };
        Ok((writer, Beneath { _data: data, outside }))
    }

    /// Ends what runs, takes in events, and commits both. Returns how long the commit took.
    fn turn(&mut self, plan: &LongLogPlan) -> Result<Duration, OfflineError> {
        self.report_all(plan)?;
        self.take_in(EVENTS_PER_BATCH)?;
        let begin = Instant::now();
        self.append()?;
        let took = begin.elapsed();
        self.take_committed();
        Ok(took)
    }

    fn write(mut self, plan: &LongLogPlan, mut step: impl FnMut(Position), tell: &dyn Fn(CommittedBatch)) -> Result<Head, OfflineError> {
        let mut is_saved = false;
        if let Some(ClockStep { from, to }) = self.set_back {
            self.offer(Ask::NoteClockStep { from, to })?;
        }
        // The executions that stay open are opened last, so they come on top.
        let until_open = plan.records.saturating_sub(plan.open * 3);
        while self.head().position.0 < until_open || !self.running.is_empty() {
            self.report_all(plan)?;
            if self.head().position.0 < until_open {
                self.take_in(EVENTS_PER_BATCH)?;
            }
            let batch = self.commit()?;
            step(self.head().position);
            tell(batch);
            if !is_saved && self.head().position.0 + SNAPSHOT_EVERY_RECORDS >= plan.records {
                self.save()?;
                is_saved = true;
            }
        }
        self.settings.workers = 0;
        while (self.sequencing.engine().executions().open_work()) < plan.open || self.head().position.0 < plan.records {
            self.take_in(EVENTS_PER_BATCH)?;
            tell(self.commit()?);
            step(self.head().position);
        }
        Ok(self.head())
    }

    fn head(&self) -> Head {
        self.sequencing.committed_head()
    }

    fn take_in(&mut self, events: u64) -> Result<(), OfflineError> {
        for _ in 0..events {
            let event = self.ticks.next(&self.clock)?;
            self.offer(Ask::ReceiveEvents(vec![event]))?;
        }
        Ok(())
    }

    /// Ends the attempts that the newest commit began.
    fn report_all(&mut self, plan: &LongLogPlan) -> Result<(), OfflineError> {
        std::mem::take(&mut self.running).into_iter().try_for_each(|effect| self.report(effect, plan))
    }

    fn report(&mut self, effect: Effect, plan: &LongLogPlan) -> Result<(), OfflineError> {
        let Effect::Dispatch(dispatch) = effect else { return Ok(()) };
        let (outcome, body) = match plan.failing.as_ref() == Some(&dispatch.action) {
            true => (ReportOutcome::Failed(Failure::new(FailureKind::ExitCode, "it was to fail")), None),
            false => (ReportOutcome::Succeeded, Some(Body::json(r#"{"done":true}"#))),
        };
        self.offer(Ask::ReportAttempt(Report {
            execution: dispatch.execution,
            attempt: dispatch.attempt,
            token: dispatch.token,
            outcome,
            retry_after_millis: None,
            output_tail: None,
            body,
            emitted: None,
            vars: Vec::new(),
            ended_before: None,
        }))
    }

    fn offer(&mut self, ask: Ask) -> Result<(), OfflineError> {
        let at = self.clock.moment();
        let command = Command { actor: Actor::Operator, trace: None, ask };
        let beside = BatchInputs { catalogs: &self.catalogs, bodies: &Nothing, seen: &Nothing, settings: &self.settings };
        match self.sequencing.offer(&command, &at, &beside) {
            OfferOutcome::Taken { .. } => Ok(()),
            OfferOutcome::Refused(refusal) => Err(refusal.into()),
            OfferOutcome::Needs(_) => Err(Refusal::Bug("the command needs a body".to_owned()).into()),
        }
    }

    fn commit(&mut self) -> Result<CommittedBatch, OfflineError> {
        self.append()?;
        Ok(self.take_committed())
    }

    fn append(&mut self) -> Result<(), OfflineError> {
        let before = self.head().position;
        self.log.append(self.sequencing.batch(), before, self.sequencing.epoch())?;
        Ok(())
    }

    fn take_committed(&mut self) -> CommittedBatch {
        let batch = self.sequencing.mark_committed();
        self.running.extend(batch.effects.iter().filter(|effect| matches!(effect, Effect::Dispatch(_))).cloned());
        batch
    }

    fn save(&self) -> Result<(), OfflineError> {
        save(self.sequencing.engine(), self.head(), &self.checkpoints).map_err(|error| machine("saving the state", &error).into())
    }
}
