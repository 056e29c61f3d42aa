//! What is installed: the catalogs that are built.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::Catalog;
use ensue_engine::names::PackName;
use ensue_engine::record::CatalogRevision;
use ensue_packs::Diagnostic;

/// The catalogs that are built.
pub trait Installed: Send + Sync {
    /// Gives the catalog that new events are judged by. Quick.
    fn current(&self) -> Arc<Catalog>;
    /// Gives the catalog of a revision; none where it is not kept any more. Quick.
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>>;
    /// Gives what is wrong, or worth knowing, about the packs as they lie in the folder, by pack; a pack without findings is
    /// not listed. Quick.
    fn findings(&self) -> Arc<BTreeMap<PackName, Vec<Diagnostic>>>;
}
