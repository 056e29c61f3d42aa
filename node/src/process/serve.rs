//! The last stage of a start: the API's dependencies, and its server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ensue_api::server::{ServerEnd, Tls};
use ensue_api::{Addresses, Cors, Front, Hosts, Limits, Ports, QueueName, Server, Settings as ApiSettings};
use ensue_engine::access::quota::Tiers;
use ensue_engine::names::PackName;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Services;
use super::access::cursor_key;
use super::standby_server::StandbyServer;
use crate::about::AboutNode;
use crate::backtest::NodeBacktests;
use crate::catalogs::NodeCatalogs;
use crate::config::Config;
use crate::connections::NodeConnections;
use crate::log_runtime::RuntimeContext;
use crate::log_runtime::follow::Following;
use crate::log_runtime::lead::Leading;
use crate::log_runtime::stores::Stores;
use crate::log_runtime::work::Working;
use crate::memory_limits::Memory;
use crate::passwords::NodePasswords;
use crate::release::RELEASE;
use crate::replays::NodeReplays;
use crate::sequencer::SequencerHandle;
use crate::sessions::NodeSessions;
use crate::start_error::{StartError, machine};
use crate::usage::NodeUsage;

/// The running server of the API.
pub(super) struct Serving {
    /// The address that it listens on.
    pub(super) address: SocketAddr,
    /// The sessions, whose access tokens name that address.
    pub(super) sessions: Arc<NodeSessions>,
    /// The signal that stops it.
    pub(super) stop: oneshot::Sender<()>,
    /// The task that finishes when it ends.
    pub(super) ended: tokio::task::JoinHandle<ServerEnd>,
}

/// The earlier stages.
type LogRuntime<'s> = (&'s Stores, &'s Following, &'s Working, &'s Leading);

impl Serving {
    /// Listens, on the socket of a node that has waited or on a new one, and serves requests from then on.
    pub(super) async fn start(
        config: &Config,
        (waiting, tls): (Option<StandbyServer>, Option<Tls>),
        runtime: LogRuntime<'_>,
        edges: &Services,
        (handle, is_stopping, around): (&SequencerHandle, &Arc<AtomicBool>, &RuntimeContext),
    ) -> Result<Self, StartError> {
        let listener = match waiting {
            Some(waiting) => waiting.end().await,
            None => TcpListener::bind(config.listen).await,
        };
        let listener = listener.map_err(|why| machine(&format!("listening on {}", config.listen), &why))?;
        let address = listener.local_addr().map_err(|why| machine("listening", &why))?;
        let base_url = config.url_at(address);
        let sessions = Arc::new(NodeSessions {
            table: runtime.0.tokens.clone(),
            sequencer: Arc::new(handle.clone()),
            clock: around.clock.clone(),
            issuer: base_url.clone(),
            links: config.inquiry_links,
        });
        let passwords = NodePasswords::open_vault(sessions.clone(), config.login.password)?;
        let about = about(config, runtime, edges, (handle, is_stopping, around));
        let ports = ports(runtime, (edges, &sessions, Arc::new(passwords)), handle, (about, around.settings.tiers.clone()));
        let settings = ApiSettings {
            hosts: Hosts::of(&base_url, config.hosts.iter().cloned()),
            addresses: Addresses::trusting(config.trusted_proxies.clone(), config.proxy_header),
            cors: Cors::of(config.cors_origins.clone()),
            base_url,
            release: RELEASE.to_owned(),
            cursor_key: cursor_key(&runtime.3.data.cursor_key())?,
            limits: Limits {
                delivery_bytes_max: config.delivery_bytes_max,
                silent_per_address: config.silent_per_address,
                connections_per_address: config.connections_per_address,
                ..Limits::default()
            },
            queues: around.queues.clone(),
            rates: config.rates,
            blocking: ensue_api::Blocking::Pool,
            page: config.page,
            features: config.features(),
        };
        let front = Front::new(ports, settings);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::new(front);
        let server = match tls {
            Some(tls) => server.with_tls(tls),
            None => server,
        };
        runtime.0.tokens.programs.serve_at(&config.url_for_programs(address));
        let ended = tokio::spawn(server.serve(listener, async move { drop(stopped.await) }));
        Ok(Self { address, sessions, stop, ended })
    }
}

