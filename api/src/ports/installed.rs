//! The installed catalogs.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::Catalog;
use ensue_engine::names::PackName;
use ensue_engine::record::CatalogRevision;
use ensue_packs::{Diagnostic, PackSource};

use super::Declined;

/// The installed catalogs.
pub trait Installed: Send + Sync {
    /// Returns the catalog that judges new events. Quick.
    fn current(&self) -> Arc<Catalog>;
    /// Returns the catalog of a revision; none if it is no longer stored. Quick.
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>>;
    /// Returns the errors, warnings and notes about the packs in the folder, by pack; packs without findings
    /// are not listed. Quick.
    fn findings(&self) -> Arc<BTreeMap<PackName, Vec<Diagnostic>>>;
    /// Returns the files of an installed pack; none if it is not installed. Blocking.
    ///
    /// # Errors
    /// If the stored copy of the files cannot be read.
    fn source(&self, pack: &PackName) -> Result<Option<PackSource>, Declined>;
}
