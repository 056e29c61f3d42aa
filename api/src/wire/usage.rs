//! What an identity uses.

use ensue_derive::wire;
use ensue_engine::access::quota::state::IdentityUsage;
use ensue_engine::access::quota::{Quota, Tier};
use ensue_engine::ids::IdentityId;
use ensue_engine::names::TierName;
use ensue_engine::time::Timestamp;
use serde::Serialize;

/// What a caller has used.
#[wire(Serialize)]
pub(crate) struct WireUsage {
    /// The id of the identity, or null for a token without one: nothing is counted for it.
    id: Option<IdentityId>,
    name: String,
    /// The tier of its groups, or null if it has none.
    tier: Option<TierName>,
    quotas: Vec<WireQuota>,
}

/// How much of a quota is used.
#[wire(Serialize)]
pub(crate) struct WireQuota {
    /// What is counted: `events_per_day`, `executions_per_hour` or `concurrent`.
    what: &'static str,
    used: u64,
    /// The limit of the tier, or null if there is none.
    limit: Option<u64>,
    /// When it is counted from 0 again, or null if that is not a matter of time.
    resets_at: Option<Timestamp>,
}

impl WireUsage {
    /// Shows what an identity has used.
    pub(crate) fn new((id, name): (IdentityId, String), tier: Option<(&TierName, &Tier)>, used: &IdentityUsage, now: Timestamp) -> Self {
        let quota = |what: Quota| {
            let level = used.level(what, now);
            let limit = tier.and_then(|(_, tier)| tier.limit(what));
            WireQuota { what: what.as_str(), used: level.used, limit, resets_at: level.resets_at }
        };
        Self { id: Some(id), name, tier: tier.map(|(name, _)| name.clone()), quotas: Quota::ALL.map(quota).into() }
    }

    /// Shows that nothing is counted for a token without an identity.
    pub(crate) fn of_token(name: &str) -> Self {
        Self { id: None, name: name.to_owned(), tier: None, quotas: Vec::new() }
    }
}
