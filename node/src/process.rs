//! A node as one process: the stages of its start, and its parts once it serves.
//!
//! The parts that belong to one log are in `log_runtime.rs`. This file adds the packs folder, the callers, the API
//! and the clock.

mod access;
mod packs;
mod queue_warnings;
mod serve;
mod standby_server;
mod stop;
mod ticks;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue_engine::command::{Ask, Command, Refusal, Settings};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::names::HTTP_QUEUE;
use ensue_engine::ports::{Secret, SubmitError};
use ensue_engine::record::Actor;
use ensue_executor::Executor;
use ensue_login::Issuers;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::certificates::{Certificates, NamingAuthorities};
use crate::clock::{SteppedClock, SystemClock};
use crate::config::Config;
use crate::devices::NodeDevices;
use crate::idle::{Caches, IdleWatch};
use crate::jobs::Jobs;
use crate::kept_deliveries::KeptDeliveries;
use crate::key_ring::NodeKeys;
use crate::log_runtime::RuntimeContext;
use crate::log_runtime::follow::Following;
use crate::log_runtime::lead::{Leading, LogOver};
use crate::log_runtime::open::{OpenedDirectory, open_after};
use crate::log_runtime::standby::Standby;
use crate::log_runtime::stores::Stores;
use crate::log_runtime::work::{Working, egress};
use crate::login::{IssuerWeb, NodeIssuers};
use crate::logins::NodeLogins;
use crate::master_key::MasterKeyRotation;
use crate::memory_limits::{self, Caps};
use crate::output_stores::Housekeeper;
use crate::packs_folder::{PacksFolder, PacksNews, WatchedFolder};
use crate::people::NodePeople;
use crate::refusals::NodeRefusals;
use crate::release::RELEASE;
use crate::renewals::Renewals;
use crate::sequencer::{Asking, SequencerError, SequencerHandle, sequencer};
use crate::start_error::{StartError, machine};
use crate::tokens::NodeTokens;
use crate::vouching::NodeVouching;
use access::{declare_rights, first_token, set_keys};
use ensue_api::ports::OnBehalf;
use packs::{LookedFor, not_taken_in, pack_values, watch_packs};
use queue_warnings::queue_warnings;
use serve::Serving;
use standby_server::StandbyServer;
use ticks::tick;

pub use ticks::note_clock_step;

/// The default limit of concurrent attempts per core.
const WORKERS_PER_CORE: u32 = 4;
/// The default limit of concurrent attempts that run `http`, if there is enough memory: they wait for other
/// machines and use no core.
const HTTP_WORKERS_MAX: u32 = 64;
/// The share of the node's memory for which there is one such attempt, in bytes.
const MEMORY_OF_HTTP_WORKER: u64 = 4 * 1024 * 1024;

/// How often a node tries to reach the database that has its log.
const REACH_EVERY: Duration = Duration::from_secs(1);

/// How often a node looks whether it still leads its log.
const LEAD_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why a node ended without being asked to.
#[derive(Clone, Debug, Error)]
#[error(transparent)]
pub struct NodeFailure(#[from] SequencerError);

impl NodeFailure {
    /// Returns true if a node on a database may lead its log again later: another node leads it, or the database did not
    /// answer for longer than the writer of the log waits.
    pub fn may_pass(&self) -> bool {
        matches!(self.0, SequencerError::Deposed(_) | SequencerError::OutOfReach(_))
    }

    /// Returns what the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self.0 {
            SequencerError::Rewritten(_) => {
                "make the server the primary again that has these records; the guide to the loss of a database says how, and what to do if they are lost"
            }
            _ => "start the node again; if it fails in the same way, run `ensue log verify --data DIR` to check the log",
        }
    }
}

/// A running node.
pub struct Node {
    edges: Services,
    serving: Serving,
    sequencer: SequencerHandle,
    working: Working,
    following: Following,
    leading: Leading,
    deliveries: Arc<KeptDeliveries>,
    is_stopping: Arc<AtomicBool>,
    ticker: tokio::task::JoinHandle<()>,
    refresher: tokio::task::JoinHandle<()>,
    renewer: tokio::task::JoinHandle<()>,
    housekeeper: Housekeeper,
    certificates: Option<Certificates>,
}

