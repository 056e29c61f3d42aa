//! What needs attention now.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::ids::EventId;
use ensue_engine::names::{RuleRef, SensorRef, WorkerQueueName};
use ensue_engine::time::Timestamp;
use ensue_views::RuleActivity;
use ensue_views::rules::RuleError;
use serde::Serialize;

use crate::wire::executions::WireExecution;
use crate::wire::inquiries::WireInquiry;
use crate::wire::locks::WireLock;
use crate::wire::sensor_runs::WireSensorError;
use crate::wire::timers::WireDue;

/// What needs attention now, of what the caller may see. A part is null if the caller may not read such things.
#[wire(Serialize)]
pub(crate) struct WireNow {
    pub(crate) time: Timestamp,
    pub(crate) needs_person: WireNeedsPerson,
    /// The first 50 executions that wait for something other than a time or their own steps, those that have
    /// waited longest first.
    pub(crate) stuck: Option<Vec<WireExecution>>,
    /// Whether more executions wait than were examined: the 1,000 oldest.
    pub(crate) stuck_truncated: bool,
    /// The rules that erred within the last hour, the last one first: at most 50.
    pub(crate) failing_rules: Option<Vec<WireFailingRule>>,
    /// The sensors that fail, those that have failed longest first: at most 50.
    pub(crate) failing_sensors: Option<Vec<WireFailingSensor>>,
    /// The number of executions that have not ended, by their status.
    pub(crate) open: Option<BTreeMap<String, u64>>,
    pub(crate) rates: WireRates,
    /// The inquiries that the executions in `stuck` wait for.
    pub(crate) inquiries: Option<Vec<WireInquiry>>,
    /// The workflows that the executions in `stuck` are steps of.
    pub(crate) workflows: Option<Vec<WireExecution>>,
    /// The locks that executions wait for, those with the most waiting executions first: at most 10, with the first 3 of their
    /// holders and of the waiting executions.
    pub(crate) locks: Option<Vec<WireLock>>,
    /// The queues in which executions wait for a worker, those that have waited longest first.
    pub(crate) queues: Option<Vec<WireWaitingQueue>>,
    /// The next time of each schedule that is due within a day, the earliest first: at most 10.
    pub(crate) next: Option<Vec<WireDue>>,
}

/// A queue in which executions wait for a worker.
#[wire(Serialize)]
#[schemars(rename = "WaitingQueue")]
pub(crate) struct WireWaitingQueue {
    pub(crate) name: WorkerQueueName,
    /// The number of slots; null if the queue is not configured.
    pub(crate) workers: Option<u32>,
    /// The number of slots in use.
    pub(crate) busy_count: u32,
    /// The number of waiting executions; paused executions are not counted.
    pub(crate) waiting_count: usize,
    /// Since when the oldest waiting execution has been waiting.
    pub(crate) waiting_since: Option<Timestamp>,
}

/// How often things happened in each minute of the last hour, the current one last.
#[wire(Serialize)]
pub(crate) struct WireRates {
    /// When the first minute begins.
    pub(crate) from: Timestamp,
    pub(crate) events: Option<Vec<u64>>,
    /// Executions that were requested.
    pub(crate) requested: Option<Vec<u64>>,
    /// Executions that failed or took too long.
    pub(crate) failed: Option<Vec<u64>>,
}

/// How many things need a person.
#[wire(Serialize)]
pub(crate) struct WireNeedsPerson {
    /// Open inquiries that ask the caller.
    pub(crate) inquiries_mine: Option<u64>,
    /// Open inquiries of which people were reminded, or that are older than a day: counted among the 1,000
    /// oldest.
    pub(crate) inquiries_overdue: Option<u64>,
    /// Executions that may or may not have taken effect.
    pub(crate) indeterminate: Option<u64>,
    /// Reactions that failed and were parked.
    pub(crate) parked_reactions: Option<u64>,
    pub(crate) dead_letters_open: Option<u64>,
}

/// A rule that erred.
#[wire(Serialize)]
pub(crate) struct WireFailingRule {
    r#ref: RuleRef,
    message: String,
    /// How often it erred with this message.
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    last_event: EventId,
}

/// A sensor that fails.
#[wire(Serialize)]
pub(crate) struct WireFailingSensor {
    pub(crate) r#ref: SensorRef,
    /// When it failed first since it worked.
    pub(crate) since: Timestamp,
    /// When it is tried again.
    pub(crate) retry_at: Option<Timestamp>,
    pub(crate) error: Option<WireSensorError>,
}

impl WireFailingRule {
    pub(crate) fn new(rule: &RuleActivity, error: &RuleError) -> Self {
        Self {
            r#ref: rule.rule.clone(),
            message: error.message.clone(),
            count: error.count,
            first_at: error.first_at,
            last_at: error.last_at,
            last_event: error.last_event,
        }
    }
}
