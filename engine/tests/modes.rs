//! Modes: disabled and shadow rules, and their effect on earlier events.

use ensue_engine::catalog::Mode;
use ensue_engine::command::{Settings, TurnLimits};
use ensue_engine::fact::Fact;
use ensue_engine::rules::facts::Outcome as Enforced;
use ensue_engine::rules::state::MODE_CHANGES_MAX;
use serde_json::json;

use crate::support::site::receive_events;
use crate::support::{Pieces, Site, set_mode};

const EXECUTED: &[&str] = &["event.received", "enforcement.made", "execution.requested", "attempt.started"];
const SHADOWED: &[&str] = &["event.received", "enforcement.made"];
const NOTHING: &[&str] = &["event.received"];

fn pieces() -> Pieces {
    Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.one", "demo.ping", "", "demo.say")
}

#[test]
fn mode_that_was_set_overrides_the_pack_s() {
    let mut site = Site::with(&pieces());
    for (mode, kinds) in [(Mode::Disabled, NOTHING), (Mode::Shadow, SHADOWED), (Mode::Enabled, EXECUTED)] {
        site.when(set_mode("demo.one", mode)).then(&["rule.mode_set"]);
        site.restart();
        site.receive("demo.ping", &json!({})).then(kinds);
    }
}

#[test]
fn pack_s_mode_applies_if_none_was_set() {
    for (mode, kinds) in [(Mode::Disabled, NOTHING), (Mode::Shadow, SHADOWED), (Mode::Enabled, EXECUTED)] {
        let pieces = pieces().rule_with("demo.one", "demo.ping", "", "demo.say", |rule| rule.mode = mode);
        Site::with(&pieces).receive("demo.ping", &json!({})).then(kinds);
    }
}

#[test]
fn disabled_rule_does_not_err() {
    let pieces = pieces().rule("demo.one", "demo.ping", "event.payload.n > 0", "demo.say");
    let mut site = Site::with(&pieces);
    site.when(set_mode("demo.one", Mode::Disabled));
    let outcome = site.receive("demo.ping", &json!({})).then(NOTHING);
    let Some(Fact::EventReceived(event)) = outcome.facts().next() else { panic!("the event comes first") };
    assert_eq!((event.matched, event.erred), (0, 0));
}

#[test]
fn later_mode_change_does_not_affect_reactions_owed_to_earlier_events() {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..700 {
        pieces = pieces.rule(&format!("demo.r{rule:03}"), "demo.ping", "", "demo.say");
    }
    let mut site = Site::with(&pieces);
    site.when(set_mode("demo.r697", Mode::Shadow));
    let event = site.event("demo.ping", &json!({}));
    site.turn(receive_events(vec![event]));
    assert_eq!(site.engine().health().owed_count(), 1);
    // Each of these affects later events, and not this one.
    for (rule, mode) in [
        ("demo.r699", Mode::Disabled),
        ("demo.r699", Mode::Shadow),
        ("demo.r698", Mode::Disabled),
        ("demo.r698", Mode::Enabled),
        ("demo.r697", Mode::Disabled),
        ("demo.r697", Mode::Enabled),
    ] {
        site.turn(set_mode(rule, mode));
    }
    site.restart();
    site.serve_all();
    let outcome_of = |rule: &str| {
        let made = site.records().iter().filter_map(|record| match &record.fact {
            Fact::EnforcementMade(made) if made.rule.as_str() == rule => Some(made.outcome.as_str()),
            _ => None,
        });
        made.collect::<Vec<_>>()
    };
    assert_eq!(outcome_of("demo.r699"), ["executed"]);
    assert_eq!(outcome_of("demo.r698"), ["executed"]);
    assert_eq!(outcome_of("demo.r697"), [Enforced::Shadowed.as_str()]);
}

#[test]
fn event_is_judged_by_the_mode_at_its_arrival_despite_later_changes() {
    let mut site = Site::with(&pieces().rule_with("demo.one", "demo.ping", "", "demo.say", |rule| rule.mode = Mode::Disabled));
    site.when(set_mode("demo.one", Mode::Shadow));
    let unhurried = site.settings().clone();
    site.set(Settings { turn: TurnLimits { drafts: 1, ..unhurried.turn }, ..unhurried.clone() });
    let event = site.event("demo.ping", &json!({}));
    site.turn(receive_events(vec![event])).then(&["event.received", "reaction.deferred"]);
    for mode in [Mode::Enabled, Mode::Disabled].into_iter().cycle().take(3 * MODE_CHANGES_MAX) {
        site.turn(set_mode("demo.one", mode)).then(&["rule.mode_set"]);
    }
    site.set(unhurried);
    site.restart();
    site.serve_all().then(&["reaction.resumed", "enforcement.made"]);
    assert!(matches!(site.records().last().unwrap().fact, Fact::EnforcementMade(ref made) if made.outcome == Enforced::Shadowed));
}
