//! Steps of the wall clock: they are in the log before every decision that depends on them.

use super::*;

#[test]
fn clock_step_is_recorded_before_later_decisions() {
    let mut world = World::new();
    let sequencer = world.start();
    world.clock.steps.lock().unwrap().push(ClockStep { from: NOON, to: NOON.plus_millis(90_000) });
    assert!(world.ask(set_key("one")).is_ok());
    world.handle.stop();
    sequencer.join().unwrap().unwrap();
    let kinds: Vec<_> = world.reader.read(Position(0), ReadLimit::default()).unwrap().iter().map(Record::kind).collect();
    assert_eq!(kinds, ["clock.stepped", "key.set"]);
}

#[test]
fn clock_step_in_a_rejected_batch_is_recorded_with_the_next() {
    let mut world = World::new();
    world.faults.fail_append_at(1, AppendFault::Refused);
    world.clock.steps.lock().unwrap().push(ClockStep { from: NOON, to: NOON.plus_millis(90_000) });
    // The command waits before the sequencer starts: otherwise the first batch could be the step alone.
    let first = world.submit(set_key("one"));
    let sequencer = world.start();
    assert!(first.recv().unwrap().is_err(), "the store rejected it");
    assert!(world.ask(set_key("two")).is_ok());
    assert!(world.ask(set_key("three")).is_ok());
    world.handle.stop();
    sequencer.join().unwrap().unwrap();
    let steps = world.reader.read(Position(0), ReadLimit::default()).unwrap();
    assert_eq!(steps.iter().filter(|record| record.kind() == "clock.stepped").count(), 1);
}
