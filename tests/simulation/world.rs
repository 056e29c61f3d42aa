//! A world: time, a node that lives and dies, its clients and the faults, one step at a time.
//!
//! The next event is the first in a queue by simulated time; events at the same time are ordered by draws
//! from the seed.

mod attendant;
mod faults;
mod lives;
mod requests;
mod reruns;
mod sources;
mod vars;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clients::Client;
use crate::databases::Servers;
use crate::disk::Disk;
use crate::flow::Flows;
use crate::ground::WorldGround;
use crate::http::Exchanges;
use crate::keyring::Keyrings;
use crate::node::{CheckedRequest, Node, Room};
use crate::operator::OperatorSettings;
use crate::oracle::{Ledger, Violation};
use crate::pack::Edition;
use crate::peers::Peers;
use crate::plan::Plan;
use crate::programs::Machine;
use crate::random::Random;
use crate::rates;
use crate::story::Verbosity;
use crate::traffic::{Outcome, Request, RequestNumber};
use crate::web::Server;
use faults::Fault;
use reruns::Again;
use vars::Vars;

/// How long a world without faults may go without a new record while work is left: 120 simulated seconds.
const LIVENESS_MICROS: u64 = 120_000_000;
/// The maximum number of events of one run: a world that never comes to rest is a finding, not an endless
/// run.
const EVENTS_MAX: u64 = 3_000_000;
/// How much space a full disk still has for internal records.
const ROOM_BYTES: u64 = 256 * 1024;
/// The longest wait for an answer: after that it counts as forgotten.
const ANSWER_MICROS_MAX: u64 = 60_000_000;

/// Something that happens at its time.
#[derive(Clone, Debug)]
enum Event {
    /// The operator starts the node.
    Start,
    /// The sequencer takes a turn.
    Turn(u32),
    /// A timer of the sequencer may be due.
    Due(u32),
    /// The worker's tasks run.
    Work(u32),
    /// The views' follower takes a step.
    Views(u32, Prompt),
    /// The captured state is saved.
    Snapshot(u32),
    /// A second has passed.
    Tick(u32),
    /// A client makes a request.
    Wish(usize),
    /// A request arrives at the current node.
    Arrival(RequestNumber),
    /// A request that a node has checked is submitted to its sequencer.
    HandIn((u32, u64)),
    /// An answer arrives at its client.
    Answer(RequestNumber, Outcome),
    /// A client's patience ends.
    Impatience(RequestNumber, u32),
    /// A fault.
    Fault(Fault),
    /// A paused node continues.
    Resume(u32),
    /// The disk has space again.
    RoomAgain,
    /// The wall clock runs again.
    Thaw,
    /// The wall clock runs at its normal pace again.
    EvenPace,
    /// The safety phase ends.
    Heal,
    /// A person attends to executions that wait for a decision.
    Attend,
    /// A node checks the packs folder.
    Reread(u32),
    /// A person restarts a node without waiting for its end.
    Restart(u32),
    /// Messages come to the peers of sensors.
    Messages,
}

/// Why a follower takes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    /// It was notified of a batch.
    Told,
    /// It polls the log.
    Looks,
}

/// The summary of a run.
#[derive(Debug)]
pub struct Ran {
    /// The hash of its trace.
    pub hash: String,
    /// How many events happened.
    pub events: u64,
    /// Its duration in simulated time, in microseconds.
    pub micros: u64,
    /// The number of records in its log.
    pub records: u64,
    /// The number of starts of a node.
    pub starts: u32,
}

/// A world.
pub(crate) struct World {
    ground: Arc<WorldGround>,
    random: Random,
    disk: Disk,
    room: Room,
    machine: Arc<Machine>,
    server: Arc<Server>,
    exchanges: Arc<Exchanges>,
    queue: BTreeMap<(u64, u64), Event>,
    lots: Random,
    node: Option<Node>,
    /// A node whose log another one has taken over, and which does not know it yet.
    deposed: Option<Node>,
    paused_until: u64,
    is_turning: bool,
    is_working: bool,
    is_starting: bool,
    starts: u32,
    boots: u32,
    failed_starts: u32,
    clients: Vec<Client>,
    requests: BTreeMap<RequestNumber, Request>,
    /// Requests that were checked and not submitted yet, by the node and the event of their arrival.
    judged: BTreeMap<(u32, u64), CheckedRequest>,
    editions: Vec<Edition>,
    flows: Flows,
    again: Again,
    vars: Vars,
    peers: Arc<Peers>,
    /// The servers with the log, if that is not on the disk.
    servers: Option<Arc<Servers>>,
    /// How often the sensors were restarted since faults ended.
    sensors_restarted: u32,
    /// The operator's settings of the newest start.
    operated: OperatorSettings,
    healed_at: Option<u64>,
    /// The newest position, and when it was written.
    progress: (u64, u64),
    events: u64,
    finding: Option<Violation>,
}