fn ports(
    (stores, following, working, _): LogRuntime<'_>,
    (edges, sessions, passwords): (&Services, &Arc<NodeSessions>, Arc<NodePasswords>),
    handle: &SequencerHandle,
    (about, tiers): (AboutNode, Tiers),
) -> Ports {
    let Stores { catalogs, readers, .. } = stores;
    Ports {
        submit: Arc::new(handle.clone()),
        installed: catalogs.clone(),
        backtests: Arc::new(NodeBacktests::new(catalogs.clone(), readers.clone())),
        replays: Arc::new(NodeReplays::new(catalogs.clone(), readers.clone())),
        views: following.views.reader.clone(),
        views_at: following.views.at.clone(),
        views_follower: Arc::new(following.views.follower.0.clone()),
        ends: stores.ends.clone(),
        changes: stores.changes.clone(),
        deliveries: stores.deliveries.deliveries.clone(),
        log: readers.clone(),
        outputs: working.outputs(),
        blobs: working.blobs(),
        webhooks: stores.edge.clone(),
        sensors: Arc::new(working.sensors.clone()),
        connections: Arc::new(NodeConnections(working.connections.clone())),
        event_maker: stores.edge.clone(),
        access: stores.tokens.clone(),
        keys: edges.keys.clone(),
        tokens: edges.tokens.clone(),
        usage: Arc::new(NodeUsage { sequencer: handle.clone(), tiers }),
        people: edges.people.clone(),
        refusals: edges.refusals.clone(),
        sessions: sessions.clone(),
        passwords,
        issuers: edges.issuers.clone(),
        vouching: edges.vouching.clone(),
        logins: edges.logins.clone(),
        devices: edges.devices.clone(),
        node: Arc::new(about),
        spans: following.telemetry.spans(),
    }
}

fn about(
    config: &Config,
    (stores, following, working, leading): LogRuntime<'_>,
    edges: &Services,
    (handle, is_stopping, around): (&SequencerHandle, &Arc<AtomicBool>, &RuntimeContext),
) -> AboutNode {
    let (views, telemetry) = (&following.views, &following.telemetry);
    AboutNode {
        release: RELEASE,
        started_at: around.clock.now(),
        log: stores.log,
        backend: stores.backend.clone(),
        epoch: leading.epoch,
        workers: around.settings.workers_in_all(),
        sequencer: handle.clone(),
        readers: stores.readers.clone(),
        catalogs: stores.catalogs.clone(),
        edge: stores.edge.clone(),
        has_url: config.url.is_some(),
        sensors: working.sensors.clone(),
        connections: NodeConnections(working.connections.clone()),
        jobs: following.jobs.clone(),
        master_key: stores.master_key(handle),
        outside: leading.outside.clone(),
        kept: working.kept.clone(),
        settings: config.written.clone(),
        database: config.database.clone(),
        memory: Memory::new(config.memory_bytes, around.queues.of(QueueName::RequestBytes).clone()),
        views_at: views.at.clone(),
        taken_over_at: leading.taken_over_at,
        views_passed_over: views.passed_over.clone(),
        retention: config.retention,
        removed_executions: views.removed_executions.clone(),
        views: views.reader.clone(),
        views_health: views.health.clone(),
        snapshot_trouble: leading.snapshot_trouble.clone(),
        telemetry_health: telemetry.health.clone(),
        span_counts: telemetry.span_counts.clone(),
        counts: telemetry.counts.clone(),
        keys: stores.keys.clone(),
        tokens: stores.tokens.clone(),
        issuers: edges.issuers.clone(),
        vouching: edges.vouching.clone(),
        spawned: working.spawned.clone(),
        clock: around.clock.clone(),
        data: leading.data.path().to_owned(),
        min_free_bytes: config.min_free_bytes,
        actions: config.actions.clone(),
        users: working.users.clone(),
        programs_at_end: working.programs_at_end,
        supervisor: config.supervisor.clone(),
        is_stopping: is_stopping.clone(),
        is_failed: leading.is_failed.clone(),
        lead_watch: leading.watch.clone(),
    }
}

impl ensue_api::ports::InstalledCatalogs for NodeCatalogs {
    fn current(&self) -> Arc<ensue_engine::catalog::Catalog> {
        self.current()
    }

    fn at(&self, revision: ensue_engine::record::CatalogRevision) -> Option<Arc<ensue_engine::catalog::Catalog>> {
        ensue_engine::catalog::Catalogs::at(self, revision)
    }

    fn findings(&self) -> Arc<BTreeMap<PackName, Vec<ensue_packs::Diagnostic>>> {
        self.findings()
    }

    fn source(&self, pack: &PackName) -> Result<Option<ensue_packs::PackSource>, ensue_api::ports::PortError> {
        Ok(self.source_of(pack)?)
    }

    fn copy(&self, pack: &PackName, digest: &ensue_engine::record::Digest) -> Result<ensue_packs::PackSource, ensue_api::ports::PortError> {
        Ok(self.version_of(pack, digest)?)
    }

    fn copied_file(
        &self,
        digest: &ensue_engine::record::Digest,
        path: &str,
    ) -> Result<ensue_packs::CopiedFile, ensue_api::ports::PortError> {
        Ok(self.copied_file(digest, path)?)
    }

    fn with_file(
        &self,
        rule: &ensue_engine::names::RuleRef,
        file: &ensue_api::ports::FileText,
    ) -> Result<Arc<ensue_engine::catalog::Catalog>, ensue_api::ports::PortError> {
        Ok(Arc::new(self.with_file(rule, &file.path, &file.text)?))
    }
}
