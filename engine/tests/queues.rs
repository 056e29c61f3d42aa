//! Queues: each has its own worker slots, orders by priority and age, and may limit the start rate.

use ensue_engine::command::{Ask, Settings};
use ensue_engine::executions::facts::Evidence;
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{DEFAULT_QUEUE, WorkerQueueName};
use ensue_engine::record::Actor;
use ensue_engine::time::Timestamp;

use crate::support::workflow::does;
use crate::support::{Pieces, Site, ana, asked_by, cancel, note_start};

fn heavy() -> WorkerQueueName {
    "heavy".parse().unwrap()
}

fn pieces() -> Pieces {
    Pieces::default()
        .action("demo.say")
        .action_with("demo.build", |action| action.queue = heavy())
        .action_with("demo.urgent", |action| {
            action.queue = heavy();
            action.priority = 50;
        })
        .action_with("demo.again", |action| {
            action.queue = heavy();
            action.idempotent = true;
        })
        .workflow("demo.flow", [does("build", "demo.build"), does("say", "demo.say")])
}

/// So many workers of the default queue, and so many of the other.
fn workers(default: u32, of_heavy: u32) -> Settings {
    Settings { workers: default, queues: [(heavy(), of_heavy)].into(), ..Settings::default() }
}

fn site(default: u32, of_heavy: u32) -> Site {
    let mut site = Site::with(&pieces());
    site.set(workers(default, of_heavy));
    site
}

/// The total number of attempts of the other queue that may have started by now.
fn up_to(starts: u64) -> Settings {
    Settings { starts_max: [(heavy(), starts)].into(), ..workers(8, 8) }
}

fn start_queued(site: &mut Site) -> Vec<ExecutionId> {
    let outcome = site.when(asked_by(Actor::Engine, Ask::StartQueued));
    let started = outcome.records().iter().filter(|record| matches!(record.fact, Fact::AttemptStarted(_)));
    let stream = |record: &ensue_engine::record::Record| record.stream.to_string();
    started.map(|record| stream(record).trim_start_matches("execution/").parse().unwrap()).collect()
}

fn is_running(site: &Site, execution: ExecutionId) -> bool {
    matches!(site.phase(execution), Some(Phase::Running(_)))
}

#[test]
fn full_queue_does_not_block_another() {
    let mut site = site(1, 1);
    let build = site.run("demo.build");
    site.ask("demo.build").then(&["execution.requested"]);
    site.ask("demo.build").then(&["execution.requested"]);
    site.ask("demo.say").then(&["execution.requested", "attempt.started"]);
    site.ask("demo.say").then(&["execution.requested"]);
    let queues = site.engine().executions().queues();
    assert_eq!((queues.working_count(&heavy()), queues.waiting_count(&heavy())), (1, 2));
    assert_eq!((queues.working_count(&DEFAULT_QUEUE), queues.waiting_count(&DEFAULT_QUEUE)), (1, 1));
    // A slot that becomes free in one queue is not available to the other.
    site.succeed(build).then(&["attempt.succeeded", "execution.succeeded", "attempt.started"]);
    assert_eq!(site.engine().executions().queues().waiting_count(&DEFAULT_QUEUE), 1);
}

#[test]
fn queued_executions_start_by_priority_and_then_age() {
    let mut site = site(1, 1);
    let running = site.run("demo.build");
    let (older, younger, urgent) = (site.run("demo.build"), site.run("demo.build"), site.run("demo.urgent"));
    assert_eq!(site.engine().executions().queues().oldest(&heavy()), Some(older));
    for (ends, starts) in [(running, urgent), (urgent, older), (older, younger)] {
        site.succeed(ends).then(&["attempt.succeeded", "execution.succeeded", "attempt.started"]);
        assert!(is_running(&site, starts));
    }
}

#[test]
fn steps_wait_in_the_queue_of_their_action() {
    let mut site = site(1, 1);
    site.run("demo.build");
    site.ask("demo.flow").then(&["execution.requested", "execution.requested", "execution.requested", "attempt.started"]);
    assert_eq!(site.engine().executions().queues().waiting_count(&heavy()), 1);
}

