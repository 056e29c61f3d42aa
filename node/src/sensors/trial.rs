//! Tests of sensors: the source is opened a second time, beside the sensor's run, and its next messages are shown with
//! what they would make.
//!
//! No message is settled and nothing is recorded here. The API records who tested which sensor before it asks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensue_api::ports::{
    PortError, SensorTest, SensorTested, SourceEnd, TESTED_BYTES_MAX, TestEnd, TestedBody, TestedEvent, TestedFrom, TestedMessage,
    TestedOutcome,
};
use ensue_connectors::world::{LineSink, SourcePurpose};
use ensue_connectors::{Body, Connect, Message, MessageSource, Pending, PullOutcome, Room, SourceError, Token, World};
use ensue_engine::catalog::{Sensor, Source as Kind};
use ensue_engine::command::{Answer, Ask, Command, Novelty, ObservedEvent, ReceivedEvent, Refusal};
use ensue_engine::explain::Explain;
use ensue_engine::names::SensorRef;
use ensue_engine::ports::{Submit, SubmitError};
use ensue_engine::record::Actor;
use ensue_engine::rules::judge::Verdict;
use ensue_engine::sensors::cursor::Cursor;
use ensue_engine::sensors::facts::{SensorError, SensorErrorKind};
use ensue_expression::Document;
use ensue_sensors::pulled_messages::{MessageResult, events_of};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::batches::{BATCH_BYTES_MAX, judge_message};
use super::logs::SensorLog;
use super::run::{document, to_cursor, wait_for_stop};
use crate::catalogs::NodeCatalogs;
use crate::edge::Edge;

/// The maximum number of tests that run at once on a node.
const TESTS_MAX: usize = 4;
/// How long a test waits for another message once it has one.
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// How long a source may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// The maximum number of lines that a test shows: the last ones.
const LINES_MAX: usize = 100;

/// Why a test is not started, or not finished.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub(super) enum TestRefusal {
    /// There is no such sensor.
    #[error(transparent)]
    #[explain(transparent)]
    NotPulling(#[from] Refusal),
    /// Another test of it is running.
    #[error("another test of `{0}` is running")]
    #[explain(slug = "busy", fault = Busy, hint = "try again when it has ended")]
    Running(SensorRef),
    /// Too many tests are running.
    #[error("{TESTS_MAX} tests of sensors are running, which is the limit")]
    #[explain(slug = "busy", fault = Busy, hint = "try again when one of them has ended")]
    TooMany,
    /// The end of a source was not found.
    #[error("the end of the source of `{sensor}` is unknown: {why}")]
    #[explain(slug = "sensor-end-unknown", fault = Conflict, hint = "see what its source says with `ensue sensors test {sensor}`")]
    NoEnd {
        /// The sensor.
        sensor: SensorRef,
        /// Why.
        why: String,
    },
    /// The node stops.
    #[error("the node is stopping")]
    #[explain(slug = "stopping", fault = Unavailable, hint = "try again when the node is back")]
    Stopping,
    /// A panic.
    #[error("{0}")]
    #[explain(slug = "internal-error", fault = Bug)]
    Panicked(String),
}

/// The sensors that are being tested.
#[derive(Clone, Default)]
pub(super) struct Tests(Arc<Mutex<BTreeSet<SensorRef>>>);

/// The place of a running test.
struct TestSlot {
    tests: Tests,
    sensor: SensorRef,
}

impl Tests {
    fn begin(&self, sensor: &SensorRef) -> Result<TestSlot, TestRefusal> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains(sensor) {
            return Err(TestRefusal::Running(sensor.clone()));
        }
        if running.len() >= TESTS_MAX {
            return Err(TestRefusal::TooMany);
        }
        running.insert(sensor.clone());
        Ok(TestSlot { tests: self.clone(), sensor: sensor.clone() })
    }
}

impl Drop for TestSlot {
    fn drop(&mut self) {
        self.tests.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sensor);
    }
}

