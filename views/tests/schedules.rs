//! Tests when schedules are due.

use ensue_engine::fact::Fact;
use ensue_engine::ids::{Id, RuleId, ScheduleId};
use ensue_engine::record::{Actor, Digest, Position};
use ensue_engine::schedule::facts::{EndedBecause, ScheduleEnded, ScheduleMissed, ScheduleOwner, ScheduleSet};
use ensue_engine::schedule::plan::Misfire;
use ensue_engine::timers::facts::{TimerFired, TimerKind, TimerSet};
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::schedules::MissedTimes;
use ensue_views::{Column, Schedule, Term, View, ViewName};

use crate::{fold, only};

const HOUR: u64 = 3_600_000;

fn id() -> ScheduleId {
    ScheduleId(Id::root(NOON, 7))
}

fn owner() -> ScheduleOwner {
    ScheduleOwner::Rule("garden.drain".parse().unwrap(), RuleId(Id::root(NOON, 8)))
}

fn add_fact(story: &mut Story, fact: impl Into<Fact>) -> Position {
    story.append_fact(owner().stream(), None, Actor::Engine, None, fact.into(), None)
}

fn set(story: &mut Story) {
    add_fact(story, ScheduleSet { schedule: id(), owner: owner(), plan: Digest::of(b"every 1h"), words: "every 1h".into() });
    waits(story, 1);
}

fn waits(story: &mut Story, number: u32) {
    let due = NOON.plus_millis(u64::from(number) * HOUR);
    add_fact(story, TimerSet { kind: TimerKind::Interval, number, due, schedule: Some(id()) });
}

fn fires(story: &mut Story, number: u32) {
    let due = NOON.plus_millis(u64::from(number) * HOUR);
    add_fact(story, TimerFired { kind: TimerKind::Interval, number, due, schedule: Some(id()) });
}

#[test]
fn schedule_shows_its_next_and_its_last_time() {
    let mut story = Story::new();
    set(&mut story);
    let waiting: Schedule = only(story.records());
    assert_eq!((waiting.next_at, waiting.fired_at, waiting.words.as_str()), (Some(NOON.plus_millis(HOUR)), None, "every 1h"));
    assert_eq!(waiting.columns(), [Some(Term::from("garden.drain")), None]);
    fires(&mut story, 1);
    let fired: Schedule = only(story.records());
    assert_eq!((fired.next_at, fired.fired_at), (None, story.records().last().map(|record| record.time)));
    waits(&mut story, 2);
    let again: Schedule = only(story.records());
    assert_eq!((again.next_at, again.fired_at), (Some(NOON.plus_millis(2 * HOUR)), fired.fired_at));
}

#[test]
fn last_missed_times_are_shown() {
    let mut story = Story::new();
    set(&mut story);
    let (from, until) = (NOON.plus_millis(HOUR), NOON.plus_millis(5 * HOUR));
    add_fact(&mut story, ScheduleMissed { schedule: id(), from, until, misfire: Misfire::Skip });
    let schedule: Schedule = only(story.records());
    assert_eq!(schedule.missed, Some(MissedTimes { from, until, misfire: Misfire::Skip }));
}

#[test]
fn finished_schedule_stays_and_any_other_end_removes_it() {
    let mut story = Story::new();
    set(&mut story);
    add_fact(&mut story, ScheduleEnded { schedule: id(), why: EndedBecause::Over });
    let over: Schedule = only(story.records());
    assert_eq!((over.is_over, over.next_at), (true, None));
    add_fact(&mut story, ScheduleEnded { schedule: id(), why: EndedBecause::Removed });
    assert!(fold::<Schedule>(story.records()).is_empty());
}

#[test]
fn schedule_is_found_by_the_rule_or_the_sensor_that_owns_it() {
    let of_sensor = ScheduleOwner::Sensor("garden.clock".parse().unwrap());
    let found_by = |owner: ScheduleOwner| {
        let mut story = Story::new();
        let set = ScheduleSet { schedule: id(), owner: owner.clone(), plan: Digest::of(b"every 1h"), words: "every 1h".into() };
        story.append_fact(owner.stream(), None, Actor::Engine, None, set.into(), None);
        let columns = only::<Schedule>(story.records()).columns();
        let at = |wanted| ViewName::Schedules.columns().iter().position(|column| *column == wanted).unwrap();
        [Column::Rule, Column::Sensor].map(|column| columns[at(column)].clone())
    };
    assert_eq!(found_by(owner()), [Some(Term::from("garden.drain")), None]);
    assert_eq!(found_by(of_sensor), [None, Some(Term::from("garden.clock"))]);
}

#[test]
fn timer_of_an_execution_is_not_a_schedule() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    story.expire(execution);
    assert!(fold::<Schedule>(story.records()).is_empty());
}
