//! Packs: which were installed, when and by whom, and which were removed.
//!
//! What they hold is the catalog's.

use ensue_engine::fact::{ByNoun, CatalogFact};
use ensue_engine::names::PackName;
use ensue_engine::record::{CatalogRevision, Digest, Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// What packs can be filtered by.
pub const COLUMNS: &[Column] = &[Column::Status];

/// The most bytes that a text of outside is shown with.
const TEXT_BYTES_MAX: usize = 1024;

/// A pack as it was installed last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pack {
    /// Its name.
    pub name: PackName,
    /// The place in the log where it was installed last.
    pub position: Position,
    /// Its version, as its author wrote it.
    pub version: String,
    /// The digest over its files.
    pub digest: Digest,
    /// The catalog's revision with it.
    pub catalog: CatalogRevision,
    /// Whether it is there.
    pub status: PackStatus,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// Who installed it, as the log writes actors.
    pub installed_by: String,
    /// When it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// Who removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<String>,
}

/// Whether a pack is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackStatus {
    /// It is part of the catalog.
    Installed,
    /// It was.
    Removed,
}

impl PackStatus {
    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Removed => "removed",
        }
    }
}

impl View for Pack {
    const NAME: ViewName = ViewName::Packs;
    type Key = PackName;

    fn key(record: &Record) -> Option<Touch<PackName>> {
        let ByNoun::CatalogFact(fact) = record.fact.by_noun() else { return None };
        Some(Touch::Changes(match fact {
            CatalogFact::PackInstalled(fact) => fact.name.clone(),
            CatalogFact::PackRemoved(fact) => fact.name.clone(),
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
            }),
            CatalogFact::PackRemoved(_) => before.map(|pack| Self {
                status: PackStatus::Removed,
                removed_at: Some(record.time),
                removed_by: Some(cut(&record.actor.to_string(), TEXT_BYTES_MAX)),
                ..pack
            }),
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

    fn life(&self) -> Life {
        Life::Settled
    }
}
