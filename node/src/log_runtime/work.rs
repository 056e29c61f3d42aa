//! The worker of a log, which runs its attempts, and the data about them that is stored next to the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_api::metrics::{Distribution, SHORT, Unit};
use ensue_api::{ANSWER_PATH, PageServing, QueueName};
use ensue_connectors::Connectors;
use ensue_connectors::world::Folders;
use ensue_engine::effect::Effect;
use ensue_engine::ports::{Blobs, Outputs};
use ensue_engine::sensors::state::Sensors;
use ensue_executor::begun_file::{AssignedAttempt, BegunFile, Opener, Previous};
use ensue_executor::connections::Connections;
use ensue_executor::ports;
use ensue_executor::programs::{AtEnd, Programs};
use ensue_executor::pulling::{SensorActions, SensorActionsPorts, SensorWeb};
use ensue_executor::web::Web;
use ensue_executor::{Allowance, Blocking, Destinations, EgressPolicy, Executor, ExecutorPorts, ExecutorSettings};

use super::RuntimeContext;
use super::open::OpenedDirectory;
use super::stores::Stores;
use super::telemetry::RunningTelemetry;
use crate::answer_links::{AnswerLinks, NotificationLinks};
use crate::clock::SteppedClock;
use crate::commit_listeners::Copies;
use crate::config::{Config, InquiryLinks};
use crate::connections::KeysOfConnections;
use crate::key_providers;
use crate::log_access::NodeBodies;
use crate::output_stores::OutputStores;
use crate::programs::{TimedPrograms, Users};
use crate::release::RELEASE;
use crate::sensors::{NodeWorlds, SensorSupervisor, SupervisorParts};
use crate::sequencer::SequencerHandle;
use crate::start_error::{StartError, machine};

/// The name of the worker that runs the actions of polls. It is in no log.
const POLLS_WORKER: &str = "polls";

/// The running worker.
pub(crate) struct Working {
    /// The worker.
    pub(crate) executor: Executor,
    /// The pulling sensors.
    pub(crate) sensors: SensorSupervisor,
    /// The endpoints that the operator defines.
    pub(crate) connections: Arc<Connections>,
    /// Its name.
    pub(crate) name: String,
    /// The data that is stored next to the log.
    pub(crate) kept: OutputStores,
    /// The users that programs run as.
    pub(crate) users: Users,
    /// What happens to programs when the node ends.
    pub(crate) programs_at_end: AtEnd,
    /// How long programs take to start.
    pub(crate) spawned: Distribution,
    left: PendingWork,
}

/// The work that the log owed when it was opened, and the known facts about it.
struct PendingWork {
    owed: Vec<Effect>,
    previous: Previous,
}

impl Working {
    /// Starts the worker, which reports to `to`. It takes over the log's pending work later, once its reports have a
    /// receiver.
    pub(crate) fn start(
        config: &Config,
        opened: &OpenedDirectory,
        stores: &Stores,
        (telemetry, to, around): (&RunningTelemetry, &SequencerHandle, &RuntimeContext),
    ) -> Result<Self, StartError> {
        let owed: Vec<Effect> = opened.engine.owed_effects();
        let running = owed.iter().filter_map(|effect| match effect {
            Effect::Dispatch(dispatch) => Some((dispatch.attempt, dispatch.worker.clone())),
            Effect::Stop { .. } | Effect::Release { .. } | Effect::RunSensor(_) | Effect::StopSensor { .. } => None,
        });
        let running: Vec<AssignedAttempt> = running.collect();
        let (sizes, attempts) = ((config.outputs, config.artifacts), running.iter().map(|(attempt, _)| *attempt));
        let kept =
            OutputStores::open((&*opened.backend, stores.log, &*opened.vault), sizes, config.min_free_bytes, &around.clock, attempts)
                .map_err(|why| machine("opening the outputs and artifacts", &why))?;
        let by = Opener::now(new_worker(&*around.clock));
        let (begun, previous) = BegunFile::open(opened.data.begun_attempts(), by, running)
            .map_err(|why| machine("reading the list of begun attempts", &why))?;
        let name = begun.worker().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let clock: Arc<dyn ensue_executor::Clock> = Arc::new(ensue_executor::SystemClock::new());
        let named = config.hidden_paths();
        let own = [opened.data.path(), opened.state.as_path()];
        let hidden: Vec<&Path> = own.into_iter().chain(named.iter().map(PathBuf::as_path)).collect();
        let (programs, users) = crate::programs::open(config, opened.data.path(), &hidden, &path, clock.clone())?;
        let copies: Arc<dyn ports::PackFiles> = Arc::new(Copies(stores.catalogs.clone()));
        let sensor_programs =
            crate::programs::for_sensors(config, opened.data.path(), (&hidden[..], path.as_os_str()), (users.users, copies))?;
        let programs_at_end = programs.at_end();
        let policy = egress(&config.egress_allow)?;
        let host = Arc::new(KeysOfConnections { keys: stores.keys.clone(), clock: around.clock.clone() });
        let connections = Arc::new(Connections::new(config.connections.clone(), policy.clone(), clock.clone(), host));
        let web: Arc<dyn Web> = Arc::new(Destinations::new(policy, clock.clone()));
        stores.keys.provide(key_providers::open_provided_keys(config, &web));
        let spawned = Distribution::new(Unit::Seconds, SHORT);
        let programs: Arc<dyn Programs> = Arc::new(TimedPrograms::new(programs, spawned.clone()));
        let (polls_begun, _) = BegunFile::open(opened.data.polls_begun(), Opener::now(POLLS_WORKER), [])
            .map_err(|why| machine("reading the list of begun actions of polls", &why))?;
        let for_polls = SensorActionsPorts {
            catalogs: stores.catalogs.clone(),
            bodies: Arc::new(NodeBodies { cache: stores.bodies.clone(), log: stores.readers.clone() }),
            keys: stores.keys.clone(),
            vars: stores.vars.clone(),
            programs: programs.clone(),
            web: web.clone(),
            connections: connections.clone(),
            packs: Arc::new(Copies(stores.catalogs.clone())),
            clock: clock.clone(),
            begun: polls_begun,
        };
        let ports = ExecutorPorts {
            submit: Arc::new(to.clone()),
            catalogs: stores.catalogs.clone(),
            bodies: Arc::new(NodeBodies { cache: stores.bodies.clone(), log: stores.readers.clone() }),
            keys: stores.keys.clone(),
            access: stores.tokens.clone(),
            links: links(config, stores, to, around),
            vars: stores.vars.clone(),
            outputs: kept.outputs.clone(),
            blobs: kept.blobs.clone(),
            observe: stores.edge.clone(),
            packs: Arc::new(Copies(stores.catalogs.clone())),
            programs,
            spans: telemetry.request_spans(),
            web: web.clone(),
            connections: connections.clone(),
            clock,
            begun,
        };
        let settings = ExecutorSettings { worker: name.clone(), traced: telemetry.trace_context(), ..executor_settings(config, path) };
        let actions = SensorActions::start(for_polls, ExecutorSettings { worker: POLLS_WORKER.to_owned(), ..settings.clone() });
        let executor = Executor::start(ports, settings);
        let worlds = NodeWorlds {
            clock: around.clock.clone(),
            keys: stores.keys.clone(),
            catalogs: stores.catalogs.clone(),
            web: Arc::new(SensorWeb::new(web, connections.clone(), config.secrets())),
            connections: connections.clone(),
            programs: sensor_programs,
            actions: Arc::new(actions),
            folders: Arc::new(folders(config, &hidden)),
        };
        let sensors = SensorSupervisor::new(supervisor_parts(
            (stores, to, around),
            worlds,
            (opened.data.path().join("sensor_logs"), opened.engine.sensors().clone()),
        ));
        Ok(Self { executor, sensors, connections, name, kept, users, programs_at_end, spawned, left: PendingWork { owed, previous } })
    }

