//! What identities have used.

use ensue_engine::access::quota::Tiers;
use ensue_engine::access::quota::state::IdentityUsage;
use ensue_engine::ids::IdentityId;

/// Returns how much identities have used, and how much they may use.
pub trait UsageReader: Send + Sync {
    /// Returns how much an identity has used, including everything that was answered. Quick.
    fn usage_of(&self, id: IdentityId) -> IdentityUsage;

    /// Returns the tiers. Quick.
    fn tiers(&self) -> &Tiers;
}
