//! The state of a rule's flow control is bounded and ends with it; a held match is never silently lost.

use ensue_engine::catalog::Control;
use ensue_engine::catalog::Mode;
use ensue_engine::command::{Settings, TurnLimits};
use ensue_engine::fact::Fact;
use ensue_engine::rules::flow::facts::{FlowEndedBecause, SupersededBecause};
use ensue_test_support::spec::{CatalogsHealth, Outcome};
use serde_json::json;

use super::{DEBOUNCE, DEDUPE, DELAY, HOST, MINUTE, THROTTLE, WINDOW, fold_log, pieces, ping, requested_params, sends, site};
use crate::support::site::{install_demo, receive_events};
use crate::support::{Site, note_start, rule_id, set_mode};

fn why(outcome: &Outcome) -> Vec<SupersededBecause> {
    outcome.facts().filter_map(|fact| if let Fact::EnforcementSuperseded(reported) = fact { Some(reported.why) } else { None }).collect()
}

fn flow_end_reason(outcome: &Outcome) -> Option<FlowEndedBecause> {
    outcome.facts().find_map(|fact| if let Fact::RuleFlowEnded(reported) = fact { Some(reported.why) } else { None })
}

fn keeping(site: &mut Site, flow_keys_max: usize) {
    site.set(Settings { flow_keys_max, ..Settings::default() });
}

