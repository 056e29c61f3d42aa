//! Tests of which rows a caller reaches that is itself an execution.

use ensue_engine::ids::{ExecutionId, Id};
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::{Enforcement, Event, Execution, Key, ReachLimits, RowReach, View};

use crate::fold;

fn reach(limits: &[&str], itself: Option<ExecutionId>) -> RowReach {
    let all_of = vec![limits.iter().map(|limit| limit.parse().unwrap()).collect()];
    RowReach::Within(ReachLimits { all_of, asked: Vec::new(), itself }.into())
}

fn covered_ids<V: View>(story: &Story, reach: &RowReach) -> Vec<String> {
    fold::<V>(story.records()).into_iter().filter(|(key, row)| reach.covers_row(key, row)).map(|(key, _)| key).collect()
}

#[test]
fn execution_reaches_its_own_row_and_no_other_beyond_its_limits() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let own = story.execute("garden.drain", event, "garden.open_gate");
    let other = story.execute("garden.flood", event, "garden.open_gate");
    let of_pumps = story.execute("pumps.drain", event, "pumps.run");
    let itself = reach(&["pack=pumps"], Some(own));
    assert_eq!(covered_ids::<Execution>(&story, &itself), sorted_ids(&[own, of_pumps]));
    assert_eq!(covered_ids::<Execution>(&story, &reach(&["pack=pumps"], None)), sorted_ids(&[of_pumps]));
    assert_eq!(covered_ids::<Execution>(&story, &reach(&[], Some(other))), sorted_ids(&[other]));
    assert_eq!(covered_ids::<Execution>(&story, &RowReach::Everything).len(), 3);
    assert_eq!(covered_ids::<Event>(&story, &itself), [""; 0]);
    assert_eq!(covered_ids::<Enforcement>(&story, &itself).len(), 1);
}

fn sorted_ids(ids: &[ExecutionId]) -> Vec<String> {
    let mut texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    texts.sort();
    texts
}

#[test]
fn row_of_another_view_with_the_same_id_is_not_the_execution() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let itself = reach(&["pack=pumps"], Some(ExecutionId(event.0)));
    assert_eq!(covered_ids::<Event>(&story, &itself), [""; 0]);
    assert_eq!(covered_ids::<Event>(&story, &reach(&["pack=garden"], None)), [event.to_string()]);
}

#[test]
fn rows_that_belong_nowhere_are_reached_by_every_caller() {
    let mut story = Story::new();
    let key: ensue_engine::names::KeyRef = "garden.code".parse().unwrap();
    let set = ensue_engine::access::facts::KeySet { key: key.clone(), version: 1 };
    let actor = ensue_engine::record::Actor::Operator;
    story.append_fact(ensue_engine::record::StreamId::Key(key), None, actor, None, set.into(), None);
    for reach in [RowReach::nothing(), reach(&["pack=pumps"], Some(ExecutionId(Id::root(NOON, 1))))] {
        assert_eq!(covered_ids::<Key>(&story, &reach), ["garden.code"], "the permission for the whole view is checked before");
    }
}
