//! Facts about the catalog: packs are installed and removed.

use serde::{Deserialize, Serialize};

use crate::names::PackName;
use crate::record::{CatalogRevision, Digest};

/// A pack was installed or replaced. The body is its manifest: the ids of its rules and its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackInstalled {
    /// The pack.
    pub name: PackName,
    /// Its version, as its author wrote it.
    pub version: String,
    /// The digest of its files: the name of its immutable copy.
    pub digest: Digest,
    /// The catalog's revision with it.
    pub catalog: CatalogRevision,
}

/// A pack was removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackRemoved {
    /// The pack.
    pub name: PackName,
    /// The catalog's revision without it.
    pub catalog: CatalogRevision,
}

/// A pack may do this, in addition to what its own definitions need from each other, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackPermissionsSet {
    /// The pack.
    pub name: PackName,
    /// The permissions, `<noun>:<verb>` or `<noun>:<verb> on <limit>`. A permission that a release does not know allows
    /// nothing. Without the list, the pack may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
}
