//! Tests of dead letters: what failed, and what was done about it.

use ensue_engine::dead_letters::facts::{DeadLetterDismissed, DeadLetterRetried};
use ensue_engine::events::facts::DeliveryRefused;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::record::{Actor, Body, StreamId};
use ensue_views::DeadLetter;
use ensue_views::dead_letters::LetterStatus;
use ensue_views::spec::{NOON, Story};

use crate::{fold, only};

fn refused(story: &mut Story) -> Id {
    let sensor: ensue_engine::names::SensorRef = "garden.gauge".parse().unwrap();
    let fact = DeliveryRefused { sensor: sensor.clone(), trigger: None, reason: "`litres` is missing".into(), with: None };
    story.tell(StreamId::Sensor(sensor.clone()), None, Actor::Sensor(sensor), None, fact.into(), Some(Body::json("{}")));
    story.records().last().unwrap().id
}

fn failed(story: &mut Story) -> ExecutionId {
    let event = story.event("garden.rained", r#"{"litres":3}"#);
    let execution = story.executed("garden.drain", event, "garden.open_gate");
    let attempt = story.started(execution);
    story.failed(execution, attempt, Failure::new(FailureKind::ExitCode, "it stuck"));
    execution
}

fn tell(story: &mut Story, fact: impl Into<ensue_engine::fact::Fact>) {
    let stream = StreamId::Log(story.log());
    story.tell(stream, None, Actor::Token("ana".into()), None, fact.into(), None);
}

#[test]
fn refused_delivery_is_open_until_it_is_retried_or_dismissed() {
    let mut story = Story::new();
    let of = refused(&mut story);
    let letter: DeadLetter = only(story.records());
    assert_eq!((letter.id, letter.status, letter.reason.as_str()), (of, LetterStatus::Open, "`litres` is missing"));
    assert!(letter.sensor.is_some() && letter.execution.is_none() && letter.body.is_some());
    let event = EventId(Id::root(NOON, 7));
    tell(&mut story, DeadLetterRetried { of, events: vec![event] });
    let letter: DeadLetter = only(story.records());
    let settled = letter.settled.unwrap();
    assert_eq!((letter.status, settled.by.as_str(), settled.events), (LetterStatus::Retried, "token/ana", vec![event]));
}

#[test]
fn failed_execution_is_a_letter_with_its_own_id() {
    let mut story = Story::new();
    let execution = failed(&mut story);
    let letter: DeadLetter = only(story.records());
    assert_eq!((letter.id, letter.execution, letter.status), (execution.0, Some(execution), LetterStatus::Open));
    assert_eq!((letter.reason.as_str(), letter.sensor), ("it stuck", None));
    assert_eq!(story.records().last().map(|record| record.position), Some(letter.position));
    tell(&mut story, DeadLetterDismissed { of: execution.0 });
    assert_eq!(only::<DeadLetter>(story.records()).status, LetterStatus::Dismissed);
}

#[test]
fn succeeded_execution_is_not_a_letter() {
    let mut story = Story::new();
    let event = story.event("garden.rained", r#"{"litres":3}"#);
    let execution = story.executed("garden.drain", event, "garden.open_gate");
    let attempt = story.started(execution);
    story.succeeded(execution, attempt);
    assert!(fold::<DeadLetter>(story.records()).is_empty());
}
