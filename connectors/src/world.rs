//! The ports through which sources reach what is outside: time, servers, programs, keys, folders, and their own log.
//!
//! The executor implements those of servers, programs and actions, so that requests obey the operator's egress rules,
//! and programs run behind the same walls as those of actions. It renders the sensor's templates itself: no source ever
//! sees a key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{Decode, HttpRequest, PolledAction, ProcessSource, Sensor, TextDecoding};
pub use ensue_engine::command::PartState;
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use serde_json::Value;

use crate::Pending;
use crate::error::SourceError;

/// Everything outside that a source may reach.
#[derive(Clone)]
pub struct World {
    /// What sources are opened for.
    pub purpose: SourcePurpose,
    /// A number that is drawn from the sensor's id: the same in each run. Phases and jitter follow from it.
    pub seed: u64,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Servers.
    pub web: Arc<dyn Web>,
    /// Programs.
    pub programs: Arc<dyn Programs>,
    /// Actions.
    pub actions: Arc<dyn Actions>,
    /// Keys.
    pub keys: Arc<dyn Keys>,
    /// Folders.
    pub folders: Arc<Folders>,
    /// The sensor's own log, for people.
    pub lines: Arc<dyn LineSink>,
    /// The parts of what it reads.
    pub parts: Arc<dyn Parts>,
}

/// What a source is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePurpose {
    /// The run of a sensor.
    Run,
    /// A look at the next messages, none of which is settled. What a new sensor would only remember is shown.
    Test,
    /// A look for the end of the source: everything that is there is only remembered, so that the first message moves
    /// the cursor there.
    End,
}

/// The time.
pub trait Clock: Send + Sync {
    /// Returns the time of day.
    fn now(&self) -> Timestamp;
    /// Completes after this long.
    fn sleep(&self, long: Duration) -> Pending<'_, ()>;
}

/// The sensor's own log.
pub trait LineSink: Send + Sync {
    /// Adds a line, which must hold no secret and no message. Never blocks.
    fn add(&self, line: String);
}

/// The parts of what a sensor reads, for example its feeds: one may fail while the sensor reads the others.
pub trait Parts: Send + Sync {
    /// Notes that a program starts. What was reported of parts stays until they are reported again. Never blocks.
    fn begin(&self);
    /// Takes what a program reports of a part. The texts must hold no secret. Never blocks.
    fn report(&self, part: PartReport);
}

/// What a program reports of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartReport {
    /// Its name: at most [`PART_NAME_BYTES_MAX`](ensue_engine::sensors::facts::PART_NAME_BYTES_MAX) bytes, and not empty.
    pub name: String,
    /// Whether it works.
    pub state: PartState,
}

/// Opens keys.
pub trait Keys: Send + Sync {
    /// Returns the value of a key for a sensor.
    ///
    /// # Errors
    /// [`KeyMissing`](crate::SensorErrorKind::KeyMissing) if the key is not set, or the pack may not read it.
    fn open(&self, key: &KeyRef, by: &SensorRef) -> Result<Secret, SourceError>;
    /// Returns the keys that a pack lists.
    fn listed_keys(&self, pack: &PackName) -> Vec<KeyRef>;
    /// Returns true if a pack lists a connection.
    fn lists_connection(&self, pack: &PackName, name: &str) -> bool;
}

/// The folders that file sensors may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// The folders whose files may be read.
    pub readable: Vec<PathBuf>,
    /// The folders whose files may be read, moved and deleted.
    pub writable: Vec<PathBuf>,
    /// The paths that are never reached, even if they lie inside others: the node's own files, and secrets.
    pub hidden: Vec<PathBuf>,
}

