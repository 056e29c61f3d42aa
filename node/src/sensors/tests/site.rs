//! A node with one pulling sensor over a log in memory. The sequencer runs on the caller's thread. With a peer in memory,
//! time passes only where nothing else is left to do; with what is real, it is the machine's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ensue_api::ports::{PortError, SensorStatus, SensorTest, SensorTested, Sensors as _, TestedFrom};
use ensue_api::{QueueName, Queues};
use ensue_connectors::world::{
    ActionAnswer, ActionOrder, Actions, Folders, LineSink, Parts, Program, ProgramOrder, Programs, SourcePurpose, Web, WebAnswer,
    WebRequest,
};
use ensue_connectors::{Connect, Pending, SensorErrorKind, SourceError, World};
use ensue_engine::batch::CommittedBatch;
use ensue_engine::catalog::DELIVERY_BYTES_DEFAULT;
use ensue_engine::command::{Ask, Command, Moment, Settings};
use ensue_engine::engine::Engine;
use ensue_engine::fact::{ByNoun, Fact};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::names::{ConnectionName, KeyRef, SensorRef};
use ensue_engine::ports::{CommitReceipt, Log as _, ReadLimit, Reply, Submit, SubmitError};
use ensue_engine::record::{Actor, Head, Position, Record};
use ensue_engine::sensors::cursor::Cursor;
use ensue_engine::time::Timestamp;
use ensue_executor::connections::Connections;
use ensue_executor::programs::NodeSecrets;
use ensue_executor::pulling::SensorWeb;
use ensue_executor::{Blocking, Destinations, EgressPolicy, SystemClock};
use ensue_store::checkpoints::Checkpoints;
use ensue_store::master_key::MasterKey;
use ensue_store::memory::{MemoryLog, MemoryLogs, MemoryVault};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::peers::Peer;
use super::suite::programs_of_sensors;
use crate::bodies::BodyCache;
use crate::catalogs::NodeCatalogs;
use crate::clock::{ClockStep, SteppedClock};
use crate::config::AcceptedPermissions;
use crate::edge::Edge;
use crate::intake::KnownSensors as _;
use crate::key_ring::KeyRing;
use crate::log_access::{LogReaders, NodeBodies};
use crate::log_runtime::open::fold_in;
use crate::packs_folder::PacksFolder;
use crate::plain_body::plain;
use crate::sensors::world::{NodeWorlds, SourceClock};
use crate::sensors::{SensorSupervisor, SensorWorlds, SupervisorParts};
use crate::sequencer::{Asking, CommitListener, Sequencer, SequencerError, SequencerHandle, SequencerParts, Space, Turn, sequencer};
use crate::snapshots::snapshots;

pub(super) const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
/// The file of the trigger.
const TRIGGER: &str = "description: There is an item.\npayload: { n: integer }\n";

/// What the sensor of a node reads.
#[derive(Clone)]
pub(super) struct Setting {
    /// The source, as it is written in the sensor's file.
    pub(super) source: String,
    /// The source that another edition of the pack has.
    pub(super) other_source: String,
    /// How `emits` calls a message.
    pub(super) name: &'static str,
    /// Opens the source.
    pub(super) connect: Arc<dyn Connect>,
    /// What the source reaches.
    pub(super) outside: Outside,
}

/// What a source reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// A clock, which does not wait for the machine's.
    Clock,
    /// The machine: its clock, servers on loopback, programs, and these folders.
    Machine(Vec<PathBuf>),
}

impl Setting {
    /// Returns a folder with the pack.
    fn write_pack(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("packs/feed");
        for folder in ["triggers", "sensors"] {
            std::fs::create_dir_all(pack.join(folder)).unwrap();
        }
        std::fs::write(pack.join("pack.yaml"), "name: feed\nversion: 1.0.0\ndescription: Items of a feed.\n").unwrap();
        std::fs::write(pack.join("triggers/item.yaml"), TRIGGER).unwrap();
        std::fs::write(pack.join("sensors/items.yaml"), self.sensor(&self.source)).unwrap();
        folder
    }

