//! Everything that the core of a replay needs besides its state: definitions, bodies, and settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::batch::BatchInputs;
use ensue_engine::catalog::{Catalog, Catalogs};
use ensue_engine::command::{Bodies, DedupeEntry, DedupeKey, SeenKeys, Settings};
use ensue_engine::record::{Body, BodyHandle, CatalogRevision, Digest};

use super::Definitions;
use crate::backtest::Payloads;

/// Everything that the core needs besides its own state.
pub(super) struct ReplayWorld<'a> {
    pub(super) definitions: Definitions<'a>,
    pub(super) payloads: &'a dyn Payloads,
    pub(super) bodies: BTreeMap<Digest, Bytes>,
    pub(super) settings: Settings,
}

impl ReplayWorld<'_> {
    pub(super) fn beside(&self) -> BatchInputs<'_> {
        BatchInputs { catalogs: self, bodies: self, seen: self, settings: &self.settings }
    }

    pub(super) fn keep(&mut self, body: &Body) {
        if let Some(content) = &body.content {
            self.bodies.insert(body.digest, content.clone());
        }
    }
}

impl Catalogs for ReplayWorld<'_> {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        match self.definitions {
            Definitions::Recorded(catalogs) => catalogs.at(revision),
            Definitions::Other(catalog) => Some(catalog.clone()),
        }
    }
}

impl SeenKeys for ReplayWorld<'_> {
    fn find_key(&self, _: &DedupeKey) -> Option<DedupeEntry> {
        None
    }
}

impl Bodies for ReplayWorld<'_> {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        // A body that does not belong to this execution is at its original position.
        self.bodies.get(&body.digest).cloned().or_else(|| self.payloads.at(body.at).filter(|plain| Digest::of(plain) == body.digest))
    }
}
