//! A node's start, step by step as the one at work does it: the twin of `process.rs` and `log_runtime.rs`.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue_api::ports::{KeyWriter, NewValue, OnBehalf};
use ensue_api::{Ends, Ports, Queue, QueueName, RecentChanges};
use ensue_engine::access::quota::Tiers;
use ensue_engine::catalog::DELIVERY_BYTES_DEFAULT;
use ensue_engine::command::{Ask, Command, Settings};
use ensue_engine::effect::Effect;
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Blobs, Secret, Vault};
use ensue_engine::record::Actor;
use ensue_engine::sensors::state::Sensors;
use ensue_executor::begun_file::{BegunFile, Opener};
use ensue_executor::connections::Connections;
use ensue_executor::{Blocking, Executor, ExecutorPorts, ExecutorSettings};
use ensue_node::Config;
use ensue_node::backend::readers_of;
use ensue_node::config::{InquiryLinks, PasswordLogin};
use ensue_node::log_runtime::open::open_on;
use ensue_node::parts::{
    Asking, BodyCache, Caps, CommitListeners, Copies, Edge, KeyRing, LogReaders, NodeBacktests, NodeBodies, NodeCatalogs, NodeClock,
    NodeKeys, NodePasswords, NodePeople, NodeRefusals, NodeReplays, NodeSessions, NodeTokens, NodeUsage, OutsideWriter, PacksFolder,
    Rebuilt, RecordedAddress, SensorSupervisor, SequencerParts, SteppedClock, SupervisorParts, TokenTable, VarTable, ViewFollower, Waiting,
    follower, plain, queues, sequencer, snapshots,
};
use ensue_store::blobs::BlobLimits;
use ensue_store::outputs::{Now, OutputLimits};
use ensue_store::settling_log::SettlingLog;
use ensue_views::ViewReader;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use super::bugs::BuggyCatalogs;
use super::fold_guard::KilledFoldGuard;
use super::stop::Stopping;
use super::submit::{LivingSubmit, Pump};
use super::{Node, Room};
use crate::api::{NoIssuers, NodeApi, SimulatedAbout};
use crate::clock::{WorkerClock, WorldHands};
use crate::databases::{OnServers, Servers};
use crate::disk::{Disk, FailingLog, FailingVault};
use crate::ground::WorldGround;
use crate::life::Life;
use crate::no_logins::NoLogins;
use crate::operator::OperatorSettings;
use crate::peers::{NodePeers, PeerWorlds, Peers};
use crate::programs::{Machine, NodePrograms};
use crate::secrets::{self, DOOR_SECRET};
use crate::sightings::Finder;
use crate::sometimes;
use crate::web::{NodeWeb, Server};

/// The release of the simulated node.
const RELEASE: &str = "0.0.0-simulated";
/// The memory that the other queues share.
const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// The maximum size of an attempt's stored output.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;
/// The prefix of the ids of the machine's boots; the number follows.
const BOOT: &str = "00000000-0000-4000-8000-";

/// Each so many-th node comes up as another worker: without a draw, so that kept seeds stay what they are.
const COMES_UP_ELSEWHERE: u32 = 4;

/// What a start is given.
pub(crate) struct Start<'w> {
    /// The world.
    pub(crate) ground: &'w Arc<WorldGround>,
    /// The disk it starts on.
    pub(crate) disk: &'w Disk,
    /// The node's number in the world.
    pub(crate) number: u32,
    /// How many times the machine was booted.
    pub(crate) boots: u32,
    /// Whether the disk has space.
    pub(crate) room: &'w Room,
    /// The machine that programs run on.
    pub(crate) machine: &'w Arc<Machine>,
    /// The operator's settings.
    pub(crate) operated: &'w OperatorSettings,
    /// The server that receives requests.
    pub(crate) server: &'w Arc<Server>,
    /// The other sides of the pulling sensors.
    pub(crate) peers: &'w Arc<Peers>,
    /// The servers with its log, if that is not on the disk.
    pub(crate) servers: Option<&'w Arc<Servers>>,
}

