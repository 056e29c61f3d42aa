//! Reserved supervisors: whatever is killed between the reservation and the start of a program, a program that was started is never
//! taken for one that was not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ensue_engine::executions::facts::Evidence;
use ensue_executor::programs::{
    Argument, AttemptRemains, Exit, Isolation, Order, ProgramLimits, ProgramUpdate, Programs, StartProgramError, SupervisedPrograms,
    SupervisedSettings, SupervisorCommand,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::node::{LONG, have_ended, none, until};
use crate::skipped::has_program;
use crate::world::{SUPERVISOR, attempt};

/// A node's programs, on a runtime that can be dropped like a process that dies.
struct NodeOfPrograms {
    runtime: Runtime,
    programs: Arc<dyn Programs>,
}

impl NodeOfPrograms {
    fn begin(folder: &TempDir, isolation: Isolation) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let command = SupervisorCommand { program: SUPERVISOR.into(), arguments: Vec::new(), environment: Vec::new() };
        let settings = SupervisedSettings {
            supervisors: folder.path().join("supervisors"),
            private: folder.path().join("private"),
            command,
            isolation,
            answers_within: LONG,
            output_bytes_max: 0,
            release: "test".into(),
        };
        let programs = runtime.block_on(async { Arc::new(SupervisedPrograms::open(settings).unwrap()) });
        Self { runtime, programs }
    }

    fn reserve(&self, order: &Order) {
        self.runtime.block_on(self.programs.reserve(order)).unwrap();
    }

    fn find_left(&self) -> Vec<AttemptRemains> {
        self.runtime.block_on(self.programs.find_left())
    }

    /// Its code stops running.
    fn die(self) {
        drop(self.programs);
        self.runtime.shutdown_background();
    }
}

/// Returns an order for a program whose first act is a line in a file.
fn order(folder: &TempDir, number: u32) -> Order {
    Order {
        attempt: attempt(number),
        token: 7,
        program: "/bin/sh".into(),
        arguments: vec![Argument::Text("-c".into()), Argument::Text(format!("echo {number} >> {}", log(folder).display()))],
        env: BTreeMap::from([("PATH".into(), std::env::var_os("PATH").unwrap_or_default())]),
        files: Vec::new(),
        input: Vec::new(),
        keys: Vec::new(),
        pack: "/usr".into(),
        timeout: LONG,
        grace: Duration::ZERO,
        limits: ProgramLimits::default(),
    }
}

fn log(folder: &TempDir) -> PathBuf {
    folder.path().join("out/log")
}

/// Returns how often the program of an attempt was started.
fn starts(folder: &TempDir, number: u32) -> usize {
    let lines = std::fs::read_to_string(log(folder)).unwrap_or_default();
    lines.lines().filter(|line| **line == number.to_string()).count()
}

/// Returns the folders of the supervisors that are reserved.
fn reserved_folders(folder: &TempDir) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(folder.path().join("supervisors")).unwrap().flatten().map(|entry| entry.path());
    folders.filter(|folder| folder.join("reservation").metadata().is_ok_and(|file| file.len() > 0)).collect()
}

/// Returns the processes of the supervisors that are reserved.
fn reserved_processes(folder: &TempDir) -> Vec<i32> {
    reserved_folders(folder).iter().flat_map(|folder| processes_in(&folder.to_string_lossy())).collect()
}

fn processes_in(folder: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_meant = |process: &i32| {
        let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|argument| argument == folder.as_bytes())
    };
    processes.filter(is_meant).collect()
}

fn send(process: i32, signal: Signal) {
    kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
}

fn evidence_of(left: &[AttemptRemains]) -> Vec<Evidence> {
    let evidence = |left: &AttemptRemains| match left {
        AttemptRemains::Program(_) => Evidence::MayHaveBegun,
        AttemptRemains::NotBegun { .. } => Evidence::NotBegun,
    };
    left.iter().map(evidence).collect()
}

