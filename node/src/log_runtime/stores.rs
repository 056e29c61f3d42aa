//! The shared lookups: readers of the log, and the tables that are kept up to date with it.

use std::sync::Arc;

use ensue_api::{Ends, QueueName, RecentChanges};
use ensue_engine::ids::LogId;
use ensue_store::master_key::MasterKeyFile;
use ensue_store::vault::SealedVault;

use super::RuntimeContext;
use super::open::OpenedDirectory;
use crate::access::TokenTable;
use crate::backend::{Backend, readers_of};
use crate::bodies::BodyCache;
use crate::catalogs::NodeCatalogs;
use crate::edge::Edge;
use crate::kept_deliveries::KeptDeliveries;
use crate::key_ring::KeyRing;
use crate::log_access::LogReaders;
use crate::master_key::MasterKeyRotation;
use crate::sequencer::SequencerHandle;
use crate::start_error::StartError;
use crate::vars::VarTable;

/// The shared lookups; a clone refers to the same data.
#[derive(Clone)]
pub(crate) struct Stores {
    /// The log's id.
    pub(crate) log: LogId,
    /// The storage of the log.
    pub(crate) backend: Arc<dyn Backend>,
    /// The readers of the log.
    pub(crate) readers: Arc<LogReaders>,
    /// The keys.
    pub(crate) keys: Arc<KeyRing>,
    /// The vault in which their values are.
    pub(crate) vault: Arc<dyn SealedVault>,
    /// The file of the master key.
    pub(crate) master_key: MasterKeyFile,
    /// The vars.
    pub(crate) vars: Arc<VarTable>,
    /// The tokens.
    pub(crate) tokens: Arc<TokenTable>,
    /// The catalogs.
    pub(crate) catalogs: Arc<NodeCatalogs>,
    /// The entry point of events.
    pub(crate) edge: Arc<Edge>,
    /// The cached bodies.
    pub(crate) bodies: Arc<BodyCache>,
    /// The requests that wait for the end of an execution.
    pub(crate) ends: Arc<Ends>,
    /// The newest changes of the views.
    pub(crate) changes: Arc<RecentChanges>,
    /// The last deliveries at each hook.
    pub(crate) deliveries: Arc<KeptDeliveries>,
}

impl Stores {
    /// Fills them from the opened data directory.
    pub(crate) fn of(opened: &OpenedDirectory, around: &RuntimeContext) -> Result<Self, StartError> {
        let (engine, log) = (&opened.engine, opened.engine.log());
        let readers = Arc::new(LogReaders::new(Box::new(readers_of(opened.backend.clone(), log))));
        let keys = Arc::new(KeyRing::open_vault(opened.vault.clone(), engine.access(), around.clock.clone())?);
        let vars = Arc::new(VarTable::new(engine.vars().clone()));
        let tokens = Arc::new(TokenTable::open_vault(opened.vault.clone(), engine, around.clock.clone())?);
        let catalogs = NodeCatalogs::open(opened.data.packs(), engine.packs().clone(), opened.log.reader()?)?;
        let catalogs = Arc::new(catalogs.archived_in(opened.packs.clone()));
        let edge =
            Arc::new(Edge { log, catalogs: catalogs.clone(), keys: keys.clone(), clock: around.clock.clone(), senders: Arc::default() });
        let bodies = Arc::new(BodyCache::new(around.queues.of(QueueName::BodyBytes).clone()));
        let ends = Ends::after(opened.head.position);
        let changes = RecentChanges::after(opened.head.position);
        let deliveries = Arc::new(KeptDeliveries::open(opened.data.deliveries()));
        let (vault, master_key) = (opened.vault.clone(), opened.master_key.clone());
        let backend = opened.backend.clone();
        Ok(Self { log, backend, readers, keys, vault, master_key, vars, tokens, catalogs, edge, bodies, ends, changes, deliveries })
    }

    /// Returns the rotation of the master key, which this sequencer records.
    pub(crate) fn master_key(&self, handle: &SequencerHandle) -> MasterKeyRotation {
        MasterKeyRotation { file: self.master_key.clone(), vault: self.vault.clone(), sequencer: Arc::new(handle.clone()) }
    }
}
