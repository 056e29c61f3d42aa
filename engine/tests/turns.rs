//! Turns are limited: reactions over the limit are owed, survive a restart, and have the same result in the
//! end.

use std::collections::BTreeSet;

use ensue_engine::command::{Answer, Settings, TurnLimits};
use ensue_engine::command::{BATCH_DRAFTS_MAX, TURN_DRAFTS_MAX};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{Id, Role};
use ensue_engine::record::Record;
use ensue_test_support::spec::Outcome;
use serde_json::json;

use crate::support::site::receive_events;
use crate::support::{Pieces, Site, retry, rule_id, workers};

/// A few drafts may exceed the limit: those of the reaction that reached it, and the one that says that the
/// rest is owed.
const OVER_THE_BOUND: usize = 10;

fn site(rules: usize) -> Site {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..rules {
        pieces = pieces.rule(&rule_name(rule), "demo.ping", "", "demo.say");
    }
    let mut site = Site::with(&pieces);
    site.set(workers(4));
    site
}

fn rule_name(rule: usize) -> String {
    format!("demo.r{rule:04}")
}

fn turn(site: &mut Site) -> Outcome {
    let event = site.event("demo.ping", &json!({}));
    site.turn(receive_events(vec![event]))
}

fn of_kind<'a>(records: &'a [Record], kind: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.kind() == kind).collect()
}

#[test]
fn turn_makes_about_a_thousand_drafts_and_owes_the_rest() {
    let mut site = site(700);
    let first = turn(&mut site);
    assert!((TURN_DRAFTS_MAX..=TURN_DRAFTS_MAX + OVER_THE_BOUND).contains(&first.records().len()), "{}", first.records().len());
    assert_eq!(site.engine().health().owed_count(), 1);
    let second = site.serve().expect("the rest is owed");
    assert_eq!(second.records()[0].kind(), "reaction.resumed");
    assert!(site.serve().is_none());
}

