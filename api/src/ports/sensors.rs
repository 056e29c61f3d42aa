//! The runs of pulling sensors: their states, and what they say.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::command::ObservedEvent;
use ensue_engine::events::facts::KeptMessage;
use ensue_engine::names::{Names, RuleRef, SensorRef, TriggerRef};
use ensue_engine::record::Digest;
use ensue_engine::sensors::cursor::Cursor;
use ensue_engine::sensors::facts::{SensorError, SensorMode};
use ensue_engine::time::Timestamp;
use serde_json::{Map, Value};

use super::PortError;

/// The pulling sensors of the node.
pub trait Sensors: Send + Sync {
    /// Returns the status of a pulling sensor, or `None` if the log has no such sensor. Quick.
    fn status(&self, sensor: &SensorRef) -> Option<SensorStatus>;
    /// Returns lines of a sensor's own log, the oldest first: the last ones, or the first ones after a number. At most
    /// [`SENSOR_LINES_MAX`]. Blocking.
    fn lines(&self, sensor: &SensorRef, after: Option<u64>) -> Vec<SensorLine>;
    /// Opens the source of a pulling sensor beside its run, reads its next messages, and returns what they would make.
    /// Nothing is recorded and no message is settled. If the future is dropped, the source is closed.
    ///
    /// # Errors
    /// If another test of the sensor is running, or too many tests are. That the source fails is no error.
    fn test(&self, asked: SensorTest) -> Testing;
    /// Looks for the end of the source of a pulling sensor: the cursor after everything that it has now. Nothing is
    /// recorded.
    ///
    /// # Errors
    /// If the source fails, or does not know its end.
    fn end_of(&self, sensor: &SensorRef) -> FindingEnd;
    /// Checks that the source of a pulling sensor can continue from a cursor. Quick.
    ///
    /// # Errors
    /// If it cannot: the error has the form of its cursors.
    fn check_cursor(&self, sensor: &SensorRef, cursor: &Cursor) -> Result<(), PortError>;
    /// Returns the events that a refused message of a pulling sensor makes now: all of them, or an error. Blocking.
    ///
    /// # Errors
    /// If the sensor no longer pulls, or the message is still refused.
    fn read_again(&self, sensor: &SensorRef, message: KeptMessage, body: Bytes) -> Result<Vec<ObservedEvent>, PortError>;
}

/// A test that is running.
pub type Testing = Pin<Box<dyn Future<Output = Result<SensorTested, PortError>> + Send>>;

/// A look for the end of a source.
pub type FindingEnd = Pin<Box<dyn Future<Output = Result<SourceEnd, PortError>> + Send>>;

/// The end of the source of a sensor.
#[derive(Clone, Debug)]
pub struct SourceEnd {
    /// The digest of the sensor's cursor before the look; `None` if it had none.
    pub after: Option<Digest>,
    /// The cursor after everything that the source has.
    pub cursor: Cursor,
}

/// The maximum number of lines of a sensor's own log that are returned at once.
pub const SENSOR_LINES_MAX: usize = 1_000;

/// Which messages of a sensor to read.
#[derive(Clone, Debug)]
pub struct SensorTest {
    /// The sensor.
    pub sensor: SensorRef,
    /// How many messages, at most [`TESTED_MESSAGES_MAX`].
    pub count: usize,
    /// How long to wait for them.
    pub timeout: Duration,
    /// Where to begin.
    pub from: TestedFrom,
}

/// Where a test of a sensor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestedFrom {
    /// After the cursor in the log, as the next run would.
    Cursor,
    /// Where a new sensor begins.
    Start,
}

/// The maximum number of messages of a test.
pub const TESTED_MESSAGES_MAX: usize = 100;
/// The maximum size of a message and of a payload that a test shows, in bytes.
pub const TESTED_BYTES_MAX: usize = 64 << 10;

/// What a test of a sensor found.
#[derive(Clone, Debug)]
pub struct SensorTested {
    /// Why it ended.
    pub ended: TestEnd,
    /// Why the source failed, if it did: the whole error, before it is cut for the log.
    pub error: Option<SensorError>,
    /// The cursor that it began after, as JSON.
    pub after: Option<String>,
    /// The messages, in order.
    pub messages: Vec<TestedMessage>,
    /// What the source and its program said.
    pub lines: Vec<SensorLine>,
    /// How long it took.
    pub took: Duration,
}

