//! Tests of the activity of rules.

use ensue_engine::catalog::Mode;
use ensue_engine::fact::Fact;
use ensue_engine::ids::EventId;
use ensue_engine::names::RuleRef;
use ensue_engine::record::{Actor, Digest, Position, StreamId};
use ensue_engine::rules::facts::{LoopStopped, Outcome, RuleErred, RuleErrorsCounted, RuleModeSet};
use ensue_test_support::story::Story;
use ensue_views::RuleActivity;
use ensue_views::rules::{ERRORS_MAX, Matches};

use crate::only;

fn drain() -> RuleRef {
    "garden.drain".parse().unwrap()
}

fn add_fact(story: &mut Story, fact: impl Into<Fact>) -> Position {
    story.append_fact(StreamId::Rule(drain()), None, Actor::Engine, None, fact.into(), None)
}

fn add_error(story: &mut Story, event: EventId, message: &str) -> Position {
    let rule_id = story.rule_id(&drain());
    let fact = RuleErred { rule: drain(), rule_id, event, error: Digest::of(message.as_bytes()), message: message.to_owned() };
    add_fact(story, fact)
}

fn add_error_count(story: &mut Story, event: EventId, error: Position, count: u64) {
    let rule_id = story.rule_id(&drain());
    add_fact(story, RuleErrorsCounted { rule: drain(), rule_id, event, error, count });
}

fn messages(activity: &RuleActivity) -> Vec<&str> {
    activity.errors.iter().map(|error| error.message.as_str()).collect()
}

#[test]
fn matches_are_counted_by_their_outcome() {
    let mut story = Story::new();
    let outcomes = [Outcome::Shadowed, Outcome::Shadowed, Outcome::Rejected { error: "no gate".into() }];
    for outcome in outcomes {
        let event = story.event("garden.rained", "{}");
        story.enforce(&drain(), event, outcome);
    }
    let event = story.event("garden.rained", "{}");
    story.execute("garden.drain", event, "garden.open_gate");
    let activity: RuleActivity = only(story.records());
    assert_eq!(activity.matched, Matches { executed: 1, shadowed: 2, rejected: 1, ..Matches::default() });
    let last = story.records().iter().rfind(|record| record.kind() == "enforcement.made").unwrap();
    assert_eq!(activity.matched_at, Some(last.time));
}

#[test]
fn rule_error_counts_its_repeats_from_the_first_to_the_newest_event() {
    let mut story = Story::new();
    let (first, second) = (story.event("garden.rained", "{}"), story.event("garden.rained", "{}"));
    let way = add_error(&mut story, first, "no such field");
    add_error_count(&mut story, second, way, 41);
    let activity: RuleActivity = only(story.records());
    assert_eq!(activity.erred, 42);
    let [error] = &activity.errors[..] else { panic!("one kind of error: {:?}", activity.errors) };
    assert_eq!((error.position, error.count, error.first_event, error.last_event), (way, 42, first, second));
}

#[test]
fn newest_rule_errors_are_stored_and_all_are_counted() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let ways: Vec<Position> = (0..ERRORS_MAX).map(|number| add_error(&mut story, event, &format!("way {number}"))).collect();
    add_error_count(&mut story, event, ways[0], 5);
    add_error(&mut story, event, "a new way");
    let activity: RuleActivity = only(story.records());
    assert_eq!((activity.erred as usize, activity.errors.len()), (ERRORS_MAX + 5 + 1, ERRORS_MAX));
    assert_eq!(messages(&activity)[..2], ["a new way", "way 0"]);
    assert!(!messages(&activity).contains(&"way 1"), "the one that was seen longest ago goes");
    add_error_count(&mut story, event, ways[1], 7);
    let activity: RuleActivity = only(story.records());
    assert_eq!((activity.erred as usize, activity.errors.len()), (ERRORS_MAX + 5 + 1 + 7, ERRORS_MAX));
}

#[test]
fn rule_at_the_end_of_a_loop_is_suspended_until_its_mode_is_set() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let rule_id = story.rule_id(&drain());
    add_fact(&mut story, LoopStopped { rule: drain(), rule_id, event, depth: 17 });
    let suspended: RuleActivity = only(story.records());
    assert_eq!(suspended.mode, Some(Mode::Disabled));
    assert_eq!(suspended.suspended.map(|suspension| (suspension.event, suspension.depth)), Some((event, 17)));
    add_fact(&mut story, RuleModeSet { rule: drain(), rule_id, mode: Mode::Enabled });
    let enabled: RuleActivity = only(story.records());
    assert_eq!((enabled.mode, enabled.suspended), (Some(Mode::Enabled), None));
}
