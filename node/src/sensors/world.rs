//! What the sources of sensors reach on this node: its clock, the keys of their packs, servers, programs and actions.

use std::sync::Arc;
use std::time::Duration;

use ensue_connectors::world::{self, Actions, Folders, LineSink, Parts, Programs, SourcePurpose, Web};
use ensue_connectors::{Pending, SensorErrorKind, SourceError, World};
use ensue_engine::names::{ConnectionName, KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_executor::connections::Connections;

use super::supervisor::SensorWorlds;
use crate::catalogs::NodeCatalogs;
use crate::clock::SteppedClock;
use crate::key_ring::KeyRing;

/// Makes the worlds of sensors.
pub(crate) struct NodeWorlds {
    /// The node's clock.
    pub(crate) clock: Arc<dyn SteppedClock>,
    /// The keys.
    pub(crate) keys: Arc<KeyRing>,
    /// What packs may read.
    pub(crate) catalogs: Arc<NodeCatalogs>,
    /// Sends requests.
    pub(crate) web: Arc<dyn Web>,
    /// The connections, over which some requests go.
    pub(crate) connections: Arc<Connections>,
    /// Runs programs.
    pub(crate) programs: Arc<dyn Programs>,
    /// Runs actions.
    pub(crate) actions: Arc<dyn Actions>,
    /// The folders that file sensors may use.
    pub(crate) folders: Arc<Folders>,
}

impl SensorWorlds for NodeWorlds {
    fn world(&self, _: &SensorRef, seed: u64, lines: Arc<dyn LineSink>, parts: Arc<dyn Parts>) -> World {
        World {
            purpose: SourcePurpose::Run,
            seed,
            clock: Arc::new(SourceClock(self.clock.clone())),
            web: self.web.clone(),
            programs: self.programs.clone(),
            actions: self.actions.clone(),
            folders: self.folders.clone(),
            keys: Arc::new(SourceKeys { keys: self.keys.clone(), catalogs: self.catalogs.clone(), clock: self.clock.clone() }),
            lines,
            parts,
        }
    }

    fn connections_with(&self, key: &KeyRef) -> Vec<ConnectionName> {
        self.connections.with_key(key)
    }
}

/// The node's clock, with the waits of the machine's steady clock.
pub(super) struct SourceClock(pub(super) Arc<dyn SteppedClock>);

impl world::Clock for SourceClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, long: Duration) -> Pending<'_, ()> {
        Box::pin(tokio::time::sleep(long))
    }
}

/// The keys that a sensor's pack may read.
struct SourceKeys {
    keys: Arc<KeyRing>,
    catalogs: Arc<NodeCatalogs>,
    clock: Arc<dyn SteppedClock>,
}

impl world::Keys for SourceKeys {
    fn open(&self, key: &KeyRef, by: &SensorRef) -> Result<Secret, SourceError> {
        let missing = |why: String| SourceError::new(SensorErrorKind::KeyMissing, why);
        let may_read = self.catalogs.current().packs().get(&by.pack()).is_some_and(|pack| pack.may_read(key));
        if !may_read {
            return Err(missing(format!("the pack `{}` may not read the key `{key}`", by.pack())));
        }
        let value = self.keys.accepted_values(key, self.clock.now()).map_err(|why| missing(why.to_string()))?.current;
        let value = value.ok_or_else(|| missing(format!("the key `{key}` is not set; set it with `ensue keys set {key}`")))?;
        Ok((*value).clone())
    }

    fn listed_keys(&self, pack: &PackName) -> Vec<KeyRef> {
        self.catalogs.current().packs().get(pack).map_or_else(Vec::new, |pack| pack.keys.iter().cloned().collect())
    }

    fn lists_connection(&self, pack: &PackName, name: &str) -> bool {
        self.catalogs.current().packs().get(pack).is_some_and(|pack| pack.connections.iter().any(|listed| listed.as_str() == name))
    }
}