#[test]
fn node_killed_before_it_asks_for_the_start_has_begun_nothing() {
    let folder = TempDir::new().unwrap();
    let node = NodeOfPrograms::begin(&folder, none());
    node.reserve(&order(&folder, 1));
    let supervisors = reserved_processes(&folder);
    assert_eq!(supervisors.len(), 1);
    node.die();
    // The supervisor leaves, and its reservation stays.
    have_ended(supervisors);
    for _ in 0..2 {
        let next = NodeOfPrograms::begin(&folder, none());
        let left = next.find_left();
        let [AttemptRemains::NotBegun { attempt: reserved_for, token: 7 }] = left[..] else { panic!("{:?}", evidence_of(&left)) };
        assert_eq!(reserved_for, attempt(1));
        // The next one dies too, before it has reported that.
        next.die();
    }
    let last = NodeOfPrograms::begin(&folder, none());
    assert_eq!(evidence_of(&last.find_left()), [Evidence::NotBegun]);
    last.programs.forget(attempt(1));
    until("the end of all folders", || std::fs::read_dir(folder.path().join("supervisors")).unwrap().count() == 0);
}

#[test]
fn supervisor_killed_before_it_hears_of_the_start_has_begun_nothing() {
    let folder = TempDir::new().unwrap();
    let node = NodeOfPrograms::begin(&folder, none());
    let order = order(&folder, 1);
    node.reserve(&order);
    let supervisors = reserved_processes(&folder);
    supervisors.iter().for_each(|supervisor| send(*supervisor, Signal::STOP));
    let programs = Arc::clone(&node.programs);
    node.runtime.spawn(async move { programs.start(order).await.map(|_| ()) });
    node.die();
    supervisors.iter().for_each(|supervisor| send(*supervisor, Signal::KILL));
    have_ended(supervisors);
    let next = NodeOfPrograms::begin(&folder, none());
    assert_eq!(evidence_of(&next.find_left()), [Evidence::NotBegun]);
    assert_eq!(starts(&folder, 1), 0);
}

#[test]
fn program_that_the_system_does_not_start_has_begun_nothing() {
    for isolation in [none(), Isolation::default()] {
        let folder = TempDir::new().unwrap();
        let node = NodeOfPrograms::begin(&folder, isolation);
        // A file that nobody may execute.
        let order = Order { program: "/etc/passwd".into(), pack: "/etc".into(), ..order(&folder, 1) };
        node.reserve(&order);
        let supervisors = reserved_processes(&folder);
        let refused = node.runtime.block_on(node.programs.start(order)).err();
        assert!(matches!(refused, Some(StartProgramError::Spawn { .. })), "{refused:?}");
        // The node dies before that is in the log.
        node.die();
        have_ended(supervisors);
        let next = NodeOfPrograms::begin(&folder, none());
        assert_eq!(evidence_of(&next.find_left()), [Evidence::NotBegun]);
    }
}

#[test]
fn supervisor_that_died_after_it_noted_the_start_is_not_replaced() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    let node = NodeOfPrograms::begin(&folder, none());
    let order = order(&folder, 1);
    node.reserve(&order);
    let supervisors = reserved_processes(&folder);
    supervisors.iter().for_each(|supervisor| send(*supervisor, Signal::STOP));
    // Whatever else is in its folder: this line says that the program may be running.
    let reservation = reserved_folders(&folder)[0].join("reservation");
    std::fs::File::options().append(true).open(reservation).unwrap().write_all(b"begins\n").unwrap();
    let programs = Arc::clone(&node.programs);
    let starting = node.runtime.spawn(async move { programs.start(order).await.map(|_| ()) });
    supervisors.iter().for_each(|supervisor| send(*supervisor, Signal::KILL));
    let started = node.runtime.block_on(starting).unwrap();
    assert!(matches!(started, Err(StartProgramError::Unknown(_))), "{started:?}");
    assert_eq!(starts(&folder, 1), 0);
}

#[test]
fn program_that_was_started_may_have_begun_whatever_is_killed() {
    let folder = TempDir::new().unwrap();
    let node = NodeOfPrograms::begin(&folder, none());
    let mut order = order(&folder, 1);
    order.arguments = vec![Argument::Text("-c".into()), Argument::Text("exec sleep 1000".into())];
    node.reserve(&order);
    let program = node.runtime.block_on(node.programs.start(order)).unwrap();
    let supervisors = reserved_processes(&folder);
    program.leave();
    node.die();
    supervisors.iter().for_each(|supervisor| send(*supervisor, Signal::KILL));
    have_ended(supervisors);
    let next = NodeOfPrograms::begin(&folder, none());
    assert_eq!(evidence_of(&next.find_left()), [Evidence::MayHaveBegun]);
}

