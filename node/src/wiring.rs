//! THE wiring: the only file that knows every concrete type, in the order in which a node comes up and goes down.

mod access;
mod packs;
mod queues;
mod space;
mod stop;
mod telemetry;
mod ticks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ensue_api::metrics::{Distribution, SHORT, Unit};
use ensue_api::routes::INQUIRIES;
use ensue_api::server::Ended;
use ensue_api::{Front, Hosts, Limits, Ports, QueueName, Server, Settings as ApiSettings};
use ensue_engine::command::{Ask, Command, Refusal, Settings};
use ensue_engine::effect::Effect;
use ensue_engine::explain::Explain;
use ensue_engine::names::PackName;
use ensue_engine::ports::{Blobs, Log, LogError, LogReader, Outputs, Secret, SubmitError, Vault};
use ensue_engine::record::Actor;
use ensue_executor::begun::{Begun, Given, Opener};
use ensue_executor::{Allowance, Destinations, EgressPolicy, Executor, ExecutorPorts, ExecutorSettings};
use ensue_store::faults::{Faults, FaultyLog};
use ensue_store::sqlite::log::{SqliteLog, SqliteLogReader};
use ensue_store::sqlite::views::{SqliteViewReader, SqliteViews};
use ensue_views::{ViewReader, ViewStore as _};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::about::AboutNode;
use crate::backtest::NodeBacktests;
use crate::bodies::BodyCache;
use crate::catalogs::NodeCatalogs;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::edge::Edge;
use crate::fold_guard::{FoldGuard, Patience};
use crate::followers::{self, Fares, FollowerHandle, Waiting};
use crate::heard::{Copies, NodeHeard};
use crate::jobs::{Jobs, LiveViews};
use crate::kept::{Housekeeper, KeptBeside};
use crate::keys::{KeyRing, NodeKeys};
use crate::log_access::{LogReaders, NodeBodies};
use crate::memory::{self, Caps, Memory};
use crate::opening::{Opened, StartError, machine, open};
use crate::outside::OutsideWriter;
use crate::packs_folder::{PacksFolder, PacksNews, WatchedFolder};
use crate::plain_body::plain;
use crate::programs::TimedPrograms;
use crate::release::RELEASE;
use crate::replays::NodeReplays;
use crate::sequencer::{Asking, SequencerError, SequencerHandle, SequencerParts, sequencer};
use crate::snapshots::{SNAPSHOT_EVERY_RECORDS, Snapshot, SnapshotWriter, snapshots};
use crate::tokens::{NodeTokens, TokenTable};
use crate::vars::VarTable;
use crate::views::ViewFollower;
use crate::whole_fold::Rebuilt;
use access::{cursor_key, first_token, set_keys};
use packs::{changing_packs, looking_for_packs, not_taken_in, pack_values, watch_packs};
use queues::unworked;
use space::DiskSpace;
use telemetry::RunningTelemetry;
use ticks::tick;

pub use ticks::note_clock_step;

