//! The programs of a simulated machine and their supervisors. They outlive a node that dies if the seed says
//! so.
//!
//! The behavior of a program is drawn when it starts; running and reporting it is the executor's own code.

mod listening;
mod process;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_engine::ids::AttemptId;
use ensue_executor::programs::{
    AtEnd, AttemptRemains, FindError, Isolation, LeftProgram, Order, Pending, Program, Programs, StartProgramError,
};
use tempfile::TempDir;

use self::listening::Listening;
use self::process::Process;
use crate::clock::WorkerClock;
use crate::ground::WorldGround;
use crate::life::Life;
use crate::program_lines::{self, Line};
use crate::sightings::{Finder, FoundProgram, NodeIntervention, Sighting};
use crate::sometimes;

/// The machine on which a world's programs run; it survives every death of the node.
pub(crate) struct Machine {
    ground: Arc<WorldGround>,
    at_end: AtEnd,
    /// Where the private directories of programs are.
    private: TempDir,
    processes: Mutex<Processes>,
}

#[derive(Default)]
struct Processes {
    running: BTreeMap<AttemptId, Process>,
    /// The attempts whose program was started, with the number of starts.
    started: BTreeMap<AttemptId, u32>,
    /// The observations of each program.
    sightings: BTreeMap<AttemptId, Sighting>,
    /// The lines that each program prints unless it is ended earlier.
    said: BTreeMap<AttemptId, Vec<Line>>,
}

impl Processes {
    /// Ends the program of an attempt if it still runs.
    fn end(&mut self, attempt: AttemptId, now: u64) {
        if let Some(process) = self.running.remove(&attempt) {
            self.sighting(attempt).over_at.get_or_insert(process.over_at().min(now));
        }
    }

    /// Makes a node kill the program of an attempt if it still runs.
    fn kill(&mut self, attempt: AttemptId, by: Finder, now: u64) {
        if self.running.get(&attempt).is_some_and(|process| process.is_alive(now)) {
            self.sighting(attempt).killed.get_or_insert(NodeIntervention { by, at: now });
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

impl Machine {
    /// Creates a machine on which nothing runs.
    pub(crate) fn new(ground: Arc<WorldGround>) -> std::io::Result<Arc<Self>> {
        let at_end = if ground.plan.programs_outlive { AtEnd::GoOn } else { AtEnd::Ended };
        Ok(Arc::new(Self { ground, at_end, private: crate::disk::folder()?, processes: Mutex::default() }))
    }

    /// Ends the programs that end with a node.
    pub(crate) fn node_died(&self, node: u32) {
        match self.at_end {
            AtEnd::Ended => self.lock().end_those(|process| process.node == node, self.ground.now()),
            AtEnd::GoOn => {}
        }
    }

    /// Ends everything because the power is cut.
    pub(crate) fn power_cut(&self) {
        self.lock().end_those(|_| true, self.ground.now());
    }

    /// Returns what happens to programs when their node ends.
    pub(crate) fn at_end(&self) -> AtEnd {
        self.at_end
    }

    /// Returns the attempts whose programs run now.
    pub(crate) fn alive(&self) -> Vec<AttemptId> {
        let now = self.ground.now();
        self.lock().running.iter().filter(|(_, process)| process.is_alive(now)).map(|(attempt, _)| *attempt).collect()
    }

    /// Returns how many times a program was started, for each attempt that has one.
    pub(crate) fn start_counts(&self) -> BTreeMap<String, u32> {
        self.lock().started.iter().map(|(attempt, times)| (attempt.to_string(), *times)).collect()
    }

    /// Returns the observations of each program by its attempt.
    pub(crate) fn sightings(&self) -> BTreeMap<String, Sighting> {
        let processes = self.lock();
        let seen = processes.sightings.iter().map(|(attempt, sighting)| {
            let end = || processes.running.get(attempt).map(Process::over_at);
            (attempt.to_string(), Sighting { over_at: sighting.over_at.or_else(end), ..sighting.clone() })
        });
        seen.collect()
    }

    /// Returns the lines that each program printed, or would have printed had it run longer, by its attempt.
    pub(crate) fn printed_lines(&self) -> BTreeMap<String, Vec<Line>> {
        self.lock().said.iter().map(|(attempt, lines)| (attempt.to_string(), lines.clone())).collect()
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.private.path().join(attempt.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs programs for one node of the world.
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
        Box::new(Listening::begin(self, attempt))
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
            let process = Process::draw(ground, self.finder.node, &order);
            *processes.started.entry(attempt).or_default() += 1;
            // A file that cannot be written is noticed when it is collected.
            let _ = program_lines::write_files(&self.machine.directory(attempt), &process.says);
            processes.said.insert(attempt, process.says.clone());
            let sighting = processes.sighting(attempt);
            (sighting.started_at, sighting.deadline) = (ground.now(), process.deadline);
            processes.running.insert(attempt, process);
            drop(processes);
            ground.trace("program", format!("of attempt {attempt} starts"));
        };
        if self.life.is_over() {
            return Box::pin(std::future::pending());
        }
        if ground.strikes(ground.plan.spawn_kill) {
            let is_before = ground.random().chance(0.5);
            ground.trace("program", format!("the node dies at the start of attempt {attempt}"));
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
                        // A node that does not know whether it has a supervisor has none, and that supervisor
                        // ends its program.
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

    fn find_left(&self) -> Pending<'_, Vec<AttemptRemains>> {
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
                let found = FoundProgram { finder: self.finder, at: now, token: process.token, is_alive };
                sightings.entry(*attempt).or_default().found.push(found);
            }
            let remaining = if is_alive { Duration::from_micros(process.deadline.saturating_sub(now)) } else { Duration::MAX };
            left.push(AttemptRemains::Program(LeftProgram {
                attempt: *attempt,
                token: process.token,
                remaining,
                program: self.program(*attempt),
            }));
        }
        Box::pin(async move { left })
    }

    fn forget(&self, attempt: AttemptId) {
        if !self.life.is_over() {
            self.machine.lock().kill(attempt, self.finder, self.machine.ground.now());
        }
    }

    fn at_end(&self) -> AtEnd {
        self.machine.at_end
    }

    fn isolation(&self) -> &Isolation {
        Isolation::none()
    }
}
