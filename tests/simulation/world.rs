//! A world: time, a node that lives and dies, its clients, and the faults, one step after the other.
//!
//! What happens next is the first of a queue by simulated time; what stands at the same time goes by lots drawn from the seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::command::{Answer, Ask, Command};

use crate::clients::{Client, settlement};
use crate::disk::Disk;
use crate::ground::Ground;
use crate::node::{Node, Room, Start, Unstarted};
use crate::oracle::{Ledger, Violation};
use crate::pack::Edition;
use crate::plan::Plan;
use crate::programs::Machine;
use crate::random::Random;
use crate::sometimes;
use crate::story::Verbosity;
use crate::traffic::{Outcome, Promise, Request, RequestNumber, Wish};

/// How long a dead node is away before it is started again, at most.
const AWAY_MICROS_MAX: u64 = 20_000_000;
/// How long nothing may be written, once all faults have ended, while something is left to do: 120 simulated seconds.
const LIVENESS_MICROS: u64 = 120_000_000;
/// The most events of one run: a world that never comes to rest is a finding, not an endless run.
const EVENTS_MAX: u64 = 3_000_000;
/// How much room a full disk has left for what the log itself leads to.
const ROOM_BYTES: u64 = 256 * 1024;
/// How often a follower looks at the log by itself.
const LOOK_MICROS: u64 = 500_000;
/// How often a request is tried again.
const RETRIES_MAX: u32 = 8;
/// How long one waits for an answer at most: longer, and it was forgotten.
const ANSWER_MICROS_MAX: u64 = 60_000_000;

/// Something that happens at its time.
#[derive(Clone, Debug)]
enum Event {
    /// The operator starts the node.
    Start,
    /// The sequencer takes a turn.
    Turn(u32),
    /// The worker's tasks run.
    Work(u32),
    /// The views' follower takes a step.
    Views(u32, Prompt),
    /// The shadow fold takes a step.
    Shadow(u32, Prompt),
    /// A second has passed.
    Tick(u32),
    /// A client wants something.
    Wish(usize),
    /// A request arrives at whatever node is there.
    Arrival(RequestNumber),
    /// An answer arrives at its client.
    Answer(RequestNumber, Outcome),
    /// A client has waited long enough.
    Impatience(RequestNumber, u32),
    /// A fault.
    Fault(Fault),
    /// A paused node goes on.
    Resume(u32),
    /// The disk has room again.
    RoomAgain,
    /// The wall clock goes on.
    Thaw,
    /// The safety phase ends.
    Heal,
    /// Somebody looks after what waits for a person.
    Attend,
}

/// Why a follower takes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    /// It was told of a batch.
    Told,
    /// It looks at the log now and then.
    Looks,
}

