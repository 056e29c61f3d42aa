//! Measures what a supervisor costs: runs `true` in a loop and waits for it, first bare and then under
//! supervisors that are reused.
//!
//!     cargo run --release -p ensue-executor --example programs
//!
//! It measures the program port alone: no log, no node.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue_engine::ids::{AttemptId, Id};
use ensue_engine::time::Timestamp;
use ensue_executor::programs::{
    Exit, Isolation, IsolationMode, Order, ProgramLimits, ProgramUpdate, Programs, SupervisedPrograms, SupervisedSettings,
    SupervisorCommand,
};

/// The number of programs run in a round.
const PROGRAMS: u128 = 1_000;
/// The number of rounds. The best one counts, because other work on the machine only slows a round down.
const ROUNDS: u128 = 3;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "supervisor") {
        let folder = PathBuf::from(arguments.next().unwrap());
        return ensue_executor::supervisor::run(&folder, "measured").unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (bare, piped) = (best(bare), best(run_piped));
    println!("bare, no pipes           {bare:>6.0} a second");
    println!("bare, three pipes        {piped:>6.0} a second  {:>4.0} %", percent(piped, bare));
    for (what, mode, at_once) in [
        ("supervised, no walls    ", IsolationMode::None, 1),
        ("supervised, walls       ", IsolationMode::Auto, 1),
        ("supervised, walls, 2 at once", IsolationMode::Auto, 2),
    ] {
        let folder = tempfile::TempDir::new().unwrap();
        let rate = runtime.block_on(async {
            let programs = Arc::new(SupervisedPrograms::open(settings(&folder, mode)).unwrap());
            // Let the first supervisors start.
            run_some(&programs, 0..20, at_once).await;
            let mut rates = Vec::new();
            for round in 1..=ROUNDS {
                let begin = Instant::now();
                run_some(&programs, round * PROGRAMS..(round + 1) * PROGRAMS, at_once).await;
                rates.push(PROGRAMS as f64 / begin.elapsed().as_secs_f64());
            }
            rates.into_iter().fold(0.0, f64::max)
        });
        println!("{what} {rate:>6.0} a second  {:>4.0} %", percent(rate, bare));
    }
}

fn percent(rate: f64, of: f64) -> f64 {
    100.0 * rate / of
}

fn best(run: impl Fn()) -> f64 {
    let round = |_| {
        let begin = Instant::now();
        (0..PROGRAMS).for_each(|_| run());
        PROGRAMS as f64 / begin.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(round).fold(0.0, f64::max)
}

fn bare() {
    let mut command = Command::new("/bin/true");
    assert!(command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

fn run_piped() {
    let mut command = Command::new("/bin/true");
    let child = command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

fn settings(folder: &tempfile::TempDir, mode: IsolationMode) -> SupervisedSettings {
    let command =
        SupervisorCommand { program: std::env::current_exe().unwrap(), arguments: vec!["supervisor".into()], environment: Vec::new() };
    SupervisedSettings {
        supervisors: folder.path().join("supervisors"),
        private: folder.path().join("private"),
        command,
        isolation: Isolation { mode, ..Isolation::default() },
        answers_within: std::time::Duration::from_secs(30),
        output_bytes_max: 0,
        release: "measured".into(),
    }
}

async fn run_some(programs: &Arc<SupervisedPrograms>, numbers: std::ops::Range<u128>, at_once: u128) {
    let tasks = (0..at_once).map(|offset| {
        let (programs, numbers) = (Arc::clone(programs), numbers.clone());
        tokio::spawn(async move {
            for number in numbers.skip(usize::try_from(offset).unwrap()).step_by(usize::try_from(at_once).unwrap()) {
                run_one(&programs, number).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

async fn run_one(programs: &SupervisedPrograms, number: u128) {
    let attempt = AttemptId(Id::root(Timestamp::from_micros(1_774_699_200_000_000), number));
    let order = Order {
        attempt,
        token: 1,
        program: "/bin/true".into(),
        arguments: Vec::new(),
        env: BTreeMap::new(),
        files: Vec::new(),
        input: b"{}".to_vec(),
        keys: Vec::new(),
        pack: "/usr".into(),
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(10),
        limits: ProgramLimits::default(),
    };
    let mut program = programs.start(order).await.unwrap();
    loop {
        if let ProgramUpdate::Ended(end) = program.hear().await {
            assert_eq!(end.exit, Exit::Code(0));
            break;
        }
    }
    program.clear().await;
    programs.forget(attempt);
}
