//! Leases: an attempt whose task panics or hangs is reported as lost, once.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ensue_engine::catalog::{Builtin, ProcessCommand, Run};
use ensue_engine::command::{Ask, ObservedEvent};
use ensue_engine::executions::facts::{Evidence, FailureKind};
use ensue_engine::ports::OutputStream::Stdout;
use ensue_executor::ports::{Emission, EmissionError, Observe};
use serde_json::json;

use crate::world::{LEASE, Plan, World, attempt, failure};

/// Blocks the caller's thread until released.
struct Hanging(Mutex<Receiver<()>>, tokio::sync::mpsc::UnboundedSender<()>);

impl Observe for Hanging {
    fn observe(&self, emission: Emission) -> Result<ObservedEvent, EmissionError> {
        self.1.send(()).unwrap();
        self.0.lock().unwrap().recv().unwrap();
        Err(EmissionError::NoTrigger(emission.trigger.name))
    }
}

struct Panicking;

impl Observe for Panicking {
    fn observe(&self, _emission: Emission) -> Result<ObservedEvent, EmissionError> {
        panic!("an internal error, on purpose")
    }
}

async fn next_loss(world: &mut World) -> (ensue_engine::ids::AttemptId, Evidence) {
    match world.asked.recv().await {
        Some(Ask::LoseAttempt { attempt, evidence, .. }) => (attempt, evidence),
        other => panic!("no loss: {other:?}"),
    }
}

#[tokio::test]
async fn attempt_whose_task_panics_is_lost_at_once() {
    let mut world = Plan::new(Run::Builtin(Builtin::Emit)).observe(Panicking).time_in_hand().begin();
    world.dispatch(1, json!({ "trigger": "test.done", "payload": {} }));
    assert_eq!(next_loss(&mut world).await, (attempt(1), Evidence::NotBegun));
    world.executor.stop(Duration::from_secs(60)).await;
    assert!(world.asked.try_recv().is_err(), "once");
    assert!(world.outputs.is_finished(1), "its output stays open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_attempt_is_lost_at_its_lease_s_end_and_still_reports_late() {
    let (let_go, held) = channel();
    let (hangs, mut is_hanging) = tokio::sync::mpsc::unbounded_channel();
    let plan = Plan::new(Run::Builtin(Builtin::Emit)).observe(Hanging(Mutex::new(held), hangs));
    let mut world = plan.time_in_hand().begin();
    world.dispatch(1, json!({ "trigger": "test.done", "payload": {} }));
    is_hanging.recv().await.unwrap();
    let clock = world.clock.clone();
    let time_goes_on = async {
        loop {
            clock.advance(LEASE / 30);
            tokio::task::yield_now().await;
        }
    };
    let lost = tokio::select! {
        lost = next_loss(&mut world) => lost,
        () = time_goes_on => unreachable!(),
    };
    assert_eq!(lost, (attempt(1), Evidence::NotBegun));
    let_go.send(()).unwrap();
    failure(&world.report().await, FailureKind::ParametersInvalid);
}

#[tokio::test]
async fn running_attempt_renews_its_lease() {
    let command = ["sh", "-c", "echo ready; cat; while [ ! -e go ]; do sleep 0.01; done"].map(str::to_owned).to_vec();
    let run = Run::Process(ProcessCommand { command, beside: Default::default(), input: None, env: Vec::new(), files: Vec::new() });
    let mut world = Plan::new(run).time_in_hand().begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    for _ in 0..12 {
        world.clock.advance(LEASE / 3);
        // Each task that the clock woke runs before time advances.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    // And once after the whole process was paused.
    world.clock.advance(LEASE * 2);
    std::fs::write(world.folder.path().join("private").join(attempt(1).to_string()).join("go"), "").unwrap();
    world.report().await;
}
