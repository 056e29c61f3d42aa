//! Digests, and debounces with a limit or with all events: several matches that are acted on as one.

use ensue_engine::catalog::{Acts, Does};
use ensue_engine::command::Settings;
use ensue_expression::EVALUATION_BYTES_MAX;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use super::{DELAY, HOST, MINUTE, MISSING, fold_log, pieces, ping, requested_params, sends};
use crate::support::Site;
use crate::support::definitions::template;

const DIGEST: Does = Does::Digest { count: 3, until_millis: MINUTE };
const MOST: Does = Does::Debounce { quiet_millis: MINUTE, most_millis: Some(2 * MINUTE), acts: Acts::OnLast };
const ALL: Does = Does::Debounce { quiet_millis: MINUTE, most_millis: Some(3 * MINUTE), acts: Acts::OnAll };

/// A site whose rule runs its action with the numbers of all events.
fn site<const N: usize>(stages: [(Does, &str); N]) -> Site {
    Site::with(&pieces(stages).changed_rule("demo.paced", |rule| {
        rule.with = template(&json!({ "all": "${{ events.map(e, e.payload.n) }}" }));
    }))
}

fn count(outcome: &Outcome, kind: &str) -> usize {
    outcome.kinds().iter().filter(|one| **one == kind).count()
}

fn all<const N: usize>(numbers: [u64; N]) -> Vec<Value> {
    vec![json!({ "all": numbers.to_vec() })]
}

#[test]
fn digest_acts_once_on_all_matches_after_its_time() {
    let mut site = site([(DIGEST, HOST)]);
    site.receive("demo.ping", &ping("a", 1)).then(&["event.received", "enforcement.made", "timer.set"]);
    site.later(MINUTE - 1);
    // Only the first match has a timer.
    site.receive("demo.ping", &ping("a", 2)).then(&["event.received", "enforcement.made"]);
    assert_eq!(sends(&mut site, "b", 7), "held");
    let outcome = site.after(1);
    assert_eq!((requested_params(&outcome), count(&outcome, "enforcement.superseded")), (all([1, 2]), 1));
    assert_eq!(requested_params(&site.after(MINUTE - 1)), all([7]));
    site.after(60 * MINUTE).then(&[]);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn full_digest_acts_before_its_time_and_the_next_match_begins_another() {
    let mut site = site([(DIGEST, "")]);
    assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "a", 2)), ("held", "held"));
    let outcome = site.receive("demo.ping", &ping("a", 3));
    assert_eq!((requested_params(&outcome), count(&outcome, "enforcement.superseded")), (all([1, 2, 3]), 2));
    site.later(MINUTE / 2);
    assert_eq!(sends(&mut site, "a", 4), "held");
    site.after(MINUTE / 2).then(&[]);
    assert_eq!(requested_params(&site.after(MINUTE / 2)), all([4]));
}

#[test]
fn digest_survives_a_restart_and_a_clock_step() {
    let mut site = site([(DIGEST, "")]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    site.restart();
    let tomorrow = site.now().plus_millis(24 * 60 * MINUTE);
    site.clock_steps_to(tomorrow);
    site.later(MINUTE / 2);
    assert_eq!(sends(&mut site, "a", 2), "held");
    site.after(MINUTE / 2 - 1).then(&[]);
    assert_eq!(requested_params(&site.after(1)), all([1, 2]));
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn digest_acts_early_instead_of_dropping_a_match() {
    let mut site = site([(DIGEST, HOST)]);
    site.set(Settings { flow_keys_max: 2, ..Settings::default() });
    assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "b", 2)), ("held", "held"));
    assert_eq!(requested_params(&site.receive("demo.ping", &ping("a", 3))), all([1, 3]));
    assert_eq!(sends(&mut site, "a", 4), "held");
    assert_eq!(requested_params(&site.receive("demo.ping", &ping("c", 5))), all([5]));
}

