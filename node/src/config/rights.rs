//! The settings for rights: the labels by which they can be limited, what packs may do, how much the members of groups may
//! use, and the roles and grants that are declared.

use std::collections::{BTreeMap, BTreeSet};

use ensue_derive::Settings;
use ensue_engine::access::quota::{Tier, Tiers};
use ensue_engine::access::scope::Scope;
use ensue_engine::executions::scope::SCOPE_LABELS_MAX;
use ensue_engine::names::{GroupName, LabelName, TierName};
use serde::Deserialize;

use super::declared_rights::{self, DeclaredRights, WrittenGrant, WrittenRoles};

/// What the packs of the folder may do with other packs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Settings)]
#[serde(rename_all = "snake_case")]
pub enum AcceptedPermissions {
    /// What their `permissions` list; a pack without `permissions` may do everything.
    #[default]
    All,
    /// Only what their `permissions` list.
    Listed,
}

impl AcceptedPermissions {
    /// Returns what a pack of the folder may do, given what it asks for; `None` if it may do everything.
    pub(crate) fn of(self, asked: Option<Vec<Scope>>) -> Option<Vec<Scope>> {
        match self {
            Self::All => asked,
            Self::Listed => Some(asked.unwrap_or_default()),
        }
    }
}

/// The settings for rights as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenRights {
    /// The names of up to four labels by which rights can be limited to executions. Default: none.
    labels: BTreeSet<LabelName>,
    /// What a pack of the folder without `permissions` may do with other packs: everything, or nothing. Default: `all`.
    packs: AcceptedPermissions,
    /// The tiers of groups. The first group in the list that a caller is in counts.
    tiers: Vec<WrittenTierOf>,
    /// Roles with all their permissions, by name. They are set when the node starts, and removed when they leave the file.
    roles: WrittenRoles,
    /// Roles of identities, groups or everyone. Grants are added when the node starts, and removed when they leave the file.
    grants: Vec<WrittenGrant>,
}

/// The tier of a group as written in the file.
#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenTierOf {
    /// The group.
    group: GroupName,
    /// A name under `tiers`.
    #[setting(form = Name)]
    tier: TierName,
}

/// A tier as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenTier {
    /// How many events an identity may send in a day of UTC. Default: no limit.
    events_per_day: Option<u64>,
    /// How many executions an identity may request in an hour of UTC. Default: no limit.
    executions_per_hour: Option<u64>,
    /// How many executions that it requested may be open at once. Default: no limit.
    concurrent: Option<u64>,
}

impl From<WrittenTier> for Tier {
    fn from(WrittenTier { events_per_day, executions_per_hour, concurrent }: WrittenTier) -> Self {
        Self { events_per_day, executions_per_hour, concurrent }
    }
}

/// The settings for rights.
#[derive(Debug)]
pub(super) struct Rights {
    /// The names of the labels by which rights can be limited.
    pub(super) labels: BTreeSet<LabelName>,
    /// What packs may do.
    pub(super) packs: AcceptedPermissions,
    /// How much the members of groups may use.
    pub(super) tiers: Tiers,
    /// The roles and grants that are declared.
    pub(super) declared: DeclaredRights,
}

impl WrittenRights {
    /// Returns the settings, or what is wrong with them.
    pub(super) fn read(self, tiers: BTreeMap<TierName, WrittenTier>) -> Result<Rights, String> {
        let count = self.labels.len();
        if count > SCOPE_LABELS_MAX {
            return Err(format!("`access.labels` has {count} names; the limit is {SCOPE_LABELS_MAX}"));
        }
        let named = tiers.into_iter().map(|(name, tier)| (name, tier.into())).collect();
        let of_groups = self.tiers.into_iter().map(|WrittenTierOf { group, tier }| (group, tier)).collect();
        let tiers = Tiers::new(named, of_groups).map_err(|why| format!("`access.tiers`: {why}"))?;
        let declared = declared_rights::read(self.roles, self.grants)?;
        Ok(Rights { labels: self.labels, packs: self.packs, tiers, declared })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_can_be_limited_by_four_labels_at_most() {
        let read = |names: &[&str]| {
            let labels = names.iter().map(|name| name.parse().unwrap()).collect();
            WrittenRights { labels, ..WrittenRights::default() }.read(BTreeMap::new())
        };
        assert_eq!(read(&["site", "team", "stage", "zone"]).unwrap().labels.len(), 4);
        assert!(read(&["site", "team", "stage", "zone", "color"]).unwrap_err().contains("the limit is 4"));
    }
}
