//! Tests of dead letters: what failed, and what was done about it.

use ensue_engine::dead_letters::facts::{DeadLetterDismissed, DeadLetterRetried};
use ensue_engine::events::facts::DeliveryRefused;
use ensue_engine::executions::facts::{ExecutionFailed, ExecutionRequested, ExecutionTimedOut, Failure, FailureKind};
use ensue_engine::executions::scope::ExecutionScope;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::record::{Actor, Body, StreamId};
use ensue_test_support::NOON;
use ensue_test_support::single::execution_request;
use ensue_test_support::story::Story;
use ensue_views::dead_letters::LetterStatus;
use ensue_views::{DeadLetter, RowScope, View as _};

use crate::{fold, only};

fn refuse_delivery(story: &mut Story) -> Id {
    let sensor: ensue_engine::names::SensorRef = "garden.gauge".parse().unwrap();
    let fact = DeliveryRefused { sensor: sensor.clone(), trigger: None, reason: "`litres` is missing".into(), with: None };
    story.append_fact(StreamId::Sensor(sensor.clone()), None, Actor::Sensor(sensor), None, fact.into(), Some(Body::json("{}")));
    story.records().last().unwrap().id
}

fn fail_execution(story: &mut Story) -> ExecutionId {
    let event = story.event("garden.rained", r#"{"litres":3}"#);
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.fail(execution, attempt, Failure::new(FailureKind::ExitCode, "it stuck"));
    execution
}

fn add_fact(story: &mut Story, fact: impl Into<ensue_engine::fact::Fact>) {
    let stream = StreamId::Log(story.log());
    story.append_fact(stream, None, Actor::Token("ana".into()), None, fact.into(), None);
}

#[test]
fn refused_delivery_is_open_until_it_is_retried_or_dismissed() {
    let mut story = Story::new();
    let of = refuse_delivery(&mut story);
    let letter: DeadLetter = only(story.records());
    assert_eq!((letter.id, letter.status, letter.reason.as_str()), (of, LetterStatus::Open, "`litres` is missing"));
    assert!(letter.sensor.is_some() && letter.execution.is_none() && letter.body.is_some());
    let event = EventId(Id::root(NOON, 7));
    add_fact(&mut story, DeadLetterRetried { of, events: vec![event] });
    let letter: DeadLetter = only(story.records());
    let settled = letter.settled.unwrap();
    assert_eq!((letter.status, settled.by.as_str(), settled.events), (LetterStatus::Retried, "token/ana", vec![event]));
}

#[test]
fn failed_execution_is_a_letter_with_its_own_id() {
    let mut story = Story::new();
    let execution = fail_execution(&mut story);
    let letter: DeadLetter = only(story.records());
    assert_eq!((letter.id, letter.execution, letter.status), (execution.0, Some(execution), LetterStatus::Open));
    assert_eq!((letter.reason.as_str(), letter.sensor), ("it stuck", None));
    assert_eq!(story.records().last().map(|record| record.position), Some(letter.position));
    add_fact(&mut story, DeadLetterDismissed { of: execution.0 });
    assert_eq!(only::<DeadLetter>(story.records()).status, LetterStatus::Dismissed);
}

fn rerun(story: &mut Story, of: ExecutionId, number: u128) -> ExecutionId {
    let execution = ExecutionId(Id::root(NOON, number));
    let fact = ExecutionRequested { rerun_of: Some(of), ..execution_request("garden.open_gate") };
    story.append_fact(StreamId::Execution(execution), Some(execution.0), Actor::Token("bo".into()), None, fact.into(), None);
    execution
}

#[test]
fn letter_stays_and_shows_the_last_of_what_was_done_about_it() {
    let mut story = Story::new();
    let failed = fail_execution(&mut story);
    let position = only::<DeadLetter>(story.records()).position;
    add_fact(&mut story, DeadLetterDismissed { of: failed.0 });
    let rerun = rerun(&mut story, failed, 900);
    let letter: DeadLetter = only(story.records());
    assert_eq!((letter.id, letter.position, letter.status), (failed.0, position, LetterStatus::Retried));
    let settled = letter.settled.unwrap();
    assert_eq!((settled.by.as_str(), settled.rerun, settled.events), ("token/bo", Some(rerun), Vec::new()));
    assert_eq!(Some(settled.at), story.records().last().map(|record| record.time));

    let mut story = Story::new();
    let of = refuse_delivery(&mut story);
    add_fact(&mut story, DeadLetterRetried { of, events: vec![EventId(Id::root(NOON, 7))] });
    add_fact(&mut story, DeadLetterDismissed { of });
    let letter: DeadLetter = only(story.records());
    let settled = letter.settled.unwrap();
    assert_eq!((letter.status, settled.rerun, settled.events), (LetterStatus::Dismissed, None, Vec::new()));
}

#[test]
fn letter_belongs_where_its_sensor_or_its_execution_does() {
    let mut story = Story::new();
    refuse_delivery(&mut story);
    assert_eq!(only::<DeadLetter>(story.records()).scope(), Some(RowScope::of_pack("garden")));

    let scope = ExecutionScope { pack: "pumps".parse().unwrap(), action: "garden.flow".parse().unwrap(), labels: [].into() };
    for (recorded, shown) in [(Some(Box::new(scope.clone())), Some(RowScope::from(&scope))), (None, None)] {
        for timed_out in [true, false] {
            let (error, scope) = (Failure::new(FailureKind::ExitCode, "it stuck"), recorded.clone());
            let end: Fact = if timed_out {
                ExecutionTimedOut { error, part_of: None, scope }.into()
            } else {
                ExecutionFailed { error, part_of: None, scope }.into()
            };
            let mut story = Story::new();
            story.append_fact(StreamId::Execution(ExecutionId(Id::root(NOON, 9))), None, Actor::Engine, None, end, None);
            assert_eq!(only::<DeadLetter>(story.records()).scope(), shown, "timed out: {timed_out}");
        }
    }
}

#[test]
fn only_the_letter_that_is_named_changes() {
    let mut story = Story::new();
    let (first, second, third) = (fail_execution(&mut story), fail_execution(&mut story), refuse_delivery(&mut story));
    add_fact(&mut story, DeadLetterDismissed { of: first.0 });
    rerun(&mut story, second, 900);
    let letters = fold::<DeadLetter>(story.records());
    let statuses = [first.0, second.0, third].map(|of| letters[&of.to_string()].status);
    assert_eq!(statuses, [LetterStatus::Dismissed, LetterStatus::Retried, LetterStatus::Open]);
    assert_eq!(letters.len(), 3, "a rerun does not count as a letter");
}

#[test]
fn rerun_of_an_execution_that_is_no_letter_makes_none() {
    let mut story = Story::new();
    let event = story.event("garden.rained", r#"{"litres":3}"#);
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.succeed(execution, attempt);
    rerun(&mut story, execution, 900);
    assert!(fold::<DeadLetter>(story.records()).is_empty());
}

#[test]
fn first_events_of_a_long_redelivery_are_shown() {
    let mut story = Story::new();
    let of = refuse_delivery(&mut story);
    let events: Vec<EventId> = (0..51).map(|number| EventId(Id::root(NOON, number))).collect();
    add_fact(&mut story, DeadLetterRetried { of, events: events.clone() });
    assert_eq!(only::<DeadLetter>(story.records()).settled.unwrap().events, events[..50]);
}

#[test]
fn succeeded_execution_is_not_a_letter() {
    let mut story = Story::new();
    let event = story.event("garden.rained", r#"{"litres":3}"#);
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.succeed(execution, attempt);
    assert!(fold::<DeadLetter>(story.records()).is_empty());
}
