//! How much the identities have used, for the API.

use std::sync::PoisonError;

use ensue_api::ports::UsageReader;
use ensue_engine::access::quota::Tiers;
use ensue_engine::access::quota::state::IdentityUsage;
use ensue_engine::ids::IdentityId;

use crate::sequencer::SequencerHandle;

/// Reads what the sequencer has counted.
pub struct NodeUsage {
    /// The sequencer.
    pub sequencer: SequencerHandle,
    /// The tiers of the settings.
    pub tiers: Tiers,
}

impl UsageReader for NodeUsage {
    fn usage_of(&self, id: IdentityId) -> IdentityUsage {
        self.sequencer.gauges().usage.lock().unwrap_or_else(PoisonError::into_inner).of(&id)
    }

    fn tiers(&self) -> &Tiers {
        &self.tiers
    }
}
