//! A worker that can die like a process, and what it leaves: its supervisors, their folders, its programs.
//!
//! This module asserts only that the tests' common basis works.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ensue_engine::command::Ask;
use ensue_engine::effect::Effect;
use ensue_engine::executions::facts::{Evidence, FailureKind};
use ensue_engine::ports::OutputStream::Stdout;
use ensue_executor::programs::{Isolation, IsolationMode};
use rustix::process::{Pid, test_kill_process};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::world::{Plan, World, attempt, failure, result, sh};

/// Longer than anything that is tested.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Timeouts of programs that must get so far as to print something: the next one is for a machine on which the last one was too
/// short for that.
pub(crate) const TIMEOUTS: [Duration; 3] = [Duration::from_millis(1_000), Duration::from_secs(10), LONG];

pub(crate) fn supervised_plan(script: &str) -> Plan {
    Plan::new(sh(script)).with_supervisors()
}

/// A worker on its own runtime, so that it can be dropped like a process that dies.
pub(crate) struct Node {
    pub(crate) runtime: Runtime,
    pub(crate) world: World,
}

impl Node {
    pub(crate) fn begin(plan: Plan) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = runtime.block_on(async { plan.begin() });
        Self { runtime, world }
    }

    /// Starts instead of a dead worker, and takes over what it left: the log owes one attempt. Any
    /// attempt that starts again fails.
    pub(crate) fn after(dead: &World) -> Self {
        let next = Self::begin(supervised_plan("exit 9").after(dead));
        next.take_over([Effect::Dispatch(Box::new(next.world.make_dispatch(1, json!({}))))]);
        next
    }

    /// Does the same with an attempt that must be stopped.
    pub(crate) fn after_a_cancel(dead: &World) -> Self {
        let next = Self::begin(supervised_plan("exit 9").after(dead));
        let dispatch = next.world.make_dispatch(1, json!({}));
        let stop = Effect::Stop { execution: dispatch.execution, attempt: dispatch.attempt };
        next.take_over([Effect::Dispatch(Box::new(dispatch)), stop]);
        next
    }

    /// Takes over the attempts that the log owes.
    pub(crate) fn take_over(&self, owed: impl IntoIterator<Item = Effect>) {
        self.runtime.block_on(self.world.executor.take_over(owed, &self.world.previous));
    }

    pub(crate) fn run_until_it_says(&self, text: &str) {
        self.world.dispatch(1, json!({}));
        self.says(text);
    }

    /// Runs a program with one of the [`TIMEOUTS`]. Returns true if it prints a text before it is reported.
    pub(crate) fn says_before_its_timeout(&mut self, timeout: Duration, text: &str) -> bool {
        let mut dispatch = self.world.make_dispatch(1, json!({}));
        dispatch.timeout_millis = timeout.as_millis() as u64;
        self.world.executor.carry_out(Effect::Dispatch(Box::new(dispatch)));
        let World { outputs, asked, .. } = &mut self.world;
        let says = async {
            tokio::select! {
                biased;
                () = outputs.says(1, Stdout, text) => true,
                _ = asked.recv() => false,
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(timeout + LONG, says).await.unwrap() })
    }

    pub(crate) fn says(&self, text: &str) {
        self.runtime.block_on(async {
            tokio::time::timeout(LONG, self.world.outputs.says(1, Stdout, text)).await.unwrap();
        });
    }

    pub(crate) fn next_ask(&mut self) -> Ask {
        let asked = async { tokio::time::timeout(LONG, self.world.asked.recv()).await.unwrap().unwrap() };
        self.runtime.block_on(asked)
    }

    #[track_caller]
    pub(crate) fn result(&mut self) -> serde_json::Value {
        match self.next_ask() {
            Ask::ReportAttempt(report) => result(&report),
            other => panic!("not a report: {other:?}"),
        }
    }

    /// Expects a report that the program failed.
    #[track_caller]
    pub(crate) fn fails(&mut self, kind: FailureKind) {
        match self.next_ask() {
            Ask::ReportAttempt(report) => drop(failure(&report, kind)),
            other => panic!("not a report: {other:?}"),
        }
    }

    /// Expects a report that the program's outcome is unknown.
    #[track_caller]
    pub(crate) fn loses(&mut self) {
        let asked = self.next_ask();
        assert!(matches!(asked, Ask::LoseAttempt { evidence: Evidence::MayHaveBegun, .. }), "{asked:?}");
    }

    pub(crate) fn private(&self) -> PathBuf {
        self.world.folder.path().join("private").join(attempt(1).to_string())
    }

    /// Dies: its code stops running, without any report.
    pub(crate) fn die(self) -> World {
        let Self { runtime, world } = self;
        runtime.shutdown_background();
        world
    }

    /// Returns the supervisors that hold a program.
    pub(crate) fn supervisors(&self) -> Vec<i32> {
        supervisors(&self.world)
    }

    /// Returns the process that the program has printed on its standard output.
    pub(crate) fn program(&self) -> Pid {
        pid(&self.stdout())
    }

    /// Returns the program's output.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.world.outputs.stream_head(1, Stdout).0).unwrap()
    }
}

/// Returns the folder of the supervisor that holds a program.
pub(crate) fn holder(world: &World) -> PathBuf {
    folders(world).into_iter().find(|folder| holds(folder)).unwrap()
}

/// Returns true if the supervisor of a folder holds a program.
pub(crate) fn holds(folder: &Path) -> bool {
    folder.join("held").metadata().is_ok_and(|note| note.len() > 0)
}

/// Returns the folders of supervisors.
pub(crate) fn folders(world: &World) -> Vec<PathBuf> {
    std::fs::read_dir(world.folder.path().join("supervisors")).unwrap().flatten().map(|entry| entry.path()).collect()
}

/// Returns the supervisors that hold a program.
pub(crate) fn supervisors(world: &World) -> Vec<i32> {
    folders(world)
        .into_iter()
        .filter_map(|folder| std::fs::read_to_string(folder.join("held")).ok())
        .filter_map(|note| serde_json::from_str::<serde_json::Value>(&note).ok())
        .map(|note| i32::try_from(note["supervisor"].as_i64().unwrap()).unwrap())
        .collect()
}

pub(crate) fn pid(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

/// Waits for the end of a process, as seen by `kill -0`.
pub(crate) fn has_ended(process: Pid) -> bool {
    let begin = Instant::now();
    while test_kill_process(process).is_ok() {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
        if state.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('Z')) {
            return true;
        }
        if begin.elapsed() > LONG {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Waits for the end of supervisors and their programs.
#[track_caller]
pub(crate) fn have_ended(supervisors: impl IntoIterator<Item = i32>) {
    for supervisor in supervisors {
        assert!(has_ended(Pid::from_raw(supervisor).unwrap()), "supervisor {supervisor} did not end");
    }
}

/// Waits for other processes.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "it never came: {what}");
        std::thread::yield_now();
    }
}

/// No isolation.
pub(crate) fn none() -> Isolation {
    Isolation { mode: IsolationMode::None, ..Isolation::default() }
}
