//! One run of a source: read, commit, settle, until it is stopped or fails.
//!
//! The peer learns that messages are settled only after their events are in the log. If the node ends in between, the
//! next run begins at the cursor in the log, or gets the messages again and their keys are known.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_api::Queue;
use ensue_api::ports::SensorState;
use ensue_connectors::world::Lines;
use ensue_connectors::{Connect, Message, Pulled, Room, Source, SourceError, Token, World};
use ensue_engine::catalog::{OnPoison, PoisonLimit, Sensor};
use ensue_engine::command::{Answer, Ask, Command, Novelty, Refusal, SensorBatch};
use ensue_engine::ids::SensorId;
use ensue_engine::ports::{Committed, Submit, SubmitError};
use ensue_engine::record::{Actor, Digest};
use ensue_engine::sensors::cursor::Cursor;
use ensue_engine::sensors::facts::{SensorError, SensorErrorKind};
use ensue_engine::time::Timestamp;
use ensue_executor::Blocking;
use ensue_expression::Document;
use tokio::sync::{oneshot, watch};

use super::batches::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Batch, batch_of};
use super::logs::SensorLog;
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
/// How long a source may take to settle messages after the run was asked to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long a source may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// How a run ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was asked to stop.
    Stopped,
    /// The log has begun another run, or the log itself ends.
    Superseded,
    /// The source has ended.
    Done,
}

/// Everything that a run uses.
#[derive(Clone)]
pub(super) struct Means {
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
}

/// One run of a sensor.
pub(super) struct Run {
    pub(super) means: Means,
    pub(super) id: SensorId,
    pub(super) run: u64,
    pub(super) sensor: Arc<Sensor>,
    /// The cursor in the log.
    pub(super) cursor: Option<Cursor>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) is_started: bool,
    /// When the current period of the limit on refused messages began, and how many were refused in it.
    pub(super) refused: Option<(Timestamp, u32)>,
}