/// Ends a task when it is dropped.
struct Aborting<T>(JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Everything that a test uses.
pub(super) struct Trial {
    pub(super) submit: Arc<dyn Submit>,
    pub(super) catalogs: Arc<NodeCatalogs>,
    pub(super) edge: Arc<Edge>,
    pub(super) connect: Arc<dyn Connect>,
    /// What the source reaches. Its lines go to `log`.
    pub(super) world: World,
    pub(super) log: Arc<SensorLog>,
    pub(super) sensor: Arc<Sensor>,
    /// The cursor in the log.
    pub(super) cursor: Option<Cursor>,
    pub(super) asked: SensorTest,
    pub(super) stopped: watch::Receiver<bool>,
}

/// A message that was read, and the cursor after it.
type ReadMessage = (Message, Option<Document>);

impl Tests {
    /// Runs a test, or a look for the end, once there is a place for it. A panic is an error.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        sensor: &SensorRef,
        trial: Pending<'static, Result<T, TestRefusal>>,
    ) -> Result<T, PortError> {
        let place = self.begin(sensor)?;
        let mut task = Aborting(tokio::spawn(async move {
            let _held = place;
            trial.await
        }));
        match (&mut task.0).await {
            Ok(tested) => tested.map_err(PortError::from),
            Err(error) => {
                let text = |panic: Box<dyn std::any::Any + Send>| ensue_engine::explain::panic_text(&*panic).to_owned();
                let why = error.try_into_panic().map_or_else(|error| error.to_string(), text);
                tracing::error!(%sensor, %why, "a test of a sensor stopped at an internal error");
                Err(TestRefusal::Panicked(why).into())
            }
        }
    }
}

impl Trial {
    /// Looks for the end of the source.
    pub(super) async fn end(mut self) -> Result<SourceEnd, TestRefusal> {
        self.world.purpose = SourcePurpose::End;
        let after = self.cursor.as_ref().map(Cursor::digest);
        let (sensor, mut stop) = (self.sensor.name.clone(), self.stopped.clone());
        let found = tokio::select! {
            biased;
            () = wait_for_stop(&mut stop) => return Err(TestRefusal::Stopping),
            found = self.find_end() => found,
        };
        let cursor = found.map_err(|why| TestRefusal::NoEnd { sensor, why: why.message })?;
        Ok(SourceEnd { after, cursor })
    }

    async fn find_end(&self) -> Result<Cursor, SourceError> {
        // The files are looked at without what is known of them; a poll continues from what it knows.
        let cursor = match &self.sensor.source {
            Kind::File(_) => None,
            Kind::Poll(_) | Kind::Process(_) | Kind::Webhook { .. } | Kind::Timer { .. } => self.cursor.as_ref(),
        };
        let look = async {
            let mut source =
                self.connect.open(self.sensor.clone(), Arc::new(self.world.clone()), cursor.map(document).transpose()?).await?;
            loop {
                let room = Room { messages: 1, bytes: BATCH_BYTES_MAX };
                let nothing = || SourceError::new(SensorErrorKind::Protocol, "the source has ended and has no cursor");
                let PullOutcome::Messages(messages) = source.next(room).await? else { return Err(nothing()) };
                let Some(message) = messages.first() else { continue };
                let end = source.cursor_at(message.token).ok_or_else(nothing)?;
                source.close().await;
                return to_cursor(&end);
            }
        };
        let late = || SourceError::new(SensorErrorKind::Timeout, format!("it was not found in {} s", self.asked.timeout.as_secs()));
        tokio::select! {
            biased;
            found = look => found,
            () = self.world.clock.sleep(self.asked.timeout) => Err(late()),
        }
    }

