//! One run of a source: read, commit, settle, until it is stopped or fails.
//!
//! The peer learns that messages are settled only after their events are in the log. If the node ends in between, the
//! next run begins at the cursor in the log, or gets the messages again and their keys are known.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_api::Queue;
use ensue_api::ports::SensorState;
use ensue_connectors::world::{LineSink, PartState};
use ensue_connectors::{Connect, Message, MessageSource, Pending, PullOutcome, Room, SourceError, Token, World};
use ensue_engine::catalog::{OnPoison, PoisonLimit, Sensor};
use ensue_engine::command::{Answer, Ask, Command, Novelty, Refusal, SensorBatch, SensorParts};
use ensue_engine::dead_letters::state::SENSOR_DEAD_LETTERS_MAX;
use ensue_engine::ids::SensorId;
use ensue_engine::ports::{CommitReceipt, Submit, SubmitError};
use ensue_engine::record::{Actor, Digest};
use ensue_engine::sensors::cursor::{Cursor, NewCursor};
use ensue_engine::sensors::facts::{SensorError, SensorErrorKind, SensorFailed};
use ensue_engine::time::Timestamp;
use ensue_executor::Blocking;
use ensue_expression::Document;
use tokio::sync::{oneshot, watch};

use super::batches::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Batch, batch_of};
use super::held_messages::HeldMessages;
use super::logs::SensorLog;
use super::parts::RunParts;
use super::status::RunStatus;
use crate::catalogs::NodeCatalogs;
use crate::edge::Edge;
use crate::intake::IntakeWatch;

/// How long a run must be without an error until it counts as started, if it reads nothing.
const STARTED_AFTER: Duration = Duration::from_secs(10);
/// How long a source waits for the node until that is shown.
const WAIT_SHOWN_AFTER: Duration = Duration::from_secs(5);
/// The first wait until a batch that the node was too busy for is offered again.
const OFFER_AGAIN_FIRST: Duration = Duration::from_millis(50);
/// The longest such wait.
const OFFER_AGAIN_MAX: Duration = Duration::from_secs(1);
/// How long a cursor must be in the log before another one is written that has no events.
const ADVANCE_EVERY: Duration = Duration::from_secs(1);
/// The maximum number of messages without events whose cursor waits for that.
const PASSED_MESSAGES_MAX: usize = 100_000;
/// How long a source may take to settle messages after the run was asked to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long a source may take to take messages back and to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// How a run ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// It was asked to stop.
    Stopped,
    /// The log has begun another run, or the log itself ends.
    Superseded,
    /// The source has ended.
    Done,
}

/// Everything that a run uses.
#[derive(Clone)]
pub(super) struct RunContext {
    /// Where batches go.
    pub(super) submit: Arc<dyn Submit>,
    /// The catalogs that judge events.
    pub(super) catalogs: Arc<NodeCatalogs>,
    /// Makes events.
    pub(super) edge: Arc<Edge>,
    /// Opens sources.
    pub(super) connect: Arc<dyn Connect>,
    /// What sources reach.
    pub(super) world: Arc<World>,
    /// Whether anything may be read.
    pub(super) intake: IntakeWatch,
    /// The bytes that were read and are not committed.
    pub(super) bytes: Arc<Queue>,
    /// Where events are made.
    pub(super) blocking: Blocking,
    /// The release of the node.
    pub(super) release: &'static str,
    /// What is shown of the run.
    pub(super) status: Arc<RunStatus>,
    /// The sensor's own log.
    pub(super) log: Arc<SensorLog>,
    /// What the source says of its parts.
    pub(super) parts: Arc<RunParts>,
}