/// What strikes by itself, so and so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Stop,
    Pause,
    Depose,
    FullSpell,
    ClockStep,
    ClockFreeze,
    Rebuild,
    EditPack,
    Disk,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::Kill,
        Self::Stop,
        Self::Pause,
        Self::Depose,
        Self::FullSpell,
        Self::ClockStep,
        Self::ClockFreeze,
        Self::Rebuild,
        Self::EditPack,
        Self::Disk,
    ];

    fn per_minute(self, plan: &Plan) -> f64 {
        match self {
            Self::Kill => plan.kills,
            Self::Stop => plan.stops,
            Self::Pause => plan.pauses,
            Self::Depose => plan.deposals,
            Self::FullSpell => plan.full_spells,
            Self::ClockStep => plan.clock_steps,
            Self::ClockFreeze => plan.clock_freezes,
            Self::Rebuild => plan.rebuilds,
            Self::EditPack => 0.7,
            Self::Disk => plan.disk_errors,
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    /// The hash of its trace.
    pub hash: String,
    /// How many events happened.
    pub events: u64,
    /// How long it was in simulated time, in microseconds.
    pub micros: u64,
    /// How many records its log has.
    pub records: u64,
    /// How often a node was started.
    pub starts: u32,
}

/// A world.
pub(crate) struct World {
    ground: Arc<Ground>,
    random: Random,
    disk: Disk,
    room: Room,
    machine: Arc<Machine>,
    queue: BTreeMap<(u64, u64), Event>,
    lots: Random,
    node: Option<Node>,
    /// A node whose log another has taken over, which does not know it yet.
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
    editions: Vec<Edition>,
    healed_at: Option<u64>,
    /// The newest position, and when it was written.
    progress: (u64, u64),
    events: u64,
    finding: Option<Violation>,
}

impl World {
    /// Makes the world of a seed.
    pub(crate) fn new(seed: u64, verbosity: Verbosity) -> std::io::Result<Self> {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random.fork());
        let ground = Ground::new(plan, random.fork(), verbosity);
        let disk = Disk::new(seed, &ground.plan)?;
        let machine = Machine::new(ground.clone());
        let edition = Edition::draw(&mut random, 0, None);
        edition.write(&disk.packs())?;
        let clients = (0..ground.plan.clients).map(Client::new).collect();
        let lots = random.fork();
        Ok(Self {
            ground,
            random,
            disk,
            room: Room::default(),
            machine,
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
            editions: vec![edition],
            healed_at: None,
            progress: (0, 0),
            events: 0,
            finding: None,
        })
    }

    /// Runs the world to its end, and has the oracle judge it.
    pub(crate) fn run(mut self) -> Result<Ran, Violation> {
        self.ground.tell("world", format!("{:?}", self.ground.plan));
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
            (_, None) => return Err(Violation::new("I20", "nothing happens any more".to_owned())),
        }
        self.look_after();
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
            Event::Work(node) => self.work(node),
            Event::Views(node, prompt) => self.follow(node, prompt, "views", Node::follow_views, Event::Views),
            Event::Shadow(node, prompt) => self.follow(node, prompt, "shadow", Node::follow_shadow, Event::Shadow),
            Event::Tick(number) => {
                if self.is_awake(number, Event::Tick(number))
                    && let Some(node) = &self.node
                {
                    node.tick();
                    self.after(1_000_000, Event::Tick(number));
                }
            }
            Event::Wish(client) => self.wish(client),
            Event::Arrival(request) => self.arrive(request),
            Event::Answer(request, outcome) => self.hear(request, &outcome),
            Event::Impatience(request, retry) => self.lose_patience(request, retry),
            Event::Fault(fault) => {
                if !self.ground.is_healed() {
                    self.strike(fault);
                    self.schedule(fault);
                }
            }
            Event::Resume(number) => {
                self.paused_until = 0;
                if self.node.as_ref().is_some_and(|node| node.number == number) {
                    self.ground.tell("node", format!("#{number} goes on"));
                    self.wake_sequencer();
                    self.wake_worker();
                }
            }
            Event::RoomAgain => {
                self.ground.tell("disk", "there is room again");
                self.room.set_full(false);
                self.disk.leave_room(None);
                self.wake_sequencer();
            }
            Event::Thaw => self.ground.freeze_wall(false),
            Event::Heal => self.heal(),
            Event::Attend => self.attend(),
        }
    }

    /// Sees to what a step has left behind: answers to be carried, a sequencer that was asked, a node that died.
    fn look_after(&mut self) {
        for answered in self.ground.take_answers() {
            let is_alive =
                [&self.node, &self.deposed].into_iter().flatten().any(|node| node.number == answered.node && !node.life.is_over());
            if !is_alive {
                continue;
            }
            let Some(outcome) = answered.outcome else {
                self.finding.get_or_insert(Violation::new("I17", format!("request {} was never answered", answered.request)));
                continue;
            };
            if let Some(request) = self.requests.get_mut(&answered.request) {
                request.said.push(outcome.clone());
            }
            if self.ground.strikes(self.ground.plan.answer_lost) {
                self.ground.tell("network", format!("the answer to request {} is lost", answered.request));
                sometimes!("an answer was lost after the effect");
                continue;
            }
            let delay = self.network_delay();
            self.after(delay, Event::Answer(answered.request, outcome));
        }
        if let Some(node) = &self.node {
            if node.life.take_asked() {
                self.wake_sequencer();
            }
            if let Some(why) = self.node.as_ref().and_then(Node::failed) {
                self.ground.tell("node", format!("stops by itself: {why}"));
                self.bury();
            } else if self.node.as_ref().is_some_and(|node| node.life.is_over()) {
                self.bury();
            }
        }
        if self.node.is_none() && !self.is_starting {
            self.is_starting = true;
            let most = if self.ground.is_healed() { 1_000_000 } else { AWAY_MICROS_MAX };
            let away = self.random.log_uniform(1_000.0, most as f64) as u64;
            self.after(away, Event::Start);
        }
    }

    fn start(&mut self) {
        self.is_starting = false;
        if self.node.is_some() {
            return;
        }
        // Nobody loses a file that another node has open: the simulated disk has no files without a name.
        if self.ground.strikes(self.ground.plan.views_lost) && self.deposed.is_none() {
            self.ground.tell("disk", "the views are lost");
            sometimes!("the views were lost");
            self.disk.lose_views();
        }
        if self.ground.strikes(self.ground.plan.snapshots_lost) {
            self.ground.tell("disk", "the snapshots are lost");
            self.disk.lose_snapshots();
        }
        self.starts += 1;
        if self.ground.random().chance(0.5) {
            self.disk.mend();
            if self.room.is_full() {
                self.disk.leave_room(Some(ROOM_BYTES));
            }
        }
        let start = Start {
            ground: &self.ground,
            disk: &self.disk,
            number: self.starts,
            boots: self.boots,
            room: &self.room,
            machine: &self.machine,
        };
        let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Node::start(&start)));
        match started {
            Ok(Ok(node)) => {
                self.failed_starts = 0;
                self.ground.tell("node", format!("#{} runs under epoch {}", node.number, node.epoch));
                let number = node.number;
                self.node = Some(node);
                self.paused_until = 0;
                self.is_turning = false;
                self.is_working = false;
                self.wake_sequencer();
                self.wake_worker();
                self.after(1_000_000, Event::Tick(number));
                self.after(0, Event::Views(number, Prompt::Looks));
                self.after(0, Event::Shadow(number, Prompt::Looks));
            }
            Ok(Err(Unstarted::Killed)) => {
                self.ground.take_answers().clear();
                self.machine.node_died();
            }
            Ok(Err(Unstarted::Failed(why))) => {
                self.ground.take_answers().clear();
                self.ground.tell("node", format!("#{} does not start: {}", self.starts, self.disk.without_place(&why)));
                sometimes!("a start failed by itself");
                self.machine.node_died();
                self.failed_starts += 1;
                let is_at_fault = self.ground.is_healed() && self.failed_starts > 3 && !self.room.is_full();
                if is_at_fault {
                    self.finding.get_or_insert(Violation::new("I20", format!("without any fault the node does not start: {why}")));
                }
            }
            Err(_) => {
                self.finding.get_or_insert(Violation::new("panic", "the start panicked".to_owned()));
            }
        }
    }

    fn turn(&mut self, number: u32) {
        if !self.is_awake(number, Event::Turn(number)) {
            return;
        }
        self.is_turning = false;
        let Some(node) = &self.node else { return };
        let turn = node.turn();
        match turn {
            ensue_node::parts::Turn::Taken => {
                self.wake_sequencer();
                for again in [Event::Views, Event::Shadow] {
                    let lag = self.random.log_uniform(100.0, self.ground.plan.follower_micros_max as f64) as u64;
                    self.after(lag, again(number, Prompt::Told));
                }
                self.wake_worker();
            }
            ensue_node::parts::Turn::Idle => {}
            ensue_node::parts::Turn::NoRoom => {
                self.is_turning = true;
                self.after(200_000, Event::Turn(number));
            }
            ensue_node::parts::Turn::Ended => {
                if node.failed().is_none() && !node.life.is_over() {
                    self.stopped();
                }
            }
        }
    }

    fn work(&mut self, number: u32) {
        if !self.is_awake(number, Event::Work(number)) {
            return;
        }
        self.is_working = false;
        if let Some(node) = &self.node {
            node.work();
        }
    }

    fn follow(
        &mut self,
        number: u32,
        prompt: Prompt,
        name: &str,
        step: fn(&mut Node) -> Result<ensue_node::parts::Next, String>,
        again: fn(u32, Prompt) -> Event,
    ) {
        if !self.is_awake(number, again(number, prompt)) {
            return;
        }
        let Some(node) = &mut self.node else { return };
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(node))) {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => self.ground.tell(name, format!("cannot follow: {why}")),
            Err(_) => {
                self.finding.get_or_insert(Violation::new("panic", format!("the follower of the {name} panicked")));
            }
        }
        if prompt == Prompt::Looks {
            self.after(LOOK_MICROS, again(number, prompt));
        }
    }

    fn wish(&mut self, client: usize) {
        if self.ground.is_healed() {
            return;
        }
        let wish = self.clients[client].wish(&mut self.random);
        let number = self.requests.len() as u64 + 1;
        self.ground.tell(&self.clients[client].name, format!("request {number}: {wish:?}"));
        self.requests.insert(number, Request { client, wish, retries: 0, heard: None, said: Vec::new(), arrivals: 0 });
        self.send(number);
        let pause = self.random.until_next(self.ground.plan.asks_per_minute);
        self.after(pause, Event::Wish(client));
    }

    fn send(&mut self, number: RequestNumber) {
        let plan = &self.ground.plan;
        let (patience, doubled, lost) = (plan.patience_micros, plan.request_doubled, plan.request_lost);
        let retry = self.requests.get(&number).map_or(0, |request| request.retries);
        self.after(patience, Event::Impatience(number, retry));
        if self.ground.strikes(doubled) {
            self.ground.tell("network", format!("request {number} is doubled"));
            let delay = self.network_delay() * 3;
            self.after(delay, Event::Arrival(number));
        }
        if self.ground.strikes(lost) {
            self.ground.tell("network", format!("request {number} is lost"));
            return;
        }
        let delay = self.network_delay();
        self.after(delay, Event::Arrival(number));
    }

    fn arrive(&mut self, number: RequestNumber) {
        if self.is_paused() {
            let at = self.paused_until;
            self.at(at, Event::Arrival(number));
            return;
        }
        let Some(request) = self.requests.get_mut(&number) else { return };
        let Some(node) = &self.node else {
            let delay = self.network_delay();
            self.after(delay, Event::Answer(number, Outcome::NoNode));
            return;
        };
        request.arrivals += 1;
        let promise = Promise::new(self.ground.clone(), number, node.number);
        let wish = request.wish.clone();
        node.take(&wish, &self.clients[request.client].name, promise);
        self.wake_worker();
    }

    fn hear(&mut self, number: RequestNumber, outcome: &Outcome) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        if matches!(request.heard, Some(Outcome::Done(_) | Outcome::Seen)) {
            return;
        }
        self.ground.tell(&self.clients[request.client].name, format!("request {number} was answered: {outcome:?}"));
        request.heard = Some(outcome.clone());
        match outcome {
            Outcome::Done(committed) => match &committed.answer {
                Answer::Execution(execution) => self.clients[request.client].remember_execution(*execution),
                Answer::Events(events) => {
                    for event in events {
                        self.clients[request.client].remember_event(event.id.to_string(), event.position.0);
                    }
                }
                _ => {}
            },
            Outcome::Not(why) if matches!(request.wish, Wish::See { .. }) => {
                let what = format!("request {number}: what was written could not be seen: {why}");
                self.finding.get_or_insert(Violation::new("I3", what));
            }
            Outcome::Unknown | Outcome::NoNode | Outcome::NotYet => self.try_again(number),
            Outcome::Seen | Outcome::Not(_) => {}
        }
    }

    fn lose_patience(&mut self, number: RequestNumber, retry: u32) {
        let Some(request) = self.requests.get(&number) else { return };
        if request.heard.is_none() && request.retries == retry {
            self.ground.tell(&self.clients[request.client].name, format!("waits no longer for request {number}"));
            self.try_again(number);
        }
    }

    /// A client that does not know tries again where that does no harm: what has a key, and what is the same when it is said twice.
    fn try_again(&mut self, number: RequestNumber) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        let is_safe = match &request.wish {
            Wish::Send { key, .. } => key.is_some(),
            Wish::Run { .. } | Wish::SetKey(_) => false,
            Wish::Cancel(_) | Wish::Settle(..) | Wish::SetMode(..) | Wish::RemoveKey | Wish::TakeInPacks | Wish::See { .. } => true,
        };
        if !is_safe || request.retries >= RETRIES_MAX {
            return;
        }
        request.retries += 1;
        request.heard = None;
        sometimes!("a client tried again");
        self.send(number);
    }

    fn schedule(&mut self, fault: Fault) {
        let per_minute = fault.per_minute(&self.ground.plan);
        if per_minute > 0.0 {
            let after = self.random.until_next(per_minute);
            self.after(after, Event::Fault(fault));
        }
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                if self.node.is_some() {
                    self.ground.tell("fault", "SIGKILL");
                    sometimes!("killed between two steps");
                    self.bury();
                }
            }
            Fault::Stop => {
                if let Some(node) = &self.node
                    && !self.is_paused()
                {
                    self.ground.tell("fault", "SIGTERM");
                    node.begin_stop();
                    self.wake_sequencer();
                }
            }
            Fault::Pause => {
                if let Some(node) = &self.node
                    && !self.is_paused()
                {
                    let number = node.number;
                    let micros = self.random.log_uniform(100_000.0, 120e6) as u64;
                    self.ground.tell("fault", format!("the node stands still for {:.1} s", micros as f64 / 1e6));
                    sometimes!(micros > self.ground.plan.lease_millis * 1_000, "a node stood still for longer than a lease");
                    self.paused_until = self.ground.now() + micros;
                    self.after(micros, Event::Resume(number));
                }
            }
            Fault::Depose => self.depose(),
            Fault::FullSpell => {
                let micros = self.random.log_uniform(100_000.0, 60e6) as u64;
                self.ground.tell("fault", "the disk has no room");
                sometimes!("the disk had no room for a while");
                self.room.set_full(true);
                self.disk.leave_room(Some(ROOM_BYTES));
                self.after(micros, Event::RoomAgain);
            }
            Fault::ClockStep => {
                let by = self.random.log_uniform(1e6, 315e12) as i64;
                let by = if self.random.chance(0.5) { by } else { -by };
                self.ground.tell("fault", format!("the wall clock jumps by {:.1} s", by as f64 / 1e6));
                self.ground.step_wall(by);
            }
            Fault::ClockFreeze => {
                self.ground.tell("fault", "the wall clock stands still");
                self.ground.freeze_wall(true);
                let micros = self.random.log_uniform(1e6, 200e6) as u64;
                self.after(micros, Event::Thaw);
            }
            Fault::Rebuild => {
                if let Some(node) = &self.node
                    && !self.is_paused()
                    && let Err(why) = node.rebuild_views()
                {
                    self.ground.tell("views", format!("they cannot be built anew: {why}"));
                }
            }
            Fault::Disk => self.disk.fail(&mut self.random, &self.ground),
            Fault::EditPack => {
                let number = self.editions.len() as u64;
                let edition = Edition::draw(&mut self.random, number, self.editions.last());
                if let Err(error) = edition.write(&self.disk.packs()) {
                    self.finding.get_or_insert(Violation::new("world", format!("the pack cannot be written: {error}")));
                }
                self.ground.tell("operator", format!("edits the pack: edition {number}"));
                self.editions.push(edition);
            }
        }
    }

    /// Another node takes the log over while this one does not know it, as where somebody takes the lock away.
    fn depose(&mut self) {
        if self.is_paused() {
            return;
        }
        let Some(old) = self.node.take() else { return };
        self.ground.tell("fault", format!("somebody takes the lock of #{} away, and starts another node", old.number));
        sometimes!("a node was deposed");
        self.disk.lose_lock();
        self.deposed = Some(old);
        self.is_starting = true;
        self.start();
        // The old one wakes up, finds work, and tries to write.
        if let Some(old) = self.deposed.take() {
            let command =
                Command { actor: ensue_engine::record::Actor::Engine, trace: None, ask: Ask::NoteStart { release: "deposed".to_owned() } };
            old.submit(command);
            let before = old.head();
            let turn = old.turn();
            let after = old.head();
            if self.node.is_some() && before != after {
                let what = format!("#{} was deposed and wrote all the same ({turn:?})", old.number);
                self.finding.get_or_insert(Violation::new("I7", what));
            }
            old.life.end();
        }
    }

    /// Ends a node without warning.
    fn bury(&mut self) {
        let Some(node) = self.node.take() else { return };
        node.life.end();
        self.disk.kill();
        let number = node.number;
        drop(node);
        self.machine.node_died();
        self.paused_until = 0;
        if self.ground.strikes(self.ground.plan.power_cuts) {
            self.ground.tell("fault", "the power is cut");
            sometimes!("the power was cut");
            self.boots += 1;
            self.machine.power_cut();
            self.disk.cut_power(&self.ground);
        }
        self.ground.tell("node", format!("#{number} is dead"));
    }

    /// A node that was asked to stop has done all that waited.
    fn stopped(&mut self) {
        let Some(node) = self.node.take() else { return };
        let number = node.number;
        // Answers that were given before the end still go out.
        node.life.end();
        node.end_stop();
        self.machine.node_died();
        self.ground.tell("node", format!("#{number} has stopped"));
        sometimes!("a node stopped when it was asked to");
    }

    fn heal(&mut self) {
        self.ground.tell("world", "all faults end");
        self.ground.heal();
        self.healed_at = Some(self.ground.now());
        self.room.set_full(false);
        self.disk.mend();
        self.ground.freeze_wall(false);
        if let Some(node) = &self.node
            && self.is_paused()
        {
            let number = node.number;
            self.paused_until = 0;
            self.after(0, Event::Resume(number));
        }
        self.wake_sequencer();
    }

    /// A person settles what is indeterminate, and retries what is parked.
    fn attend(&mut self) {
        self.after(3_000_000, Event::Attend);
        if self.is_paused() || !(self.ground.is_healed() || self.random.chance(0.2)) {
            return;
        }
        let Some(node) = &self.node else { return };
        let Some((indeterminate, parked)) = node.look(|engine| {
            let waits = engine
                .executions()
                .iter()
                .filter(|(_, open)| matches!(open.phase, ensue_engine::executions::state::Phase::Indeterminate(_)));
            let waits: Vec<_> = waits.map(|(id, _)| *id).collect();
            let parked: Vec<_> = engine.health().parked().map(|(of, _)| *of).collect();
            (waits, parked)
        }) else {
            return;
        };
        sometimes!(!indeterminate.is_empty(), "an execution was indeterminate");
        sometimes!(!parked.is_empty(), "a reaction was parked");
        let actor = ensue_engine::record::Actor::Token("attendant".to_owned());
        for execution in indeterminate {
            let outcome = settlement(&mut self.random);
            self.ground.tell("attendant", format!("settles {execution}: {outcome:?}"));
            node.submit(Command { actor: actor.clone(), trace: None, ask: Ask::SettleExecution { execution, outcome, result: None } });
        }
        for of in parked {
            self.ground.tell("attendant", format!("retries the reaction to {of}"));
            node.submit(Command { actor: actor.clone(), trace: None, ask: Ask::RetryReaction { of } });
        }
    }

    /// Says whether all is done: faults have ended and nothing is left to do; an error where it takes too long.
    fn is_over(&self) -> Result<bool, Violation> {
        let Some(healed_at) = self.healed_at else { return Ok(false) };
        let since = self.ground.now() - healed_at;
        let idle = self.ground.now() - self.progress.1.max(healed_at);
        if let Some(node) = &self.node
            && since > ANSWER_MICROS_MAX.min(self.ground.plan.patience_micros * 2)
        {
            let left = node.look(|engine| {
                (engine.executions().iter().count(), engine.health().next_owed(None).is_some(), engine.health().parked().count())
            });
            let is_quiet = left == Some((0, false, 0)) && node.running() == 0;
            let follows = node.shadow_is_live().is_some() && node.head() == node.views_at();
            if is_quiet && follows {
                return Ok(true);
            }
            if idle > LIVENESS_MICROS {
                return Err(Violation::new(
                    "I20",
                    format!(
                        "nothing was written for {idle} µs after all faults ended: {left:?} open, owed, parked; followers are up: {follows}"
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
        if node.shadow_is_live() == Some(false) {
            return Err(Violation::new("I13", "the shadow state differs from the live one".to_owned()));
        }
        self.ground.tell("disk", format!("{} in all", self.disk.sum()));
        let ledger = Ledger { ground: &self.ground, requests: &self.requests, machine: &self.machine, editions: &self.editions };
        let records = crate::oracle::judge(node, &ledger)?;
        Ok(Ran { hash: self.ground.story().hash(), events: self.events, micros: self.ground.now(), records, starts: self.starts })
    }

    fn is_paused(&self) -> bool {
        self.paused_until > self.ground.now()
    }

    /// Says whether what is to happen to a node can happen now; where it stands still, it happens when it goes on.
    fn is_awake(&mut self, number: u32, event: Event) -> bool {
        if self.node.as_ref().is_none_or(|node| node.number != number) {
            return false;
        }
        if self.is_paused() {
            let at = self.paused_until;
            self.at(at, event);
            return false;
        }
        true
    }

    fn wake_sequencer(&mut self) {
        if let Some(node) = &self.node
            && !self.is_turning
        {
            let number = node.number;
            self.is_turning = true;
            let wait = self.random.log_uniform(100.0, self.ground.plan.disk_micros_max as f64) as u64;
            self.after(wait, Event::Turn(number));
        }
    }

    fn wake_worker(&mut self) {
        if let Some(node) = &self.node
            && !self.is_working
        {
            let number = node.number;
            self.is_working = true;
            let wait = self.random.below(2_000);
            self.after(wait, Event::Work(number));
        }
    }

    fn network_delay(&mut self) -> u64 {
        self.random.log_uniform(100.0, self.ground.plan.network_micros_max as f64) as u64
    }

    fn after(&mut self, micros: u64, event: Event) {
        self.at(self.ground.now() + micros, event);
    }

    fn at(&mut self, at: u64, event: Event) {
        let lot = self.lots.next();
        self.queue.insert((at, lot), event);
    }
}