    pub(super) async fn go(mut self) -> Result<SensorTested, TestRefusal> {
        self.world.purpose = SourcePurpose::Test;
        let (clock, began) = (self.world.clock.clone(), self.world.clock.now());
        let after = match self.asked.from {
            TestedFrom::Cursor => self.cursor.take(),
            TestedFrom::Start => None,
        };
        let mut stop = self.stopped.clone();
        let (read, ended) = tokio::select! {
            biased;
            () = wait_for_stop(&mut stop) => return Err(TestRefusal::Stopping),
            read = self.read(after.as_ref()) => read,
        };
        let mut messages = Vec::with_capacity(read.len());
        for (message, cursor) in read {
            messages.push(self.test_message(message, cursor).await?);
        }
        let (ended, error) = match ended {
            Ok(ended) => (ended, None),
            Err(SourceError { kind, message, .. }) => (TestEnd::Failed, Some(SensorError { kind, message })),
        };
        let mut lines = self.log.after(0);
        lines.drain(..lines.len().saturating_sub(LINES_MAX));
        let took = u64::try_from(clock.now().micros_since(began)).unwrap_or(0);
        let after = after.map(|cursor| cursor.as_str().to_owned());
        Ok(SensorTested { ended, error, after, messages, lines, took: Duration::from_micros(took) })
    }

    /// Opens the source, reads messages, and closes it.
    async fn read(&self, after: Option<&Cursor>) -> (Vec<ReadMessage>, Result<TestEnd, SourceError>) {
        let clock = self.world.clock.clone();
        let mut deadline = clock.sleep(self.asked.timeout);
        let mut read = Vec::new();
        let cursor = match after.map(document).transpose() {
            Ok(cursor) => cursor,
            Err(error) => return (read, Err(error)),
        };
        let mut source = {
            let opening = self.connect.open(self.sensor.clone(), Arc::new(self.world.clone()), cursor);
            tokio::select! {
                biased;
                opened = opening => match opened {
                    Ok(source) => source,
                    Err(error) => return (read, Err(error)),
                },
                () = &mut deadline => {
                    let why = format!("the source was not open after {} s", self.asked.timeout.as_secs());
                    return (read, Err(SourceError::new(SensorErrorKind::Timeout, why)));
                }
            }
        };
        let ended = self.pull(&mut *source, &mut read, deadline).await;
        let held: Vec<Token> = read.iter().map(|(message, _)| message.token).collect();
        let patience = clock.sleep(CLOSE_PATIENCE);
        let closing = async {
            if let Err(why) = source.give_back(&held).await {
                self.log.add(format!("the source did not take the messages back: {why}"));
            }
            source.close().await;
        };
        tokio::select! {
            () = closing => {}
            () = patience => self.log.add("the source did not close in time".to_owned()),
        }
        (read, ended)
    }

    async fn pull(
        &self,
        source: &mut dyn MessageSource,
        read: &mut Vec<ReadMessage>,
        mut deadline: Pending<'_, ()>,
    ) -> Result<TestEnd, SourceError> {
        let clock = self.world.clock.clone();
        let (mut bytes, mut has_read) = (0, false);
        loop {
            let room = Room { messages: self.asked.count - read.len(), bytes: BATCH_BYTES_MAX - bytes };
            let quiet = clock.sleep(QUIET_AFTER);
            let pulled = tokio::select! {
                biased;
                pulled = source.next(room) => pulled?,
                () = &mut deadline => return Ok(if has_read { TestEnd::Quiet } else { TestEnd::Timeout }),
                () = quiet, if has_read => return Ok(TestEnd::Quiet),
            };
            let PullOutcome::Messages(messages) = pulled else { return Ok(TestEnd::Done) };
            for message in messages {
                // No more comes until this is settled, so the source has read everything that there is.
                has_read = true;
                if matches!(message.body, Body::Progress) {
                    continue;
                }
                bytes += message.body.len();
                let cursor = source.cursor_at(message.token);
                read.push((message, cursor));
            }
            if read.len() >= self.asked.count || bytes >= BATCH_BYTES_MAX {
                return Ok(TestEnd::Enough);
            }
        }
    }