impl Run {
    /// Runs until it is stopped or fails.
    pub(super) async fn go(mut self) -> Result<Ended, SourceError> {
        if self.intake_opened().await == Goes::No {
            return Ok(Ended::Stopped);
        }
        self.means.status.begin();
        let cursor = self.cursor.as_ref().map(document).transpose()?;
        let mut stop = self.stopped.clone();
        let mut source = {
            let opening = self.means.connect.open(self.sensor.clone(), self.means.world.clone(), cursor);
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return Ok(Ended::Stopped),
                opened = opening => opened?,
            }
        };
        let ended = self.read(&mut *source).await;
        let closing = source.close();
        let patience = self.means.world.clock.sleep(CLOSE_PATIENCE);
        tokio::select! {
            biased;
            () = closing => {}
            () = patience => self.means.log.add("the source did not close in time".to_owned()),
        }
        ended
    }

    async fn read(&mut self, source: &mut dyn Source) -> Result<Ended, SourceError> {
        let clock = self.means.world.clock.clone();
        let mut healthy = clock.sleep(STARTED_AFTER);
        loop {
            if self.intake_opened().await == Goes::No {
                return Ok(Ended::Stopped);
            }
            let room = Room { messages: BATCH_MESSAGES_MAX, bytes: BATCH_BYTES_MAX };
            let mut stop = self.stopped.clone();
            let pulled = {
                let mut next = source.next(room);
                loop {
                    tokio::select! {
                        biased;
                        () = stopped(&mut stop) => return Ok(Ended::Stopped),
                        pulled = &mut next => break pulled?,
                        () = &mut healthy, if !self.is_started => self.started(),
                    }
                }
            };
            self.means.status.set_lag(source.lag());
            match pulled {
                Pulled::Messages(messages) if messages.is_empty() => {}
                Pulled::Messages(messages) => {
                    if let Some(ended) = self.take(source, messages).await? {
                        return Ok(ended);
                    }
                    self.started();
                }
                Pulled::Done => return Ok(Ended::Done),
            }
        }
    }

    /// Commits messages and settles them, batch by batch. Returns how the run ended, if it did.
    async fn take(&mut self, source: &mut dyn Source, messages: Vec<Message>) -> Result<Option<Ended>, SourceError> {
        let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
        let _held = self.means.bytes.enter_anyway(bytes as u64);
        let messages: Arc<[Message]> = messages.into();
        let mut from = 0;
        while from < messages.len() {
            let batch = self.judged(messages.clone(), from).await?;
            let tokens: Vec<Token> = messages[from..from + batch.read].iter().map(|message| message.token).collect();
            let Some(last) = tokens.last().copied() else {
                return Err(SourceError::new(SensorErrorKind::Bug, "a batch of messages holds no message"));
            };
            let cursor = source.cursor_at(last).map(|cursor| stored(&cursor)).transpose()?;
            self.check_poison(&batch)?;
            match self.commit(source, &tokens, &batch, cursor.as_ref()).await? {
                Committing::Taken => {}
                Committing::Ended(ended) => return Ok(Some(ended)),
            }
            self.cursor = cursor.or(self.cursor.take());
            if let Some(ended) = self.settle(source, &tokens).await? {
                return Ok(Some(ended));
            }
            from += batch.read;
        }
        Ok(None)
    }

    /// Settles messages. If the run is asked to stop, it waits for the peer only for a while: the messages are in the log.
    async fn settle(&mut self, source: &mut dyn Source, tokens: &[Token]) -> Result<Option<Ended>, SourceError> {
        let (clock, stop) = (self.means.world.clock.clone(), &mut self.stopped);
        let patience = async {
            stopped(stop).await;
            clock.sleep(STOP_PATIENCE).await;
        };
        tokio::select! {
            biased;
            settled = source.settle(tokens) => settled.map(|()| None),
            () = patience => Ok(Some(Ended::Stopped)),
        }
    }

    /// Fails if more messages are refused than the sensor allows: the source keeps them.
    fn check_poison(&mut self, batch: &Batch) -> Result<(), SourceError> {
        let (Some(reading), Some(first)) = (self.sensor.source.reading(), batch.refused.first()) else { return Ok(()) };
        let poisoned = |why: String| Err(SourceError::new(SensorErrorKind::Poisoned, why));
        if reading.on_poison == OnPoison::Stop {
            return poisoned(format!("a message was refused: {}", first.reason));
        }
        let now = self.means.world.clock.now();
        let PoisonLimit { limit, per } = reading.poison;
        let (since, refused) = self.refused.filter(|(since, _)| now < since.plus_millis(millis(per))).unwrap_or((now, 0));
        let refused = refused.saturating_add(count(batch.refused.len()));
        self.refused = Some((since, refused));
        if refused > limit {
            return poisoned(format!("more than {limit} messages were refused within {} s, the last: {}", per.as_secs(), first.reason));
        }
        Ok(())
    }

    /// Makes a batch on a thread for long computations.
    async fn judged(&self, messages: Arc<[Message]>, from: usize) -> Result<Batch, SourceError> {
        let (edge, catalog, sensor) = (self.means.edge.clone(), self.means.catalogs.current(), self.sensor.clone());
        let work = move || batch_of(&edge, &catalog, &sensor, &messages[from..]);
        let bug = || SourceError::new(SensorErrorKind::Bug, "making events stopped at an internal error");
        self.means.blocking.done(work).await.ok_or_else(bug)
    }

    /// Offers a batch until the node takes it. While the node is busy, the peer learns that the messages are worked on.
    async fn commit(
        &mut self,
        source: &mut dyn Source,
        tokens: &[Token],
        batch: &Batch,
        cursor: Option<&Cursor>,
    ) -> Result<Committing, SourceError> {
        let after: Option<Digest> = cursor.and(self.cursor.as_ref()).map(Cursor::digest);
        let ask = SensorBatch {
            sensor: self.id,
            run: self.run,
            read: count(batch.read),
            events: batch.events.clone(),
            refused: batch.refused.clone(),
            passed: batch.passed,
            after,
            cursor: cursor.cloned(),
        };
        if ask.events.is_empty() && ask.refused.is_empty() && ask.cursor.is_none() {
            self.means.status.count(|read| {
                read.messages += batch.read as u64;
                read.passed += u64::from(batch.passed);
            });
            return Ok(Committing::Taken);
        }
        let (clock, mut again) = (self.means.world.clock.clone(), OFFER_AGAIN_FIRST);
        let mut waited = Duration::ZERO;
        loop {
            let command = Command { actor: Actor::Sensor(self.sensor.name.clone()), trace: None, ask: Ask::TakeSensorBatch(ask.clone()) };
            let busy = match self.answered(source, tokens, command).await? {
                Ok(committed) => {
                    self.count(batch, &committed);
                    if waited >= WAIT_SHOWN_AFTER {
                        self.means.status.set(SensorState::Running);
                    }
                    return Ok(Committing::Taken);
                }
                Err(SubmitError::Busy) => "the node is busy".to_owned(),
                Err(SubmitError::StorageFull) => "the disk is full".to_owned(),
                Err(SubmitError::Refused(refusal @ Refusal::TooMuchOpen { .. })) => refusal.to_string(),
                Err(SubmitError::Refused(Refusal::StaleRun { .. }) | SubmitError::Stopping) => {
                    return Ok(Committing::Ended(Ended::Superseded));
                }
                Err(SubmitError::Refused(refusal @ Refusal::TooManyDeadLetters { .. })) => {
                    return Err(SourceError::new(SensorErrorKind::Poisoned, refusal.to_string()));
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
            tokio::select! {
                biased;
                () = stopped(&mut self.stopped) => return Ok(Committing::Ended(Ended::Stopped)),
                () = clock.sleep(again) => {}
            }
            again = (again * 2).min(OFFER_AGAIN_MAX);
        }
    }

    /// Submits a batch and waits for the answer. What was submitted may be in the log even if the run is stopped, so it
    /// waits for the answer in any case.
    async fn answered(
        &self,
        source: &mut dyn Source,
        tokens: &[Token],
        command: Command,
    ) -> Result<Result<Committed, SubmitError>, SourceError> {
        let (tell, mut told) = oneshot::channel();
        let reply = move |outcome| {
            // A task that was aborted needs no answer.
            let _ = tell.send(outcome);
        };
        self.means.submit.submit(command, Box::new(reply));
        let Some(every) = source.keep_every() else { return Ok(told.await.unwrap_or(Err(SubmitError::Unknown))) };
        loop {
            tokio::select! {
                biased;
                answer = &mut told => return Ok(answer.unwrap_or(Err(SubmitError::Unknown))),
                () = self.means.world.clock.sleep(every) => source.keep(tokens).await?,
            }
        }
    }

    /// Waits until the intake is open and there is room for bytes.
    async fn intake_opened(&mut self) -> Goes {
        let clock = self.means.world.clock.clone();
        let (intake, mut waited) = (self.means.intake.clone(), Duration::ZERO);
        loop {
            let seen = intake.now();
            let why = seen.why_closed();
            let why =
                why.or_else(|| (self.means.bytes.depth() >= self.means.bytes.capacity()).then_some("too many bytes are on their way"));
            let Some(why) = why else {
                if waited >= WAIT_SHOWN_AFTER {
                    self.means.status.set(if self.is_started { SensorState::Running } else { SensorState::Starting });
                }
                return Goes::On;
            };
            if waited >= WAIT_SHOWN_AFTER {
                self.means.status.wait_for(why);
            }
            tokio::select! {
                biased;
                () = stopped(&mut self.stopped) => return Goes::No,
                // The room for bytes tells nobody that it has changed.
                () = clock.sleep(OFFER_AGAIN_MAX) => waited += OFFER_AGAIN_MAX,
                () = intake.is_not(seen) => {}
            }
        }
    }

    /// Notes, once in a run, that it works.
    fn started(&mut self) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        self.means.status.set(SensorState::Running);
        let ask = Ask::NoteSensorStarted { sensor: self.id, run: self.run, release: self.means.release.to_owned() };
        // If it is not recorded, the log shows the last failure until the next start.
        self.means.submit.submit(Command { actor: Actor::Engine, trace: None, ask }, Box::new(|_| {}));
    }

    fn count(&self, batch: &Batch, committed: &Committed) {
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

/// What became of a batch.
enum Committing {
    /// It is in the log.
    Taken,
    /// The run is over.
    Ended(Ended),
}

/// Whether a run continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    On,
    No,
}

/// Completes when a run is asked to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A supervisor that is gone can no longer stop it, and nobody needs the run.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Returns the error as it is recorded.
pub(super) fn recorded(error: &SourceError) -> SensorError {
    SensorError::new(error.kind, error.message.clone())
}

pub(super) fn document(cursor: &Cursor) -> Result<Document, SourceError> {
    let broken = |why: String| SourceError::new(SensorErrorKind::Protocol, format!("the stored cursor is not valid: {why}"));
    Document::parse(Bytes::copy_from_slice(cursor.as_str().as_bytes())).map_err(|why| broken(why.to_string()))
}

pub(super) fn stored(cursor: &Document) -> Result<Cursor, SourceError> {
    let too_large = |why: String| SourceError::new(SensorErrorKind::Limit, why);
    Cursor::of_bytes(cursor.bytes()).map_err(|why| too_large(why.to_string()))
}

fn millis(long: Duration) -> u64 {
    u64::try_from(long.as_millis()).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
