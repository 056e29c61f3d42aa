//! The programs of a simulated machine, and the supervisors that hold them: they outlive a node that dies, where the seed says so.
//!
//! What a program does is drawn when it starts; how it is run and reported is the executor's own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use ensue_engine::ports::OutputStream;
use ensue_executor::Clock as _;
use ensue_executor::programs::{
    AtEnd, End, EndedBy, Exit, FindError, Heard, Left, Order, Pending, Program, Programs, StartProgramError, Tell,
};
use tempfile::TempDir;

use crate::clock::WorkerClock;
use crate::ground::Ground;
use crate::life::Life;
use crate::random::Random;
use crate::saying::{self, Line};
use crate::sightings::{Done, Finder, Found, Sighting};
use crate::sometimes;

/// How long a program takes to heed SIGTERM, in microseconds.
const HEEDS_MICROS: u64 = 20_000;
/// How long it takes at most to remove a program's private directory, in microseconds.
const CLEARS_MICROS_MAX: f64 = 200_000.0;

/// The machine on which a world's programs run: it is there however often the node dies.
pub(crate) struct Machine {
    ground: Arc<Ground>,
    at_end: AtEnd,
    /// Where the private directories of programs are.
    private: TempDir,
    processes: Mutex<Processes>,
}

#[derive(Default)]
struct Processes {
    running: BTreeMap<AttemptId, Process>,
    /// Every attempt whose program was started, however often.
    started: BTreeMap<AttemptId, u32>,
    /// What was seen of each.
    sightings: BTreeMap<AttemptId, Sighting>,
    /// What each program says, if it is not ended before.
    said: BTreeMap<AttemptId, Vec<Line>>,
}

impl Processes {
    /// Ends the program of an attempt, where it still runs.
    fn end(&mut self, attempt: AttemptId, now: u64) {
        if let Some(process) = self.running.remove(&attempt) {
            self.sighting(attempt).over_at.get_or_insert(process.over_at().min(now));
        }
    }

    /// Has a node kill the program of an attempt, where it still runs.
    fn kill(&mut self, attempt: AttemptId, by: Finder, now: u64) {
        if self.running.get(&attempt).is_some_and(|process| process.is_alive(now)) {
            self.sighting(attempt).killed.get_or_insert(Done { by, at: now });
        }
        self.end(attempt, now);
    }

    fn end_those(&mut self, are: impl Fn(&Process) -> bool, now: u64) {
        let attempts: Vec<_> = self.running.iter().filter(|(_, process)| are(process)).map(|(attempt, _)| *attempt).collect();
        for attempt in attempts {
            self.end(attempt, now);
        }
    }

    fn sighting(&mut self, attempt: AttemptId) -> &mut Sighting {
        self.sightings.entry(attempt).or_default()
    }
}

/// A program, with all that it will do.
#[derive(Clone, Debug)]
struct Process {
    /// The node that started it.
    node: u32,
    token: u64,
    /// When it ends by itself; none where it never does.
    ends_at: Option<u64>,
    exit: Exit,
    /// What it prints, and when.
    prints: Vec<(u64, OutputStream, Bytes)>,
    /// What it says.
    says: Vec<Line>,
    /// Whether it goes on when it is asked to stop.
    is_stubborn: bool,
    deadline: u64,
    grace: u64,
    /// When it was told to stop, and how long it may go on.
    told: Option<(u64, u64)>,
    killed_at: Option<u64>,
    /// When its supervisor dies, and it with that.
    lost_at: Option<u64>,
}

impl Machine {
    /// Makes a machine on which nothing runs.
    pub(crate) fn new(ground: Arc<Ground>) -> std::io::Result<Arc<Self>> {
        let at_end = if ground.plan.programs_outlive { AtEnd::GoOn } else { AtEnd::Ended };
        Ok(Arc::new(Self { ground, at_end, private: crate::disk::folder()?, processes: Mutex::default() }))
    }

    /// Ends what ends with a node.
    pub(crate) fn node_died(&self, node: u32) {
        match self.at_end {
            AtEnd::Ended => self.lock().end_those(|process| process.node == node, self.ground.now()),
            AtEnd::GoOn => {}
        }
    }

    /// Ends everything: the power is cut.
    pub(crate) fn power_cut(&self) {
        self.lock().end_those(|_| true, self.ground.now());
    }

    /// Says what becomes of programs when their node ends.
    pub(crate) fn at_end(&self) -> AtEnd {
        self.at_end
    }