/// One run of a sensor.
pub(super) struct SensorRun {
    pub(super) means: RunContext,
    pub(super) id: SensorId,
    pub(super) run: u64,
    pub(super) sensor: Arc<Sensor>,
    /// The cursor in the log.
    pub(super) cursor: Option<Cursor>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) is_started: bool,
    /// What was refused since the last message that was accepted.
    pub(super) refusals: Refusals,
    /// What becomes of refused messages.
    pub(super) letters: Letters,
    /// The messages that were pulled and are not in the log.
    pub(super) held: HeldMessages,
    /// The first of them make nothing, and only their cursor is to be written: the batch, and the cursor after it.
    pub(super) passed: Option<(Batch, Cursor)>,
    /// Completes when such a cursor may be written; `None` if it may be now.
    pub(super) quiet: Option<Pending<'static, ()>>,
}

impl SensorRun {
    /// Runs until it is stopped or fails.
    pub(super) async fn go(mut self) -> Result<RunEnd, SourceError> {
        if self.intake_opened(None).await? == Goes::No {
            return Ok(RunEnd::Stopped);
        }
        self.means.status.begin();
        let cursor = self.cursor.as_ref().map(document).transpose()?;
        let mut stop = self.stopped.clone();
        let mut source = {
            let opening = self.means.connect.open(self.sensor.clone(), self.means.world.clone(), cursor);
            tokio::select! {
                biased;
                () = wait_for_stop(&mut stop) => return Ok(RunEnd::Stopped),
                opened = opening => opened?,
            }
        };
        let ended = self.read(&mut *source).await;
        let ended = self.advance_at_end(&mut *source, ended).await;
        self.note_parts(match ended {
            Ok(RunEnd::Done) => self.means.parts.take_all(),
            Ok(RunEnd::Stopped | RunEnd::Superseded) => self.means.parts.take_at_end(),
            Err(_) => self.means.parts.take_due(),
        });
        let held = self.held.take_all();
        let patience = self.means.world.clock.sleep(CLOSE_PATIENCE);
        let closing = async {
            if !held.is_empty()
                && let Err(why) = source.give_back(&held).await
            {
                self.means.log.add(format!("the source did not take messages back: {why}"));
            }
            source.close().await;
        };
        tokio::select! {
            biased;
            () = closing => {}
            () = patience => self.means.log.add("the source did not close in time".to_owned()),
        }
        ended
    }