/// The most attempts at once for each core, where the operator says nothing.
const WORKERS_PER_CORE: u32 = 4;
/// How far the thread that looks through the read models stands back for the others.
#[cfg(target_os = "linux")]
const LOOKING_NICENESS: i32 = 19;
/// Why a node ended other than by being asked to.
#[derive(Clone, Debug, Error)]
#[error(transparent)]
pub struct NodeFailure(#[from] SequencerError);

/// A node that runs.
pub struct Node {
    address: SocketAddr,
    first_admin_token: Option<Secret>,
    warnings: Vec<String>,
    packs_news: Option<mpsc::Receiver<PacksNews>>,
    watched_packs: Option<WatchedFolder>,
    server: (oneshot::Sender<()>, tokio::task::JoinHandle<Ended>),
    sequencer: SequencerHandle,
    sequencer_thread: JoinHandle<Result<Snapshot, SequencerError>>,
    failed: watch::Receiver<Option<SequencerError>>,
    executor: Executor,
    view_follower: (FollowerHandle, JoinHandle<ViewFollower>),
    snapshot_writer: JoinHandle<SnapshotWriter>,
    telemetry: RunningTelemetry,
    outside: OutsideWriter,
    is_stopping: Arc<AtomicBool>,
    ticker: tokio::task::JoinHandle<()>,
    housekeeper: Housekeeper,
    _data: ensue_store::data_dir::DataDir,
}

impl Node {
    /// Starts a node with these settings; it serves when this returns.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // Another start in the same process has installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut taken_over = None;
        let started = start(config, &mut taken_over).await;
        if let (Err(_), Some(executor)) = (&started, taken_over) {
            // Dropped with its task, a program that an earlier node left would be killed.
            executor.stop(Duration::ZERO).await;
        }
        started
    }

    /// Gives the address that the node listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives the admin token that was made at the very first start; it is not kept, and cannot be shown again.
    pub fn first_admin_token(&self) -> Option<&Secret> {
        self.first_admin_token.as_ref()
    }

    /// Gives what the operator should know about this start: packs that were not taken, and the like.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Gives, once, where news of the packs folder come in, where it is watched.
    pub fn packs_news(&mut self) -> Option<mpsc::Receiver<PacksNews>> {
        self.packs_news.take()
    }

    /// Ends when the log has failed: nothing is taken in any more, and the node must be started again.
    pub async fn failed(&self) -> NodeFailure {
        let mut failed = self.failed.clone();
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

impl ensue_api::ports::Installed for NodeCatalogs {
    fn current(&self) -> Arc<ensue_engine::catalog::Catalog> {
        self.current()
    }

    fn at(&self, revision: ensue_engine::record::CatalogRevision) -> Option<Arc<ensue_engine::catalog::Catalog>> {
        ensue_engine::catalog::Catalogs::at(self, revision)
    }

    fn findings(&self) -> Arc<BTreeMap<PackName, Vec<ensue_packs::Diagnostic>>> {
        self.findings()
    }
}

async fn start(config: Config, taken_over: &mut Option<Executor>) -> Result<Node, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let changing_packs = changing_packs(&config)?;
    let found_packs = looking_for_packs(&config).map_err(|why| machine("reading the packs folder", &why))?;
    let opened = open(&config, &*clock)?;
    let log_id = opened.engine.log();
    let readers = Arc::new(LogReaders::new(open_readers(&opened)));

    let vault: Arc<dyn Vault> = opened.vault.clone();
    let keys = Arc::new(KeyRing::open_vault(vault.clone(), opened.engine.access())?);
    let vars = Arc::new(VarTable::new(opened.engine.vars().clone()));
    let tokens = Arc::new(TokenTable::open_vault(vault, opened.engine.access())?);
    let catalogs = Arc::new(NodeCatalogs::open(opened.data.packs(), opened.engine.packs().clone(), opened.log.reader()?)?);
    let edge = Arc::new(Edge { log: log_id, catalogs: catalogs.clone(), keys: keys.clone(), clock: clock.clone() });
    let url = config.url.clone().unwrap_or_else(|| format!("http://{}", config.listen));
    let settings = Settings {
        workers: config.workers.unwrap_or_else(default_workers),
        queues: config.queues.workers.clone(),
        lease_millis: millis(config.lease),
        inquiries_url: format!("{url}{INQUIRIES}/"),
        ..Settings::default()
    };
    let queues = memory::queues(config.memory_bytes, Caps { open_work: settings.open_work_max, workers: settings.workers_in_all() });
    let bodies = Arc::new(BodyCache::new(queues.of(QueueName::BodyBytes).clone()));
    let telemetry = RunningTelemetry::start(&config, &opened, &queues, &readers, &clock)?;
    let outside = OutsideWriter::new(opened.outside);

    let waiting = |batches, bytes| Waiting { batches: queues.of(batches).clone(), bytes: queues.of(bytes).clone() };
    let rebuilt = Rebuilt::default();
    let views = SqliteViews::open(&opened.data.views(), log_id)?;
    let view_reader: Arc<dyn ViewReader> = Arc::new(views.reader());
    let (reached, views_at) = watch::channel(ensue_engine::record::Position(0));
    let guard = FoldGuard::open(&opened.data.views_crash(), views.position())
        .watched(Patience::MINUTE)
        .map_err(|why| machine("watching the follower of the views", &why))?;
    let live = LiveViews { file: opened.data.views(), rebuilt: rebuilt.clone(), left_out: guard.left_out(), retention: config.retention };
    let jobs = Jobs::new(log_id, readers.clone(), clock.clone(), live);
    look_through(views.reader()).map_err(|why| machine("checking the views", &why))?;
    let view_follower = ViewFollower::new(views, reached, rebuilt, readers.clone())
        .mended_by(jobs.clone())
        .under(Box::new(guard))
        .keeping(config.retention);
    let (views_passed_over, removed_executions) = (view_follower.passed_over(), view_follower.removed_executions());
    let views_fare = Arc::new(Fares::default());
    let told = (waiting(QueueName::ViewBatches, QueueName::ViewBatchBytes), views_fare.clone());
    let view_follower = followers::start("views", view_follower, opened.log.reader()?, told)
        .map_err(|why| machine("starting the follower of the views", &why))?;
    let (snapshots, snapshot_writer) = snapshots(opened.checkpoints, opened.saved_at, SNAPSHOT_EVERY_RECORDS);
    let snapshot_trouble = snapshot_writer.trouble();
    let snapshot_writer = snapshot_writer.start().map_err(|why| machine("starting the thread that saves the state", &why))?;

    let owed: Vec<Effect> = opened.engine.owed_effects();
    let running = owed.iter().filter_map(|effect| match effect {
        Effect::Dispatch(dispatch) => Some((dispatch.attempt, dispatch.worker.clone())),
        Effect::Stop { .. } | Effect::Release { .. } => None,
    });
    let running: Vec<Given> = running.collect();
    let kept = KeptBeside::open(
        &opened.data,
        (config.outputs, config.artifacts),
        config.min_free_bytes,
        &clock,
        running.iter().map(|(attempt, _)| *attempt),
    )
    .map_err(|why| machine("opening the outputs and artifacts", &why))?;
    let outputs: Arc<dyn Outputs> = kept.outputs.clone();
    let blobs: Arc<dyn Blobs> = Arc::new(kept.blobs.clone());
    let by = Opener::now(new_worker(&*clock));
    let (begun, previous) =
        Begun::open(opened.data.begun(), by, running).map_err(|why| machine("reading the list of begun attempts", &why))?;
    let settings = Settings { worker: begun.worker().to_owned(), ..settings };
    let (handle, unstarted) = sequencer(queues.clone());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut executor_settings = ExecutorSettings::new(path.clone());
    executor_settings.worker = settings.worker.clone();
    executor_settings.at_stop = config.actions.at_stop;
    executor_settings.limits = config.actions.limits;
    executor_settings.artifact_bytes_max = config.artifacts.one_bytes_max;
    executor_settings.lease = config.lease;
    executor_settings.traced = telemetry.traced();
    let executor_clock: Arc<dyn ensue_executor::Clock> = Arc::new(ensue_executor::SystemClock::new());
    let hidden: Vec<&Path> = [opened.data.path(), opened.state.as_path()].into_iter().chain(config.secret_files()).collect();
    let (programs, users) = crate::programs::open(&config, opened.data.path(), &hidden, &path, executor_clock.clone())?;
    let programs_at_end = programs.at_end();
    let spawned = Distribution::new(Unit::Seconds, SHORT);
    let programs = Arc::new(TimedPrograms { programs, spawned: spawned.clone() });
    let executor = Executor::start(
        ExecutorPorts {
            submit: Arc::new(handle.clone()),
            catalogs: catalogs.clone(),
            bodies: Arc::new(NodeBodies { cache: bodies.clone(), log: readers.clone() }),
            keys: keys.clone(),
            vars: vars.clone(),
            outputs: outputs.clone(),
            blobs: blobs.clone(),
            observe: edge.clone(),
            packs: Arc::new(Copies(catalogs.clone())),
            programs,
            spans: telemetry.request_spans(),
            web: Arc::new(Destinations::new(egress(&config.egress_allow)?, executor_clock.clone())),
            clock: executor_clock,
            begun,
        },
        executor_settings,
    );

    let heard = NodeHeard {
        catalogs: catalogs.clone(),
        keys: keys.clone(),
        vars,
        tokens: tokens.clone(),
        bodies,
        outside: outside.clone(),
        executor: executor.clone(),
        followers: vec![view_follower.0.clone(), telemetry.follower.clone()],
    };
    let epoch = opened.log.epoch();
    let is_first_start = opened.head.position.0 == 0;
    let sequencer_thread = unstarted
        .start(SequencerParts {
            log: slowed(opened.log, config.commit_delay),
            engine: opened.engine,
            head: opened.head,
            clock: clock.clone(),
            catalogs: catalogs.clone(),
            settings: settings.clone(),
            rates: config.queues.rates.clone(),
            heard: Box::new(heard),
            space: Box::new(DiskSpace::new(opened.data.path().to_owned(), config.min_free_bytes)),
            plain,
            snapshots,
            crash_file: opened.data.crash(),
        })
        .map_err(|why| machine("starting the sequencer", &why))?;
    let (sequencer_thread, failed, is_failed) = watched(sequencer_thread)?;

    *taken_over = Some(executor.clone());
    executor.take_over(owed, &previous).await;
    note(&handle, "recording the start", Ask::NoteStart { release: RELEASE.to_owned() })?;
    let folder = PacksFolder {
        path: config.packs.clone(),
        settings: pack_values(&config),
        catalogs: catalogs.clone(),
        sequencer: Arc::new(handle.clone()),
        clock: clock.clone(),
    };
    let packs_read = match found_packs.join() {
        Ok(found) => folder.take_in_what(found),
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let packs_read = packs_read.map_err(not_taken_in)?;
    let mut warnings = packs_read.findings.clone();
    let watched_packs = changing_packs.map(|changes| watch_packs(folder, changes, packs_read)).transpose()?;
    let (watched_packs, packs_news) = watched_packs.unzip();
    let node_keys = NodeKeys { ring: keys.clone(), sequencer: Arc::new(handle.clone()), setting: Mutex::new(()) };
    warnings.extend(unworked(&settings, &catalogs));
    warnings.extend(set_keys(&config, &catalogs, &node_keys)?);
    let node_tokens = NodeTokens { table: tokens.clone(), sequencer: Arc::new(handle.clone()), clock: clock.clone() };
    let first_admin_token = first_token(&config, is_first_start, &node_tokens)?;

    let is_stopping = Arc::new(AtomicBool::new(false));
    let listener =
        tokio::net::TcpListener::bind(config.listen).await.map_err(|why| machine(&format!("listening on {}", config.listen), &why))?;
    let address = listener.local_addr().map_err(|why| machine("listening", &why))?;
    let about = AboutNode {
        release: RELEASE,
        started_at: clock.now(),
        log: log_id,
        epoch,
        workers: settings.workers_in_all(),
        sequencer: handle.clone(),
        readers: readers.clone(),
        catalogs: catalogs.clone(),
        edge: edge.clone(),
        jobs,
        outside: outside.clone(),
        kept: kept.clone(),
        memory: Memory::new(config.memory_bytes, queues.of(QueueName::RequestBytes).clone()),
        views_at: views_at.clone(),
        views_passed_over,
        retention: config.retention,
        removed_executions,
        views: view_reader.clone(),
        views_fare,
        snapshot_trouble,
        telemetry_fares: telemetry.fares.clone(),
        span_counts: telemetry.span_counts.clone(),
        counts: telemetry.counts.clone(),
        keys: keys.clone(),
        spawned,
        clock: clock.clone(),
        data: opened.data.path().to_owned(),
        min_free_bytes: config.min_free_bytes,
        actions: config.actions.clone(),
        users,
        programs_at_end,
        is_stopping: is_stopping.clone(),
        is_failed,
    };
    let ports = Ports {
        submit: Arc::new(handle.clone()),
        installed: catalogs.clone(),
        backtests: Arc::new(NodeBacktests::new(catalogs.clone(), readers.clone())),
        replays: Arc::new(NodeReplays::new(catalogs, readers.clone())),
        views: view_reader,
        views_at,
        log: readers,
        outputs,
        blobs,
        webhooks: edge.clone(),
        event_maker: edge,
        access: tokens,
        keys: Arc::new(node_keys),
        tokens: Arc::new(node_tokens),
        node: Arc::new(about),
        spans: telemetry.spans(),
    };
    let base_url = config.url.clone().unwrap_or_else(|| format!("http://{address}"));
    let api_settings = ApiSettings {
        hosts: Hosts::of(&base_url, config.hosts.iter().cloned()),
        base_url,
        release: RELEASE.to_owned(),
        cursor_key: cursor_key(&opened.data.path().join("cursor.key"))?,
        limits: Limits { silent_per_address: config.silent_per_address, ..Limits::default() },
        queues,
        rates: config.rates,
        blocking: ensue_api::Blocking::Pool,
    };
    let front = Front::new(ports, api_settings);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(Server::new(front).serve(listener, async move { drop(stopped.await) }));
    let housekeeper = Housekeeper::start(kept, clock.clone()).map_err(|why| machine("starting the job that deletes old outputs", &why))?;
    let ticker = tokio::spawn(tick(clock, handle.clone(), outside.clone()));
    Ok(Node {
        address,
        first_admin_token,
        warnings,
        packs_news,
        watched_packs,
        server: (stop, server),
        sequencer: handle,
        sequencer_thread,
        failed,
        executor,
        view_follower,
        snapshot_writer,
        telemetry,
        outside,
        is_stopping,
        ticker,
        housekeeper,
        _data: opened.data,
    })
}

/// Has the read models looked through beside all else: what is found damaged is made anew by their follower.
fn look_through(views: SqliteViewReader) -> std::io::Result<()> {
    let looks = move || {
        // With a million rows it takes a while, and whoever asks meanwhile goes first. Elsewhere this would be of the whole process.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, LOOKING_NICENESS);
        if let Err(error) = views.look_through() {
            tracing::warn!(%error, "the read models are not what was written");
        }
    };
    std::thread::Builder::new().name("views-look".into()).spawn(looks).map(drop)
}

fn open_readers(opened: &Opened) -> Box<crate::log_access::OpenReader> {
    let (path, id) = (opened.data.log(), opened.engine.log());
    Box::new(move || match SqliteLogReader::open(&path, id) {
        Ok(reader) => Ok(Box::new(reader) as Box<dyn LogReader>),
        Err(error) => Err(LogError::Store(error.to_string())),
    })
}

/// The log, which a measurement may want on a slower disk than there is.
fn slowed(log: SqliteLog, commit_delay: Duration) -> Box<dyn Log> {
    if commit_delay.is_zero() {
        return Box::new(log);
    }
    let faults = Faults::default();
    faults.delay_appends(commit_delay);
    Box::new(FaultyLog::new(log, faults))
}

/// Draws the name of a worker that no log knows yet.
fn new_worker(clock: &dyn Clock) -> String {
    // One in 2^64 is unique enough among the few that a log ever has.
    format!("local-{:016x}", clock.moment().entropy as u64)
}

fn default_workers() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(1).saturating_mul(WORKERS_PER_CORE)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn egress(allow: &[String]) -> Result<EgressPolicy, StartError> {
    let allowed: Result<Vec<Allowance>, _> = allow.iter().map(|text| text.parse::<Allowance>()).collect();
    allowed.map(EgressPolicy::allowing).map_err(|why| machine("reading `egress.allow`", &why))
}

/// The sequencer's thread, what it failed with once it has, and whether it has.
type Watched = (JoinHandle<Result<Snapshot, SequencerError>>, watch::Receiver<Option<SequencerError>>, Arc<AtomicBool>);

/// Has somebody wait for the sequencer's end, who tells of a failure.
fn watched(thread: JoinHandle<Result<Snapshot, SequencerError>>) -> Result<Watched, StartError> {
    let (tell, failed) = watch::channel(None);
    let is_failed = Arc::new(AtomicBool::new(false));
    let noted = is_failed.clone();
    let watcher = std::thread::Builder::new()
        .name("sequencer-watch".into())
        .spawn(move || {
            let ended = thread.join().unwrap_or_else(|_| Err(SequencerError::Log("the sequencer's thread panicked".to_owned())));
            if let Err(error) = &ended {
                noted.store(true, Ordering::Relaxed);
                tell.send_replace(Some(error.clone()));
            }
            ended
        })
        .map_err(|why| machine("watching the sequencer", &why))?;
    Ok((watcher, failed, is_failed))
}

fn note(handle: &SequencerHandle, doing: &'static str, ask: Ask) -> Result<(), StartError> {
    let command = Command { actor: Actor::Engine, trace: None, ask };
    handle.ask(command).map(|_| ()).map_err(|error| refused(doing, &error))
}

fn refused(doing: &'static str, error: &SubmitError) -> StartError {
    match error {
        // What is offered follows from the records that were folded: what stands beside them in the file is not what they say.
        SubmitError::Refused(Refusal::Unstorable(why)) => StartError::Chain(format!("log.sqlite disagrees with its own records: {why}")),
        _ => StartError::Refused { doing, why: error.to_string(), hint: error.hint() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_rejected_by_the_log_s_file_names_that_file() {
        let refusal = SubmitError::Refused(Refusal::Unstorable("its first record is there already".to_owned()));
        let why = refused("recording the start", &refusal).to_string();
        assert!(why.contains("log.sqlite") && why.contains("its first record is there already"), "{why}");
        let other = refused("recording the start", &SubmitError::Busy);
        assert!(matches!(other, StartError::Refused { doing: "recording the start", .. }), "{other}");
    }
}
