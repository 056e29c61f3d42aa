//! Effects: what the world owes the state after a commit.

use std::sync::Arc;

use crate::access::principal::Principal;
use crate::executions::facts::WantedLink;
use crate::ids::{AttemptId, ExecutionId, SensorId};
use crate::names::{ActionRef, SensorRef};
use crate::record::{BodyHandle, CatalogRevision};
use crate::sensors::cursor::StoredCursor;
use crate::time::Timestamp;

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Run this attempt.
    Dispatch(Box<Dispatch>),
    /// Stop this attempt, and report its end.
    Stop {
        /// The execution.
        execution: ExecutionId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// The log has given up this attempt; the result of whatever still runs is ignored.
    Release {
        /// The execution.
        execution: ExecutionId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Run this sensor, in place of its earlier run.
    RunSensor(Box<RunSensor>),
    /// Stop this sensor.
    StopSensor {
        /// The sensor.
        id: SensorId,
    },
}

/// A run of a pulling sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSensor {
    /// The sensor.
    pub id: SensorId,
    /// Its ref, under which the catalog has its definition.
    pub sensor: SensorRef,
    /// The number of the run.
    pub run: u64,
    /// Where it continues; `None` at the beginning, or if its source has no cursor.
    pub cursor: Option<StoredCursor>,
    /// How often it has failed in a row, as far as that is recorded: its back-off continues from there.
    pub failures: u32,
    /// Since when it has been running without a recorded failure.
    pub running_since: Option<Timestamp>,
}

/// An attempt to run, with everything a worker needs to look it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The execution.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The number of the attempt, from 1.
    pub number: u32,
    /// The fencing token.
    pub token: u64,
    /// The worker that the log gave it to.
    pub worker: Arc<str>,
    /// The action.
    pub action: ActionRef,
    /// The catalog in which the action and its dependencies are looked up.
    pub catalog: CatalogRevision,
    /// The parameters.
    pub params: BodyHandle,
    /// When the attempt was started; its deadline counts from here.
    pub started_at: Timestamp,
    /// Its timeout, in milliseconds.
    pub timeout_millis: u64,
    /// How long it may keep running after it was asked to stop, in milliseconds.
    pub grace_millis: u64,
    /// The actor that requested the execution, as written in the log.
    pub actor: String,
    /// On whose rights it runs, if the log says so.
    pub principal: Option<Principal>,
    /// The caller whose rights bound what its program may do, besides those of the action's pack.
    pub caller: Option<Principal>,
    /// The link to an inquiry that it puts into its parameters.
    pub link: Option<Box<WantedLink>>,
    /// The W3C trace that it belongs to, as in `cause.trace` of a record.
    pub trace: Option<String>,
}