impl World {
    /// Creates the world of a seed.
    pub(crate) fn new(seed: u64, verbosity: Verbosity) -> std::io::Result<Self> {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random.fork());
        let ground = WorldGround::new(plan, rates::draw(seed), random.fork(), verbosity);
        let disk = Disk::new(seed, &ground.plan)?;
        let machine = Machine::new(ground.clone())?;
        let server = Server::new(ground.clone());
        let mut flows = Flows::new(seed);
        let mut edition = Edition::draw(&mut random, 0, None);
        let mut vars = Vars::new(seed);
        vars.give(&mut edition, None);
        flows.give(&mut edition, None);
        edition.write(&disk.packs())?;
        let peers = Peers::new(seed, ground.clone());
        peers.write(&disk.packs())?;
        let servers = Servers::draw(seed, ground.clone());
        let mut keyrings = Keyrings::new(seed);
        let clients = (0..ground.plan.clients).map(|number| Client::new(number, keyrings.next())).collect();
        let lots = random.fork();
        let operated = ground.plan.operated.clone();
        Ok(Self {
            ground,
            random,
            disk,
            room: Room::default(),
            machine,
            server,
            exchanges: Arc::default(),
            queue: BTreeMap::new(),
            lots,
            node: None,
            deposed: None,
            paused_until: 0,
            is_turning: false,
            is_working: false,
            is_starting: false,
            starts: 0,
            boots: 1,
            failed_starts: 0,
            clients,
            requests: BTreeMap::new(),
            judged: BTreeMap::new(),
            editions: vec![edition],
            flows,
            again: Again::new(seed),
            vars,
            peers,
            servers,
            sensors_restarted: 0,
            operated,
            healed_at: None,
            progress: (0, 0),
            events: 0,
            finding: None,
        })
    }

    /// Runs the world to its end and lets the oracle judge it.
    pub(crate) fn run(mut self) -> Result<Ran, Violation> {
        self.ground.trace("world", format!("{:?}", self.ground.plan));
        let safety = self.ground.plan.safety_micros;
        self.at(0, Event::Start);
        self.at(safety, Event::Heal);
        for client in 0..self.clients.len() {
            let after = self.random.below(5_000_000);
            self.after(after, Event::Wish(client));
        }
        for fault in Fault::ALL {
            self.schedule(fault);
        }
        self.after(3_000_000, Event::Attend);
        self.schedule_messages();
        while self.finding.is_none() && !self.is_over()? {
            self.step()?;
        }
        if let Some(finding) = self.finding.take() {
            return Err(finding);
        }
        self.judge()
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.events += 1;
        if self.events > EVENTS_MAX {
            return Err(Violation::new("I20", format!("the world does not come to rest in {EVENTS_MAX} events")));
        }
        let timer = self.node.as_ref().and_then(|node| node.worker_clock.first());
        let timer = timer.map(|at| at.max(self.paused_until)).filter(|_| !self.is_working);
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        match (timer, next) {
            (Some(timer), next) if next.is_none_or(|next| timer < next) => {
                self.ground.advance_to(timer);
                self.wake_worker();
            }
            (_, Some(at)) => {
                self.ground.advance_to(at);
                let Some((_, event)) = self.queue.pop_first() else { return Ok(()) };
                self.happen(event);
            }
            (_, None) => return Err(Violation::new("I20", "nothing happens any longer".to_owned())),
        }
        self.carry_answers();
        self.look_after_node();
        self.note_condition();
        let newest = self.ground.newest();
        if newest != self.progress.0 {
            self.progress = (newest, self.ground.now());
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start => self.start(),
            Event::Turn(node) => self.turn(node),
            Event::Due(node) => self.due(node),
            Event::Work(node) => self.work(node),
            Event::Views(node, prompt) => self.follow(node, prompt, "views", Node::follow_views, Event::Views),
            Event::Snapshot(node) => self.save_snapshot(node),
            Event::Tick(number) => self.tick(number),
            Event::Wish(client) => self.wish(client),
            Event::Arrival(request) => self.arrive(request),
            Event::HandIn(ticket) => self.hand_in(ticket),
            Event::Answer(request, outcome) => self.hear(request, &outcome),
            Event::Impatience(request, retry) => self.lose_patience(request, retry),
            Event::Fault(fault) => {
                if !self.ground.is_healed() {
                    self.strike(fault);
                    self.schedule(fault);
                }
            }
            Event::Resume(number) => {
                // The event may be for a dead node while another one is paused now.
                if self.node.as_ref().is_some_and(|node| node.number == number) {
                    self.paused_until = 0;
                    self.ground.trace("node", format!("#{number} continues"));
                    self.wake_sequencer();
                    self.wake_worker();
                }
            }
            Event::RoomAgain => {
                self.ground.trace("disk", "there is room again");
                self.room.give_back();
                self.disk.leave_room(None);
                self.wake_sequencer();
            }
            Event::Thaw => self.ground.thaw_wall(),
            Event::EvenPace => self.ground.drift_wall(0),
            Event::Heal => self.heal(),
            Event::Attend => self.attend(),
            Event::Reread(number) => self.reread(number),
            Event::Restart(number) => self.restart(number),
            Event::Messages => self.bring_messages(),
        }
    }

    /// Returns true if faults have ended and no work is left. Fails if that takes too long.
    fn is_over(&self) -> Result<bool, Violation> {
        let Some(healed_at) = self.healed_at else { return Ok(false) };
        let since = self.ground.now() - healed_at;
        let idle = self.ground.now() - self.progress.1.max(healed_at);
        if let Some(node) = &self.node
            && since > ANSWER_MICROS_MAX.min(self.ground.plan.patience_micros * 2)
        {
            let left = node.look(|engine| {
                (engine.executions().iter().count(), engine.health().next_owed(None).is_some(), engine.health().parked_reactions().count())
            });
            let is_drained = node.has_drained(&self.peers);
            let (running, under_way) = (node.running(), node.under_way());
            let is_quiet = left == Some((0, false, 0)) && running == 0 && under_way == 0 && is_drained;
            let follows = node.head() == node.views_at();
            if is_quiet && follows {
                return Ok(true);
            }
            if idle > LIVENESS_MICROS {
                return Err(Violation::new(
                    "I20",
                    format!(
                        "nothing was written for {idle} µs after all faults ended: {left:?} open, owed, parked; {running} attempts run; \
                         {under_way} requests wait; followers are up: {follows}; sensors have read everything: {is_drained}"
                    ),
                ));
            }
        } else if idle > LIVENESS_MICROS {
            return Err(Violation::new("I20", "the node does not come up".to_owned()));
        }
        Ok(false)
    }

    fn judge(self) -> Result<Ran, Violation> {
        let Some(node) = &self.node else { return Err(Violation::new("I20", "there is no node at the end".to_owned())) };
        if node.is_what_the_log_folds_to() == Some(false) {
            return Err(Violation::new("I13", "the live state is not what the log folds to".to_owned()));
        }
        self.ground.trace("disk", format!("{} in all", self.disk.sum()));
        let ledger = Ledger {
            ground: &self.ground,
            requests: &self.requests,
            disk: &self.disk,
            machine: &self.machine,
            server: &self.server,
            exchanges: &self.exchanges,
            editions: &self.editions,
            peers: &self.peers,
        };
        let records = crate::oracle::judge(node, &ledger)?;
        Ok(Ran { hash: self.ground.story().hash(), events: self.events, micros: self.ground.now(), records, starts: self.starts })
    }

    fn after(&mut self, micros: u64, event: Event) {
        self.at(self.ground.now() + micros, event);
    }

    fn at(&mut self, at: u64, event: Event) {
        let lot = self.lots.next();
        self.queue.insert((at, lot), event);
    }
}