/// Why a start failed.
pub(crate) enum StartFailure {
    /// It was killed during the start.
    Killed,
    /// It stopped by itself.
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for StartFailure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Node {
    /// Starts a node, step by step as in production; it may be killed at each step. If it stops by itself,
    /// its worker leaves the attempts that it has taken over.
    pub(crate) fn start(start: &Start<'_>) -> Result<Self, StartFailure> {
        let mut working = None;
        let started = Self::try_start(start, &mut working);
        if let (Err(StartFailure::Failed(_)), Some(working)) = (&started, working) {
            start.ground.witness().note_failed_start(start.number);
            working.leave();
        }
        started
    }

    fn try_start(start: &Start<'_>, working: &mut Option<Working>) -> Result<Self, StartFailure> {
        let Start { ground, disk, number, boots, room, machine, operated, server, peers, servers } = *start;
        let life = Arc::new(Life::default());
        let may_die = |after: &'static str| {
            if ground.strikes(ground.plan.start_kill) {
                ground.trace("node", format!("#{number} is killed while it starts, after {after}"));
                sometimes!("killed while starting");
                life.end();
                disk.kill();
            }
            if life.is_over() { Err(StartFailure::Killed) } else { Ok(()) }
        };
        let mut config = Config::new(disk.data());
        config.packs = disk.packs();
        config.state_base = Some(disk.state());
        let clock: Arc<dyn SteppedClock> = Arc::new(NodeClock::new(WorldHands(ground.clone())));
        let opened = open_on(&config, &*clock, |data| match servers {
            Some(servers) => Arc::new(OnServers { places: disk.places(data), servers: servers.clone() }),
            None => Arc::new(disk.places(data)),
        })?;
        ground.note_operated(opened.log.epoch().0, operated.clone());
        may_die("opening the data")?;

        let log = opened.engine.log();
        let readers = Arc::new(LogReaders::new(Box::new(readers_of(opened.backend.clone(), log))));
        let vault: Arc<dyn Vault> = Arc::new(FailingVault::new(opened.vault.clone(), ground.clone(), life.clone()));
        let ring = Arc::new(KeyRing::open_vault(vault.clone(), opened.engine.access(), clock.clone())?);
        let vars = Arc::new(VarTable::new(opened.engine.vars().clone()));
        let tokens = Arc::new(TokenTable::open_vault(vault, &opened.engine, clock.clone())?);
        may_die("opening the vault")?;
        let catalogs = Arc::new(NodeCatalogs::open(opened.data.packs(), opened.engine.packs().clone(), opened.log.reader()?)?);
        let edge = Arc::new(Edge { log, catalogs: catalogs.clone(), keys: ring.clone(), clock: clock.clone(), senders: Arc::default() });
        let queues = queues(
            MEMORY_BYTES,
            Caps {
                delivery_bytes_max: DELIVERY_BYTES_DEFAULT,
                open_work: operated.open_work_max,
                workers: operated.settings().workers_in_all(),
            },
        );
        let waiting = |batches, bytes| Waiting {
            batches: Queue::new(batches, operated.batches_waiting_max),
            bytes: Queue::new(bytes, operated.batch_bytes_max),
        };
        let followed = waiting(QueueName::ViewBatches, QueueName::ViewBatchBytes);
        let bodies = Arc::new(BodyCache::new(Queue::new(QueueName::BodyBytes, operated.bodies_at_hand_bytes)));
        let told = clock.clone();
        let now: Now = Arc::new(move || told.now());
        let limits = OutputLimits { attempt_bytes: OUTPUT_BYTES_MAX, ..OutputLimits::default() };
        let outputs = opened.backend.outputs((log, &*opened.vault), limits, now.clone())?;
        let limits = BlobLimits { quota_bytes: u64::MAX, free_bytes: 0 };
        let blobs: Arc<dyn Blobs> = opened.backend.blobs(log, limits, now)?;
        let outside = OutsideWriter::new(opened.outside);
        let ends = Ends::after(opened.head.position);
        let changes = RecentChanges::after(opened.head.position);

        let rebuilt = Rebuilt::default();
        let views = opened.backend.views(log)?;
        let view_reader: Arc<dyn ViewReader> = views.reader();
        let backend = opened.backend.clone();
        let beside = Box::new(move || backend.views_beside(log));
        let (reached, views_at) = watch::channel(ensue_engine::record::Position(0));
        let guard = KilledFoldGuard::open(&opened.data.views_crash(), views.position(), life.clone());
        let views =
            ViewFollower::new(views, reached, rebuilt.clone(), readers.clone()).under(Box::new(guard)).with_changes(changes.clone());
        let (views_told, views) = follower(views, opened.log.reader()?, followed.clone());
        let (taken, snapshots) = snapshots(opened.checkpoints, opened.saved_at, operated.snapshot_every);
        may_die("opening the views")?;

        let owed: Vec<Effect> = opened.engine.owed_effects();
        let running = owed.iter().filter_map(|effect| match effect {
            Effect::Dispatch(dispatch) => Some((dispatch.attempt, dispatch.worker.clone())),
            Effect::Stop { .. } | Effect::Release { .. } | Effect::RunSensor(_) | Effect::StopSensor { .. } => None,
        });
        let running: Vec<_> = running.collect();
        for error in outputs.go_on(running.iter().map(|(attempt, _)| *attempt).collect()) {
            ground.trace(
                "worker",
                format!("the outputs of a running attempt cannot be continued: {}", disk.without_place(&error.to_string())),
            );
        }
        if number % COMES_UP_ELSEWHERE == 0 && !ground.is_healed() {
            exchange(&opened.data.begun_attempts())?;
        }
        let by = Opener { new_worker: format!("worker{number}"), boot: format!("{BOOT}{boots:012}") };
        let (begun, previous) = BegunFile::open(opened.data.begun_attempts(), by, running)?;
        may_die("reading what had begun")?;

        let idle = Arc::new(Notify::new());
        let parked = idle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || parked.notify_one())
            .build()?;
        let runtime = Arc::new(runtime);
        let worker_clock = WorkerClock::new(ground.clone(), operated.lease_millis * 1_000);
        let sensor_bytes = queues.of(QueueName::SensorBytes).clone();
        let (handle, unstarted) = sequencer(queues);
        let handle = Arc::new(LivingSubmit { handle, life: life.clone(), ground: ground.clone() });
        let settings = Settings { worker: begun.worker().to_owned(), ..operated.settings() };
        let mut executor_settings = ExecutorSettings::new("");
        executor_settings.worker = settings.worker.clone();
        executor_settings.lease = Duration::from_millis(settings.lease_millis);
        executor_settings.blocking = Blocking::InPlace;
        executor_settings.at_stop = operated.at_stop;
        let finder = Finder { node: number, epoch: opened.log.epoch().0 };
        let executor = {
            let _entered = runtime.enter();
            Executor::start(
                ExecutorPorts {
                    submit: handle.clone(),
                    catalogs: catalogs.clone(),
                    bodies: Arc::new(NodeBodies { cache: bodies.clone(), log: readers.clone() }),
                    access: tokens.clone(),
                    links: None,
                    keys: ring.clone(),
                    vars: vars.clone(),
                    outputs: outputs.clone(),
                    blobs: blobs.clone(),
                    observe: edge.clone(),
                    packs: Arc::new(Copies(catalogs.clone())),
                    clock: worker_clock.clone(),
                    begun,
                    programs: Arc::new(NodePrograms { machine: machine.clone(), life: life.clone(), clock: worker_clock.clone(), finder }),
                    spans: None,
                    connections: Arc::new(Connections::none(worker_clock.clone())),
                    web: Arc::new(NodeWeb { server: server.clone(), life: life.clone(), clock: worker_clock.clone() }),
                },
                executor_settings,
            )
        };
        let sensors = peers.are_there().then(|| {
            let _entered = runtime.enter();
            SensorSupervisor::new(SupervisorParts {
                submit: handle.clone(),
                known: Arc::new(handle.handle.clone()),
                catalogs: catalogs.clone(),
                edge: edge.clone(),
                bodies: Arc::new(NodeBodies { cache: bodies.clone(), log: readers.clone() }),
                connect: Arc::new(NodePeers { peers: peers.clone(), life: life.clone() }),
                worlds: Arc::new(PeerWorlds { clock: clock.clone(), worker: worker_clock.clone() }),
                clock: clock.clone(),
                intake: handle.handle.gauges().intake.watch(),
                bytes: sensor_bytes,
                blocking: Blocking::InPlace,
                logs: None,
                at_start: Sensors::default(),
                release: RELEASE,
            })
        });
        let listener = CommitListeners {
            catalogs: catalogs.clone(),
            keys: ring.clone(),
            vars,
            tokens: tokens.clone(),
            bodies,
            outside: outside.clone(),
            ends: ends.clone(),
            executor: executor.clone(),
            sensors: sensors.clone(),
            followers: vec![views_told.clone()],
        };
        let written = FailingLog::new(opened.log, servers.cloned(), ground.clone(), life.clone());
        let machine = unstarted.with(SequencerParts {
            log: match servers {
                // A look at the log settles nothing there: a visible batch may be lost with its server.
                Some(_) => Box::new(written),
                None => Box::new(SettlingLog::of(written)),
            },
            engine: opened.engine,
            head: opened.head,
            clock: clock.clone(),
            catalogs: Arc::new(BuggyCatalogs {
                catalogs: catalogs.clone(),
                ground: ground.clone(),
                life: life.clone(),
                crash_file: opened.data.crash(),
                struck: Mutex::default(),
            }),
            settings,
            rates: ground.rates.clone(),
            listener: Box::new(listener),
            space: Box::new(room.clone()),
            plain,
            snapshots: taken,
            crash_file: opened.data.crash(),
        });
        let pump = Arc::new(Pump { submit: handle.clone(), sequencer: Mutex::new(Some(machine)), failed: Mutex::default() });
        sometimes!(!owed.is_empty(), "a start found attempts that were running");
        *working = Some(Working {
            runtime: runtime.clone(),
            idle: idle.clone(),
            executor: executor.clone(),
            life: life.clone(),
            files: (readers.clone(), opened.vault.clone()),
        });
        runtime.block_on(executor.take_over(owed, &previous));
        pump.ask(Command { actor: Actor::Engine, trace: None, ask: Ask::NoteStart { release: RELEASE.to_owned() } })?;
        may_die("noting the start")?;
        let packs = PacksFolder {
            path: disk.packs(),
            settings: operated.of_packs(),
            delivery_bytes_max: DELIVERY_BYTES_DEFAULT,
            accepted: operated.accepted_permissions(),
            catalogs: catalogs.clone(),
            sequencer: pump.clone(),
            clock: clock.clone(),
        };
        packs.take_in()?;
        may_die("taking in the packs")?;
        let keys = Arc::new(NodeKeys { ring, sequencer: pump.clone(), clock: clock.clone(), setting: Mutex::new(()) });
        let sessions = Arc::new(NodeSessions {
            table: tokens.clone(),
            sequencer: pump.clone(),
            clock: clock.clone(),
            issuer: "https://ensue.example.test".to_owned(),
            links: InquiryLinks::On,
        });
        let api = NodeApi::new(
            Ports {
                submit: handle.clone(),
                installed: catalogs.clone(),
                backtests: Arc::new(NodeBacktests::new(catalogs.clone(), readers.clone())),
                replays: Arc::new(NodeReplays::new(catalogs.clone(), readers.clone())),
                views: view_reader.clone(),
                views_at: views_at.clone(),
                views_follower: Arc::new(views_told),
                ends,
                changes,
                deliveries: Arc::default(),
                log: readers.clone(),
                outputs,
                blobs,
                webhooks: edge.clone(),
                sensors: Arc::new(NoIssuers),
                connections: Arc::new(NoIssuers),
                event_maker: edge.clone(),
                access: tokens.clone(),
                keys: keys.clone(),
                tokens: Arc::new(NodeTokens { table: tokens.clone(), sequencer: pump.clone(), clock: clock.clone() }),
                usage: Arc::new(NodeUsage { sequencer: handle.handle.clone(), tiers: Tiers::default() }),
                people: Arc::new(NodePeople {
                    table: tokens.clone(),
                    sequencer: pump.clone(),
                    clock: clock.clone(),
                    adding: Mutex::new(()),
                }),
                refusals: Arc::new(NodeRefusals::new(handle.clone(), clock.clone(), RecordedAddress::default())),
                passwords: Arc::new(NodePasswords::open_vault(sessions.clone(), PasswordLogin::On)?),
                sessions,
                issuers: Arc::new(NoIssuers),
                vouching: Arc::new(NoLogins),
                logins: Arc::new(NoLogins),
                devices: Arc::new(NoIssuers),
                node: Arc::new(SimulatedAbout(handle.handle.gauges().clone())),
                spans: None,
            },
            ground.plan.api_memory_bytes,
            operated,
            &runtime,
        );
        let tokens = NodeTokens { table: tokens, sequencer: pump.clone(), clock: clock.clone() };
        let worked_at = AtomicU64::new(ground.now());
        let node = Self {
            number,
            life: life.clone(),
            epoch: finder.epoch,
            worker_clock,
            ground: ground.clone(),
            runtime,
            idle,
            executor,
            sensors,
            api,
            tokens,
            stopping: Stopping::Unasked,
            stop_patience: Duration::from_millis(operated.stop_patience_millis),
            worked_at,
            pump,
            handle,
            views,
            view_reader,
            views_at,
            snapshots,
            next_snapshot: 0,
            catalogs,
            edge,
            keys,
            packs,
            readers,
            outside,
            rebuilt,
            clock,
            log,
            beside,
            followed,
            _data: opened.data,
        };
        node.let_clients_in();
        may_die("letting clients in")?;
        Ok(node)
    }

    /// Creates each client's token and the webhook's key if they are missing; failures are retried later.
    pub(super) fn let_clients_in(&self) {
        let by = OnBehalf { actor: Actor::Operator, trace: None, request: None };
        let door = door();
        if matches!(self.keys.ring.open(&door), Ok(None)) {
            let _ = self.keys.set(&door, NewValue { value: Secret::new(DOOR_SECRET.as_bytes().to_vec()), expires_at: None }, &by);
        }
        for client in 0..self.ground.plan.clients {
            let token = Secret::new(secrets::token(client).into_bytes());
            if !self.tokens.table.has(&token) {
                let _ = self.tokens.add_given(&format!("client{client}"), &["operator".to_owned()], &token, &by);
            }
        }
    }
}