    /// Returns the file of the sensor.
    fn sensor(&self, source: &str) -> String {
        let name = self.name;
        // What is part of something may be missing.
        let is_there = if name.contains('.') { format!("has({name}) && ") } else { String::new() };
        format!(
            "description: Reads the feed.\n{source}\nemits:\n\
             - {{ trigger: feed.item, when: {is_there}{name}.times >= 1, payload: {{ n: '${{{{ {name}.n }}}}' }} }}\n\
             - {{ trigger: feed.item, when: {is_there}{name}.times == 2, payload: {{ n: '${{{{ {name}.n }}}}' }} }}\n"
        )
    }
}

pub(super) fn feed() -> SensorRef {
    "feed.items".parse().unwrap()
}

fn log_id() -> LogId {
    LogId(Id::root(NOON, 1))
}

/// The node's clock: noon, and the time that has passed since.
struct TestClock {
    /// The time at which the current runtime began, by both clocks.
    begin: Mutex<(tokio::time::Instant, Timestamp)>,
    drawn: Mutex<u128>,
}

impl SteppedClock for TestClock {
    fn now(&self) -> Timestamp {
        let (instant, time) = *self.begin.lock().unwrap();
        let passed = tokio::time::Instant::now().saturating_duration_since(instant);
        Timestamp::from_micros(time.micros() + i64::try_from(passed.as_micros()).unwrap())
    }

    fn go_on_from(&self, _: Timestamp) -> Option<ClockStep> {
        None
    }

    fn tick(&self) -> Option<ClockStep> {
        None
    }

    fn take_step(&self) -> Option<ClockStep> {
        None
    }

    fn moment_or_step(&self) -> Result<Moment, ClockStep> {
        Ok(self.moment())
    }

    fn entropy(&self) -> u128 {
        let mut drawn = self.drawn.lock().unwrap();
        *drawn += 1;
        *drawn
    }
}

/// A disk that a test fills.
struct Room(Arc<AtomicBool>);

impl Space for Room {
    fn has_room(&mut self, _: &mut dyn FnMut()) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn was_full(&mut self) {}
}

/// Has the sensors follow the log, as a node does.
struct Listener {
    catalogs: Arc<NodeCatalogs>,
    sensors: Arc<OnceLock<SensorSupervisor>>,
}

impl CommitListener for Listener {
    fn on_commit(&mut self, batch: &Arc<CommittedBatch>, _: Head) {
        if batch.records.iter().any(|record| matches!(record.fact.by_noun(), ByNoun::CatalogFact(_))) {
            self.catalogs.note(&batch.records);
            self.sensors.get().into_iter().for_each(SensorSupervisor::note_catalog);
        }
    }

    fn on_answered(&mut self, batch: &Arc<CommittedBatch>) {
        for effect in &batch.effects {
            self.sensors.get().into_iter().for_each(|sensors| sensors.carry_out(effect));
        }
    }
}

/// The sequencer, which works while it is asked.
pub(super) struct Pump {
    handle: SequencerHandle,
    sequencer: Mutex<Option<Sequencer>>,
    /// How often it is still too busy for a batch.
    busy: AtomicU64,
    /// How often the answer to a batch is still lost although it was taken.
    lost: AtomicU64,
    /// How often a batch is still lost before it is taken. Whoever offers it hears the same as if its answer were lost.
    dropped: AtomicU64,
    /// How many batches were offered.
    offered: AtomicU64,
    /// The answers to batches with events, if they are kept back.
    kept_back: Mutex<Option<Vec<Reply>>>,
}

impl Submit for Pump {
    fn submit(&self, command: Command, reply: Reply) {
        let is_batch = matches!(command.ask, Ask::TakeSensorBatch(_));
        let has_events = matches!(&command.ask, Ask::TakeSensorBatch(batch) if !batch.events.is_empty());
        self.offered.fetch_add(u64::from(is_batch), Ordering::Relaxed);
        if is_batch && one_less(&self.busy) {
            return reply(Err(SubmitError::Busy));
        }
        if is_batch && one_less(&self.dropped) {
            return reply(Err(SubmitError::Unknown));
        }
        if is_batch && one_less(&self.lost) {
            self.handle.submit(command, Box::new(|_| {}));
            self.turn();
            return reply(Err(SubmitError::Unknown));
        }
        if has_events && let Some(kept_back) = self.kept_back.lock().unwrap().as_mut() {
            self.handle.submit(command, Box::new(|_| {}));
            self.turn();
            return kept_back.push(reply);
        }
        self.handle.submit(command, reply);
        self.turn();
    }
}

