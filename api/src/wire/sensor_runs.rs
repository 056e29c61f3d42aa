//! The runs of pulling sensors.

use ensue_derive::wire;
use ensue_engine::names::SensorRef;
use ensue_engine::sensors::facts::{SensorError, SensorMode};
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ports::{FailingPart, SensorLine, SensorState, SensorStatus};

/// What the run of a pulling sensor does.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireSensorState {
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
    /// Its source has ended.
    Done,
}

/// Whether a pulling sensor runs, as an operator set it.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireSensorMode {
    /// It runs.
    Enabled,
    /// It does not run.
    Disabled,
}

/// Why a sensor failed.
#[wire(Serialize)]
pub(crate) struct WireSensorError {
    kind: &'static str,
    message: String,
}

/// A part of a sensor's source that fails, while the sensor reads the others.
#[wire(Serialize)]
pub(crate) struct WireFailingPart {
    part: String,
    error: String,
    since: Timestamp,
}

impl From<FailingPart> for WireFailingPart {
    fn from(FailingPart { part, error, since }: FailingPart) -> Self {
        Self { part, error, since }
    }
}

/// How far a sensor is behind its source.
#[wire(Serialize)]
pub(crate) struct WireSensorLag {
    messages: Option<u64>,
    newest_at: Option<Timestamp>,
}

/// A sensor's mode after it was set.
#[wire(Serialize)]
pub(crate) struct WireSensorModeSet {
    pub(crate) r#ref: SensorRef,
    pub(crate) mode: WireSensorMode,
}

/// A sensor whose run begins again.
#[wire(Serialize)]
pub(crate) struct WireSensorAgain {
    pub(crate) r#ref: SensorRef,
}

/// Where a sensor continues: at a cursor, or at its beginning.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRewind {
    /// The cursor, as the sensor shows it.
    pub(crate) to: Option<Box<RawValue>>,
    /// `start` to forget the cursor, so that the sensor begins like a new one; `end` to skip everything that the source
    /// has now.
    pub(crate) place: Option<WirePlace>,
}

/// A place in a source that needs no cursor.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WirePlace {
    /// Where the sensor began.
    Start,
    /// After everything that the source has now.
    End,
}

/// The last lines of a sensor's own log.
#[wire(Serialize)]
pub(crate) struct WireSensorLog {
    pub(crate) items: Vec<WireSensorLine>,
    pub(crate) next: Option<String>,
}

/// A line of a sensor's own log.
#[wire(Serialize)]
pub(crate) struct WireSensorLine {
    number: u64,
    time: Timestamp,
    text: String,
}

impl From<SensorMode> for WireSensorMode {
    fn from(mode: SensorMode) -> Self {
        match mode {
            SensorMode::Enabled => Self::Enabled,
            SensorMode::Disabled => Self::Disabled,
        }
    }
}

impl From<SensorState> for WireSensorState {
    fn from(state: SensorState) -> Self {
        match state {
            SensorState::Starting => Self::Starting,
            SensorState::Running => Self::Running,
            SensorState::Waiting => Self::Waiting,
            SensorState::Failing => Self::Failing,
            SensorState::Disabled => Self::Disabled,
            SensorState::Done => Self::Done,
        }
    }
}

impl From<SensorLine> for WireSensorLine {
    fn from(line: SensorLine) -> Self {
        Self { number: line.number, time: line.time, text: line.text }
    }
}

impl From<SensorError> for WireSensorError {
    fn from(error: SensorError) -> Self {
        Self { kind: error.kind.as_str(), message: error.message }
    }
}

impl WireSensorLag {
    /// Shows how far a sensor is behind, if its source says so.
    pub(crate) fn of(status: &SensorStatus) -> Option<Self> {
        let lag = Self { messages: status.lag_messages, newest_at: status.newest_at };
        (lag.messages.is_some() || lag.newest_at.is_some()).then_some(lag)
    }
}
