//! How much each identity has used.

use serde::{Deserialize, Serialize};

use super::Quota;
use crate::executions::milestone::Milestone;
use crate::executions::state::Executions;
use crate::fact::{AccessFact, EventFact, ExecutionFact};
use crate::ids::{ExecutionId, IdentityId};
use crate::record::{Actor, Record, StreamId};
use crate::table::{Table, undone_together};
use crate::time::Timestamp;

const HOUR_MILLIS: u64 = 60 * 60 * 1_000;
const DAY_MILLIS: u64 = 24 * HOUR_MILLIS;

/// How much the identities have used. An identity has a row from its first use on, until a day on which it uses
/// nothing. So there are at most as many rows as identities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    of: Table<IdentityId, IdentityUsage>,
    /// The newest day on which something was counted, under the only key 0.
    day: Table<u8, u64>,
}

undone_together!(pub(crate) Usage { of, day });

/// How much one identity has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityUsage {
    /// The day of the newest event, counted from 1970.
    day: u64,
    /// How many events there were on that day.
    events: u64,
    /// The hour of the newest execution, counted from 1970.
    hour: u64,
    /// How many executions there were in that hour.
    executions: u64,
    /// How many executions are open.
    open: u64,
}

/// How much of a quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The amount.
    pub used: u64,
    /// When it is counted from 0 again; `None` if that is not a matter of time.
    pub resets_at: Option<Timestamp>,
}

impl IdentityUsage {
    /// Returns how much of a quota is used at a time. If the clock was set back, the newest day and hour last until
    /// the clock has passed them again.
    pub fn level(&self, quota: Quota, now: Timestamp) -> Level {
        let within = |newest: u64, count: u64, window_millis: u64| {
            let window = now_in(now, window_millis);
            let used = if newest >= window { count } else { 0 };
            Level { used, resets_at: Some(begin_of(window.max(newest).saturating_add(1), window_millis)) }
        };
        match quota {
            Quota::EventsPerDay => within(self.day, self.events, DAY_MILLIS),
            Quota::ExecutionsPerHour => within(self.hour, self.executions, HOUR_MILLIS),
            Quota::Concurrent => Level { used: self.open, resets_at: None },
        }
    }

    fn count_event(&mut self, at: Timestamp) {
        let day = now_in(at, DAY_MILLIS);
        if day > self.day {
            (self.day, self.events) = (day, 0);
        }
        self.events += 1;
    }

    fn count_execution(&mut self, at: Timestamp) {
        let hour = now_in(at, HOUR_MILLIS);
        if hour > self.hour {
            (self.hour, self.executions) = (hour, 0);
        }
        self.executions += 1;
        self.open += 1;
    }

    /// Returns true if nothing of it matters on a day or later.
    fn is_over(&self, day: u64) -> bool {
        self.open == 0 && self.day < day && self.hour < day.saturating_mul(DAY_MILLIS / HOUR_MILLIS)
    }
}

impl Usage {
    /// Returns how much an identity has used.
    pub fn of(&self, id: &IdentityId) -> IdentityUsage {
        self.of.get(id).copied().unwrap_or_default()
    }

    /// Returns the number of rows.
    pub fn count(&self) -> usize {
        self.of.len()
    }

    /// Counts an event that an identity sent.
    pub(crate) fn apply_event(&mut self, record: &Record, fact: EventFact<'_>) {
        if let (EventFact::EventReceived(_), Actor::Identity { id, .. }) = (fact, &record.actor) {
            self.change(*id, record.time, |used| used.count_event(record.time));
        }
    }

    /// Counts an execution that an identity requested, until it ends. Call it before the executions fold the record.
    pub(crate) fn apply_execution(&mut self, record: &Record, fact: ExecutionFact<'_>, executions: &Executions) {
        match (fact.milestone(), &record.stream) {
            (Milestone::Asked(asked), _) if asked.part_of.is_none() => {
                if let Actor::Identity { id, .. } = &record.actor {
                    self.change(*id, record.time, |used| used.count_execution(record.time));
                }
            }
            (Milestone::Ended(_), StreamId::Execution(execution)) => {
                if let Some(id) = requester(executions, execution) {
                    self.of.change(&id, |used| used.open = used.open.saturating_sub(1));
                }
            }
            _ => {}
        }
    }

    /// Forgets an identity that was erased.
    pub(crate) fn apply_access(&mut self, fact: AccessFact<'_>) {
        if let AccessFact::IdentityErased(erased) = fact {
            self.of.remove(&erased.id);
        }
    }

    fn change(&mut self, id: IdentityId, at: Timestamp, change: impl FnOnce(&mut IdentityUsage)) {
        self.drop_old(now_in(at, DAY_MILLIS));
        if self.of.contains(&id) {
            self.of.change(&id, change);
        } else {
            let mut used = IdentityUsage::default();
            change(&mut used);
            self.of.insert(id, used);
        }
    }

    /// Removes, once a day, the rows of those who have used nothing since.
    fn drop_old(&mut self, day: u64) {
        if self.day.get(&0).is_some_and(|newest| *newest >= day) {
            return;
        }
        self.day.insert(0, day);
        let over: Vec<IdentityId> = self.of.iter().filter(|(_, used)| used.is_over(day)).map(|(id, _)| *id).collect();
        over.iter().for_each(|id| self.of.remove(id));
    }
}

/// Returns the identity that requested an open execution; `None` for a step.
fn requester(executions: &Executions, id: &ExecutionId) -> Option<IdentityId> {
    let execution = executions.get(id).filter(|execution| execution.part_of.is_none())?;
    match execution.actor.parse() {
        Ok(Actor::Identity { id, .. }) => Some(id),
        Ok(_) | Err(_) => None,
    }
}

/// Returns the number of the window that contains a time.
fn now_in(at: Timestamp, window_millis: u64) -> u64 {
    at.unix_millis() / window_millis
}

fn begin_of(window: u64, window_millis: u64) -> Timestamp {
    Timestamp::default().plus_millis(window.saturating_mul(window_millis))
}