/// The parts that change the installed packs and the access of callers, once the log has a leader.
struct Services {
    keys: Arc<NodeKeys>,
    tokens: Arc<NodeTokens>,
    people: Arc<NodePeople>,
    refusals: Arc<NodeRefusals>,
    issuers: Arc<NodeIssuers>,
    vouching: Arc<NodeVouching>,
    logins: Arc<NodeLogins>,
    devices: Arc<NodeDevices>,
    first_admin_token: Option<Secret>,
    warnings: Vec<String>,
    packs_news: Option<mpsc::Receiver<PacksNews>>,
    watched_packs: Option<WatchedFolder>,
}

impl Node {
    /// Starts a node with these settings; it serves requests when this returns.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_over(config, Box::new(|log| log)).await
    }

    /// Starts a node whose log is wrapped by `over`. For measurements: a production node writes to the log directly.
    pub async fn start_over(config: Config, over: LogOver) -> Result<Self, StartError> {
        Self::start_after(config, over, Arc::new(Standby::default())).await
    }

    /// Starts a node as [`start_over`](Self::start_over) does. While another node leads its log, it waits, and tells
    /// `standby` what for.
    pub async fn start_after(config: Config, over: LogOver, standby: Arc<Standby>) -> Result<Self, StartError> {
        // An earlier start in the same process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut taken_over = None;
        let started = start(config, over, standby, &mut taken_over).await;
        if let (Err(_), Some(executor)) = (&started, taken_over) {
            // Dropping the executor with its task would kill a program that an earlier node left running.
            executor.stop(Duration::ZERO).await;
        }
        started
    }

    /// Returns the address that the node listens on.
    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// Returns the admin token that was created at the very first start. It is not stored, and cannot be shown again.
    pub fn first_admin_token(&self) -> Option<&Secret> {
        self.edges.first_admin_token.as_ref()
    }

    /// Returns warnings about this start for the operator, such as packs that were not taken in.
    pub fn warnings(&self) -> &[String] {
        &self.edges.warnings
    }

    /// Returns, once, the receiver of reports about the packs folder, if the folder is watched.
    pub fn packs_news(&mut self) -> Option<mpsc::Receiver<PacksNews>> {
        self.edges.packs_news.take()
    }

    /// Returns, once, the certificate that the node serves TLS with, if it does: the caller lets it look at its files.
    pub fn certificates(&mut self) -> Option<Certificates> {
        self.certificates.take()
    }

    /// Completes when the log has failed, or another node leads it: the node accepts no further input and must be
    /// restarted.
    pub async fn wait_for_failure(&self) -> NodeFailure {
        tokio::select! {
            failure = self.log_failed() => failure,
            failure = self.lead_lost() => failure,
        }
    }

    /// Completes when another node leads the log, or the database lacks what this node wrote.
    async fn lead_lost(&self) -> NodeFailure {
        let Some(watch) = &self.leading.watch else { return std::future::pending().await };
        loop {
            if let Some(why) = watch.rewritten() {
                return SequencerError::Rewritten(why).into();
            }
            if watch.is_lost() {
                return SequencerError::Deposed("its lease was over".to_owned()).into();
            }
            tokio::time::sleep(LEAD_LOOK_EVERY).await;
        }
    }

    async fn log_failed(&self) -> NodeFailure {
        let mut failed = self.leading.failed.clone();
        loop {
            if let Some(error) = failed.borrow_and_update().clone() {
                return error.into();
            }
            if failed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Runs the stages of a start. From `taken_over` on, the executor owns the programs that an earlier node left
/// running.
async fn start(config: Config, over: LogOver, standby: Arc<Standby>, taken_over: &mut Option<Executor>) -> Result<Node, StartError> {
    let clock: Arc<dyn SteppedClock> = Arc::new(SystemClock::default());
    let certificates = Certificates::open(&config.tls, config.login.certificates.as_ref().map(|settings| &*settings.ca))?;
    let packs = LookedFor::begin(&config)?;
    let (mut opened, waiting) = match config.database {
        None => (open_after(&config, &*clock, &standby)?, None),
        Some(_) => wait_and_open(&config, &clock, standby).await?,
    };
    let settings = settings(&config);
    let caps =
        Caps { delivery_bytes_max: config.delivery_bytes_max, open_work: settings.open_work_max, workers: settings.workers_in_all() };
    let around = RuntimeContext { clock, settings, queues: memory_limits::queues(config.memory_bytes, caps) };
    let stores = Stores::of(&opened, &around)?;
    let following = Following::start(&config, &mut opened, &stores, &around)?;
    let (handle, unstarted) = sequencer(around.queues.clone());
    let mut working = Working::start(&config, &opened, &stores, (&following.telemetry, &handle, &around))?;
    let backend = opened.backend.clone();
    let leading = Leading::start(&config, opened, over, (&stores, &following, &working, &around), unstarted)?;

    *taken_over = Some(working.executor.clone());
    working.take_over().await;
    let tls = certificates.as_ref().map(Certificates::tls);
    let edges = note(&handle, "recording the start", Ask::NoteStart { release: RELEASE.to_owned() }).and_then(|()| {
        let naming = certificates.as_ref().and_then(Certificates::naming);
        Services::open(&config, packs, (&stores, &handle, &around), (leading.is_first_start, naming))
    });
    let edges = match edges {
        Ok(edges) => edges,
        Err(error) => return Err(leading.why_failed(&handle, error).await),
    };
    let is_stopping = Arc::new(AtomicBool::new(false));
    let runtime = (&stores, &following, &working, &leading);
    let serving = Serving::start(&config, (waiting, tls), runtime, &edges, (&handle, &is_stopping, &around)).await?;
    backend.has_started();
    complete_rotation(stores.master_key(&handle), &following.jobs);
    let caches = Caches {
        sequencer: handle.clone(),
        followers: vec![following.views.follower.0.clone(), following.telemetry.follower.clone()],
        bodies: stores.bodies.clone(),
        readers: stores.readers.clone(),
        catalogs: stores.catalogs.clone(),
    };
    let housekeeper = Housekeeper::start(working.kept.clone(), around.clock.clone(), IdleWatch::over(caches))
        .map_err(|why| machine("starting the job that deletes old outputs", &why))?;
    let refresher = tokio::spawn(edges.issuers.clone().keep_fresh());
    let renewals = Renewals::new(edges.issuers.clone(), edges.logins.clone(), serving.sessions.clone(), around.clock.clone());
    let renewer = tokio::spawn(Arc::new(renewals).keep_up());
    let (swept, noted) =
        ((stores.keys.clone(), serving.sessions.clone()), (edges.refusals.clone(), stores.deliveries.clone(), working.connections.clone()));
    let ticker = tokio::spawn(tick(around.clock, handle.clone(), leading.outside.clone(), swept, noted));
    let deliveries = stores.deliveries.clone();
    Ok(Node {
        edges,
        deliveries,
        serving,
        sequencer: handle,
        working,
        following,
        leading,
        is_stopping,
        ticker,
        refresher,
        renewer,
        housekeeper,
        certificates,
    })
}

/// Opens the log on a thread of its own, because that may wait for another node's end. Answers callers meanwhile, and until the
/// node serves.
async fn wait_and_open(
    config: &Config,
    clock: &Arc<dyn SteppedClock>,
    standby: Arc<Standby>,
) -> Result<(OpenedDirectory, Option<StandbyServer>), StartError> {
    let mut waiting = None;
    let (settings, clock, mut waits_for) = (config.clone(), clock.clone(), standby.waits_for());
    let mut opening = tokio::task::spawn_blocking(move || open_patiently(&settings, &*clock, &standby));
    let opened = tokio::select! {
        opened = &mut opening => opened,
        Ok(_) = async { waits_for.wait_for(Option::is_some).await.map(drop) } => {
            waiting = StandbyServer::begin(config, waits_for.clone()).await?;
            opening.await
        }
    };
    let opened = opened.unwrap_or_else(|error| Err(machine("opening the log", &error)))?;
    Ok((opened, waiting))
}

/// Opens the log. A node that has reached its database once retries until the database answers.
fn open_patiently(config: &Config, clock: &dyn SteppedClock, standby: &Arc<Standby>) -> Result<OpenedDirectory, StartError> {
    loop {
        match open_after(config, clock, standby) {
            Err(error) if error.fault() == Fault::Unavailable && standby.knows_its_database() => {
                if standby.wait_for_database(&error) == ensue_postgres::WaitDecision::GiveUp {
                    return Err(error);
                }
                std::thread::sleep(REACH_EVERY);
            }
            opened => {
                standby.has_begun();
                return opened;
            }
        }
    }
}

impl Services {
    /// Takes in the packs folder, sets the keys that are stored in files, and creates the first admin's access.
    fn open(
        config: &Config,
        packs: LookedFor,
        (stores, handle, around): (&Stores, &SequencerHandle, &RuntimeContext),
        (is_first_start, naming): (bool, Option<NamingAuthorities>),
    ) -> Result<Self, StartError> {
        let folder = PacksFolder {
            path: config.packs.clone(),
            settings: pack_values(config),
            delivery_bytes_max: config.delivery_bytes_max,
            accepted: config.accepted_permissions,
            catalogs: stores.catalogs.clone(),
            sequencer: Arc::new(handle.clone()),
            clock: around.clock.clone(),
        };
        let (found, changing) = packs.wait_for_packs();
        let packs_read = folder.take_in_what(found).map_err(not_taken_in)?;
        let mut warnings = packs_read.findings.clone();
        let watched_packs = changing.map(|changes| watch_packs(folder, changes, packs_read)).transpose()?;
        let (watched_packs, packs_news) = watched_packs.unzip();
        let keys = NodeKeys {
            ring: stores.keys.clone(),
            sequencer: Arc::new(handle.clone()),
            clock: around.clock.clone(),
            setting: Mutex::new(()),
        };
        warnings.extend(queue_warnings(&around.settings, &stores.catalogs));
        warnings.extend(set_keys(config, &stores.catalogs, &keys)?);
        let tokens = NodeTokens { table: stores.tokens.clone(), sequencer: Arc::new(handle.clone()), clock: around.clock.clone() };
        let people = Arc::new(NodePeople {
            table: stores.tokens.clone(),
            sequencer: Arc::new(handle.clone()),
            clock: around.clock.clone(),
            adding: Mutex::new(()),
        });
        stores.edge.senders.keep_in(config.data.join("sns_certificates.json"));
        stores.edge.senders.connect(Box::new(IssuerWeb::new(egress(&config.egress_allow)?)));
        let web = IssuerWeb::new(egress(&config.egress_allow)?);
        let issuers = Issuers::new(config.login.issuers.clone());
        let issuers = Arc::new(NodeIssuers::new((issuers, config.login.others()), web, people.clone(), around.clock.clone()));
        let vouching = Arc::new(NodeVouching {
            proxy: config.login.proxy.clone(),
            certificates: config.login.certificates.clone().zip(naming),
            keys: stores.keys.clone(),
            people: people.clone(),
            clock: around.clock.clone(),
        });
        let logins = Arc::new(NodeLogins::new(issuers.clone(), stores.keys.clone(), around.clock.clone()));
        let devices = Arc::new(NodeDevices::new(config.login.device, around.clock.clone()));
        issuers.end_sessions_of_removed().map_err(|declined| machine("ending the sessions of issuers that were removed", &declined.why))?;
        let first_admin_token = first_token(config, is_first_start, &tokens)?;
        declare_rights(&config.declared_rights, &tokens)?;
        let refusals = Arc::new(NodeRefusals::new(Arc::new(handle.clone()), around.clock.clone(), config.audit_address));
        Ok(Self {
            keys: Arc::new(keys),
            tokens: Arc::new(tokens),
            people,
            issuers,
            vouching,
            logins,
            devices,
            refusals,
            first_admin_token,
            warnings,
            packs_news,
            watched_packs,
        })
    }
}

/// Completes a rotation of the master key that was interrupted. The node serves meanwhile, and with both keys if it
/// cannot be completed.
fn complete_rotation(rotation: MasterKeyRotation, jobs: &Arc<Jobs>) {
    if !rotation.has_begun() {
        return;
    }
    tracing::info!("the rotation of the master key that was interrupted is continued");
    let by = OnBehalf { actor: Actor::Engine, trace: None, request: None };
    if let Err(error) = jobs.rotate_master_key(rotation, by) {
        tracing::error!(%error, "the rotation of the master key cannot be continued; run `ensue keys rotate-master`");
    }
}

/// Returns the core's settings; the worker's name is set later.
fn settings(config: &Config) -> Settings {
    let url = config.url_at(config.listen);
    let mut queues = config.queues.workers.clone();
    queues.entry(HTTP_QUEUE.clone()).or_insert_with(|| http_workers(config.memory_bytes));
    Settings {
        workers: config.workers.unwrap_or_else(default_workers),
        queues,
        lease_millis: u64::try_from(config.lease.as_millis()).unwrap_or(u64::MAX),
        tiers: config.tiers.clone(),
        scope_labels: config.scope_labels.clone(),
        inquiries_url: format!("{url}{}/", ensue_api::inquiries_path(config.page)),
        ..Settings::default()
    }
}

/// Returns how many attempts of the queue `http` run at once if the operator does not set it.
fn http_workers(memory_bytes: u64) -> u32 {
    let fitting = u32::try_from(memory_bytes / MEMORY_OF_HTTP_WORKER).unwrap_or(HTTP_WORKERS_MAX);
    fitting.min(HTTP_WORKERS_MAX)
}

fn default_workers() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(1).saturating_mul(WORKERS_PER_CORE)
}

fn note(handle: &SequencerHandle, doing: &'static str, ask: Ask) -> Result<(), StartError> {
    let command = Command { actor: Actor::Engine, trace: None, ask };
    handle.ask(command).map(|_| ()).map_err(|error| to_start_error(doing, &error))
}

fn to_start_error(doing: &'static str, error: &SubmitError) -> StartError {
    match error {
        // Offers follow from the folded records: the derived data stored in the file does not match them.
        SubmitError::Refused(Refusal::Unstorable(why)) => StartError::Chain(format!("the log disagrees with its own records: {why}")),
        _ => StartError::Refused { doing, why: error.to_string(), hint: error.hint() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_that_the_log_refuses_says_what_it_disagrees_with() {
        let refusal = SubmitError::Refused(Refusal::Unstorable("its first record is there already".to_owned()));
        let why = to_start_error("recording the start", &refusal).to_string();
        assert!(why.contains("the log disagrees") && why.contains("its first record is there already"), "{why}");
        let other = to_start_error("recording the start", &SubmitError::Busy);
        assert!(matches!(other, StartError::Refused { doing: "recording the start", .. }), "{other}");
    }

    /// Returns how many attempts of the queue `http` run at once with these settings.
    fn workers_for_http(change: impl FnOnce(&mut Config)) -> u32 {
        let mut config = Config::new("data".into());
        change(&mut config);
        settings(&config).queues[&HTTP_QUEUE]
    }

    #[test]
    fn http_has_a_worker_for_every_four_mebibytes_and_at_most_64() {
        let with_memory = |mebibytes: u64| workers_for_http(|config| config.memory_bytes = mebibytes * 1024 * 1024);
        assert_eq!([128, 200, 255, 256, 512, 1 << 30].map(with_memory), [32, 50, 63, 64, 64, 64]);
        assert_eq!(workers_for_http(|_| {}), 64, "by default");
    }

    #[test]
    fn operator_s_setting_of_the_queue_http_replaces_the_default() {
        let set_to = |workers| workers_for_http(|config| config.queues.workers = [(HTTP_QUEUE.clone(), workers)].into());
        assert_eq!([1, 500].map(set_to), [1, 500], "whatever memory there is");
        assert_eq!(workers_for_http(|config| config.workers = Some(3)), 64, "`workers` is for the queue `default`");
    }
}