    /// Gives the attempts whose programs run now.
    pub(crate) fn alive(&self) -> Vec<AttemptId> {
        let now = self.ground.now();
        self.lock().running.iter().filter(|(_, process)| process.is_alive(now)).map(|(attempt, _)| *attempt).collect()
    }

    /// Gives how often a program was started, for each attempt for which one was.
    pub(crate) fn started(&self) -> BTreeMap<String, u32> {
        self.lock().started.iter().map(|(attempt, times)| (attempt.to_string(), *times)).collect()
    }

    /// Gives what was seen of each program, by its attempt.
    pub(crate) fn sightings(&self) -> BTreeMap<String, Sighting> {
        let processes = self.lock();
        let seen = processes.sightings.iter().map(|(attempt, sighting)| {
            let end = || processes.running.get(attempt).map(Process::over_at);
            (attempt.to_string(), Sighting { over_at: sighting.over_at.or_else(end), ..sighting.clone() })
        });
        seen.collect()
    }

    /// Gives what each program said, or would have said had it lasted, by its attempt.
    pub(crate) fn said(&self) -> BTreeMap<String, Vec<Line>> {
        self.lock().said.iter().map(|(attempt, lines)| (attempt.to_string(), lines.clone())).collect()
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.private.path().join(attempt.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    fn draw(random: &mut Random, now: u64, node: u32, order: &Order, supervisor_dies: f64) -> Self {
        let never_ends = random.chance(0.08);
        let most = if random.chance(0.2) { 50e6 } else { 12e6 };
        let ends_at = now + random.log_uniform(1_000.0, most) as u64;
        let exit = match random.weighted(&[12, 3, 1]) {
            0 => Exit::Code(0),
            1 => Exit::Code(1 + random.below(3) as i32),
            _ => Exit::Signal(11),
        };
        let mut prints = Vec::new();
        for _ in 0..random.below(4) {
            let at = now + random.below(ends_at - now + 1);
            let stream = if random.chance(0.5) { OutputStream::Stdout } else { OutputStream::Stderr };
            prints.push((at, stream, Bytes::from(format!("line {}\n", random.below(100)))));
        }
        prints.sort_by_key(|(at, ..)| *at);
        Self {
            node,
            token: order.token,
            ends_at: (!never_ends).then_some(ends_at),
            exit,
            prints,
            says: saying::lines(random, order.attempt, now, ends_at),
            is_stubborn: random.chance(0.2),
            deadline: now + micros(order.timeout),
            grace: micros(order.grace),
            told: None,
            killed_at: None,
            lost_at: random.chance(supervisor_dies).then(|| now + random.below(8_000_000)),
        }
    }

    /// Gives when it ends, how, and who has it end.
    fn end(&self) -> (u64, Exit, Option<EndedBy>) {
        let stopped = |asked: u64, grace: u64| {
            if self.is_stubborn { (asked + grace, Exit::Signal(9)) } else { (asked + HEEDS_MICROS.min(grace), Exit::Signal(15)) }
        };
        let mut end = {
            let (at, exit) = stopped(self.deadline, self.grace);
            (at, exit, Some(EndedBy::Deadline))
        };
        if let Some((asked, grace)) = self.told {
            let (at, exit) = stopped(asked, grace);
            if at < end.0 {
                end = (at, exit, Some(EndedBy::Told));
            }
        }
        if let Some(at) = self.killed_at.filter(|at| *at < end.0) {
            end = (at, Exit::Signal(9), Some(EndedBy::Told));
        }
        if let Some(at) = self.ends_at.filter(|at| *at < end.0) {
            end = (at, self.exit, None);
        }
        end
    }

    /// Gives when nothing of it runs any more, if nobody does anything more about it.
    fn over_at(&self) -> u64 {
        self.lost_at.unwrap_or(u64::MAX).min(self.end().0)
    }

    fn is_lost(&self, now: u64) -> bool {
        self.lost_at.is_some_and(|lost| lost <= now && lost < self.end().0)
    }

    /// Gives when there is something to hear of it, where it says nothing before `at`: the end of its supervisor is heard at once.
    fn news_at(&self, at: u64, now: u64) -> u64 {
        self.lost_at.map_or(at, |lost| lost.max(now + 1).min(at))
    }

    fn is_alive(&self, now: u64) -> bool {
        self.end().0 > now && !self.is_lost(now)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

/// What runs programs for one node of the world.
pub(crate) struct NodePrograms {
    /// The machine.
    pub(crate) machine: Arc<Machine>,
    /// The node's life.
    pub(crate) life: Arc<Life>,
    /// The node's clock.
    pub(crate) clock: Arc<WorkerClock>,
    /// The node.
    pub(crate) finder: Finder,
}

impl NodePrograms {
    fn program(&self, attempt: AttemptId) -> Box<dyn Program> {
        let (machine, life, clock) = (self.machine.clone(), self.life.clone(), self.clock.clone());
        Box::new(Listening { machine, life, clock, attempt, node: self.finder, heard: 0, lines: 0, is_over: false })
    }
}

impl Programs for NodePrograms {
    fn find(&self, program: &str, _: &Path, _: &OsString) -> Result<PathBuf, FindError> {
        Ok(Path::new("/simulated").join(program))
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.machine.directory(attempt)
    }

    fn start(&self, order: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>> {
        let ground = &self.machine.ground;
        let attempt = order.attempt;
        let starts = || {
            let mut processes = self.machine.lock();
            let process = Process::draw(
                &mut ground.random(),
                ground.now(),
                self.finder.node,
                &order,
                if ground.is_healed() { 0.0 } else { ground.plan.supervisor_dies },
            );
            *processes.started.entry(attempt).or_default() += 1;
            // A file that cannot be written is missed where it is to be taken in.
            let _ = saying::write_files(&self.machine.directory(attempt), &process.says);
            processes.said.insert(attempt, process.says.clone());
            let sighting = processes.sighting(attempt);
            (sighting.started_at, sighting.deadline) = (ground.now(), process.deadline);
            processes.running.insert(attempt, process);
            drop(processes);
            ground.tell("program", format!("of attempt {attempt} starts"));
        };
        if self.life.is_over() {
            return Box::pin(std::future::pending());
        }
        if ground.strikes(ground.plan.spawn_kill) {
            let is_before = ground.random().chance(0.5);
            ground.tell("program", format!("the node dies at the start of attempt {attempt}"));
            if is_before {
                sometimes!("killed between noting that an attempt begins and its effect");
                self.life.end();
            } else {
                sometimes!("killed right after a program was started");
                starts();
                self.life.end();
            }
            return Box::pin(std::future::pending());
        }
        if ground.strikes(ground.plan.spawn_fails) {
            sometimes!("a program could not be started");
            let why = "a fault of the simulated machine".to_owned();
            let how = ground.random().below(3);
            return match how {
                0 => Box::pin(async { Err(StartProgramError::Spawn { program: "worker".to_owned(), why }) }),
                1 => Box::pin(async { Err(StartProgramError::Supervisor(why)) }),
                _ => {
                    sometimes!("it was unknown whether a program was started");
                    if ground.random().chance(0.5) {
                        starts();
                        // Whoever does not know whether it has a supervisor has none, and that one ends what it holds.
                        self.machine.lock().end(attempt, ground.now());
                    }
                    Box::pin(async { Err(StartProgramError::Unknown(why)) })
                }
            };
        }
        starts();
        let program = self.program(attempt);
        Box::pin(async { Ok(program) })
    }

    fn left(&self) -> Pending<'_, Vec<Left>> {
        let now = self.machine.ground.now();
        let mut left = Vec::new();
        match self.machine.at_end {
            AtEnd::Ended => return Box::pin(std::future::ready(left)),
            AtEnd::GoOn => {}
        }
        let mut processes = self.machine.lock();
        let Processes { running, sightings, .. } = &mut *processes;
        for (attempt, process) in running {
            let (is_alive, is_lost) = (process.is_alive(now), process.is_lost(now));
            sometimes!(is_lost, "a supervisor had died while no node was there");
            sometimes!(is_alive, "a program was found running by the next node");
            sometimes!(!is_alive && !is_lost, "a program had ended while no node was there");
            if !is_lost {
                let found = Found { finder: self.finder, at: now, token: process.token, is_alive };
                sightings.entry(*attempt).or_default().found.push(found);
            }
            let remaining = if is_alive { Duration::from_micros(process.deadline.saturating_sub(now)) } else { Duration::MAX };
            left.push(Left { attempt: *attempt, token: process.token, remaining, program: self.program(*attempt) });
        }
        Box::pin(async move { left })
    }

    fn collected(&self, attempt: AttemptId) {
        if !self.life.is_over() {
            self.machine.lock().kill(attempt, self.finder, self.machine.ground.now());
        }
    }

    fn at_end(&self) -> AtEnd {
        self.machine.at_end
    }
}

/// A program, as one node hears it.
struct Listening {
    machine: Arc<Machine>,
    life: Arc<Life>,
    clock: Arc<WorkerClock>,
    attempt: AttemptId,
    /// The node that listens.
    node: Finder,
    /// How many pieces of output were heard.
    heard: usize,
    /// How many lines of what it says.
    lines: usize,
    is_over: bool,
}

/// What a listener hears now, or until when there is nothing.
enum Now {
    Heard(Heard),
    Quiet(u64),
}

impl Listening {
    fn now(&mut self) -> Now {
        let now = self.machine.ground.now();
        let mut processes = self.machine.lock();
        processes.sighting(self.attempt).heard.entry(self.node.node).or_insert(now);
        let Some(process) = processes.running.get(&self.attempt) else {
            self.is_over = true;
            return Now::Heard(Heard::Lost);
        };
        let (ends_at, exit, by) = process.end();
        let prints: Vec<_> = process.prints.iter().filter(|(at, ..)| *at < ends_at).collect();
        if process.is_lost(now) {
            sometimes!("a supervisor died with its program");
            self.is_over = true;
            return Now::Heard(Heard::Lost);
        }
        let line = process.says.get(self.lines).filter(|line| line.at < ends_at);
        if let Some(line) = line
            && prints.get(self.heard).is_none_or(|(at, ..)| line.at < *at)
        {
            if line.at > now {
                return Now::Quiet(process.news_at(line.at, now));
            }
            self.lines += 1;
            return Now::Heard(Heard::Message { index: self.lines as u32 - 1, line: line.bytes.clone() });
        }
        if let Some((at, stream, bytes)) = prints.get(self.heard) {
            if *at > now {
                return Now::Quiet(process.news_at(*at, now));
            }
            let before = prints[..self.heard].iter().filter(|(_, other, _)| other == stream);
            let offset = before.map(|(.., bytes)| bytes.len() as u64).sum();
            self.heard += 1;
            return Now::Heard(Heard::Output { stream: *stream, offset, bytes: bytes.clone() });
        }
        if ends_at > now {
            return Now::Quiet(process.news_at(ends_at, now));
        }
        self.is_over = true;
        let printed = [OutputStream::Stdout, OutputStream::Stderr]
            .map(|of| prints.iter().filter(|(_, stream, _)| *stream == of).map(|(.., bytes)| bytes.len() as u64).sum());
        sometimes!(exit == Exit::Signal(9), "a program had to be killed");
        Now::Heard(Heard::Ended(End { exit, by, printed }))
    }
}

impl Program for Listening {
    fn hear(&mut self) -> Pending<'_, Heard> {
        Box::pin(async move {
            loop {
                match self.now() {
                    Now::Heard(heard) => return heard,
                    Now::Quiet(until) => self.clock.until(Duration::from_micros(until)).await,
                }
            }
        })
    }

    fn tell(&self, tell: Tell) {
        if self.life.is_over() {
            return;
        }
        let ground = &self.machine.ground;
        let now = ground.now();
        let mut processes = self.machine.lock();
        processes.sighting(self.attempt).told.get_or_insert(Done { by: self.node, at: now });
        if let Some(process) = processes.running.get_mut(&self.attempt) {
            match tell {
                Tell::Stop { grace } => {
                    let (asked, least) = process.told.unwrap_or((now, u64::MAX));
                    let until = asked.saturating_add(least).min(now + micros(grace));
                    process.told = Some((asked, until.saturating_sub(asked)));
                    // It dies of what it is about to do, as where memory runs out.
                    if ground.strikes(ground.plan.supervisor_dies) {
                        let at = now + ground.random().below(micros(grace).max(1));
                        process.lost_at = Some(process.lost_at.map_or(at, |lost| lost.min(at)));
                    }
                }
                Tell::Kill => process.killed_at = Some(process.killed_at.unwrap_or(now)),
            }
        }
    }

    fn clear(self: Box<Self>) -> Pending<'static, ()> {
        let ground = &self.machine.ground;
        let micros = ground.random().log_uniform(100.0, CLEARS_MICROS_MAX);
        let at = ground.now() + micros as u64;
        Box::pin(async move {
            self.clock.until(Duration::from_micros(at)).await;
            if !self.life.is_over() {
                let _ = std::fs::remove_dir_all(self.machine.directory(self.attempt));
            }
        })
    }

    fn leave(mut self: Box<Self>) {
        self.is_over = self.machine.at_end == AtEnd::GoOn;
        if self.is_over && !self.life.is_over() {
            let now = self.machine.ground.now();
            self.machine.lock().sighting(self.attempt).left.entry(self.node.node).or_insert(now);
        }
    }
}

impl Drop for Listening {
    /// A listener that goes ends what it listened to; one whose node was killed does nothing any more.
    fn drop(&mut self) {
        if !self.is_over && !self.life.is_over() {
            self.machine.lock().kill(self.attempt, self.node, self.machine.ground.now());
        }
    }
}
