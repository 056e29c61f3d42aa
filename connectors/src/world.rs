//! The ports through which sources reach what is outside: time, servers, programs, keys, and their own log.
//!
//! The node implements them, so that requests obey the operator's egress rules, and programs run behind the same
//! walls as those of actions.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::ProcessSource;
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;

use crate::Pending;
use crate::error::SourceError;

/// Everything outside that a source may reach.
#[derive(Clone)]
pub struct World {
    /// A number that is drawn from the sensor's id: the same in each run. Phases and jitter follow from it.
    pub seed: u64,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Servers.
    pub web: Arc<dyn Web>,
    /// Programs.
    pub programs: Arc<dyn Programs>,
    /// Keys.
    pub keys: Arc<dyn Keys>,
    /// The sensor's own log, for people.
    pub lines: Arc<dyn Lines>,
}

/// The time.
pub trait Clock: Send + Sync {
    /// Returns the time of day.
    fn now(&self) -> Timestamp;
    /// Completes after this long.
    fn sleep(&self, long: Duration) -> Pending<'_, ()>;
}

/// The sensor's own log.
pub trait Lines: Send + Sync {
    /// Adds a line, which must hold no secret and no message. Never blocks.
    fn add(&self, line: String);
}

/// Opens keys.
pub trait Keys: Send + Sync {
    /// Returns the value of a key for a sensor.
    ///
    /// # Errors
    /// [`KeyMissing`](crate::SourceErrorKind::KeyMissing) if the key is not set, or the pack may not read it.
    fn open(&self, key: &KeyRef, by: &SensorRef) -> Result<Secret, SourceError>;
    /// Returns the keys that a pack lists.
    fn listed(&self, pack: &PackName) -> Vec<KeyRef>;
}

/// Sends requests.
pub trait Web: Send + Sync {
    /// Sends a request, follows redirects, and returns the whole answer, whatever its status.
    ///
    /// # Errors
    /// If the operator does not allow the address, the server cannot be reached, or the answer is larger than
    /// `answer_bytes_max` or later than `timeout`.
    fn fetch(&self, request: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>>;
}

/// A request with everything rendered. It may hold secrets, so it has no `Debug`.
pub struct WebRequest {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Bytes>,
    /// How long the whole exchange may take.
    pub timeout: Duration,
    /// The maximum size of the answer, in bytes.
    pub answer_bytes_max: usize,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAnswer {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl WebAnswer {
    /// Returns the first value of a header; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Runs the programs of sensors.
pub trait Programs: Send + Sync {
    /// Starts the program of a sensor. It ends with the node, however the node ends.
    ///
    /// # Errors
    /// [`NotFound`](crate::SourceErrorKind::NotFound) if there is no such program.
    fn start(&self, order: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>>;
}

/// A program to start, with everything rendered. It may hold secrets, so it has no `Debug`.
pub struct ProgramOrder {
    /// The sensor.
    pub sensor: SensorRef,
    /// What its author wrote.
    pub source: Arc<ProcessSource>,
    /// Its environment in addition to the variables that every program gets.
    pub env: BTreeMap<String, OsString>,
    /// The keys that were opened for it. Their values are masked in its standard error.
    pub keys: Vec<(KeyRef, Secret)>,
}

/// A running program. If dropped, it is killed with everything that it started.
pub trait Program: Send {
    /// Returns the next bytes of its standard output, or `None` at the end. Bytes that nobody asks for stay in its
    /// pipe, so that the program has to wait. May be dropped while waiting without losing anything.
    fn read(&mut self) -> Pending<'_, Result<Option<Bytes>, SourceError>>;
    /// Writes a line to its standard input, with its line break. Never blocks: a program that does not read its
    /// input does not get what exceeds the pipe, which is `false`.
    fn write(&mut self, line: &[u8]) -> bool;
    /// Returns how it ended. Call it after the end of its output.
    fn end(&mut self) -> Pending<'_, ProgramEnd>;
    /// Asks it to stop, kills it after its grace period, and waits until nothing of it is left.
    fn stop(self: Box<Self>, grace: Duration) -> Pending<'static, ()>;
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramEnd {
    /// With this code.
    Code(i32),
    /// In another way, for people: `by signal 9`.
    Otherwise(String),
}
