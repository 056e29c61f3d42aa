//! Facts about pulling sensors. They are on the stream of the sensor.

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::ids::SensorId;
use crate::names::{Names, SensorRef};
use crate::record::Digest;
use crate::text::cut;
use crate::time::Timestamp;

use super::cursor_change::CursorChange;

/// The maximum length of an error's message in bytes, as stored.
pub const SENSOR_ERROR_BYTES_MAX: usize = 2048;

/// The maximum length of a part's name in bytes.
pub const PART_NAME_BYTES_MAX: usize = 1024;
/// The maximum length of a part's error in bytes, as stored.
pub const PART_ERROR_BYTES_MAX: usize = 1024;

/// A pulling sensor came with a catalog, and begins to read its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorSet {
    /// The sensor.
    pub sensor: SensorRef,
    /// Its id. A sensor that is removed and set again has a new id.
    pub id: SensorId,
    /// The kind of its source, for example `process`.
    pub source: String,
    /// The digest of everything that gives its cursor a meaning. With another identity it is another sensor.
    pub identity: Digest,
}

/// A pulling sensor ended; its cursor is forgotten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorEnded {
    /// The sensor.
    pub id: SensorId,
    /// The reason.
    pub why: SensorEndedBecause,
}

/// Why a pulling sensor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum SensorEndedBecause {
    /// It is no longer in the catalog, or no longer pulls.
    Removed,
    /// It reads something else now, so its cursor means nothing there.
    Changed,
}

/// Somebody set whether a pulling sensor runs. The mode stays when its pack is upgraded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorModeSet {
    /// The sensor.
    pub sensor: SensorRef,
    /// The mode from now on.
    pub mode: SensorMode,
}

/// Whether a pulling sensor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum SensorMode {
    /// It runs.
    Enabled,
    /// It does not run, and its source keeps what comes, as far as it can.
    Disabled,
}

/// A sensor has read its source further. The record is in the same commit as the events.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorAdvanced {
    /// The sensor.
    pub id: SensorId,
    /// The run that read it.
    pub run: u64,
    /// The new cursor as JSON; `None` if it is the record's body, if `change` makes it, or if a source without a cursor only
    /// counts messages.
    pub cursor: Option<String>,
    /// What changed from the cursor before.
    pub change: Option<CursorChange>,
    /// How many messages were read.
    pub read: u32,
    /// How many events they created.
    pub made: u32,
    /// How many events were repeats.
    pub repeated: u32,
    /// How many messages were refused, and kept as dead letters.
    pub refused: u32,
    /// How many messages no `emits` matches.
    pub passed: u32,
    /// How many more were refused and not kept: the sensor had too many open dead letters.
    pub unkept: Option<u32>,
}

/// Somebody set the cursor of a sensor, which continues from there.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorCursorSet {
    /// The sensor.
    pub id: SensorId,
    /// The digest of the cursor before; `None` if it had none.
    pub from: Option<Digest>,
    /// The new cursor as JSON. `None` if it is the record's body; without a body, the sensor starts from its
    /// beginning.
    pub cursor: Option<String>,
}

/// Somebody asked for a new run of a sensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorRestarted {
    /// The sensor.
    pub id: SensorId,
}

/// Somebody tested a sensor: its source is opened and read beside its run, and nothing of it is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorTested {
    /// The sensor.
    pub id: SensorId,
}

/// A run of a sensor works: it has read a message, or has been without an error for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorStarted {
    /// The sensor.
    pub id: SensorId,
    /// The run.
    pub run: u64,
    /// The release of the node.
    pub release: String,
}

/// A sensor failed for the 1st, 2nd, 4th, 8th … time in a row. Failures in between are not recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorFailed {
    /// The sensor.
    pub id: SensorId,
    /// The run.
    pub run: u64,
    /// Why it failed.
    pub error: SensorError,
    /// How often it has failed in a row.
    pub failures: u32,
    /// When the node tries again.
    pub retry_at: Timestamp,
}

/// A part of what a sensor reads began to fail, or fails in another run, too. The sensor reads its other parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorPartFailed {
    /// The sensor.
    pub id: SensorId,
    /// The run.
    pub run: u64,
    /// The part, for example the address of a feed.
    pub part: String,
    /// Why it fails, for people; at most [`PART_ERROR_BYTES_MAX`] bytes.
    pub error: String,
}

/// A part of what a sensor reads works again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorPartRecovered {
    /// The sensor.
    pub id: SensorId,
    /// The run.
    pub run: u64,
    /// The part.
    pub part: String,
}

/// Why a sensor failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorError {
    /// The kind, from a closed list.
    pub kind: SensorErrorKind,
    /// What happened, for people; at most [`SENSOR_ERROR_BYTES_MAX`] bytes.
    pub message: String,
}

impl SensorError {
    /// Creates an error; a longer message is truncated with a marker.
    pub fn new(kind: SensorErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: cut(message.into(), SENSOR_ERROR_BYTES_MAX) }
    }
}

/// The kinds of errors of sensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum SensorErrorKind {
    /// The other side could not be reached, or closed the connection.
    Connect,
    /// TLS could not be agreed on.
    Tls,
    /// The other side rejected the credentials.
    Auth,
    /// The file, queue or page does not exist.
    NotFound,
    /// The other side sent something that its protocol does not allow.
    Protocol,
    /// The other side did not answer in time.
    Timeout,
    /// The program ended.
    Exited,
    /// The messages cannot be turned into events.
    Emits,
    /// Too many messages were refused.
    Poisoned,
    /// A limit was exceeded.
    Limit,
    /// Access to the address is denied from here.
    EgressDenied,
    /// A key that the sensor reads is not set.
    KeyMissing,
    /// An internal error.
    Bug,
}
