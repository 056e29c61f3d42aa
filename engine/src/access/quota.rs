//! Tiers: how much the members of a group may use, and how much of it they have used.
//!
//! What an identity uses is counted from the records that it caused: its events by day, the executions that it
//! requested by hour, and how many of these are open. Days and hours are those of UTC.

pub(crate) mod decide;
pub mod state;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::explain::Explain;
use crate::names::{GroupName, Names, TierName};
use crate::time::Timestamp;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum Quota {
    /// The events that an identity sends in a day.
    EventsPerDay,
    /// The executions that it requests in an hour.
    ExecutionsPerHour,
    /// The executions that it requested and that have not ended.
    Concurrent,
}

/// How much an identity may use. A limit that is absent is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    /// How many events it may send in a day.
    pub events_per_day: Option<u64>,
    /// How many executions it may request in an hour.
    pub executions_per_hour: Option<u64>,
    /// How many of these may be open at once.
    pub concurrent: Option<u64>,
}

impl Tier {
    /// Returns the limit, if there is one.
    pub fn limit(&self, quota: Quota) -> Option<u64> {
        match quota {
            Quota::EventsPerDay => self.events_per_day,
            Quota::ExecutionsPerHour => self.executions_per_hour,
            Quota::Concurrent => self.concurrent,
        }
    }
}

/// The tiers, and the groups whose members have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers {
    named: BTreeMap<TierName, Tier>,
    of_groups: Vec<(GroupName, TierName)>,
}

/// Why tiers cannot be assigned to groups.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TiersError {
    /// There is no such tier.
    #[error("the group `{group}` has the tier `{tier}`, which is not under `tiers`")]
    Unknown {
        /// The group.
        group: GroupName,
        /// The tier.
        tier: TierName,
    },
    /// A group is listed more than once.
    #[error("the group `{0}` is listed more than once")]
    Twice(GroupName),
}

impl Tiers {
    /// Assigns tiers to groups.
    pub fn new(named: BTreeMap<TierName, Tier>, of_groups: Vec<(GroupName, TierName)>) -> Result<Self, TiersError> {
        let mut seen = BTreeSet::new();
        for (group, tier) in &of_groups {
            if !named.contains_key(tier) {
                return Err(TiersError::Unknown { group: group.clone(), tier: tier.clone() });
            }
            if !seen.insert(group) {
                return Err(TiersError::Twice(group.clone()));
            }
        }
        Ok(Self { named, of_groups })
    }

    /// Returns true if nobody has a tier.
    pub fn is_empty(&self) -> bool {
        self.of_groups.is_empty()
    }

    /// Returns the tier of a member of groups: that of the first listed group among them.
    pub fn of(&self, is_member: impl Fn(&GroupName) -> bool) -> Option<(&TierName, &Tier)> {
        let (_, name) = self.of_groups.iter().find(|(group, _)| is_member(group))?;
        self.named.get_key_value(name)
    }
}

/// A request would exceed a limit of the tier of its caller.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[explain(slug = "quota-exceeded", fault = Busy, hint = match resets_at {
    Some(resets_at) => format!("send it again after {resets_at}; `ensue usage` shows how much you have used"),
    None => "wait until one of your executions has ended; `ensue usage` shows how many are open".to_owned(),
})]
#[error("the request needs {needed} of `{}`, but {used} of {limit} are used", .what.as_str())]
pub struct QuotaExceeded {
    /// The limit that it would exceed.
    pub what: Quota,
    /// How much of it the request needs.
    pub needed: u64,
    /// The limit.
    pub limit: u64,
    /// How much of it is used.
    pub used: u64,
    /// When the use is counted from 0 again; `None` if that is not a matter of time.
    pub resets_at: Option<Timestamp>,
    /// When the caller may try again, in seconds from the request.
    pub retry_after_seconds: u64,
}
