//! Operation n fails, for every n: once or permanently, whole or in part. Then the process is killed or the
//! power fails.

use ensue_disk::fault::{Failure, Fault, Lasting};

use super::*;

/// The number of batches that each of three lives appends: enough for every kind of operation, few enough to
/// try each.
const BATCHES: u64 = 2;

/// The distance between failing operations in a long story.
const STRIDE: usize = 101;

#[derive(Clone, Copy)]
enum Then {
    Kill,
    PowerCut,
}

/// Three lives. The first two end with a clean stop and with a kill, unless the fault ends them before.
fn lives(story: &mut Story, batches: u64, then: Then) {
    for life in 0..3 {
        let ended = story.live(batches);
        match (life, ended, then) {
            (0, LifeEnd::WithAll, _) => {}
            (_, LifeEnd::WithAll, _) | (_, LifeEnd::WithFailure, Then::Kill) => story.disk.kill(),
            (_, LifeEnd::WithFailure, Then::PowerCut) => {
                story.disk.cut_power();
            }
        }
    }
    if let Then::PowerCut = then {
        story.disk.cut_power();
    }
}

/// Counts the operations of a story without faults. Tests run in parallel, so each names its own disk.
fn operations_of_a_story(name: &str, batches: u64) -> u64 {
    let disk = Disk::new(&format!("{name}-count"), 0, Sectors::Bytes512);
    lives(&mut Story::on(&disk), batches, Then::Kill);
    disk.operations()
}

fn every_operation(name: &str, failure: Failure, lasting: Lasting, then: Then) -> Vec<String> {
    let operations = operations_of_a_story(name, BATCHES);
    assert!(operations > 150, "{operations} operations are too few to show anything");
    let mut said = Vec::new();
    for nth in 1..=operations {
        let disk = Disk::new(name, nth, sectors(nth));
        let mut story = Story::on(&disk).ending(ending(nth));
        disk.fail(Fault { nth, of: None, failure, lasting });
        lives(&mut story, BATCHES, then);
        story.check();
        said.append(&mut story.said);
    }
    said
}

#[test]
fn one_failed_operation_and_a_power_cut_lose_nothing_acknowledged() {
    let said = every_operation("once-cut", Failure::Io, Lasting::Once, Then::PowerCut);
    assert!(said.len() > 50, "only {} stories met their fault", said.len());
}

#[test]
fn one_failed_operation_and_a_kill_lose_nothing_acknowledged() {
    every_operation("once-kill", Failure::Io, Lasting::Once, Then::Kill);
}

#[test]
fn permanent_disk_failure_and_a_power_cut_lose_nothing_acknowledged() {
    every_operation("for-ever-cut", Failure::Io, Lasting::ForEver, Then::PowerCut);
}

#[test]
fn partial_operation_loses_nothing_acknowledged() {
    every_operation("part-cut", Failure::Part, Lasting::Once, Then::PowerCut);
    every_operation("part-kill", Failure::Part, Lasting::Once, Then::Kill);
}

#[test]
fn long_run_with_checkpoints_loses_nothing_acknowledged() {
    let operations = operations_of_a_story("long-story", 100);
    for nth in (1..=operations).step_by(STRIDE) {
        let disk = Disk::new("long-story", nth, sectors(nth));
        let mut story = Story::on(&disk).ending(ending(nth));
        disk.fail(Fault { nth, of: None, failure: Failure::Io, lasting: Lasting::Once });
        lives(&mut story, 100, Then::PowerCut);
        story.check();
    }
}
