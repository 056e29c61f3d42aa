//! Commands from outside while executions wait for slots: a batch takes at most as many as there are slots in use.

use ensue_engine::executions::facts::{AttemptStarted, ExecutionRequested};
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_engine::names::{DEFAULT_QUEUE, HTTP_QUEUE, WorkerQueueName};
use ensue_engine::record::StreamId;
use ensue_test_support::records::{Sketch, Writer};
use ensue_test_support::single::{attempt_start, execution_request};

use super::*;

/// How many commands wait in each test, more than any number of slots in them.
const COMMANDS: usize = 60;

/// The work of one queue.
struct Work<'q> {
    queue: &'q WorkerQueueName,
    running: u128,
    waiting: u128,
}

fn work(queue: &WorkerQueueName, running: u128, waiting: u128) -> Work<'_> {
    Work { queue, running, waiting }
}

/// Returns the facts of one execution of a queue, and of its attempt if it runs.
fn execution(number: u128, queue: &WorkerQueueName, runs: bool) -> Vec<Sketch> {
    let id = ExecutionId(Id::root(NOON, 1_000 + number));
    let stream = StreamId::Execution(id);
    let sketch =
        |begins: Id, fact| Sketch { stream: stream.clone(), begins: Some(begins), actor: Actor::Engine, cause: None, fact, body: None };
    let request = ExecutionRequested { queue: queue.clone(), ..execution_request("demo.act") };
    let mut sketches = vec![sketch(id.0, request.into()).with_body(Body::json("{}"))];
    if runs {
        let attempt = AttemptId(Id::root(NOON, 2_000 + number));
        sketches.push(sketch(
            attempt.0,
            AttemptStarted { token: u64::try_from(number).unwrap(), lease_millis: 600_000, ..attempt_start(1) }.into(),
        ));
    }
    sketches
}

/// Returns how many waiting commands the first batch takes, on a log with this work, 12 workers of the queue `default`
/// and 24 of the queue `http`.
fn taken_beside(all: &[Work<'_>]) -> usize {
    let mut world = World::new();
    world.settings = Settings { workers: 12, queues: [(HTTP_QUEUE.clone(), 24)].into(), ..Settings::default() };
    let log = world.log.as_mut().unwrap();
    let mut writer = Writer::of(log);
    let mut sketches = Vec::new();
    for Work { queue, running, waiting } in all {
        for number in 0..running + waiting {
            sketches.extend(execution(1 + sketches.len() as u128, queue, number < *running));
        }
    }
    let batch = writer.batch(sketches);
    let before = writer.write(log, &batch).unwrap();
    let told: Vec<_> = (0..COMMANDS).map(|number| world.submit(set_key(&format!("k{number}")))).collect();
    let thread = world.start();
    assert!(told.into_iter().all(|told| told.recv().unwrap().is_ok()));
    world.handle.stop();
    thread.join().unwrap().unwrap();
    let added = world.reader.read(before, ReadLimit::default()).unwrap();
    assert_eq!(added.len(), COMMANDS, "they are all taken in the end");
    added.iter().take_while(|record| record.batch == added[0].batch).count()
}

#[test]
fn full_queue_limits_a_batch_although_another_queue_is_unused() {
    assert_eq!(taken_beside(&[work(&DEFAULT_QUEUE, 12, 1)]), 12);
    assert_eq!(taken_beside(&[work(&HTTP_QUEUE, 24, 1)]), 24);
}

#[test]
fn slots_of_all_queues_in_use_can_become_free() {
    assert_eq!(taken_beside(&[work(&DEFAULT_QUEUE, 12, 1), work(&HTTP_QUEUE, 24, 0)]), 36);
}

#[test]
fn batch_is_not_limited_while_a_queue_in_use_has_a_free_slot() {
    assert_eq!(taken_beside(&[work(&DEFAULT_QUEUE, 12, 1), work(&HTTP_QUEUE, 1, 0)]), COMMANDS);
}

#[test]
fn batch_is_not_limited_unless_an_attempt_waits_for_a_slot() {
    assert_eq!(taken_beside(&[work(&DEFAULT_QUEUE, 12, 0)]), COMMANDS);
    assert_eq!(taken_beside(&[]), COMMANDS);
}

#[test]
fn attempt_in_a_queue_that_does_not_exist_waits_for_no_slot() {
    let unknown = "unknown".parse().unwrap();
    assert_eq!(taken_beside(&[work(&DEFAULT_QUEUE, 12, 0), work(&unknown, 0, 1)]), COMMANDS);
}