#[test]
fn queue_without_workers_starts_once_it_has_some() {
    let mut site = Site::with(&pieces());
    let waits = site.run("demo.build");
    assert_eq!(site.phase(waits), Some(Phase::Queued));
    site.ask("demo.say").then(&["execution.requested", "attempt.started"]);
    site.restart();
    site.set(workers(8, 1));
    site.when(note_start()).then(&["node.started", "attempt.started"]);
    assert!(is_running(&site, waits));
}

#[test]
fn queued_execution_can_be_cancelled_and_paused() {
    let mut site = site(1, 1);
    let running = site.run("demo.build");
    let (paused, cancelled, last) = (site.run("demo.build"), site.run("demo.build"), site.run("demo.build"));
    site.when(asked_by(ana(), Ask::PauseExecution { execution: paused })).then(&["execution.paused"]);
    site.when(cancel(cancelled)).then(&["execution.cancel_requested", "execution.cancelled"]);
    assert_eq!(site.engine().executions().queues().waiting_count(&heavy()), 1);
    site.succeed(running).then(&["attempt.succeeded", "execution.succeeded", "attempt.started"]);
    assert!(is_running(&site, last));
    site.succeed(last).then(&["attempt.succeeded", "execution.succeeded"]);
    site.when(asked_by(ana(), Ask::ResumeExecution { execution: paused })).then(&["execution.resumed", "attempt.started"]);
}

#[test]
fn retried_execution_keeps_its_place_in_the_queue() {
    let mut site = site(1, 1);
    let again = site.run("demo.again");
    let next = site.run("demo.build");
    site.lose(again, Evidence::MayHaveBegun).then(&["attempt.lost", "attempt.started"]);
    assert!(is_running(&site, again) && !is_running(&site, next));
}

#[test]
fn queue_rate_limits_starts_and_the_rest_start_when_it_allows() {
    let mut site = Site::with(&pieces());
    site.set(up_to(2));
    let builds = [site.run("demo.build"), site.run("demo.build"), site.run("demo.build"), site.run("demo.build")];
    assert_eq!(builds.map(|build| is_running(&site, build)), [true, true, false, false]);
    // An end frees a slot but allows no start.
    site.succeed(builds[0]).then(&["attempt.succeeded", "execution.succeeded"]);
    site.ask("demo.say").then(&["execution.requested", "attempt.started"]);
    assert_eq!(start_queued(&mut site), []);
    site.set(up_to(3));
    assert_eq!(start_queued(&mut site), [builds[2]]);
    site.set(up_to(10));
    let urgent = site.run("demo.urgent");
    assert_eq!(site.engine().executions().queues().starts(&heavy()).count, 5);
    assert!(is_running(&site, urgent) && is_running(&site, builds[3]));
}

#[test]
fn start_count_of_a_queue_survives_a_restart() {
    let mut site = Site::with(&pieces());
    site.set(up_to(2));
    for _ in 0..3 {
        site.run("demo.build");
    }
    let before = site.engine().executions().queues().starts(&heavy());
    site.restart();
    let after = site.engine().executions().queues().starts(&heavy());
    assert_eq!((after.count, after.last), (2, before.last));
    site.when(note_start()).then(&["node.started"]);
}

#[test]
fn last_start_of_a_queue_is_shifted_by_a_clock_step() {
    let mut site = Site::with(&pieces());
    site.set(up_to(2));
    site.run("demo.build");
    let before = site.engine().executions().queues().starts(&heavy());
    let day = 24 * 60 * 60 * 1_000_000;
    for (step, off) in [(day, day), (-3 * day, -2 * day)] {
        site.clock_steps_to(Timestamp::from_micros(site.now().micros() + step));
        let after = site.engine().executions().queues().starts(&heavy());
        assert_eq!((after.count, after.last.micros_since(before.last)), (1, off));
    }
}

#[test]
fn rate_limited_starts_follow_priority_and_then_age() {
    let mut site = Site::with(&pieces());
    site.set(up_to(0));
    let (first, second, urgent) = (site.run("demo.build"), site.run("demo.build"), site.run("demo.urgent"));
    site.set(up_to(2));
    assert_eq!(start_queued(&mut site), [urgent, first]);
    site.set(up_to(3));
    assert_eq!(start_queued(&mut site), [second]);
}
