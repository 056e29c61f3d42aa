//! Rules that err: the first error of a way is a record, the others are counted, and none is missing from the count.

use ensue_engine::fact::Fact;
use ensue_engine::record::Position;
use ensue_engine::rules::state::ERROR_SUMMARY_MILLIS;
use ensue_engine::spec::Outcome;
use serde_json::{Value, json};

use crate::support::site::received;
use crate::support::{Pieces, Site};

fn site() -> Site {
    let pieces =
        Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.sum", "demo.ping", "event.payload.n + 1 > 10", "demo.say");
    Site::with(&pieces)
}

fn good() -> Value {
    json!({ "n": 1 })
}

/// A payload on which the rule errs.
fn bad() -> Value {
    json!({ "n": "one" })
}

/// A payload on which it errs in another way.
fn worse() -> Value {
    json!({ "m": 1 })
}

fn count_of(outcome: &Outcome) -> (Position, u64) {
    match outcome.facts().last() {
        Some(Fact::RuleErrorsCounted(counted)) => (counted.error, counted.count),
        other => panic!("errors were counted: {other:?}"),
    }
}

#[test]
fn the_first_error_is_a_record_and_the_next_ones_within_a_minute_are_none() {
    let mut site = site();
    let first = site.receive("demo.ping", &bad()).then(&["event.received", "rule.erred"]);
    let Some(Fact::RuleErred(erred)) = first.facts().last() else { panic!("it erred") };
    assert_eq!(erred.rule.as_str(), "demo.sum");
    assert!(!erred.message.is_empty());
    site.receive("demo.ping", &bad()).then(&["event.received"]);
    site.later(ERROR_SUMMARY_MILLIS - 1);
    site.receive("demo.ping", &bad()).then(&["event.received"]);
}

#[test]
fn later_errors_are_one_summary_with_the_exact_count() {
    let mut site = site();
    let first = site.receive("demo.ping", &bad());
    let way = first.records()[1].position;
    for _ in 0..5 {
        site.receive("demo.ping", &bad());
        site.receive("demo.ping", &good()).then(&["event.received"]);
    }
    site.later(ERROR_SUMMARY_MILLIS);
    let summary = site.receive("demo.ping", &bad()).then(&["event.received", "rule.errors_counted"]);
    assert_eq!(count_of(&summary), (way, 6));
    site.receive("demo.ping", &bad()).then(&["event.received"]);
    site.restart();
    site.later(ERROR_SUMMARY_MILLIS);
    assert_eq!(count_of(&site.receive("demo.ping", &bad())), (way, 2));
}

#[test]
fn another_message_is_another_way() {
    let mut site = site();
    site.receive("demo.ping", &bad()).then(&["event.received", "rule.erred"]);
    site.receive("demo.ping", &worse()).then(&["event.received", "rule.erred"]);
    site.receive("demo.ping", &worse()).then(&["event.received"]);
}

#[test]
fn errors_that_come_together_in_one_command_are_all_counted() {
    let mut site = site();
    let events = (0..3).map(|_| site.event("demo.ping", &bad())).collect();
    let outcome = site.when(received(events));
    let first = outcome.facts().filter(|fact| matches!(fact, Fact::RuleErred(_))).count() as u64;
    let counted = outcome.facts().filter_map(|fact| match fact {
        Fact::RuleErrorsCounted(counted) => Some(counted.count),
        _ => None,
    });
    assert_eq!((first, counted.sum::<u64>()), (1, 2));
    site.receive("demo.ping", &bad());
    site.later(ERROR_SUMMARY_MILLIS);
    assert_eq!(count_of(&site.receive("demo.ping", &bad())).1, 2);
}

#[test]
fn a_rule_that_errs_leaves_the_others_alone() {
    let pieces = Pieces::default()
        .trigger("demo.ping")
        .action("demo.say")
        .rule("demo.a", "demo.ping", "event.payload.n > 0", "demo.say")
        .rule("demo.b", "demo.ping", "event.payload.n == \"one\"", "demo.say")
        .rule("demo.c", "demo.ping", "event.payload.n < 0", "demo.say");
    let outcome = Site::with(&pieces).receive("demo.ping", &bad());
    let kinds = ["event.received", "rule.erred", "enforcement.made", "execution.requested", "attempt.started", "rule.erred"];
    let outcome = outcome.then(&kinds);
    let Some(Fact::EventReceived(event)) = outcome.facts().next() else { panic!("the event comes first") };
    assert_eq!((event.matched, event.erred), (1, 2));
}

#[test]
fn rules_that_take_more_steps_than_an_event_may_cost_err_in_one_way_each() {
    // Each rule takes some 70,000 steps: the budget of the event ends in the midst of the fifteenth.
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..18 {
        let when = "event.payload.list.all(x, event.payload.list.all(y, x + y >= 0)) && event.payload.n == 0";
        pieces = pieces.rule(&format!("demo.r{rule}"), "demo.ping", when, "demo.say");
    }
    let mut site = Site::with(&pieces);
    let list: Vec<u32> = (0..90).collect();
    let mut ways = |list: &[u32]| {
        let outcome = site.receive("demo.ping", &json!({ "n": 0, "list": list }));
        let erred = outcome.facts().filter_map(|fact| match fact {
            Fact::RuleErred(erred) => Some(erred.message.clone()),
            _ => None,
        });
        erred.collect::<Vec<_>>()
    };
    let first = ways(&list);
    assert!(!first.is_empty(), "the rules fit into the event's budget; make them dearer");
    assert!(first.iter().all(|message| message.contains("all rules together take more than 1000000 steps")), "{first:?}");
    assert_eq!(ways(&list[..88]), Vec::<String>::new(), "another amount left over is not another way");
}
