//! The state of the catalog: names and digests by revision. It never looks inside a pack.

use serde::{Deserialize, Serialize};

use crate::access::limit::Target;
use crate::access::permission::Permission;
use crate::access::scope::Scope;
use crate::fact::{ByNoun, CatalogFact};
use crate::names::PackName;
use crate::record::{BodyHandle, CatalogRevision, Digest, Record};
use crate::table::{Table, undone_together};

/// The installed packs, at the current revision and at each earlier one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstalledPacks {
    /// The revision, under the only key 0.
    revision: Table<u8, CatalogRevision>,
    /// Each pack from a revision on; `None` if it was removed.
    history: Table<(PackName, CatalogRevision), Option<InstalledPack>>,
    /// What each pack may do at most. A pack that is missing here may do everything. A removed pack keeps its row, since
    /// its executions may still be open.
    permissions: Table<PackName, Vec<Scope>>,
}

undone_together!(pub(crate) InstalledPacks { revision, history, permissions });

/// A pack as it was installed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstalledPack {
    /// Its version.
    pub version: String,
    /// The digest of its files.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: BodyHandle,
}

impl InstalledPacks {
    /// Returns the current revision.
    pub fn revision(&self) -> CatalogRevision {
        self.revision.get(&0).copied().unwrap_or_default()
    }

    /// Returns the packs of a revision.
    pub fn at(&self, revision: CatalogRevision) -> Vec<(&PackName, &InstalledPack)> {
        let mut packs: Vec<(&PackName, &InstalledPack)> = Vec::new();
        for ((name, since), pack) in self.history.iter() {
            if *since > revision {
                continue;
            }
            if packs.last().is_some_and(|(last, _)| *last == name) {
                packs.pop();
            }
            if let Some(pack) = pack {
                packs.push((name, pack));
            }
        }
        packs
    }

    /// Returns a pack as it is now.
    pub fn get(&self, name: &PackName) -> Option<&InstalledPack> {
        let first = (name.clone(), CatalogRevision(0));
        let last = (name.clone(), CatalogRevision(u64::MAX));
        self.history.range(first..=last).next_back().and_then(|(_, pack)| pack.as_ref())
    }

    /// Returns the permissions beyond which a pack may do nothing with other packs; `None` if it may do everything.
    pub fn permissions(&self, name: &PackName) -> Option<&[Scope]> {
        self.permissions.get(name).map(Vec::as_slice)
    }

    /// Returns true if a pack has the permission for a thing of another pack.
    pub fn permit(&self, name: &PackName, permission: Permission, target: &Target<'_>) -> bool {
        let covers = |scope: &Scope| scope.permission == permission && scope.on.as_ref().is_none_or(|limit| limit.covers(target));
        self.permissions(name).is_none_or(|permissions| permissions.iter().any(covers))
    }

    /// Folds a committed record, for code that tracks the installed packs outside the core.
    pub fn note(&mut self, record: &Record) {
        if let ByNoun::CatalogFact(fact) = record.fact.by_noun() {
            self.apply(record, fact);
            self.commit();
        }
    }

    pub(crate) fn apply(&mut self, record: &Record, fact: CatalogFact<'_>) {
        match fact {
            CatalogFact::PackInstalled(fact) => {
                let Some(manifest) = record.body_handle() else { return };
                let pack = InstalledPack { version: fact.version.clone(), digest: fact.digest, manifest };
                self.history.insert((fact.name.clone(), fact.catalog), Some(pack));
                self.revision.insert(0, fact.catalog);
            }
            CatalogFact::PackRemoved(fact) => {
                self.history.insert((fact.name.clone(), fact.catalog), None);
                self.revision.insert(0, fact.catalog);
            }
            CatalogFact::PackPermissionsSet(fact) => match &fact.permissions {
                Some(permissions) => {
                    let known = permissions.iter().filter_map(|permission| permission.parse().ok()).collect();
                    self.permissions.insert(fact.name.clone(), known);
                }
                None => self.permissions.remove(&fact.name),
            },
        }
    }
}
