//! Simulated bugs: they happen when a catalog is looked up, and panic or end the process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ensue_engine::catalog::{Catalog, Catalogs};
use ensue_engine::record::CatalogRevision;
use ensue_node::parts::NodeCatalogs;

use super::lock;
use crate::disk::CRASH_NOTE;
use crate::ground::WorldGround;
use crate::life::Life;
use crate::sometimes;

/// How many times a reaction ends the process; then it is parked and its bug is fixed.
const ENDS: u32 = 3;

/// Catalogs with an occasional bug.
pub(super) struct BuggyCatalogs {
    pub(super) catalogs: Arc<NodeCatalogs>,
    pub(super) ground: Arc<WorldGround>,
    pub(super) life: Arc<Life>,
    pub(super) crash_file: PathBuf,
    /// The last bug that persists, and when it happened.
    pub(super) struck: Mutex<Option<(u64, CatalogRevision)>>,
}

impl BuggyCatalogs {
    /// Ends the process while an owed reaction is computed that ends processes.
    fn may_end_the_process(&self) {
        let is_possible = self.ground.plan.reaction_kill > 0.0 && !self.ground.is_healed() && !self.life.is_over();
        if !is_possible {
            return;
        }
        let Some(reaction) = noted_reaction(&self.crash_file) else { return };
        let ends = self.ground.witness().ends_of(&reaction);
        let strikes = match ends {
            0 => self.ground.strikes(self.ground.plan.reaction_kill),
            ends => ends < ENDS,
        };
        if !strikes {
            return;
        }
        self.ground.witness().note_end(reaction);
        self.ground.trace("node", "a reaction ends the process");
        let kept = self.crash_file.with_file_name(CRASH_NOTE);
        // Without the note, the worst case is that this end is not counted.
        let _ = std::fs::copy(&self.crash_file, kept);
        self.life.end();
        std::panic::panic_any(SimulatedBug);
    }
}

/// Returns the current reaction: the position that it is owed to and the number of the consequence.
fn noted_reaction(crash_file: &Path) -> Option<(u64, u64)> {
    let noted: serde_json::Value = serde_json::from_slice(&std::fs::read(crash_file).ok()?).ok()?;
    Some((noted["serving"]["of"].as_u64()?, noted["serving"]["next"].as_u64()?))
}

impl BuggyCatalogs {
    /// Returns true if a bug happens: by chance, or because it happened for the same catalog at this moment
    /// and persists.
    fn strikes(&self, revision: CatalogRevision) -> bool {
        let (ground, here) = (&self.ground, (self.ground.now(), revision));
        if *lock(&self.struck) == Some(here) && !ground.is_healed() {
            return true;
        }
        let strikes = ground.strikes(ground.plan.catalog_panics);
        if strikes && ground.strikes(ground.plan.catalog_panics_stay) {
            *lock(&self.struck) = Some(here);
        }
        strikes
    }
}

impl Catalogs for BuggyCatalogs {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        self.may_end_the_process();
        if self.strikes(revision) {
            self.ground.trace("node", format!("a bug occurs when the catalog of revision {revision} is looked up"));
            sometimes!("a bug occurred in the core");
            self.ground.witness().note_bug(self.ground.now());
            std::panic::panic_any(SimulatedBug);
        }
        self.catalogs.at(revision)
    }
}

/// The panic payload of a simulated bug.
pub(crate) struct SimulatedBug;