    /// Takes over the work that the log owed when it was opened.
    pub(crate) async fn take_over(&mut self) {
        self.executor.take_over(std::mem::take(&mut self.left.owed), &self.left.previous).await;
    }

    /// Returns the store of the output of attempts.
    pub(crate) fn outputs(&self) -> Arc<dyn Outputs> {
        self.kept.outputs.clone()
    }

    /// Returns the store of the files that attempts publish.
    pub(crate) fn blobs(&self) -> Arc<dyn Blobs> {
        self.kept.blobs.clone()
    }
}

/// Returns the folders that file sensors may use: those of the programs of actions.
fn folders(config: &Config, hidden: &[&Path]) -> Folders {
    Folders {
        readable: config.actions.readable.clone(),
        writable: config.actions.writable.clone(),
        hidden: hidden.iter().map(|path| path.to_path_buf()).collect(),
    }
}

/// Returns what the pulling sensors use.
fn supervisor_parts(
    (stores, to, around): (&Stores, &SequencerHandle, &RuntimeContext),
    worlds: NodeWorlds,
    (logs, at_start): (PathBuf, Sensors),
) -> SupervisorParts {
    SupervisorParts {
        submit: Arc::new(to.clone()),
        known: Arc::new(to.clone()),
        catalogs: stores.catalogs.clone(),
        edge: stores.edge.clone(),
        bodies: Arc::new(NodeBodies { cache: stores.bodies.clone(), log: stores.readers.clone() }),
        connect: Arc::new(Connectors),
        worlds: Arc::new(worlds),
        clock: around.clock.clone(),
        intake: to.gauges().intake.watch(),
        bytes: around.queues.of(QueueName::SensorBytes).clone(),
        logs: Some(logs),
        at_start,
        blocking: Blocking::Pool,
        release: RELEASE,
    }
}

/// Returns where notifications get their links to inquiries; none if links are off, or no page opens them.
fn links(config: &Config, stores: &Stores, to: &SequencerHandle, around: &RuntimeContext) -> Option<Arc<dyn ports::AnswerLinks>> {
    if config.inquiry_links == InquiryLinks::Off || config.page == PageServing::Off {
        return None;
    }
    let links = AnswerLinks { table: stores.tokens.clone(), sequencer: Arc::new(to.clone()), clock: around.clock.clone() };
    let address = format!("{}{ANSWER_PATH}#", config.url_at(config.listen));
    Some(Arc::new(NotificationLinks { links, address }))
}

fn executor_settings(config: &Config, path: std::ffi::OsString) -> ExecutorSettings {
    ExecutorSettings {
        at_stop: config.actions.at_stop,
        limits: config.actions.limits,
        artifact_bytes_max: config.artifacts.one_bytes_max,
        lease: config.lease,
        masked: config.secrets(),
        ..ExecutorSettings::new(path)
    }
}

/// Returns a random name for a worker, which no log knows yet.
fn new_worker(clock: &dyn SteppedClock) -> String {
    // 64 random bits are unique enough among the few workers that a log ever has.
    format!("local-{:016x}", clock.moment().entropy as u64)
}

/// Reads `egress.allow`.
pub(crate) fn egress(allow: &[String]) -> Result<EgressPolicy, StartError> {
    let allowed: Result<Vec<Allowance>, _> = allow.iter().map(|text| text.parse::<Allowance>()).collect();
    allowed.map(EgressPolicy::allowing).map_err(|why| machine("reading `egress.allow`", &why))
}
