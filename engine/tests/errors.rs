//! Rule errors: the first error of a kind is a record, later ones are counted, and the count is complete.

use ensue_engine::catalog::Rule;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, Id};
use ensue_engine::record::{Position, Record};
use ensue_engine::rules::facts::Outcome as Enforced;
use ensue_engine::rules::judge::{EventView, Verdict, judge};
use ensue_engine::rules::state::ERROR_SUMMARY_MILLIS;
use ensue_engine::timers::decide::FIRED_AT_ONCE_MAX;
use ensue_expression::Document;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::definitions::template;
use crate::support::site::receive_events;
use crate::support::{Pieces, Site, fire_timers, workers};

fn site() -> Site {
    let pieces =
        Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.sum", "demo.ping", "event.payload.n + 1 > 10", "demo.say");
    Site::with(&pieces)
}

fn good() -> Value {
    json!({ "n": 1 })
}

/// A payload for which the rule fails.
fn bad() -> Value {
    json!({ "n": "one" })
}

/// A payload for which it fails with another error.
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
fn first_error_is_recorded_and_repeats_within_a_minute_are_not() {
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
fn later_errors_are_summarized_with_the_exact_count() {
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
fn pending_errors_are_counted_after_a_minute_without_another_one() {
    let mut site = site();
    let first = site.receive("demo.ping", &bad());
    let (way, due) = (first.records()[1].position, first.records()[1].time.plus_millis(ERROR_SUMMARY_MILLIS));
    assert_eq!(site.engine().next_due(), None, "an error that is a record of its own waits for nothing");
    site.receive("demo.ping", &bad());
    site.receive("demo.ping", &worse());
    let newest = site.receive("demo.ping", &bad()).records()[0].clone();
    assert_eq!(site.engine().next_due(), Some(due));
    site.restart();
    site.later(ERROR_SUMMARY_MILLIS - 1);
    site.when(fire_timers()).then(&[]);
    site.later(1);
    let summary = site.when(fire_timers()).then(&["rule.errors_counted"]);
    assert_eq!(count_of(&summary), (way, 2));
    let record = &summary.records()[0];
    let Fact::RuleErrorsCounted(counted) = &record.fact else { panic!("errors were counted") };
    assert_eq!((counted.event, record.cause.parent, record.cause.root), (EventId(newest.id), Some(newest.id), newest.cause.root));
    assert_eq!(site.engine().next_due(), None);
    site.later(ERROR_SUMMARY_MILLIS);
    site.when(fire_timers()).then(&[]);
}

#[test]
fn timers_fire_before_error_counts_which_fill_the_rest_of_the_turn() {
    let ways = FIRED_AT_ONCE_MAX + 1;
    let conditions = (0..ways).map(|way| (format!("demo.r{way:02}"), format!("event.payload.n + {way} > 10")));
    let pieces = Pieces::default().trigger("demo.ping").action("demo.say").sleep("demo.sleep");
    let pieces = conditions.fold(pieces, |pieces, (name, when)| pieces.rule(&name, "demo.ping", &when, "demo.say"));
    let mut site = Site::with(&pieces);
    let sleep = site.request_with("demo.sleep", &json!({ "duration": "1s" }), None);
    site.when(sleep);
    for _ in 0..2 {
        site.receive("demo.ping", &bad());
        site.serve_all();
    }
    site.later(ERROR_SUMMARY_MILLIS);
    let kinds = |outcome: &Outcome, kind: &str| outcome.records().iter().filter(|record| record.kind() == kind).count();
    let first = site.when(fire_timers());
    assert_eq!((kinds(&first, "timer.fired"), kinds(&first, "rule.errors_counted")), (1, FIRED_AT_ONCE_MAX - 1));
    let second = site.when(fire_timers());
    assert_eq!((kinds(&second, "timer.fired"), kinds(&second, "rule.errors_counted")), (0, 2));
    site.when(fire_timers()).then(&[]);
}

#[test]
fn error_with_another_message_is_recorded_separately() {
    let mut site = site();
    site.receive("demo.ping", &bad()).then(&["event.received", "rule.erred"]);
    site.receive("demo.ping", &worse()).then(&["event.received", "rule.erred"]);
    site.receive("demo.ping", &worse()).then(&["event.received"]);
}

#[test]
fn errors_of_one_command_are_all_counted() {
    let mut site = site();
    let events = (0..3).map(|_| site.event("demo.ping", &bad())).collect();
    let outcome = site.when(receive_events(events));
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
fn error_of_one_rule_does_not_affect_other_rules() {
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

/// A condition that takes some 80,000 steps over a list of 90 numbers, and holds.
const COSTLY: &str = "event.payload.list.all(x, event.payload.list.all(y, x + y >= 0))";
/// A condition that takes more steps than one rule may.
const TOO_COSTLY: &str = "lists.range(400).all(x, lists.range(400).all(y, x + y >= 0))";

fn list() -> Value {
    json!({ "ok": true, "list": (0..90).collect::<Vec<u32>>() })
}

fn enforced_rules(records: &[Record]) -> Vec<String> {
    let rules = records.iter().filter_map(|record| match &record.fact {
        Fact::EnforcementMade(made) => Some(made.rule.to_string()),
        _ => None,
    });
    rules.collect()
}

#[test]
fn costly_rules_do_not_make_another_rule_err() {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..12 {
        pieces = pieces.rule(&format!("demo.a{rule:02}"), "demo.ping", TOO_COSTLY, "demo.say");
    }
    let pieces = pieces.rule("demo.innocent", "demo.ping", "event.payload.ok", "demo.say");
    let mut site = Site::with(&pieces);
    site.receive("demo.ping", &list());
    site.serve_all();
    assert_eq!(enforced_rules(site.records()), ["demo.innocent"]);
    let erred: Vec<&str> = site
        .records()
        .iter()
        .filter_map(|record| match &record.fact {
            Fact::RuleErred(erred) => Some(erred.message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(erred, ["budget: evaluation takes more than 100000 steps"; 12]);
}

#[test]
fn rules_over_the_event_s_step_budget_are_evaluated_in_later_turns() {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..60 {
        pieces = pieces.rule(&format!("demo.r{rule:02}"), "demo.ping", COSTLY, "demo.say");
    }
    let mut site = Site::with(&pieces);
    site.set(workers(4));
    let event = site.event("demo.ping", &list());
    let first = site.turn(receive_events(vec![event]));
    let Some(Fact::EventReceived(fact)) = first.facts().next() else { panic!("the event comes first") };
    assert_eq!(fact.erred, 0);
    assert_eq!(fact.matched + fact.undecided, 60);
    assert!(fact.undecided > 30, "the rules fit into the event's steps; make them costlier");
    let at_first = enforced_rules(first.records()).len();
    assert!(at_first < 60, "all of them were judged in one turn");
    // Another event is accepted before the rest is handled.
    let other = site.event("demo.ping", &json!({ "ok": true, "list": [] }));
    assert_eq!(enforced_rules(site.turn(receive_events(vec![other])).records()).len(), 60);
    let mut pieces_served = 0;
    while let Some(piece) = site.serve() {
        pieces_served += 1;
        assert!(enforced_rules(piece.records()).len() <= 20, "a piece judges about as much as one event may cost");
    }
    assert!(pieces_served > 1);
    let every: Vec<String> = (0..60).map(|rule| format!("demo.r{rule:02}")).collect();
    let of_first: Vec<String> = site
        .records()
        .iter()
        .filter_map(|record| match &record.fact {
            Fact::EnforcementMade(made) if made.event.0 == first.records()[0].id => Some(made.rule.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(of_first, every);
}

#[test]
fn rule_evaluated_late_decides_the_same_after_a_restart() {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..40 {
        pieces = pieces.rule(&format!("demo.r{rule:02}"), "demo.ping", COSTLY, "demo.say");
    }
    let mut ids = Vec::new();
    for restarts in [false, true] {
        let mut site = Site::with(&pieces);
        let event = site.event("demo.ping", &list());
        site.turn(receive_events(vec![event]));
        while site.serve().is_some() {
            if restarts {
                site.restart();
            }
        }
        ids.push(site.records().iter().filter(|record| record.kind() == "enforcement.made").map(|record| record.id).collect::<Vec<_>>());
    }
    assert_eq!(ids[0].len(), 40);
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn costly_parameters_of_other_rules_do_not_reject_a_rule() {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..20 {
        let costly = |rule: &mut Rule| rule.with = template(&json!({ "all": format!("${{{{ {COSTLY} }}}}") }));
        pieces = pieces.rule_with(&format!("demo.r{rule:02}"), "demo.ping", "", "demo.say", costly);
    }
    let mut site = Site::with(&pieces);
    site.receive("demo.ping", &list());
    site.serve_all();
    let rejected = site
        .records()
        .iter()
        .filter(|record| matches!(&record.fact, Fact::EnforcementMade(made) if !matches!(made.outcome, Enforced::Executed { .. })));
    assert_eq!(rejected.count(), 0);
    assert_eq!(enforced_rules(site.records()).len(), 20);
}

#[test]
fn rule_recorded_as_erred_by_an_older_release_stays_erred() {
    // Older releases counted a rule as erred if earlier rules had used up the event's budget of steps.
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..12 {
        pieces = pieces.rule(&format!("demo.a{rule:02}"), "demo.ping", TOO_COSTLY, "demo.say");
    }
    let pieces = pieces.rule("demo.innocent", "demo.ping", "event.payload.ok", "demo.say");
    let site = Site::with(&pieces);
    let (trigger, payload) = ("demo.ping".parse().unwrap(), Document::from_value(&list()));
    let id = EventId(Id::root(site.now(), 1));
    let view = EventView { id, trigger: &trigger, source: "api", time: site.now(), payload: &payload, only: None };
    let judgement = judge(&pieces.build(site.engine().catalog_revision()), &view);
    // The tenth rule has slightly less than its own budget left.
    assert_eq!(judgement.undecided_count(), 4);
    assert_eq!(judgement.clone().as_recorded(9).undecided_count(), 4, "this release decided no more than it found");
    let before = judgement.as_recorded(13);
    let Verdict::Erred { message } = &before.verdicts[12].verdict else { panic!("{:?}", before.verdicts[12]) };
    assert_eq!(message, "budget: all rules together take more than 1000000 steps for this event");
}
