//! The port for programs, as supervisors implement it: orders, requests, and messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ensue_engine::ports::OutputStream;
use ensue_executor::programs::{
    Argument, End, EndedBy, Exit, Order, ProgramLimits, ProgramUpdate, Programs, StartProgramError, SupervisedPrograms, SupervisedSettings,
    SupervisorCommand, Tell,
};
use tempfile::TempDir;

use crate::node::{LONG, none};
use crate::world::{SUPERVISOR, attempt};

/// More than a supervisor's default limit.
const OUTPUT_BYTES_MAX: u64 = 20 << 20;

fn programs(folder: &TempDir) -> Arc<dyn Programs> {
    let command = SupervisorCommand { program: SUPERVISOR.into(), arguments: Vec::new(), environment: Vec::new() };
    let settings = SupervisedSettings {
        supervisors: folder.path().join("supervisors"),
        private: folder.path().join("private"),
        command,
        isolation: none(),
        answers_within: LONG,
        output_bytes_max: OUTPUT_BYTES_MAX,
        release: "test".into(),
    };
    Arc::new(SupervisedPrograms::open(settings).unwrap())
}

fn order(number: u32, script: &str) -> Order {
    Order {
        attempt: attempt(number),
        token: 1,
        program: "/bin/sh".into(),
        arguments: vec![Argument::Text("-c".into()), Argument::Text(script.into())],
        env: BTreeMap::from([("PATH".into(), std::env::var_os("PATH").unwrap_or_default())]),
        files: Vec::new(),
        input: Vec::new(),
        keys: Vec::new(),
        pack: "/usr".into(),
        timeout: LONG * 10,
        grace: Duration::ZERO,
        limits: ProgramLimits::default(),
    }
}

/// Reads a program to its end. Returns how it ended, and its standard output.
async fn read_to_end(program: &mut Box<dyn ensue_executor::programs::Program>) -> (End, Vec<u8>) {
    let mut printed = Vec::new();
    loop {
        match program.hear().await {
            ProgramUpdate::Output { stream: OutputStream::Stdout, bytes, .. } => printed.extend_from_slice(&bytes),
            ProgramUpdate::Output { .. } | ProgramUpdate::Message { .. } => {}
            ProgramUpdate::Ended(end) => return (end, printed),
            ProgramUpdate::Lost(_) => panic!("it was lost"),
        }
    }
}

/// Counts the running supervisors, whether they hold a program or not.
fn supervisors(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path().join("supervisors")).unwrap().count()
}

#[tokio::test]
async fn stored_output_is_limited_by_the_operator_s_setting() {
    let folder = TempDir::new().unwrap();
    let programs = programs(&folder);
    let mut program = programs.start(order(1, "yes | head -c 30000000")).await.unwrap();
    let (end, printed) = read_to_end(&mut program).await;
    assert_eq!((end.printed[0], printed.len() as u64), (30_000_000, OUTPUT_BYTES_MAX));
}

#[tokio::test]
async fn oversized_order_is_rejected_without_costing_a_supervisor() {
    let folder = TempDir::new().unwrap();
    let programs = programs(&folder);
    let mut large = order(1, "true");
    large.input = vec![b'x'; 64 << 20];
    let refused = programs.start(large).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, StartProgramError::TooLarge { most, bytes } if bytes > most && most == 64 << 20), "{refused}");
    // The first order that is carried out starts supervisors.
    assert_eq!(supervisors(&folder), 0);
    let mut next = programs.start(order(2, "cat | wc -c")).await.unwrap();
    let (end, printed) = read_to_end(&mut next).await;
    assert_eq!((end.exit, &*printed), (Exit::Code(0), &b"0\n"[..]));
    assert!(supervisors(&folder) > 0);
}

#[tokio::test]
async fn stop_with_grace_does_not_delay_an_earlier_kill() {
    let folder = TempDir::new().unwrap();
    let programs = programs(&folder);
    let mut program = programs.start(order(1, "trap '' TERM; echo ready; while :; do sleep 0.1; done")).await.unwrap();
    program.hear().await;
    let begin = std::time::Instant::now();
    program.instruct(Tell::Kill);
    program.instruct(Tell::Stop { grace: LONG });
    let (end, _) = read_to_end(&mut program).await;
    assert_eq!((end.exit, end.by), (Exit::Signal(9), Some(EndedBy::Told)));
    assert!(begin.elapsed() < LONG / 2, "{:?}", begin.elapsed());
}