impl Pump {
    fn turn(&self) {
        let mut place = self.sequencer.lock().unwrap();
        while let Some(sequencer) = place.as_mut() {
            match sequencer.turn() {
                Ok(Turn::Taken) => {}
                Ok(_) => return,
                // A node that no longer leads its log ends.
                Err(SequencerError::Deposed(_)) => drop(place.take()),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Asking for Pump {
    fn ask(&self, command: Command) -> Result<CommitReceipt, SubmitError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.submit(command, Box::new(move |outcome| drop(tell.send(outcome))));
        told.recv().unwrap_or(Err(SubmitError::Stopping))
    }
}

fn one_less(count: &AtomicU64) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
}

/// What the sources reach: the clock, and nothing else.
struct Worlds(Arc<dyn SteppedClock>);

impl SensorWorlds for Worlds {
    fn world(&self, _: &SensorRef, seed: u64, lines: Arc<dyn LineSink>, parts: Arc<dyn Parts>) -> World {
        let clock = Arc::new(SourceClock(self.0.clone()));
        World {
            purpose: SourcePurpose::Run,
            seed,
            clock,
            web: Arc::new(Nowhere),
            programs: Arc::new(Nowhere),
            actions: Arc::new(Nowhere),
            keys: Arc::new(Nowhere),
            folders: Arc::default(),
            lines,
            parts,
        }
    }

    fn connections_with(&self, _: &KeyRef) -> Vec<ConnectionName> {
        Vec::new()
    }
}

pub(super) struct Nowhere;

fn nowhere<T>() -> Result<T, SourceError> {
    Err(SourceError::new(SensorErrorKind::NotFound, "the peers are in memory"))
}

impl Web for Nowhere {
    fn fetch(&self, _: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        Box::pin(std::future::ready(nowhere()))
    }
}

impl Actions for Nowhere {
    fn run(&self, _: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>> {
        Box::pin(std::future::ready(nowhere()))
    }
}

impl Programs for Nowhere {
    fn start(&self, _: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>> {
        Box::pin(std::future::ready(nowhere()))
    }
}

impl ensue_connectors::world::Keys for Nowhere {
    fn open(&self, _: &ensue_engine::names::KeyRef, _: &SensorRef) -> Result<ensue_engine::ports::Secret, SourceError> {
        nowhere()
    }

    fn listed_keys(&self, _: &ensue_engine::names::PackName) -> Vec<ensue_engine::names::KeyRef> {
        Vec::new()
    }

    fn lists_connection(&self, _: &ensue_engine::names::PackName, _: &str) -> bool {
        false
    }
}

/// A node, and what outlives it: the log, the packs, the peer and the time.
pub(super) struct Site {
    folder: Arc<tempfile::TempDir>,
    logs: MemoryLogs,
    /// Reads the log, whoever writes it.
    log: Arc<MemoryLog>,
    has_room: Arc<AtomicBool>,
    setting: Setting,
    clock: Arc<TestClock>,
    life: Option<Life>,
}

/// What ends with the node.
struct Life {
    runtime: Runtime,
    pump: Arc<Pump>,
    sensors: SensorSupervisor,
}

impl Site {
    /// Starts a node on an empty log, whose sensor reads a peer in memory.
    pub(super) fn new(peer: &Peer) -> Self {
        Self::of(peer.setting())
    }

    /// Starts a node on an empty log, whose sensor reads something.
    pub(super) fn of(setting: Setting) -> Self {
        let folder = Arc::new(setting.write_pack());
        let clock = Arc::new(TestClock { begin: Mutex::new((tokio::time::Instant::now(), NOON)), drawn: Mutex::new(0) });
        let log = MemoryLog::new(log_id());
        let (logs, has_room) = (log.logs(), Arc::new(AtomicBool::new(true)));
        let mut site = Self { folder, logs, log: Arc::new(log), has_room, setting, clock, life: None };
        site.begin(NOON);
        site
    }

    /// Starts another node on the log, which leads it from now on. This node does not know it.
    pub(super) fn successor(&self) -> Self {
        let now = self.now();
        // Two nodes draw other numbers.
        let clock = TestClock { begin: Mutex::new((tokio::time::Instant::now(), now)), drawn: Mutex::new(1 << 64) };
        let mut site = Self {
            folder: self.folder.clone(),
            logs: self.logs.clone(),
            log: self.log.clone(),
            has_room: Arc::new(AtomicBool::new(true)),
            setting: self.setting.clone(),
            clock: Arc::new(clock),
            life: None,
        };
        site.begin(now);
        site
    }

    /// Returns true if the node has learned that another one leads its log.
    pub(super) fn is_deposed(&self) -> bool {
        self.life().pump.sequencer.lock().unwrap().is_none()
    }

    /// Starts a node on the log as it is.
    fn begin(&mut self, at: Timestamp) {
        let runtime = match &self.setting.outside {
            Outside::Clock => Builder::new_current_thread().enable_time().start_paused(true).build(),
            Outside::Machine(_) => Builder::new_current_thread().enable_all().build(),
        };
        let runtime = runtime.unwrap();
        let entered = runtime.enter();
        *self.clock.begin.lock().unwrap() = (tokio::time::Instant::now(), at);
        let log = self.logs.open(log_id());
        let mut engine = Engine::new(log_id());
        let records = log.reader().unwrap().read(Position(0), EVERYTHING).unwrap();
        let head = fold_in(&mut engine, Head::default(), &records).unwrap();
        let copies = self.folder.path().join("copies");
        let catalogs = Arc::new(NodeCatalogs::open(copies, engine.packs().clone(), log.reader().unwrap()).unwrap());
        let keys = Arc::new(
            KeyRing::open_vault(Arc::new(MemoryVault::new(log_id(), MasterKey::from_bytes([7; 32]))), engine.access(), self.clock.clone())
                .unwrap(),
        );
        let worlds = self.worlds(&keys, &catalogs);
        let edge = Arc::new(Edge { log: log_id(), catalogs: catalogs.clone(), keys, clock: self.clock.clone(), senders: Arc::default() });
        let queues = Queues::with(|_| 100_000_000);
        let (handle, unstarted) = sequencer(queues.clone());
        let reader_of = self.log.clone();
        let readers = Arc::new(LogReaders::new(Box::new(move || reader_of.reader())));
        let checkpoints = Checkpoints::open(&self.folder.path().join("checkpoints"), log_id()).unwrap();
        let sensors = Arc::new(OnceLock::new());
        let sequencer = unstarted.with(SequencerParts {
            log: Box::new(log),
            engine,
            head,
            clock: self.clock.clone(),
            catalogs: catalogs.clone(),
            settings: Settings::default(),
            rates: BTreeMap::new(),
            listener: Box::new(Listener { catalogs: catalogs.clone(), sensors: sensors.clone() }),
            space: Box::new(Room(self.has_room.clone())),
            plain,
            snapshots: snapshots(checkpoints, Position(0), u64::MAX).0,
            crash_file: self.folder.path().join("crash"),
        });
        let pump = Arc::new(Pump {
            handle: handle.clone(),
            sequencer: Mutex::new(Some(sequencer)),
            busy: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            offered: AtomicU64::new(0),
            kept_back: Mutex::new(None),
        });
        let supervisor = SensorSupervisor::new(SupervisorParts {
            submit: pump.clone(),
            known: Arc::new(handle.clone()),
            catalogs: catalogs.clone(),
            edge,
            bodies: Arc::new(NodeBodies { cache: Arc::new(BodyCache::new(queues.of(QueueName::BodyBytes).clone())), log: readers }),
            connect: self.setting.connect.clone(),
            worlds,
            clock: self.clock.clone(),
            intake: handle.gauges().intake.watch(),
            bytes: queues.of(QueueName::SensorBytes).clone(),
            logs: Some(self.folder.path().join("sensor_logs")),
            blocking: Blocking::Pool,
            at_start: handle.sensors(),
            release: "0.0.0",
        });
        assert!(sensors.set(supervisor.clone()).is_ok());
        let start = Command { actor: Actor::Engine, trace: None, ask: Ask::NoteStart { release: "0.0.0".into() } };
        pump.ask(start).unwrap();
        let packs = PacksFolder {
            path: self.folder.path().join("packs"),
            settings: BTreeMap::new(),
            delivery_bytes_max: DELIVERY_BYTES_DEFAULT,
            accepted: AcceptedPermissions::default(),
            catalogs,
            sequencer: pump.clone(),
            clock: self.clock.clone(),
        };
        let read = packs.take_in().unwrap();
        assert!(read.findings.is_empty(), "{:?}", read.findings);
        drop(entered);
        self.life = Some(Life { runtime, pump, sensors: supervisor });
    }

    /// Returns what makes the worlds of sensors.
    fn worlds(&self, keys: &Arc<KeyRing>, catalogs: &Arc<NodeCatalogs>) -> Arc<dyn SensorWorlds> {
        let Outside::Machine(writable) = &self.setting.outside else { return Arc::new(Worlds(self.clock.clone())) };
        let system = Arc::new(SystemClock::new());
        let policy = EgressPolicy::allowing(vec!["127.0.0.1".parse().unwrap()]);
        let connections = Arc::new(Connections::none(system.clone()));
        Arc::new(NodeWorlds {
            clock: self.clock.clone(),
            keys: keys.clone(),
            catalogs: catalogs.clone(),
            web: Arc::new(SensorWeb::new(Arc::new(Destinations::new(policy, system)), connections.clone(), NodeSecrets::default())),
            connections,
            programs: programs_of_sensors(self.folder.path(), writable, catalogs),
            actions: Arc::new(Nowhere),
            folders: Arc::new(Folders { writable: writable.clone(), ..Folders::default() }),
        })
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("the node lives")
    }

    /// Lets time pass.
    pub(super) fn pass(&self, long: Duration) {
        self.life().runtime.block_on(async move { tokio::time::sleep(long).await });
    }

    /// Returns the time.
    pub(super) fn now(&self) -> Timestamp {
        let _entered = self.life().runtime.enter();
        self.clock.now()
    }

    /// Kills the node between two steps, and starts another one on its log.
    pub(super) fn kill(&mut self) {
        let now = self.now();
        let life = self.life.take().unwrap();
        // What a killed node still wants to write comes too late.
        drop(life.pump.sequencer.lock().unwrap().take());
        drop(life);
        self.begin(now);
    }

    /// Waits until something is so, which must be soon.
    pub(super) fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let (step, steps) = match self.setting.outside {
            Outside::Clock => (Duration::from_millis(100), 10 * 600),
            Outside::Machine(_) => (Duration::from_millis(20), 50 * 60),
        };
        for _ in 0..steps {
            if is_so(self) {
                return;
            }
            self.pass(step);
        }
        panic!("{what}: {:?}; {} items, {} letters, the sensor says {:?}", self.status(), self.items().len(), self.letters(), self.lines());
    }

    /// Waits for as long as a source takes to repeat something.
    pub(super) fn rest(&self) {
        self.pass(match self.setting.outside {
            Outside::Clock => Duration::from_secs(10),
            Outside::Machine(_) => Duration::from_millis(1_300),
        });
    }

    /// Has the sensor read something else, as of the next start.
    pub(super) fn read_something_else(&self) {
        let pack = self.folder.path().join("packs/feed");
        std::fs::write(pack.join("sensors/items.yaml"), self.setting.sensor(&self.setting.other_source)).unwrap();
        std::fs::write(pack.join("pack.yaml"), "name: feed\nversion: 1.0.1\ndescription: Items of a feed.\n").unwrap();
    }

    /// Stops the sensors in order.
    pub(super) fn stop(&mut self) {
        let life = self.life();
        life.runtime.block_on(life.sensors.stop());
    }

    pub(super) fn ask(&self, ask: Ask) {
        let life = self.life();
        let _entered = life.runtime.enter();
        life.pump.ask(Command { actor: Actor::Operator, trace: None, ask }).unwrap();
    }

    pub(super) fn restart(&self) {
        self.ask(Ask::RestartSensor { sensor: feed() });
    }

    /// Tests the sensor for a while.
    pub(super) fn test(&self, count: usize, from: TestedFrom) -> Result<SensorTested, PortError> {
        let life = self.life();
        let asked = SensorTest { sensor: feed(), count, timeout: Duration::from_secs(30), from };
        life.runtime.block_on(life.sensors.test(asked))
    }

    pub(super) fn rewind(&self, to: Option<&str>) {
        self.ask(Ask::SetSensorCursor { sensor: feed(), cursor: to.map(|to| Cursor::of_json(to).unwrap()) });
    }

    /// The node is too busy for the next batches.
    pub(super) fn be_busy(&self, times: u64) {
        self.life().pump.busy.store(times, Ordering::Relaxed);
    }

    /// The node takes the next batch, but its answer is lost.
    pub(super) fn lose_answer(&self) {
        self.life().pump.lost.store(1, Ordering::Relaxed);
    }

    /// The next batch is lost, and its outcome is unknown.
    pub(super) fn lose_batch(&self) {
        self.life().pump.dropped.store(1, Ordering::Relaxed);
    }

    /// The node takes batches, and answers none that has events.
    pub(super) fn keep_answers_back(&self) {
        self.life().pump.kept_back.lock().unwrap().get_or_insert_default();
    }

    /// How many batches the sensor has offered to this node.
    pub(super) fn offered_batches(&self) -> u64 {
        self.life().pump.offered.load(Ordering::Relaxed)
    }

    /// Fills the disk, or makes room, and lets the sequencer see it.
    pub(super) fn set_room(&self, has_room: bool) {
        self.has_room.store(has_room, Ordering::Relaxed);
        self.ask(Ask::FireTimers);
    }

    pub(super) fn status(&self) -> SensorStatus {
        let _entered = self.life().runtime.enter();
        self.life().sensors.status(&feed()).expect("the sensor is set")
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.life().sensors.lines(&feed(), None).into_iter().map(|line| line.text).collect()
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.log.reader().unwrap().read(Position(0), EVERYTHING).unwrap()
    }

    pub(super) fn count(&self, is_one: impl Fn(&Fact) -> bool) -> usize {
        self.records().iter().filter(|record| is_one(&record.fact)).count()
    }

    /// The numbers of the items in the log, in order.
    pub(super) fn items(&self) -> Vec<u64> {
        items_of(&self.records())
    }

    /// How many messages were refused.
    pub(super) fn letters(&self) -> usize {
        self.count(|fact| matches!(fact, Fact::DeliveryRefused(_)))
    }

    /// The kinds of the recorded failures.
    pub(super) fn failures(&self) -> Vec<String> {
        let records = self.records();
        let failed = records.iter().filter_map(|record| if let Fact::SensorFailed(fact) = &record.fact { Some(fact) } else { None });
        failed.map(|fact| fact.error.kind.as_str().to_owned()).collect()
    }

    /// The log, for checks while the node runs.
    pub(super) fn log(&self) -> Arc<MemoryLog> {
        self.log.clone()
    }
}

const EVERYTHING: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

/// The numbers of the items among records, in order.
pub(super) fn items_of(records: &[Record]) -> Vec<u64> {
    let events = records.iter().filter(|record| matches!(record.fact, Fact::EventReceived(_)));
    let number = |record: &Record| {
        let payload: Value = serde_json::from_slice(&plain(record.body.as_ref().unwrap()).unwrap().unwrap()).unwrap();
        payload["n"].as_u64().unwrap()
    };
    events.map(number).collect()
}

/// Reads the records of the log after a position.
pub(super) fn after(log: &MemoryLog, position: Position) -> Vec<Record> {
    log.reader().unwrap().read(position, EVERYTHING).unwrap()
}