/// A worker that has begun in a node whose start is not finished.
struct Working {
    runtime: Arc<Runtime>,
    idle: Arc<Notify>,
    executor: Executor,
    life: Arc<Life>,
    /// What its tasks hold as well. A runtime drops its tasks in an order that depends on all earlier tasks
    /// of the process: if one of them were the last owner of these, SQLite's files would be closed in that
    /// order.
    files: (Arc<LogReaders>, Arc<dyn Vault>),
}

impl Working {
    /// Leaves the attempts that it has taken over, and ends with its process.
    fn leave(self) {
        let Self { runtime, idle, executor, life, files } = self;
        runtime.spawn(async move { executor.stop(Duration::ZERO).await });
        runtime.block_on(idle.notified());
        life.end();
        drop(runtime);
        drop(files);
    }
}

/// Puts the file of what had begun aside, and that of another worker in its place, if there is one: a node that comes up on another machine
/// has the log, and a file of its own from when it ran before.
fn exchange(begun: &Path) -> std::io::Result<()> {
    let (others, kept) = (begun.with_extension("elsewhere"), begun.with_extension("kept"));
    for (from, to) in [(begun, &*kept), (&*others, begun), (&*kept, &*others)] {
        match std::fs::rename(from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn door() -> KeyRef {
    "sim.door".parse().expect("it is a key's ref")
}
