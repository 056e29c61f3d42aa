//! Tests of what the counts over time grow by.

use std::collections::BTreeSet;

use ensue_engine::events::facts::{DeliveryRefused, EventReceived};
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::executions::facts::ExecutionSucceeded;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, ExecutionId, Id, IdentityId, TokenId};
use ensue_engine::names::{RuleRef, SensorRef};
use ensue_engine::record::{Actor, CatalogRevision, CredentialId, Digest, Position, StreamId};
use ensue_engine::rules::facts::{Outcome, RuleErred, RuleErrorsCounted};
use ensue_engine::time::Timestamp;
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::onlooker::Nobody;
use ensue_views::reach::RowScope;
use ensue_views::series::{Bucket, Increment, SeriesKind};
use ensue_views::{Projector, Row};

/// Returns what a batch with all records of a story leads to.
fn increments(story: &Story) -> Vec<Increment> {
    increments_after(&mut Projector::new(), story, 0)
}

/// Returns what a batch with the records after the first ones leads to.
fn increments_after(projector: &mut Projector, story: &Story, known: usize) -> Vec<Increment> {
    projector.project(&story.records()[known..], &mut |_, _| Ok(Vec::<Row>::new()), &mut Nobody).unwrap().increments
}

/// Returns the name, the outcome and the number of what was counted of a kind, in order.
fn counts(story: &Story, kind: SeriesKind) -> Vec<(String, &'static str, u64)> {
    let of_kind = increments(story).into_iter().filter(|increment| increment.kind == kind);
    of_kind.map(|increment| (increment.name, increment.outcome, increment.count)).collect()
}

fn count_row(name: &str, outcome: &'static str, count: u64) -> (String, &'static str, u64) {
    (name.to_owned(), outcome, count)
}

/// Records an event on which rules decided like this.
fn receive_event(story: &mut Story, (matched, undecided, erred): (u32, u32, u32), sensor: Option<&str>, actor: Actor) {
    let id = EventId(Id::root(story.now(), story.records().len() as u128 + 2));
    let fact = EventReceived {
        trigger: "garden.rained".parse().unwrap(),
        version: TriggerVersion::FIRST,
        source: "garden.gauge".to_owned(),
        sensor: sensor.map(|sensor| sensor.parse().unwrap()),
        rule: None,
        occurred_at: story.now(),
        catalog: CatalogRevision(1),
        matched,
        undecided,
        erred,
        again: Vec::new(),
        dedupe: None,
        internal_above: BTreeSet::new(),
    };
    story.append_fact(StreamId::Event(id), Some(id.0), actor, None, fact.into(), None);
}

fn drain() -> RuleRef {
    "garden.drain".parse().unwrap()
}

fn append_fact(story: &mut Story, fact: impl Into<Fact>) -> Position {
    story.append_fact(StreamId::Rule(drain()), None, Actor::Engine, None, fact.into(), None)
}

#[test]
fn event_counts_once_by_the_first_of_matched_undecided_and_erred() {
    let cases = [
        ((1, 0, 0), "matched"),
        ((2, 1, 1), "matched"),
        ((0, 1, 0), "undecided"),
        ((0, 1, 1), "undecided"),
        ((0, 3, 2), "undecided"),
        ((0, 0, 1), "erred"),
        ((0, 0, 2), "erred"),
        ((0, 0, 0), "unmatched"),
    ];
    for (decided, outcome) in cases {
        let mut story = Story::new();
        receive_event(&mut story, decided, None, Actor::Token("ci".into()));
        assert_eq!(counts(&story, SeriesKind::Events), [count_row("garden.rained", outcome, 1)], "{decided:?}");
    }
}

#[test]
fn repeated_errors_of_a_rule_count_by_their_number() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let rule_id = story.rule_id(&drain());
    let erred = |message: &str| RuleErred { rule: drain(), rule_id, event, error: Digest::of(b"way"), message: message.to_owned() };
    let first = append_fact(&mut story, erred("no such field"));
    append_fact(&mut story, erred("not a number"));
    assert_eq!(counts(&story, SeriesKind::RuleErrors), [count_row("garden.drain", "erred", 2)]);
    for count in [41, 7] {
        append_fact(&mut story, RuleErrorsCounted { rule: drain(), rule_id, event, error: first, count });
    }
    assert_eq!(counts(&story, SeriesKind::RuleErrors), [count_row("garden.drain", "erred", 50)]);
}