#[test]
fn disabled_rule_releases_its_held_matches_and_keys() {
    let mut site = site([(DEDUPE, "event.payload.n"), (DEBOUNCE, HOST)]);
    assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "b", 2)), ("held", "held"));
    let outcome = site.when(set_mode("demo.paced", Mode::Disabled));
    assert_eq!(why(&outcome), [SupersededBecause::RuleDisabled; 2]);
    assert_eq!(flow_end_reason(&outcome), Some(FlowEndedBecause::Disabled));
    assert!(site.engine().flows().of(rule_id("demo.paced")).is_none());
    assert_eq!(site.engine().timers().pending(), 0);
    site.when(set_mode("demo.paced", Mode::Enabled)).then(&["rule.mode_set"]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn rule_removed_or_with_other_flow_control_drops_held_matches() {
    let cases = [
        (pieces([(DEBOUNCE, HOST)]).without_rule("demo.paced"), SupersededBecause::RuleRemoved),
        (pieces([(DEBOUNCE, "")]), SupersededBecause::RuleChanged),
        (pieces([]), SupersededBecause::RuleChanged),
        (pieces([(DEBOUNCE, HOST)]).changed_rule("demo.paced", |rule| rule.mode = Mode::Disabled), SupersededBecause::RuleDisabled),
    ];
    for (next, because) in cases {
        let mut site = site([(DEBOUNCE, HOST)]);
        assert_eq!(sends(&mut site, "a", 1), "held");
        let outcome = site.install(&next).then(&["pack.installed", "enforcement.superseded", "rule.flow_ended"]);
        assert_eq!(why(&outcome), [because]);
        site.after(MINUTE).then(&[]);
        assert_eq!(fold_log(&site), *site.engine());
    }
}

#[test]
fn rule_with_unchanged_flow_control_keeps_held_matches_as_judged() {
    let mut site = site([(DEBOUNCE, HOST)]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    let other = pieces([(DEBOUNCE, HOST)]).changed_rule("demo.paced", |rule| {
        rule.with = crate::support::definitions::template(&json!({ "other": "${{ event.payload.n }}" }))
    });
    site.install(&other).then(&["pack.installed"]);
    let first = site.after(MINUTE);
    assert_eq!(requested_params(&first), [json!({ "n": 1 })]);
    assert_eq!(sends(&mut site, "a", 2), "held");
    assert_eq!(requested_params(&site.after(MINUTE)), [json!({ "other": 2 })]);
}

#[test]
fn many_held_matches_are_dropped_in_several_turns() {
    let mut site = site([(DEBOUNCE, HOST)]);
    for n in 0..250 {
        assert_eq!(sends(&mut site, &format!("host {n}"), n), "held");
    }
    site.set(Settings { turn: TurnLimits { drafts: 50, ..TurnLimits::default() }, ..Settings::default() });
    let outcome = site.when(set_mode("demo.paced", Mode::Disabled));
    assert_eq!((why(&outcome).len(), flow_end_reason(&outcome)), (250, Some(FlowEndedBecause::Disabled)));
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn least_recently_used_key_is_forgotten_over_the_maximum() {
    let mut site = site([(DEDUPE, HOST)]);
    keeping(&mut site, 2);
    for host in ["a", "b"] {
        assert_eq!(sends(&mut site, host, 1), "executed");
    }
    let outcome = site.receive("demo.ping", &ping("c", 1));
    assert_eq!(outcome.kinds().iter().filter(|kind| **kind == "rule.key_forgotten").count(), 1);
    assert_eq!(
        (sends(&mut site, "b", 2), sends(&mut site, "c", 2), sends(&mut site, "a", 2)),
        ("deduplicated", "deduplicated", "executed")
    );
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn reused_key_is_forgotten_after_less_recently_used_ones() {
    let mut site = site([(THROTTLE, HOST)]);
    keeping(&mut site, 2);
    for host in ["a", "b", "a"] {
        assert_eq!(sends(&mut site, host, 1), "executed");
    }
    let outcome = site.receive("demo.ping", &ping("c", 1));
    let forgotten: Vec<_> =
        outcome.facts().filter_map(|fact| if let Fact::RuleKeyForgotten(reported) = fact { Some(reported.key) } else { None }).collect();
    let [forgotten] = forgotten[..] else { panic!("one key is forgotten: {:?}", outcome.kinds()) };
    assert!(site.engine().flows().key(rule_id("demo.paced"), Control::Throttle, forgotten).is_none());
    // Two of `a` are its throttle's limit, so it is still remembered. `b` is not.
    assert_eq!(sends(&mut site, "a", 2), "throttled");
    assert_eq!(sends(&mut site, "b", 2), "executed");
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn frequently_used_key_has_one_row_in_the_state() {
    let mut site = site([(THROTTLE, HOST)]);
    for n in 0..20 {
        assert_eq!(sends(&mut site, "a", n), "executed");
        site.later(MINUTE / 2);
    }
    let saved: serde_json::Value = serde_json::from_slice(&site.engine().save().json).unwrap();
    let rows = |table: &str| saved["flows"][table].as_array().map(Vec::len);
    assert_eq!((rows("keys"), rows("ages")), (Some(1), Some(1)));
}

#[test]
fn expired_key_is_forgotten_without_a_record() {
    let mut site = site([(THROTTLE, HOST)]);
    keeping(&mut site, 2);
    for host in ["a", "b", "c", "d", "e"] {
        let outcome = site.receive("demo.ping", &ping(host, 1));
        assert!(!outcome.kinds().contains(&"rule.key_forgotten"));
        site.later(MINUTE);
    }
    let keys: u32 = site.engine().flows().of(rule_id("demo.paced")).unwrap().keys.values().sum();
    assert_eq!(keys, 1);
}

#[test]
fn oldest_held_match_is_dropped_over_the_maximum_and_recorded() {
    for stage in [DEBOUNCE, WINDOW] {
        let mut site = site([(stage, HOST)]);
        keeping(&mut site, 2);
        assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "b", 1)), ("held", "held"));
        let outcome = site.receive("demo.ping", &ping("c", 1));
        assert_eq!(why(&outcome), [SupersededBecause::CrowdedOut]);
        assert_eq!(site.engine().flows().held_count(), 2);
        assert_eq!(fold_log(&site), *site.engine());
    }
    let mut site = site([(DELAY, "")]);
    keeping(&mut site, 2);
    let outcomes: Vec<_> = (0..5).map(|n| sends(&mut site, "a", n)).collect();
    assert_eq!(outcomes, ["executed", "executed", "held", "held", "throttled"]);
}

#[test]
fn match_owed_over_a_change_of_flow_control_is_recorded() {
    let owed = |next| {
        let mut site = site([(DEBOUNCE, HOST)]);
        let event = site.event("demo.ping", &ping("a", 1));
        site.set(Settings { turn: TurnLimits { drafts: 1, ..TurnLimits::default() }, ..Settings::default() });
        site.turn(receive_events(vec![event])).then(&["event.received", "reaction.deferred"]);
        site.set(Settings::default());
        let base = site.engine().catalog_revision();
        site.build(super::Pieces::build(&next, base.next()));
        site.turn(install_demo(base));
        site.serve_all().kinds()
    };
    assert_eq!(owed(pieces([(DEBOUNCE, "")])), ["reaction.resumed", "enforcement.made"]);
    assert_eq!(owed(pieces([(DEBOUNCE, HOST)])), ["reaction.resumed", "enforcement.made", "timer.set"]);
}

#[test]
fn flow_control_left_over_by_a_catalog_failure_ends_at_the_next_start() {
    let mut site = site([(DEBOUNCE, HOST)]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    let base = site.engine().catalog_revision();
    site.build(pieces([]).build(base.next()));
    site.set_catalogs(CatalogsHealth::Gone);
    site.turn(install_demo(base)).then(&["pack.installed", "reaction.parked"]);
    site.set_catalogs(CatalogsHealth::Whole);
    let outcome = site.when(note_start());
    assert_eq!((why(&outcome), flow_end_reason(&outcome)), (vec![SupersededBecause::RuleChanged], Some(FlowEndedBecause::Changed)));
}