#[test]
fn digest_acts_early_before_its_events_are_too_large() {
    let mut site = site([(Does::Digest { count: 10, until_millis: MINUTE }, "")]);
    let large = |n: u64| json!({ "host": "x".repeat(EVALUATION_BYTES_MAX as usize / 3), "n": n });
    for n in 1..=2 {
        site.receive("demo.ping", &large(n)).then(&if n == 1 {
            vec!["event.received", "enforcement.made", "timer.set"]
        } else {
            vec!["event.received", "enforcement.made"]
        });
    }
    let outcome = site.receive("demo.ping", &large(3));
    assert_eq!(requested_params(&outcome), all([1, 2]));
    assert_eq!(count(&outcome, "timer.set"), 1, "the third begins another digest");
    assert_eq!(requested_params(&site.after(MINUTE)), all([3]));
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn digest_held_by_a_later_control_keeps_its_events() {
    let mut site = site([(DIGEST, ""), (MISSING, "")]);
    assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "a", 2)), ("held", "held"));
    site.after(MINUTE).then(&["timer.fired", "enforcement.held_on", "timer.set", "enforcement.superseded"]);
    site.restart();
    assert_eq!(requested_params(&site.after(MINUTE)), all([1, 2]));
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn delayed_match_joins_the_digest_that_continues() {
    let mut site = site([(DELAY, ""), (Does::Digest { count: 9, until_millis: MINUTE }, "")]);
    (1..=3).for_each(|n| assert_eq!(sends(&mut site, "a", n), "held"));
    site.after(MINUTE / 2).then(&["timer.fired", "enforcement.held_on"]);
    assert_eq!(requested_params(&site.after(MINUTE / 2)), all([1, 2, 3]));
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn steady_stream_does_not_postpone_a_limited_debounce_forever() {
    let mut site = Site::with(&pieces([(MOST, HOST)]));
    for n in 0..4 {
        assert_eq!(sends(&mut site, "a", n), "held");
        site.later(MINUTE / 2);
    }
    // The first came two minutes ago; the last, which is acted on, half a minute ago.
    assert_eq!(requested_params(&site.after(0)), [json!({ "n": 3 })]);
    assert_eq!(sends(&mut site, "a", 4), "held");
    site.after(MINUTE - 1).then(&[]);
    assert_eq!(requested_params(&site.after(1)), [json!({ "n": 4 })]);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn limit_of_a_debounce_counts_over_a_restart() {
    let mut site = Site::with(&pieces([(MOST, "")]));
    for n in 0..4 {
        assert_eq!(sends(&mut site, "a", n), "held");
        site.restart();
        site.later(MINUTE / 2);
    }
    assert_eq!(requested_params(&site.after(0)), [json!({ "n": 3 })]);
}

#[test]
fn gathering_debounce_acts_on_all_matches_once_it_is_quiet() {
    let mut site = site([(ALL, HOST)]);
    for n in 1..=3 {
        assert_eq!(sends(&mut site, "a", n), "held");
        assert!(requested_params(&site.after(MINUTE / 2)).is_empty());
    }
    assert_eq!(sends(&mut site, "b", 7), "held");
    let outcome = site.after(MINUTE / 2);
    assert_eq!((requested_params(&outcome), count(&outcome, "enforcement.superseded")), (all([1, 2, 3]), 2));
    assert_eq!(requested_params(&site.after(MINUTE / 2)), all([7]));
    assert_eq!(site.engine().flows().held_count(), 0);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn gathering_debounce_acts_at_its_limit() {
    let mut site = site([(ALL, "")]);
    for n in 1..=6 {
        assert_eq!(sends(&mut site, "a", n), "held");
        site.after(MINUTE / 2 - 1);
        site.later(1);
    }
    assert_eq!(requested_params(&site.after(0)), all([1, 2, 3, 4, 5, 6]));
}

#[test]
fn gathering_debounce_acts_on_at_most_a_hundred_matches() {
    let mut site = site([(Does::Debounce { quiet_millis: MINUTE, most_millis: None, acts: Acts::OnAll }, "")]);
    (1..=99).for_each(|n| assert_eq!(sends(&mut site, "a", n), "held"));
    let numbers: Vec<u64> = (1..=100).collect();
    assert_eq!(requested_params(&site.receive("demo.ping", &ping("a", 100))), [json!({ "all": numbers })]);
    assert_eq!(site.engine().flows().held_count(), 0);
}