    /// Returns a message with what it would make.
    async fn test_message(&self, message: Message, cursor: Option<Document>) -> Result<TestedMessage, TestRefusal> {
        let (edge, catalog, sensor) = (self.edge.clone(), self.catalogs.current(), self.sensor.clone());
        let message = Arc::new(message);
        let work = {
            let message = message.clone();
            move || {
                let made = events_of(&sensor, &message);
                let keys = keys_of(&message, &made);
                judge_message(&edge, &catalog, &sensor, &message, made).map(|events| events.map(|events| (events, keys)))
            }
        };
        let made = tokio::task::spawn_blocking(work).await;
        let would = match made.map_err(|why| TestRefusal::Panicked(format!("making events stopped at an internal error: {why}")))? {
            Err((trigger, reason)) => TestedOutcome::Refused { trigger, reason },
            Ok(None) => TestedOutcome::Passed,
            Ok(Some((events, keys))) => self.check_events(events, keys).await,
        };
        let (body, bytes) = content(&message.body);
        let cursor = cursor.map(|cursor| cursor.root().raw().to_owned());
        Ok(TestedMessage { body, bytes, about: message.about.clone(), time: message.time, would, cursor })
    }

    /// Asks the core whether it would record these events, and which of them it has already.
    async fn check_events(&self, events: Vec<ObservedEvent>, keys: Vec<Option<String>>) -> TestedOutcome {
        let ask = Ask::Check(Box::new(Ask::ReceiveEvents(events.clone())));
        let (tell, told) = oneshot::channel();
        let reply = move |outcome| {
            // A test that was aborted needs no answer.
            let _ = tell.send(outcome);
        };
        self.submit.submit(Command { actor: Actor::Sensor(self.sensor.name.clone()), trace: None, ask }, Box::new(reply));
        let received: Option<Vec<ReceivedEvent>> = match told.await.unwrap_or(Err(SubmitError::Unknown)) {
            Ok(committed) => {
                if let Answer::Events(received) = committed.answer {
                    Some(received)
                } else {
                    None
                }
            }
            Err(SubmitError::Refused(refusal @ (Refusal::EmitNotPermitted(_) | Refusal::NoTrigger(_) | Refusal::PayloadMisfit { .. }))) => {
                return TestedOutcome::Fails(refusal.to_string());
            }
            Err(_) => None,
        };
        let shown = events.into_iter().zip(keys).enumerate().map(|(index, (event, dedupe))| {
            let is_repeat = received.as_ref().and_then(|received| received.get(index)).map(|one| one.novelty == Novelty::Repeat);
            let matched = event.judgement.verdicts.iter().filter(|one| matches!(one.verdict, Verdict::Matched(_)));
            TestedEvent {
                trigger: event.trigger,
                payload: Some(event.payload.root().raw().to_owned()).filter(|payload| payload.len() <= TESTED_BYTES_MAX),
                occurred_at: event.occurred_at,
                dedupe,
                is_repeat,
                rules: matched.map(|one| one.rule.name.clone()).collect(),
            }
        });
        TestedOutcome::Events(shown.collect())
    }
}

/// Returns the dedupe key of each event that a message makes.
fn keys_of(message: &Message, made: &MessageResult) -> Vec<Option<String>> {
    let MessageResult::Events(emitted) = made else { return Vec::new() };
    (0_u32..).zip(emitted).map(|(index, one)| one.dedupe.clone().or_else(|| crate::edge::natural_key(message, index))).collect()
}

/// Returns the content of a message as it is shown, and its size in bytes.
fn content(body: &Body) -> (TestedBody, u64) {
    let text = |bytes: &[u8]| {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(TESTED_BYTES_MAX)]);
        TestedBody::Text(shown.into_owned())
    };
    match body {
        Body::Json(document) if document.bytes().len() <= TESTED_BYTES_MAX => {
            (TestedBody::Json(document.root().raw().to_owned()), document.bytes().len() as u64)
        }
        Body::Json(document) => (TestedBody::NotShown, document.bytes().len() as u64),
        Body::Bytes(bytes) => (text(bytes), bytes.len() as u64),
        Body::Cut { head, whole } => (text(head), *whole),
        Body::Nothing | Body::Progress => (TestedBody::NotShown, 0),
    }
}