    async fn read(&mut self, source: &mut dyn MessageSource) -> Result<RunEnd, SourceError> {
        let clock = self.means.world.clock.clone();
        let mut healthy = Some(clock.sleep(STARTED_AFTER));
        loop {
            if self.intake_opened(Some(&mut *source)).await? == Goes::No {
                return Ok(RunEnd::Stopped);
            }
            let room = Room { messages: BATCH_MESSAGES_MAX, bytes: BATCH_BYTES_MAX };
            let mut stop = self.stopped.clone();
            let next = {
                let mut next = source.next(room);
                loop {
                    tokio::select! {
                        biased;
                        () = wait_for_stop(&mut stop) => return Ok(RunEnd::Stopped),
                        () = self.held.is_due() => break NextMove::Keep,
                        () = self.means.parts.are_due() => break NextMove::NoteParts,
                        pulled = &mut next => break NextMove::Pulled(pulled?),
                        () = is_over(&mut self.quiet), if self.passed.is_some() => break NextMove::Advance,
                        () = is_over(&mut healthy), if !self.is_started && !self.refusals.is_failing() => self.note_started(),
                    }
                }
            };
            self.means.status.set_lag(source.lag());
            let ended = match next {
                NextMove::Keep => {
                    self.held.keep(source).await?;
                    None
                }
                NextMove::NoteParts => {
                    self.note_parts(self.means.parts.take_due());
                    None
                }
                NextMove::Advance => self.advance(source).await?,
                NextMove::Pulled(PullOutcome::Messages(messages)) if messages.is_empty() => None,
                NextMove::Pulled(PullOutcome::Messages(messages)) => {
                    let ended = self.take(source, messages).await?;
                    if ended.is_none() && !self.refusals.is_failing() {
                        self.note_started();
                    }
                    ended
                }
                NextMove::Pulled(PullOutcome::Done) => Some(RunEnd::Done),
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Commits messages and settles them, batch by batch. Returns how the run ended, if it did.
    async fn take(&mut self, source: &mut dyn MessageSource, messages: Vec<Message>) -> Result<Option<RunEnd>, SourceError> {
        let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
        let _held = self.means.bytes.enter_anyway(bytes as u64);
        self.held.add(source, messages.iter().map(|message| message.token));
        let messages: Arc<[Message]> = messages.into();
        let mut from = 0;
        while from < messages.len() {
            let judged = self.make_batch(messages.clone(), from);
            let bug = || SourceError::new(SensorErrorKind::Bug, "making events stopped at an internal error");
            let batch = self.held.during(source, judged).await?.ok_or_else(bug)?;
            from += batch.read;
            let Some(last) = messages[..from].last().filter(|_| batch.read > 0).map(|message| message.token) else {
                return Err(SourceError::new(SensorErrorKind::Bug, "a batch of messages holds no message"));
            };
            let cursor = source.cursor_at(last).map(|cursor| to_cursor(&cursor)).transpose()?;
            self.check_poison(&batch)?;
            let (batch, cursor) = self.behind_passed(batch, cursor);
            match cursor {
                Some(cursor) if batch.makes_nothing() => {
                    let is_full = batch.read >= PASSED_MESSAGES_MAX;
                    self.passed = Some((batch, cursor));
                    if !is_full && !source.is_full() && !self.may_advance().await {
                        continue;
                    }
                    if let Some(ended) = self.advance(source).await? {
                        return Ok(Some(ended));
                    }
                }
                cursor => {
                    if let Some(ended) = self.write(source, &batch, cursor).await? {
                        return Ok(Some(ended));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Returns a batch together with the messages before it that make nothing.
    fn behind_passed(&mut self, batch: Batch, cursor: Option<Cursor>) -> (Batch, Option<Cursor>) {
        match self.passed.take() {
            Some((passed, before)) => (batch.after(&passed), cursor.or(Some(before))),
            None => (batch, cursor),
        }
    }

    /// Returns true if a cursor may be written that has no events: such records are at most one a second.
    async fn may_advance(&mut self) -> bool {
        tokio::select! {
            biased;
            () = is_over(&mut self.quiet) => true,
            () = ready(()) => false,
        }
    }

    /// Writes the cursor after messages that make nothing, if there are any. They are settled only then: a source that
    /// forgets what is settled must never be asked for something older.
    async fn advance(&mut self, source: &mut dyn MessageSource) -> Result<Option<RunEnd>, SourceError> {
        match self.passed.take() {
            Some((batch, cursor)) => self.write(source, &batch, Some(cursor)).await,
            None => Ok(None),
        }
    }

    /// Writes that cursor at the end of a run, however it ended.
    async fn advance_at_end(&mut self, source: &mut dyn MessageSource, ended: Result<RunEnd, SourceError>) -> Result<RunEnd, SourceError> {
        if matches!(ended, Ok(RunEnd::Superseded)) {
            return ended;
        }
        let advanced = self.advance(source).await;
        match (ended, advanced) {
            (Ok(RunEnd::Done), Ok(Some(early))) => Ok(early),
            (Ok(RunEnd::Done), Err(error)) => Err(error),
            // Without that cursor the messages are read again.
            (ended, _) => ended,
        }
    }

    /// Commits the first messages that are held, and settles them. Returns how the run ended, if it did.
    async fn write(
        &mut self,
        source: &mut dyn MessageSource,
        batch: &Batch,
        cursor: Option<Cursor>,
    ) -> Result<Option<RunEnd>, SourceError> {
        let unkept = match self.commit(source, batch, cursor.as_ref()).await? {
            Committing::Taken { unkept } => unkept,
            Committing::Ended(ended) => return Ok(Some(ended)),
        };
        if cursor.is_some() {
            let clock = self.means.world.clock.clone();
            self.quiet = Some(Box::pin(async move { clock.sleep(ADVANCE_EVERY).await }));
        }
        self.cursor = cursor.or(self.cursor.take());
        let kept = self.held.keep_before_a_wait(source).await;
        let tokens = self.held.take_first(batch.read);
        let left: Vec<Token> = batch.last_refused(unkept).iter().filter_map(|at| tokens.get(*at)).copied().collect();
        if !left.is_empty() {
            source.leave(&left);
        }
        let ended = self.settle(source, &tokens).await?;
        kept.map(|()| ended)
    }

    /// Settles messages. If the run is asked to stop, it waits for the peer only for a while: the messages are in the log.
    async fn settle(&mut self, source: &mut dyn MessageSource, tokens: &[Token]) -> Result<Option<RunEnd>, SourceError> {
        let (clock, stop) = (self.means.world.clock.clone(), &mut self.stopped);
        let patience = async {
            wait_for_stop(stop).await;
            clock.sleep(STOP_PATIENCE).await;
        };
        tokio::select! {
            biased;
            settled = source.settle(tokens) => settled.map(|()| None),
            () = patience => Ok(Some(RunEnd::Stopped)),
        }
    }

    /// Fails at a refused message if the sensor stops there. Otherwise the run continues, whatever is refused: what one sender
    /// writes must not keep the messages of others back. A sensor that accepts nothing is shown as failing.
    fn check_poison(&mut self, batch: &Batch) -> Result<(), SourceError> {
        let Some(reading) = self.sensor.source.reading() else { return Ok(()) };
        let first = batch.refused.first();
        if let Some(first) = first.filter(|_| reading.on_poison == OnPoison::Stop) {
            return Err(SourceError::new(SensorErrorKind::Poisoned, format!("a message was refused: {}", first.reason)));
        }
        if batch.accepts_something() {
            // Once the batch is in the log, the sensor is shown and recorded as running again.
            self.is_started &= !self.refusals.is_failing();
            self.refusals.accept(reading.poison.limit);
            return Ok(());
        }
        let Some(first) = first else { return Ok(()) };
        let now = self.means.world.clock.now();
        let PoisonLimit { limit, per } = reading.poison;
        if self.refusals.add(count(batch.refused.len()), now, (limit, per)) {
            let why = format!(
                "nothing is accepted: more than {limit} messages were refused within {} s, the last: {}",
                per.as_secs(),
                first.reason
            );
            self.note_poisoned(&SourceError::new(SensorErrorKind::Poisoned, why), now);
        }
        Ok(())
    }

    /// Shows and records that nothing is accepted, although the run continues.
    fn note_poisoned(&mut self, error: &SourceError, now: Timestamp) {
        let error = to_recorded_error(error);
        self.means.log.add(error.message.clone());
        self.refusals.error = Some(error.clone());
        self.show_reading();
        let failed = SensorFailed { id: self.id, run: self.run, error, failures: self.refusals.failures, retry_at: now };
        // The status and the sensor's own log show it, even if it is not recorded.
        self.means.submit.submit(Command { actor: Actor::Engine, trace: None, ask: Ask::NoteSensorFailed(failed) }, Box::new(|_| {}));
    }

    /// Shows that the run reads, or that all it reads is refused.
    fn show_reading(&self) {
        match &self.refusals.error {
            Some(error) => self.means.status.fail(error.clone(), None),
            None => self.means.status.set(if self.is_started { SensorState::Running } else { SensorState::Starting }),
        }
    }

    /// Makes a batch on a thread for long computations. Returns none at an internal error.
    fn make_batch(&self, messages: Arc<[Message]>, from: usize) -> impl Future<Output = Option<Batch>> + use<> {
        let (edge, catalog, sensor) = (self.means.edge.clone(), self.means.catalogs.current(), self.sensor.clone());
        self.means.blocking.run(move || batch_of(&edge, &catalog, &sensor, &messages[from..]))
    }

    /// Offers a batch until the node takes it. While the node is busy, the peer learns that the messages are worked on.
    async fn commit(&mut self, source: &mut dyn MessageSource, batch: &Batch, cursor: Option<&Cursor>) -> Result<Committing, SourceError> {
        let after: Option<Digest> = cursor.and(self.cursor.as_ref()).map(Cursor::digest);
        let mut ask = SensorBatch {
            sensor: self.id,
            run: self.run,
            read: count(batch.read),
            events: batch.events.clone(),
            refused: batch.refused.clone(),
            unkept: 0,
            passed: batch.passed,
            after,
            cursor: cursor.map(|cursor| NewCursor::after(self.cursor.as_ref(), cursor.clone())),
        };
        if ask.events.is_empty() && ask.refused.is_empty() && ask.cursor.is_none() {
            self.means.status.count(|read| {
                read.messages += batch.read as u64;
                read.passed += u64::from(batch.passed);
            });
            return Ok(Committing::Taken { unkept: 0 });
        }
        let (clock, mut again) = (self.means.world.clock.clone(), OFFER_AGAIN_FIRST);
        let mut waited = Duration::ZERO;
        loop {
            let command = Command { actor: Actor::Sensor(self.sensor.name.clone()), trace: None, ask: Ask::TakeSensorBatch(ask.clone()) };
            let busy = match self.submit_batch(source, command).await? {
                Ok(committed) => {
                    self.count(batch, &committed);
                    if waited >= WAIT_SHOWN_AFTER {
                        self.show_reading();
                    }
                    if !ask.refused.is_empty() && ask.unkept == 0 {
                        self.letters = Letters::Kept;
                    }
                    return Ok(Committing::Taken { unkept: ask.unkept as usize });
                }
                Err(SubmitError::Busy) => "the node is busy".to_owned(),
                Err(SubmitError::StorageFull) => "the disk is full".to_owned(),
                Err(SubmitError::Refused(refusal @ Refusal::TooMuchOpen { .. })) => refusal.to_string(),
                Err(SubmitError::Refused(Refusal::StaleRun { .. }) | SubmitError::Stopping) => {
                    return Ok(Committing::Ended(RunEnd::Superseded));
                }
                Err(SubmitError::Refused(refusal @ Refusal::TooManyDeadLetters { open, .. })) if !ask.refused.is_empty() => {
                    let room = usize::try_from(SENSOR_DEAD_LETTERS_MAX.saturating_sub(open)).unwrap_or(usize::MAX);
                    // At least one less, so that this ends.
                    let kept = room.min(ask.refused.len() - 1);
                    ask.unkept = ask.unkept.saturating_add(count(ask.refused.len() - kept));
                    ask.refused.truncate(kept);
                    if self.letters == Letters::Kept {
                        self.letters = Letters::Counted;
                        self.means.log.add(refusal.to_string());
                    }
                    continue;
                }
                Err(SubmitError::Refused(refusal)) => {
                    return Err(SourceError::new(SensorErrorKind::Emits, refusal.to_string()));
                }
                // Whether it was written will be seen in the log: the next run begins at the log's cursor.
                Err(error) => return Err(SourceError::new(SensorErrorKind::Bug, error.to_string())),
            };
            waited += again;
            if waited >= WAIT_SHOWN_AFTER {
                self.means.status.wait_for(&busy);
            }
            let mut stop = self.stopped.clone();
            let wait = async {
                tokio::select! {
                    biased;
                    () = wait_for_stop(&mut stop) => Goes::No,
                    () = clock.sleep(again) => Goes::On,
                }
            };
            if self.held.during(source, wait).await? == Goes::No {
                return Ok(Committing::Ended(RunEnd::Stopped));
            }
            again = (again * 2).min(OFFER_AGAIN_MAX);
        }
    }

    /// Submits a batch and waits for the answer. What was submitted may be in the log even if the run is stopped, so it
    /// waits for the answer in any case.
    async fn submit_batch(
        &mut self,
        source: &mut dyn MessageSource,
        command: Command,
    ) -> Result<Result<CommitReceipt, SubmitError>, SourceError> {
        let (tell, mut told) = oneshot::channel();
        let reply = move |outcome| {
            // A task that was aborted needs no answer.
            let _ = tell.send(outcome);
        };
        self.means.submit.submit(command, Box::new(reply));
        match self.held.during(source, &mut told).await {
            Ok(answer) => Ok(answer.unwrap_or(Err(SubmitError::Unknown))),
            Err(error) => {
                // The next run must not begin before the log has decided.
                let _ = told.await;
                Err(error)
            }
        }
    }

    /// Waits until the intake is open and there is room for bytes.
    async fn intake_opened(&mut self, mut source: Option<&mut dyn MessageSource>) -> Result<Goes, SourceError> {
        let clock = self.means.world.clock.clone();
        let (intake, mut waited) = (self.means.intake.clone(), Duration::ZERO);
        loop {
            let seen = intake.now();
            let why = seen.why_closed();
            let why =
                why.or_else(|| (self.means.bytes.depth() >= self.means.bytes.capacity()).then_some("too many bytes are on their way"));
            let Some(why) = why else {
                if waited >= WAIT_SHOWN_AFTER {
                    self.show_reading();
                }
                return Ok(Goes::On);
            };
            if waited >= WAIT_SHOWN_AFTER {
                self.means.status.wait_for(why);
            }
            let mut stop = self.stopped.clone();
            let wait = async {
                tokio::select! {
                    biased;
                    () = wait_for_stop(&mut stop) => None,
                    // The room for bytes tells nobody that it has changed.
                    () = clock.sleep(OFFER_AGAIN_MAX) => Some(OFFER_AGAIN_MAX),
                    () = intake.is_not(seen) => Some(Duration::ZERO),
                }
            };
            let passed = match &mut source {
                Some(source) => self.held.during(&mut **source, wait).await?,
                None => wait.await,
            };
            let Some(passed) = passed else { return Ok(Goes::No) };
            waited += passed;
        }
    }

    /// Notes, once in a run, that it works.
    fn note_started(&mut self) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        self.means.status.set(SensorState::Running);
        let ask = Ask::NoteSensorStarted { sensor: self.id, run: self.run, release: self.means.release.to_owned() };
        // If it is not recorded, the log shows the last failure until the next start.
        self.means.submit.submit(Command { actor: Actor::Engine, trace: None, ask }, Box::new(|_| {}));
    }

    /// Records which parts of the source fail, and which work again.
    fn note_parts(&self, parts: BTreeMap<String, PartState>) {
        if parts.is_empty() {
            return;
        }
        let (of_source, names) = (self.means.parts.clone(), parts.keys().cloned().collect::<Vec<String>>());
        let ask = Ask::NoteSensorParts(SensorParts { sensor: self.id, run: self.run, parts });
        self.means.submit.submit(Command { actor: Actor::Engine, trace: None, ask }, Box::new(move |_| of_source.note_answer(&names)));
    }

    fn count(&self, batch: &Batch, committed: &CommitReceipt) {
        let Answer::Events(received) = &committed.answer else { return };
        let made = received.iter().filter(|event| event.novelty == Novelty::New).count();
        self.means.status.count(|read| {
            read.messages += batch.read as u64;
            read.events += made as u64;
            read.repeated += (received.len() - made) as u64;
            read.passed += u64::from(batch.passed);
            read.refused += batch.refused.len() as u64;
        });
    }
}

/// What was refused since the last message that was accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    /// When the current period began, and how many messages were refused in it.
    period: Option<(Timestamp, u32)>,
    /// How many periods had more than the sensor allows.
    failures: u32,
    /// What is shown, if one had.
    error: Option<SensorError>,
}

/// What becomes of refused messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Letters {
    /// They are dead letters.
    #[default]
    Kept,
    /// They are only counted: the sensor has too many open dead letters.
    Counted,
}

impl Refusals {
    /// Returns true if nothing is accepted any longer.
    fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Notes that a message was accepted. A period that had too many refusals stays, so that a sender who lets some messages
    /// pass makes at most one failure in it.
    fn accept(&mut self, limit: u32) {
        let counted = self.period.filter(|(_, refused)| *refused > limit);
        *self = Self { period: counted, ..Self::default() };
    }

    /// Adds refused messages. Returns true if they are more within the period than the sensor allows, which counts once.
    fn add(&mut self, refused: u32, now: Timestamp, (limit, per): (u32, Duration)) -> bool {
        let (since, before) = self.period.filter(|(since, _)| now < since.plus_millis(millis(per))).unwrap_or((now, 0));
        let all = before.saturating_add(refused);
        self.period = Some((since, all));
        if before > limit || all <= limit {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        true
    }
}

/// What a run does next.
enum NextMove {
    /// It takes what it pulled.
    Pulled(PullOutcome),
    /// It asks the source to keep messages.
    Keep,
    /// It records which parts of the source fail.
    NoteParts,
    /// It writes a cursor.
    Advance,
}

/// What became of a batch.
enum Committing {
    /// It is in the log, except for the last ones of its refused messages, which are only counted there.
    Taken {
        /// How many they are.
        unkept: usize,
    },
    /// The run is over.
    Ended(RunEnd),
}

/// Whether a run continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    On,
    No,
}

/// Completes when a wait is over, however often that is asked.
async fn is_over(wait: &mut Option<Pending<'_, ()>>) {
    if let Some(until) = wait {
        until.await;
        *wait = None;
    }
}

/// Completes when a run is asked to stop.
pub(super) async fn wait_for_stop(stop: &mut watch::Receiver<bool>) {
    // A supervisor that is gone can no longer stop it, and nobody needs the run.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Returns the error as it is recorded.
pub(super) fn to_recorded_error(error: &SourceError) -> SensorError {
    SensorError::new(error.kind, error.message.clone())
}

pub(super) fn document(cursor: &Cursor) -> Result<Document, SourceError> {
    let broken = |why: String| SourceError::new(SensorErrorKind::Protocol, format!("the stored cursor is not valid: {why}"));
    Document::parse(Bytes::copy_from_slice(cursor.as_str().as_bytes())).map_err(|why| broken(why.to_string()))
}

pub(super) fn to_cursor(cursor: &Document) -> Result<Cursor, SourceError> {
    let too_large = |why: String| SourceError::new(SensorErrorKind::Limit, why);
    Cursor::of_bytes(cursor.bytes()).map_err(|why| too_large(why.to_string()))
}

fn millis(long: Duration) -> u64 {
    u64::try_from(long.as_millis()).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensor_counts_as_failing_once_in_each_period_with_more_refusals_than_it_allows() {
        let (mut refusals, limit) = (Refusals::default(), (100, Duration::from_secs(60)));
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert!(!refusals.add(100, at(0), limit));
        assert!(!refusals.is_failing());
        assert!(refusals.add(1, at(59), limit));
        assert!(!refusals.add(5_000, at(59), limit), "the period counts once");
        assert!(!refusals.add(100, at(60), limit));
        assert!(refusals.add(1, at(61), limit));
        assert_eq!(refusals.failures, 2);
        refusals.accept(100);
        assert!(!refusals.is_failing());
        assert!(!refusals.add(5_000, at(62), limit), "the period counts once, also if some messages are accepted in it");
        assert!(refusals.add(101, at(121), limit));
    }
}