#[test]
fn supervisor_that_is_reserved_in_vain_serves_the_next_attempt() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    let node = NodeOfPrograms::begin(&folder, none());
    node.reserve(&order(&folder, 1));
    let supervisors = reserved_processes(&folder);
    node.programs.forget(attempt(1));
    assert!(reserved_processes(&folder).is_empty());
    let order = order(&folder, 2);
    node.reserve(&order);
    assert_eq!(reserved_processes(&folder), supervisors);
    let mut program = node.runtime.block_on(node.programs.start(order)).unwrap();
    while !matches!(node.runtime.block_on(program.hear()), ProgramUpdate::Ended(_)) {}
    assert_eq!((starts(&folder, 1), starts(&folder, 2)), (0, 1));
}

/// Attaches to a process, and kills it when it or one of its threads makes this system call for the given time.
fn kill_at(process: i32, call: &str, time: u32) -> Child {
    // The question mark is for calls that this kind of processor does not have.
    let (trace, inject) = (format!("trace=?{call}"), format!("inject=?{call}:signal=SIGKILL:when={time}"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", &trace, "-e", &inject, "-p", &process.to_string()]);
    let mut tracing = strace.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(tracing.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("attached"), "{line}");
    std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
    tracing
}

/// The system calls with which a supervisor changes anything outside of its memory until its program has begun, and some of
/// those between them.
const CALLS: [&str; 16] = [
    "recvfrom",
    "openat",
    "fstat",
    "ftruncate",
    "write",
    "mkdir",
    "mkdirat",
    "pipe2",
    "dup2",
    "dup3",
    "fcntl",
    "clone",
    "clone3",
    "vfork",
    "close",
    "sendto",
];
/// How often a supervisor makes one of them at most until its program has begun, or later.
const TIMES_MAX: u32 = 60;

/// What became of a program whose supervisor was to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KillOutcome {
    /// It ran under another supervisor, or its end was known before the first one was killed.
    Retried,
    /// Nobody knows.
    Unknown,
    /// The supervisor made no such call.
    Undisturbed,
}

/// Runs a program whose supervisor is killed at a system call. Checks that the program was started at most once, and that it was
/// started if it succeeded.
fn run_and_kill_at(node: &NodeOfPrograms, folder: &TempDir, number: u32, (call, time): (&str, u32)) -> KillOutcome {
    let order = order(folder, number);
    node.reserve(&order);
    let supervisors = reserved_processes(folder);
    let mut tracing = kill_at(supervisors[0], call, time);
    let has_ended = match node.runtime.block_on(node.programs.start(order)) {
        Ok(mut program) => loop {
            match node.runtime.block_on(program.hear()) {
                // The program itself makes such calls, too.
                ProgramUpdate::Ended(end) => break end.exit == Exit::Code(0),
                ProgramUpdate::Lost(_) => break false,
                ProgramUpdate::Output { .. } | ProgramUpdate::Message { .. } => {}
            }
        },
        Err(_) => false,
    };
    let was_killed = !is_alive(supervisors[0]);
    node.programs.forget(attempt(number));
    let _ = tracing.kill();
    tracing.wait().unwrap();
    until("no reservation", || reserved_processes(folder).is_empty());
    let starts = starts(folder, number);
    assert!(starts <= 1 && (starts == 1 || !has_ended), "it was started {starts} times; killed at {call} {time}");
    match (has_ended, was_killed) {
        (true, true) => KillOutcome::Retried,
        (true, false) => KillOutcome::Undisturbed,
        (false, _) => KillOutcome::Unknown,
    }
}

#[test]
fn supervisor_killed_at_any_step_of_a_start_starts_the_program_at_most_once() {
    if !has_program("supervisor_killed_at_any_step_of_a_start_starts_the_program_at_most_once", "strace") {
        return;
    }
    for (isolation, calls) in [(Isolation::default(), &["write", "clone", "clone3", "vfork"][..]), (none(), &CALLS)] {
        let folder = TempDir::new().unwrap();
        let writable = folder.path().join("out");
        std::fs::create_dir(&writable).unwrap();
        let node = NodeOfPrograms::begin(&folder, Isolation { writable: vec![writable], ..isolation });
        let (mut number, mut all) = (0, Vec::new());
        for call in calls {
            for time in 1..=TIMES_MAX {
                number += 1;
                let became = run_and_kill_at(&node, &folder, number, (call, time));
                all.push(became);
                if became == KillOutcome::Undisturbed {
                    break;
                }
            }
        }
        assert!(all.contains(&KillOutcome::Retried) && all.contains(&KillOutcome::Unknown), "{all:?}");
    }
}

fn is_alive(process: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