/// Why a test of a sensor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum TestEnd {
    /// It has as many messages as it was asked for, or as fit.
    Enough,
    /// It has some messages, and no more came for a while.
    Quiet,
    /// Its time was over.
    Timeout,
    /// The source has ended.
    Done,
    /// The source failed.
    Failed,
}

/// A message that a test read.
#[derive(Clone, Debug)]
pub struct TestedMessage {
    /// Its content.
    pub body: TestedBody,
    /// The number of bytes of its content.
    pub bytes: u64,
    /// What else the source knows about it.
    pub about: Map<String, Value>,
    /// When it happened, if the source says so.
    pub time: Option<Timestamp>,
    /// What it would make.
    pub would: TestedOutcome,
    /// The cursor after it, as JSON.
    pub cursor: Option<String>,
}

/// The content of a message that a test read, if it has at most [`TESTED_BYTES_MAX`] bytes.
#[derive(Clone, Debug)]
pub enum TestedBody {
    /// A JSON value.
    Json(String),
    /// Bytes, as text. Bytes that are not UTF-8 are replaced.
    Text(String),
    /// Nothing, or more than is shown.
    NotShown,
}

/// What a message would make.
#[derive(Clone, Debug)]
pub enum TestedOutcome {
    /// These events.
    Events(Vec<TestedEvent>),
    /// No event: no `emits` matches it.
    Passed,
    /// A dead letter, or the end of the run if the sensor stops at one.
    Refused {
        /// The trigger that does not accept it, if it is one.
        trigger: Option<TriggerRef>,
        /// Why.
        reason: String,
    },
    /// The run would fail at it, for this reason.
    Fails(String),
}

/// An event that a message would make.
#[derive(Clone, Debug)]
pub struct TestedEvent {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// Its payload as JSON, if it has at most [`TESTED_BYTES_MAX`] bytes.
    pub payload: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The key under which it is accepted once.
    pub dedupe: Option<String>,
    /// Whether an event with this key is in the log; `None` if that could not be found out.
    pub is_repeat: Option<bool>,
    /// The rules that match it.
    pub rules: Vec<RuleRef>,
}

/// The status of a pulling sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorStatus {
    /// What its run does now.
    pub state: SensorState,
    /// Since when.
    pub since: Timestamp,
    /// The last error, while it fails.
    pub error: Option<SensorError>,
    /// Why it waits, while it does.
    pub waits_for: Option<String>,
    /// When it is tried again, while it fails; `None` once that has begun.
    pub retry_at: Option<Timestamp>,
    /// The parts of its source that fail, by name.
    pub failing_parts: Vec<FailingPart>,
    /// Whether it runs, as an operator set it.
    pub mode: SensorMode,
    /// The number of its newest run.
    pub run: u64,
    /// How often it was tried again since the node has started.
    pub restarts: u64,
    /// How many events it has created.
    pub events: u64,
    /// How many of its messages were refused.
    pub refused: u64,
    /// When its last event was recorded.
    pub last_event_at: Option<Timestamp>,
    /// How many messages wait at its source, if the source says so.
    pub lag_messages: Option<u64>,
    /// The time of the newest message that was read, if the source says so.
    pub newest_at: Option<Timestamp>,
    /// How far it has read, as JSON, if that is short.
    pub cursor: Option<String>,
}

/// A part of a sensor's source that fails, while the sensor reads the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingPart {
    /// Its name, for example the address of a feed.
    pub part: String,
    /// Why, for people.
    pub error: String,
    /// Since when.
    pub since: Timestamp,
}

/// What the run of a sensor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum SensorState {
    /// It opens its source.
    Starting,
    /// It reads.
    Running,
    /// It reads nothing, because the node takes no more for now.
    Waiting,
    /// It failed, and is tried again later.
    Failing,
    /// An operator disabled it.
    Disabled,
    /// Its source has ended, and is not read again.
    Done,
}

/// A line of a sensor's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorLine {
    /// Its number, which grows from line to line: the time in microseconds, or one more than the line before.
    pub number: u64,
    /// When it was added.
    pub time: Timestamp,
    /// The text.
    pub text: String,
}
