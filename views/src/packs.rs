//! Packs: which were installed, when and by whom, and which were removed.
//!
//! Their contents are in the catalog.

use ensue_derive::sparse;
use ensue_engine::fact::{ByNoun, CatalogFact};
use ensue_engine::names::{Names, PackName};
use ensue_engine::record::{CatalogRevision, Digest, Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 2;

/// The columns by which packs can be filtered.
pub const COLUMNS: &[Column] = &[Column::Status];

/// The maximum size of a shown text from outside, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// A pack as it was last installed.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pack {
    /// Its name.
    pub name: PackName,
    /// The position of the record that installed it last.
    pub position: Position,
    /// Its version, as its author wrote it.
    pub version: String,
    /// The digest over its files.
    pub digest: Digest,
    /// The revision of the catalog that its installation created.
    pub catalog: CatalogRevision,
    /// Whether it is installed.
    pub status: PackStatus,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// The actor that installed it, in the log's notation.
    pub installed_by: String,
    /// When it was removed.
    pub removed_at: Option<Timestamp>,
    /// The actor that removed it.
    pub removed_by: Option<String>,
    /// What it may do with other packs; `None` if it may do everything.
    pub permissions: Option<Vec<String>>,
}

/// Whether a pack is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum PackStatus {
    /// It is part of the catalog.
    Installed,
    /// It is no longer part of the catalog.
    Removed,
}

impl View for Pack {
    const NAME: ViewName = ViewName::Packs;
    type Key = PackName;

    fn key(record: &Record) -> Option<Touch<PackName>> {
        let ByNoun::CatalogFact(fact) = record.fact.by_noun() else { return None };
        Some(Touch::Changes(match fact {
            CatalogFact::PackInstalled(fact) => fact.name.clone(),
            CatalogFact::PackRemoved(fact) => fact.name.clone(),
            CatalogFact::PackPermissionsSet(fact) => fact.name.clone(),
        }))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let ByNoun::CatalogFact(fact) = record.fact.by_noun() else { return before };
        match fact {
            CatalogFact::PackInstalled(fact) => Some(Self {
                name: fact.name.clone(),
                position: record.position,
                version: cut(&fact.version, TEXT_BYTES_MAX),
                digest: fact.digest,
                catalog: fact.catalog,
                status: PackStatus::Installed,
                installed_at: record.time,
                installed_by: cut(&record.actor.to_string(), TEXT_BYTES_MAX),
                removed_at: None,
                removed_by: None,
                permissions: before.and_then(|pack| pack.permissions),
            }),
            CatalogFact::PackRemoved(_) => before.map(|pack| Self {
                status: PackStatus::Removed,
                removed_at: Some(record.time),
                removed_by: Some(cut(&record.actor.to_string(), TEXT_BYTES_MAX)),
                ..pack
            }),
            CatalogFact::PackPermissionsSet(fact) => before.map(|pack| Self { permissions: fact.permissions.clone(), ..pack }),
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.installed_at
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![Some(self.status.as_str().into())]
    }
}