#[test]
fn delivery_is_an_event_from_outside_through_a_sensor_or_its_refusal() {
    let sensor = || -> SensorRef { "garden.gauge".parse().unwrap() };
    let ana = Actor::Identity { id: IdentityId(Id::root(NOON, 5)), by: CredentialId::Token(TokenId(Id::root(NOON, 6))) };
    let mut story = Story::new();
    for actor in [Actor::Sensor(sensor()), Actor::Token("ci".into()), ana, Actor::Operator] {
        receive_event(&mut story, (1, 0, 0), Some("garden.gauge"), actor);
    }
    // The engine makes the events of a timer, and a caller may send an event without a sensor.
    receive_event(&mut story, (1, 0, 0), Some("garden.clock"), Actor::Engine);
    receive_event(&mut story, (1, 0, 0), None, Actor::Token("ci".into()));
    let refused = DeliveryRefused { sensor: sensor(), trigger: None, reason: "`litres` is missing".into(), with: None };
    for _ in 0..2 {
        story.append_fact(StreamId::Sensor(sensor()), None, Actor::Sensor(sensor()), None, refused.clone().into(), None);
    }
    assert_eq!(counts(&story, SeriesKind::Deliveries), [count_row("garden.gauge", "accepted", 4), count_row("garden.gauge", "refused", 2)]);
}

#[test]
fn matches_count_by_rule_and_outcome() {
    let mut story = Story::new();
    let flood: RuleRef = "garden.flood".parse().unwrap();
    for (rule, outcome) in [
        (drain(), Outcome::Shadowed),
        (flood, Outcome::Shadowed),
        (drain(), Outcome::Rejected { error: "no gate".into() }),
        (drain(), Outcome::Shadowed),
    ] {
        let event = story.event("garden.rained", "{}");
        story.enforce(&rule, event, outcome);
    }
    let expected =
        [count_row("garden.drain", "shadowed", 2), count_row("garden.flood", "shadowed", 1), count_row("garden.drain", "rejected", 1)];
    assert_eq!(counts(&story, SeriesKind::Enforcements), expected);
}

#[test]
fn things_count_in_the_minute_in_which_they_happened() {
    let minute = Bucket::Minute.of(NOON);
    let mut story = Story::new();
    for millis in [0, 59_999, 60_000] {
        story.go_on_at(NOON.plus_millis(millis));
        receive_event(&mut story, (1, 0, 0), None, Actor::Token("ci".into()));
    }
    let shown: Vec<_> = increments(&story).iter().map(|increment| (increment.minute - minute, increment.count)).collect();
    assert_eq!(shown, [(0, 2), (1, 1)]);
    assert_eq!(Bucket::Minute.of(Timestamp::from_micros(-1)), -1);
    let hour = Bucket::Hour.of(NOON);
    let begins = Bucket::Hour.begins(hour);
    assert_eq!((Bucket::Hour.of(begins), Bucket::Hour.of(begins.minus_millis(1))), (hour, hour - 1));
    assert_eq!(Bucket::Hour.of_minute(Bucket::Minute.of(begins)), hour);
}

#[test]
fn end_of_an_execution_counts_with_the_action_and_the_scope_of_its_request() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "pumps.open_gate");
    let attempt = story.start(execution);
    let mut projector = Projector::new();
    let begun = increments_after(&mut projector, &story, 0);
    let of_executions = |increments: &[Increment]| -> Vec<Increment> {
        increments.iter().filter(|increment| increment.kind == SeriesKind::Executions).cloned().collect()
    };
    let [requested] = &of_executions(&begun)[..] else { panic!("it was requested: {begun:?}") };
    assert_eq!((requested.name.as_str(), requested.outcome), ("pumps.open_gate", "requested"));
    let scope = requested.scope.clone().expect("an execution belongs somewhere");
    assert_eq!((scope.place.as_str(), scope.root_action.as_deref()), ("garden", Some("pumps.open_gate")));
    let known = story.records().len();
    story.succeed(execution, attempt);
    let ended = of_executions(&increments_after(&mut projector, &story, known));
    assert_eq!(ended, [Increment { outcome: "succeeded", ..requested.clone() }]);
}

#[test]
fn end_of_an_execution_that_nothing_is_known_of_has_no_scope() {
    let mut story = Story::new();
    let execution = ExecutionId(Id::root(NOON, 9));
    story.append_fact(StreamId::Execution(execution), None, Actor::Engine, None, ExecutionSucceeded { part_of: None }.into(), None);
    let [ended] = &increments(&story)[..] else { panic!("one thing happened") };
    assert_eq!((ended.name.as_str(), ended.outcome, &ended.scope), ("", "succeeded", &None));
}

#[test]
fn everything_but_executions_belongs_to_the_pack_of_its_name() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    story.enforce(&"pumps.drain".parse().unwrap(), event, Outcome::Shadowed);
    let shown: Vec<_> = increments(&story).into_iter().map(|increment| (increment.kind, increment.scope)).collect();
    let pack = |name| Some(RowScope::of_pack(name));
    let expected =
        [(SeriesKind::Events, pack("garden")), (SeriesKind::Deliveries, pack("garden")), (SeriesKind::Enforcements, pack("pumps"))];
    assert_eq!(shown, expected);
}
