//! Windows that fill with one match of each trigger, or with different values.

use ensue_engine::catalog::Does;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use super::{MINUTE, enforcement_outcome, fold_log, pieces, requested_params};
use crate::support::Site;
use crate::support::definitions::template;

const DISTINCT: Does = Does::Distinct { count: 3, within_millis: MINUTE };

fn each(of: &[&str]) -> Does {
    Does::Each { of: of.iter().map(|name| name.parse().unwrap()).collect(), within_millis: MINUTE }
}

/// A site whose rule listens to three triggers, and runs its action with the numbers of all events.
fn site(window: Does) -> Site {
    let pieces =
        ["ci.built", "qa.passed", "demo.forced"].iter().fold(pieces([(window, "event.payload.host")]), |all, name| all.trigger(name));
    Site::with(&pieces.changed_rule("demo.paced", |rule| {
        rule.triggers = ["ci.built", "qa.passed", "demo.forced", "demo.ping"].map(|name| name.parse().unwrap()).into();
        rule.with = template(&json!({ "all": "${{ events.map(e, e.payload.n) }}", "last": "${{ event.payload.n }}" }));
    }))
}

fn comes(site: &mut Site, trigger: &str, n: u64) -> Outcome {
    site.receive(trigger, &json!({ "host": "a", "n": n, "b": n % 10 }))
}

fn why(outcome: &Outcome) -> Vec<&'static str> {
    let facts = outcome.facts().filter_map(|fact| match fact {
        ensue_engine::fact::Fact::EnforcementSuperseded(fact) => Some(fact.why.as_str()),
        _ => None,
    });
    facts.collect()
}

fn all<const N: usize>(numbers: [u64; N], last: u64) -> [Value; 1] {
    [json!({ "all": numbers.to_vec(), "last": last })]
}

#[test]
fn rule_acts_once_each_trigger_of_its_window_came() {
    let mut site = site(each(&["ci.built", "qa.passed"]));
    assert_eq!(enforcement_outcome(&comes(&mut site, "qa.passed", 1)), "held");
    // Of one trigger, the newest counts.
    let outcome = comes(&mut site, "qa.passed", 2);
    assert_eq!((enforcement_outcome(&outcome), why(&outcome)), ("held", vec!["newer"]));
    let outcome = comes(&mut site, "ci.built", 3);
    assert_eq!((enforcement_outcome(&outcome), why(&outcome)), ("executed", vec!["window_filled"]));
    // The events are in the order of the list; the event is the one that came last.
    assert_eq!(requested_params(&outcome), all([3, 2], 3));
    assert_eq!(enforcement_outcome(&comes(&mut site, "ci.built", 4)), "held");
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn match_of_another_trigger_passes_the_window_alone() {
    let mut site = site(each(&["ci.built", "qa.passed"]));
    assert_eq!(enforcement_outcome(&comes(&mut site, "ci.built", 1)), "held");
    assert_eq!(requested_params(&comes(&mut site, "demo.forced", 2)), all([2], 2));
    assert_eq!(requested_params(&comes(&mut site, "qa.passed", 3)), all([1, 3], 3));
}

#[test]
fn trigger_that_came_too_long_ago_does_not_count() {
    let mut site = site(each(&["ci.built", "qa.passed"]));
    assert_eq!(enforcement_outcome(&comes(&mut site, "ci.built", 1)), "held");
    site.after(MINUTE).then(&["timer.fired", "enforcement.superseded"]);
    assert_eq!(enforcement_outcome(&comes(&mut site, "qa.passed", 2)), "held");
    site.restart();
    assert_eq!(requested_params(&comes(&mut site, "ci.built", 3)), all([3, 2], 3));
}

#[test]
fn window_of_different_values_counts_each_value_once() {
    let mut site = site(DISTINCT);
    assert_eq!(enforcement_outcome(&comes(&mut site, "demo.ping", 11)), "held");
    let outcome = comes(&mut site, "demo.ping", 21);
    assert_eq!((enforcement_outcome(&outcome), why(&outcome)), ("held", vec!["newer"]));
    assert_eq!(enforcement_outcome(&comes(&mut site, "demo.ping", 2)), "held");
    site.restart();
    let outcome = comes(&mut site, "demo.ping", 3);
    assert_eq!(requested_params(&outcome), all([21, 2, 3], 3));
    assert_eq!(site.engine().flows().held_count(), 0);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn value_that_cannot_be_computed_rejects_the_match() {
    let mut site = site(DISTINCT);
    let outcome = site.receive("demo.ping", &json!({ "host": "a", "n": 1 })).then(&["event.received", "enforcement.made"]);
    assert_eq!(enforcement_outcome(&outcome), "rejected");
}
