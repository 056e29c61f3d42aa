//! The runs of pulling sensors: their states, and what they say.

use ensue_engine::names::{Names, SensorRef};
use ensue_engine::sensors::facts::{SensorError, SensorMode};
use ensue_engine::time::Timestamp;

/// The pulling sensors of the node.
pub trait Sensors: Send + Sync {
    /// Returns the status of a pulling sensor, or `None` if the log has no such sensor. Quick.
    fn status(&self, sensor: &SensorRef) -> Option<SensorStatus>;
    /// Returns the lines of a sensor's own log after the line with this number, the oldest first. Quick.
    fn lines_after(&self, sensor: &SensorRef, number: u64) -> Vec<SensorLine>;
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
    /// When it is tried again, while it fails.
    pub retry_at: Option<Timestamp>,
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
    /// Its number, from 1 since the start of the node.
    pub number: u64,
    /// When it was added.
    pub time: Timestamp,
    /// The text.
    pub text: String,
}
