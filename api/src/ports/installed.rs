//! The installed catalogs.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::Catalog;
use ensue_engine::names::PackName;
use ensue_engine::record::CatalogRevision;
use ensue_packs::Diagnostic;

/// The installed catalogs.
pub trait Installed: Send + Sync {
    /// Returns the catalog that judges new events. Quick.
    fn current(&self) -> Arc<Catalog>;
    /// Returns the catalog of a revision; none if it is no longer stored. Quick.
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>>;
    /// Returns the errors, warnings and notes about the packs in the folder, by pack; packs without findings
    /// are not listed. Quick.
    fn findings(&self) -> Arc<BTreeMap<PackName, Vec<Diagnostic>>>;
}
