//! The check of what a request would record against the tier of its caller.

use super::{Quota, QuotaExceeded, Tier};
use crate::command::{Refusal, Settings};
use crate::fact::Fact;
use crate::ids::IdentityId;
use crate::record::{Actor, Draft};
use crate::state::State;
use crate::time::Timestamp;

/// When to try again if only the end of an execution makes room, in seconds.
const RETRY_OPEN_SECONDS: u64 = 5;

/// Checks that what a request would record is within the tier of the identity that sent it. Nothing that follows from
/// the log is limited: the engine records it, not the identity.
pub(crate) fn check(state: &State, actor: &Actor, drafts: &[Draft], now: Timestamp, settings: &Settings) -> Result<(), Refusal> {
    let Actor::Identity { id, .. } = actor else { return Ok(()) };
    match tier(state, id, settings) {
        Some(tier) => Quota::ALL.iter().try_for_each(|quota| within(state, id, (*quota, &tier), drafts, now)),
        None => Ok(()),
    }
}

fn tier(state: &State, id: &IdentityId, settings: &Settings) -> Option<Tier> {
    if settings.tiers.is_empty() {
        return None;
    }
    let identity = state.access().identity(id)?;
    settings.tiers.of(|group| identity.is_in(group)).map(|(_, tier)| *tier)
}

fn within(state: &State, id: &IdentityId, (what, tier): (Quota, &Tier), drafts: &[Draft], now: Timestamp) -> Result<(), Refusal> {
    let Some(limit) = tier.limit(what) else { return Ok(()) };
    let needed = drafts.iter().filter(|draft| counts(draft, id, what)).count() as u64;
    let level = state.usage().of(id).level(what, now);
    if needed == 0 || level.used.saturating_add(needed) <= limit {
        return Ok(());
    }
    let wait_millis = level.resets_at.map(|resets_at| resets_at.unix_millis().saturating_sub(now.unix_millis()));
    let retry_after_seconds = wait_millis.map_or(RETRY_OPEN_SECONDS, |millis| millis.div_ceil(1_000).max(1));
    Err(Refusal::QuotaExceeded(QuotaExceeded { what, needed, limit, used: level.used, resets_at: level.resets_at, retry_after_seconds }))
}

/// Returns true if a record counts as use, as the fold counts it.
fn counts(draft: &Draft, id: &IdentityId, what: Quota) -> bool {
    let is_of_identity = matches!(&draft.actor, Actor::Identity { id: of, .. } if of == id);
    is_of_identity
        && match (&draft.fact, what) {
            (Fact::EventReceived(_), Quota::EventsPerDay) => true,
            (Fact::ExecutionRequested(fact), Quota::ExecutionsPerHour | Quota::Concurrent) => fact.part_of.is_none(),
            _ => false,
        }
}
