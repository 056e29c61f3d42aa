//! What the catalog is made into: names and digests by revision. It never looks inside a pack.

use serde::{Deserialize, Serialize};

use crate::fact::{ByNoun, CatalogFact};
use crate::names::PackName;
use crate::record::{BodyHandle, CatalogRevision, Digest, Record};
use crate::table::Table;

/// The installed packs, now and at each earlier revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstalledPacks {
    /// The revision, under the only key 0.
    revision: Table<u8, CatalogRevision>,
    /// What each pack was from a revision on; none where it was removed.
    history: Table<(PackName, CatalogRevision), Option<InstalledPack>>,
}

/// A pack as it was installed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstalledPack {
    /// Its version.
    pub version: String,
    /// The digest over its files.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: BodyHandle,
}

impl InstalledPacks {
    /// Gives the newest revision.
    pub fn revision(&self) -> CatalogRevision {
        self.revision.get(&0).copied().unwrap_or_default()
    }

    /// Gives the packs of a revision.
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

    /// Gives a pack as it is now.
    pub fn get(&self, name: &PackName) -> Option<&InstalledPack> {
        let first = (name.clone(), CatalogRevision(0));
        let last = (name.clone(), CatalogRevision(u64::MAX));
        self.history.range(first..=last).next_back().and_then(|(_, pack)| pack.as_ref())
    }

    /// Takes note of a committed record, for whoever keeps the installed packs beside the core.
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
        }
    }

    pub(crate) fn commit(&mut self) {
        self.revision.commit();
        self.history.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.revision.undo();
        self.history.undo();
    }
}
