//! The installed catalogs.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::Catalog;
use ensue_engine::names::{PackName, RuleRef};
use ensue_engine::record::{CatalogRevision, Digest};
use ensue_packs::{CopiedFile, Diagnostic, PackSource};

use super::{FileText, PortError};

/// The installed catalogs.
pub trait InstalledCatalogs: Send + Sync {
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
    fn source(&self, pack: &PackName) -> Result<Option<PackSource>, PortError>;
    /// Returns the files of a version of a pack that is or was installed. Blocking.
    ///
    /// # Errors
    /// If the stored copy of the files cannot be read.
    fn copy(&self, pack: &PackName, digest: &Digest) -> Result<PackSource, PortError>;
    /// Returns one file of a version of a pack that is or was installed. Blocking.
    ///
    /// # Errors
    /// If the stored copy of the file cannot be read.
    fn copied_file(&self, digest: &Digest, path: &str) -> Result<CopiedFile, PortError>;
    /// Returns the current catalog as it would be if the file of a rule had these contents. Nothing is stored. Blocking.
    ///
    /// # Errors
    /// If the pack is not installed, the file is not the rule's, or the pack would have errors.
    fn with_file(&self, rule: &RuleRef, file: &FileText) -> Result<Arc<Catalog>, PortError>;
}
