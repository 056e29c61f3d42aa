//! Several flow controls of one rule: each sees the matches that the earlier ones let through.

use serde_json::json;

use super::{
    DEBOUNCE, DEDUPE, DELAY, MINUTE, MISSING, THROTTLE, WINDOW, enforcement_outcome, fold_log, pieces, ping, requested_params, sends, site,
};
use crate::support::Site;
use crate::support::definitions::template;

#[test]
fn duplicate_takes_no_token() {
    let mut site = site([(THROTTLE, ""), (DEDUPE, "event.payload.n")]);
    let outcomes: Vec<_> = [1, 1, 1, 2, 3].map(|n| sends(&mut site, "a", n)).into();
    assert_eq!(outcomes, ["executed", "deduplicated", "deduplicated", "executed", "throttled"]);
}

#[test]
fn match_that_repeats_a_throttled_one_is_no_duplicate() {
    let mut site = site([(THROTTLE, ""), (DEDUPE, "event.payload.n")]);
    let outcomes: Vec<_> = [1, 2, 3, 3].map(|n| sends(&mut site, "a", n)).into();
    assert_eq!(outcomes, ["executed", "executed", "throttled", "throttled"]);
    site.later(MINUTE);
    assert_eq!((sends(&mut site, "a", 3), sends(&mut site, "a", 3)), ("executed", "deduplicated"));
}

#[test]
fn throttled_match_does_not_extend_the_debounce() {
    let mut site = site([(THROTTLE, ""), (DEBOUNCE, "")]);
    assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "a", 2)), ("held", "held"));
    site.later(MINUTE / 2 - 1);
    assert_eq!(sends(&mut site, "a", 3), "throttled");
    assert_eq!(requested_params(&site.after(MINUTE / 2 + 1)), [json!({ "n": 2 })]);
}

#[test]
fn delayed_match_is_then_held_by_the_debounce() {
    let mut site = site([(DELAY, ""), (DEBOUNCE, "")]);
    let outcomes: Vec<_> = (1..=3).map(|n| sends(&mut site, "a", n)).collect();
    assert_eq!(outcomes, ["held", "held", "held"]);
    // The third supersedes the second when it is released.
    site.after(MINUTE / 2).then(&["timer.fired", "enforcement.held_on", "timer.set", "enforcement.superseded"]);
    site.restart();
    site.after(MINUTE - 1).then(&[]);
    assert_eq!(requested_params(&site.after(1)), [json!({ "n": 3 })]);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn window_counts_debounced_matches() {
    let mut site = Site::with(&pieces([(DEBOUNCE, "event.payload.host"), (WINDOW, "")]).changed_rule("demo.paced", |rule| {
        rule.with = template(&json!({ "all": "${{ events.map(e, e.payload.n) }}" }));
    }));
    for (host, n) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
        assert_eq!(sends(&mut site, host, n), "held");
        site.later(1);
    }
    let outcome = site.after(MINUTE);
    assert_eq!(requested_params(&outcome), [json!({ "all": [2, 3, 4] })]);
    assert_eq!(site.engine().flows().held_count(), 0);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn full_window_held_by_a_later_control_keeps_its_events() {
    let mut site = Site::with(&pieces([(WINDOW, ""), (MISSING, "")]).changed_rule("demo.paced", |rule| {
        rule.with = template(&json!({ "all": "${{ events.map(e, e.payload.n) }}" }));
    }));
    (1..=3).for_each(|n| assert_eq!(sends(&mut site, "a", n), "held"));
    site.restart();
    assert_eq!(requested_params(&site.after(MINUTE)), [json!({ "all": [1, 2, 3] })]);
    // Another full window supersedes the previous one, with events of its own.
    (1..=6).for_each(|n| assert_eq!(sends(&mut site, "a", n), "held"));
    assert_eq!(requested_params(&site.after(MINUTE)), [json!({ "all": [4, 5, 6] })]);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn all_five_flow_controls_apply_in_order() {
    let mut site = site([(MISSING, ""), (WINDOW, ""), (DEBOUNCE, "event.payload.n"), (THROTTLE, ""), (DEDUPE, "event.payload.n")]);
    let mut tell = |n| enforcement_outcome(&site.receive("demo.ping", &ping("a", n)));
    assert_eq!([tell(1), tell(1), tell(2), tell(3)], ["held", "deduplicated", "held", "throttled"]);
    let fired = site.after(MINUTE).kinds();
    assert_eq!(fired, ["timer.fired", "timer.fired", "enforcement.held_on", "timer.set", "enforcement.held_on", "timer.set"]);
    assert_eq!(sends(&mut site, "a", 4), "held");
    site.later(MINUTE - 1);
    assert_eq!(fold_log(&site), *site.engine());
}