#[test]
fn thousand_events_of_one_command_are_one_batch_with_one_reaction_each() {
    let mut site = site(1);
    let events: Vec<_> = (0..1_000).map(|n| site.event("demo.ping", &json!({ "n": n }))).collect();
    let ids: BTreeSet<Id> = events.iter().map(|event| event.id.0).collect();
    let first = site.turn(receive_events(events));
    let Answer::Events(reported) = first.answer() else { panic!("events were sent in") };
    let positions: Vec<u64> = reported.iter().map(|event| event.position.0).collect();
    assert_eq!(positions, (positions[0]..positions[0] + 1_000).collect::<Vec<_>>(), "each has its place, in the order of the list");
    assert!(first.records().iter().all(|record| record.batch == first.records()[0].batch));
    assert_eq!(site.engine().health().owed_count(), 1_000);
    while site.serve().is_some() {}
    let log = site.engine().log();
    let expected: BTreeSet<Id> = ids.iter().map(|event| Id::derive(log, *event, Role::Enforcement(rule_id(&rule_name(0))))).collect();
    let made = of_kind(site.records(), "enforcement.made");
    assert_eq!(made.len(), 1_000);
    assert_eq!(made.iter().map(|record| record.id).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn turn_interrupted_by_restarts_derives_the_same_ids_without_duplicates() {
    let mut site = site(700);
    let event = turn(&mut site).records()[0].id;
    site.restart();
    while site.serve().is_some() {
        site.restart();
    }
    let log = site.engine().log();
    let expected: BTreeSet<Id> = (0..700).map(|rule| Id::derive(log, event, Role::Enforcement(rule_id(&rule_name(rule))))).collect();
    let made = of_kind(site.records(), "enforcement.made");
    assert_eq!(made.len(), 700);
    assert_eq!(made.iter().map(|record| record.id).collect::<BTreeSet<_>>(), expected);
    let asked: BTreeSet<Id> = of_kind(site.records(), "execution.requested").iter().map(|record| record.id).collect();
    assert_eq!(asked, expected.iter().map(|enforcement| Id::derive(log, *enforcement, Role::Execution)).collect());
    assert_eq!(of_kind(site.records(), "attempt.started").len(), 4);
}

#[test]
fn turn_of_large_bodies_is_bounded_in_bytes() {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..12 {
        let copy = |rule: &mut ensue_engine::catalog::Rule| {
            rule.with = crate::support::definitions::template(&json!({ "copy": "${{ event.payload.text }}" }));
        };
        pieces = pieces.rule_with(&rule_name(rule), "demo.ping", "", "demo.say", copy);
    }
    let mut site = Site::with(&pieces);
    site.set(workers(4));
    let event = site.event("demo.ping", &json!({ "text": "a".repeat(600_000) }));
    let first = site.turn(receive_events(vec![event]));
    assert_eq!(of_kind(first.records(), "enforcement.made").len(), 6);
    assert_eq!(site.engine().health().owed_count(), 1);
    site.serve_all();
    assert_eq!(of_kind(site.records(), "enforcement.made").len(), 12);
}

#[test]
fn small_turns_make_progress_and_have_the_same_result() {
    for turn_of in [TurnLimits { drafts: 2, ..TurnLimits::default() }, TurnLimits { drafts: 9, bytes: 2_000, ..TurnLimits::default() }] {
        let mut site = site(7);
        site.set(Settings { turn: turn_of, ..workers(4) });
        let event = turn(&mut site).records()[0].id;
        assert!(site.engine().health().owed_count() > 0, "{turn_of:?}");
        site.serve_all();
        let made = of_kind(site.records(), "enforcement.made");
        let log = site.engine().log();
        let expected: Vec<Id> = (0..7).map(|rule| Id::derive(log, event, Role::Enforcement(rule_id(&rule_name(rule))))).collect();
        assert_eq!(made.iter().map(|record| record.id).collect::<Vec<_>>(), expected, "{turn_of:?}");
        assert_eq!(of_kind(site.records(), "attempt.started").len(), 4, "{turn_of:?}");
    }
}

#[test]
fn batch_of_many_turns_is_bounded_as_well() {
    let mut site = site(400);
    let mut offered = 0;
    for _ in 0..20 {
        let event = site.event("demo.ping", &json!({}));
        site.offer(&receive_events(vec![event])).expect("the event is taken");
        offered += 1;
    }
    let batch = site.commit().records().len();
    assert!(batch <= BATCH_DRAFTS_MAX + 2 * offered + OVER_THE_BOUND, "{batch} records in one batch");
    assert!(site.engine().health().owed_count() > 0, "work beyond the limit is owed");
    site.serve_all();
    assert_eq!(of_kind(site.records(), "enforcement.made").len(), 400 * offered);
}

#[test]
fn owed_reactions_of_several_chains_are_served_in_turns() {
    let mut site = site(2_100);
    let roots = [turn(&mut site).records()[0].id, turn(&mut site).records()[0].id, turn(&mut site).records()[0].id];
    let mut served = Vec::new();
    while let Some(piece) = site.serve() {
        served.push(piece.records()[0].cause.root);
    }
    assert_eq!(served, [roots, roots, roots, roots].concat());
}

#[test]
fn owed_reactions_count_as_open_work() {
    let mut site = site(700);
    turn(&mut site);
    let open = site.engine().executions().open_work() + site.engine().health().owed_count() as u64;
    site.set(Settings { open_work_max: open, ..workers(4) });
    let event = site.event("demo.ping", &json!({}));
    let refusal = ensue_engine::command::Refusal::TooMuchOpen { open, max: open };
    site.turn(receive_events(vec![event])).then_refused(&refusal);
}

#[test]
fn reaction_without_its_body_is_parked_and_can_be_retried() {
    let mut site = site(700);
    turn(&mut site);
    let of = site.engine().health().next_owed(None).expect("the rest is owed").of;
    site.park("the payload cannot be read").then(&["reaction.parked"]);
    assert_eq!(site.engine().health().parked_at(of).map(|parked| parked.error.as_str()), Some("the payload cannot be read"));
    assert!(site.serve().is_none());
    site.when(retry(of));
    assert_eq!(of_kind(site.records(), "enforcement.made").len(), 700);
    assert!(site.engine().health().parked_at(of).is_none());
}

#[test]
fn command_of_many_events_owes_what_does_not_fit_its_turn() {
    let mut site = site(20);
    let events: Vec<_> = (0..100).map(|_| site.event("demo.ping", &json!({}))).collect();
    let outcome = site.turn(receive_events(events));
    assert!(outcome.records().len() <= TURN_DRAFTS_MAX + 100 + OVER_THE_BOUND);
    site.serve_all();
    assert_eq!(of_kind(site.records(), "enforcement.made").len(), 2_000);
    let mut asked = BTreeSet::new();
    for record in of_kind(site.records(), "execution.requested") {
        assert!(asked.insert(record.id), "an execution was asked for twice");
        let Fact::ExecutionRequested(fact) = &record.fact else { panic!("its kind says so") };
        assert_eq!(fact.event.map(|event| event.0), Some(record.cause.root));
    }
}
