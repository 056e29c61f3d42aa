//! What needs attention now.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::ids::EventId;
use ensue_engine::names::RuleRef;
use ensue_engine::time::Timestamp;
use ensue_views::rules::RuleError;
use ensue_views::{Execution, RuleActivity};
use serde::Serialize;

use crate::wire::executions::WireExecution;

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
    /// The number of executions that have not ended, by their status.
    pub(crate) open: Option<BTreeMap<String, u64>>,
    pub(crate) rates: WireRates,
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

/// Shows the executions that have waited longest.
pub(crate) fn longest(mut waiting: Vec<(Timestamp, Execution)>, most: usize) -> Vec<WireExecution> {
    waiting.sort_by_key(|(since, execution)| (*since, execution.position));
    waiting.into_iter().take(most).map(|(_, execution)| WireExecution::listed(execution)).collect()
}
