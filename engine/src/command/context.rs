//! The core's inputs next to its state: the moment, the catalogs, bodies and seen keys, and the settings.

use crate::catalog::{Catalog, Catalogs};
use crate::command::Bodies;
use crate::command::DedupeEntry;
use crate::command::DedupeKey;
use crate::command::SeenKeys;
use crate::command::Settings;
use crate::ids::EventId;
use crate::record::{BodyHandle, CatalogRevision};
use crate::rules::judge::Judgement;
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The inputs that come with each command: the time, and the random bits for a root's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time.
    pub time: Timestamp,
    /// Random bits.
    pub entropy: u128,
}

/// What the core may read in addition to its state.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The built catalogs.
    pub catalogs: &'a dyn Catalogs,
    /// The bodies in memory.
    pub bodies: &'a dyn Bodies,
    /// The keys that were seen.
    pub seen: &'a dyn SeenKeys,
    /// The judgements that came with the commands of this batch.
    pub judgements: &'a BTreeMap<EventId, Arc<Judgement>>,
    /// The operator's settings.
    pub settings: &'a Settings,
}

/// An empty context without catalogs, bodies or keys, for code that needs only the state.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Catalogs for Nothing {
    fn at(&self, _: CatalogRevision) -> Option<Arc<Catalog>> {
        None
    }
}

impl Bodies for Nothing {
    fn plain(&self, _: &BodyHandle) -> Option<Bytes> {
        None
    }
}

impl SeenKeys for Nothing {
    fn find_key(&self, _: &DedupeKey) -> Option<DedupeEntry> {
        None
    }
}