/// Sends requests.
pub trait Web: Send + Sync {
    /// Sends a request, follows redirects, and returns the whole answer, whatever its status.
    ///
    /// # Errors
    /// If the request cannot be rendered, the operator does not allow its address, the server cannot be reached, the
    /// answer is larger or later than the order allows, or the body of a success is not text.
    fn fetch(&self, order: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>>;
}

/// A request to send.
pub struct WebRequest {
    /// The sensor, whose configuration and keys the request may read.
    pub sensor: Arc<Sensor>,
    /// The request.
    pub http: Arc<HttpRequest>,
    /// The keys that the request may read.
    pub keys: Arc<dyn Keys>,
    /// Other names that the request may read, with their values.
    pub values: BTreeMap<&'static str, Value>,
    /// Headers in addition to those of the request.
    pub headers: Vec<(&'static str, String)>,
    /// The time of day.
    pub now: Timestamp,
    /// How long the whole exchange may take.
    pub timeout: Duration,
    /// The maximum size of the answer, in bytes, also when it is decompressed.
    pub answer_bytes_max: usize,
    /// What the body is read as. The charset of text may be declared in it.
    pub decode: Decode,
    /// How the body becomes text.
    pub text_decoding: TextDecoding,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAnswer {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case. The values of a repeated one are joined with `, `.
    pub headers: BTreeMap<String, String>,
    /// The body of a success as text in UTF-8, without its compression; nothing of any other answer.
    pub body: Bytes,
    /// How long the server asks to be left alone, if it does.
    pub retry_after: Option<Duration>,
}

/// Runs the actions that polls name.
pub trait Actions: Send + Sync {
    /// Runs an action once, without an execution in the log and without retries. If the future is dropped, the
    /// action is stopped.
    ///
    /// # Errors
    /// If the parameters cannot be rendered or do not fit, or the action fails.
    fn run(&self, order: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>>;
}

/// An action to run.
pub struct ActionOrder {
    /// The sensor, whose configuration the parameters may read.
    pub sensor: Arc<Sensor>,
    /// The action, with its parameters.
    pub call: PolledAction,
    /// Other names that the parameters may read, with their values.
    pub values: BTreeMap<&'static str, Value>,
    /// The time of day.
    pub now: Timestamp,
    /// Where the lines of its program's standard error go.
    pub lines: Arc<dyn LineSink>,
}

/// What an action returned.
#[derive(Clone, Debug)]
pub enum ActionAnswer {
    /// Its result.
    Result(Document),
    /// Nothing: its server asks to be left alone for this long.
    Throttled {
        /// For how long.
        retry_after: Duration,
    },
}

/// Runs the programs of sensors.
pub trait Programs: Send + Sync {
    /// Starts the program of a sensor, and writes its input into the first line of its standard input. It ends with
    /// the node, however the node ends.
    ///
    /// # Errors
    /// If the input cannot be rendered, or the program cannot be started.
    fn start(&self, order: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>>;
}

/// A program to start.
pub struct ProgramOrder {
    /// The sensor, whose configuration and keys the input and the environment may read.
    pub sensor: Arc<Sensor>,
    /// Its source, with the command.
    pub process: Arc<ProcessSource>,
    /// The keys that they may read.
    pub keys: Arc<dyn Keys>,
    /// What it is started for. A program that is tested has `ENSUE_TEST=1` in its environment.
    pub purpose: SourcePurpose,
    /// The cursor to start after, which is part of the first line.
    pub cursor: Option<Document>,
    /// Where the lines of its standard error go.
    pub lines: Arc<dyn LineSink>,
}

/// A running program. If dropped, it is killed with everything that it started.
pub trait Program: Send {
    /// Returns the next bytes of its standard output, or `None` at the end, and again after it. Bytes that nobody asks
    /// for stay in its pipe, so that the program has to wait. May be dropped while waiting without losing anything.
    fn read(&mut self) -> Pending<'_, Result<Option<Bytes>, SourceError>>;
    /// Writes a line to its standard input. Never blocks: returns false if the program does not read its input, so that
    /// the line does not fit into the pipe.
    fn write(&mut self, line: &str) -> bool;
    /// Masks the values of its keys in a text that it printed for people.
    fn mask(&self, text: &str) -> String;
    /// Waits for its end, and returns how it ended. May be dropped while waiting.
    fn end(&mut self) -> Pending<'_, ProgramEnd>;
    /// Asks it to stop, kills it after its grace period, and waits until nothing of it is left.
    fn stop(self: Box<Self>, grace: Duration) -> Pending<'static, ()>;
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramEnd {
    /// With this code.
    Code(i32),
    /// In another way, for people: `by signal 9 (SIGKILL)`.
    Otherwise(String),
}
