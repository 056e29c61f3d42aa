//! Flow control: which matches of a rule are acted on, and when.

mod ends;
mod gather;
mod model;
mod order;
mod sets;

use ensue_engine::catalog::{Acts, Does, Excess, Mode};
use ensue_engine::engine::Engine;
use ensue_engine::fact::Fact;
use ensue_engine::rules::facts::Outcome as Enforced;
use ensue_engine::rules::flow::facts::Release;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::definitions::{flow, template};
use crate::support::{Pieces, Site};

const MINUTE: u64 = 60_000;
const DEDUPE: Does = Does::Dedupe { within_millis: MINUTE };
const THROTTLE: Does = Does::Throttle { limit: 2, per_millis: MINUTE, excess: Excess::Drop };
const DELAY: Does = Does::Throttle { limit: 2, per_millis: MINUTE, excess: Excess::Delay };
const DEBOUNCE: Does = Does::Debounce { quiet_millis: MINUTE, most_millis: None, acts: Acts::OnLast };
const WINDOW: Does = Does::Window { count: 3, within_millis: MINUTE };
const MISSING: Does = Does::Missing { for_millis: MINUTE };
const HOST: &str = "event.payload.host";

/// Definitions with one rule that has these flow controls.
fn pieces<const N: usize>(stages: [(Does, &str); N]) -> Pieces {
    Pieces::default().trigger("demo.ping").action_at_once("demo.echo").rule_with("demo.paced", "demo.ping", "", "demo.echo", |rule| {
        rule.flow = flow(stages);
        rule.with = template(&json!({ "n": "${{ event.payload.n }}" }));
    })
}

fn site<const N: usize>(stages: [(Does, &str); N]) -> Site {
    Site::with(&pieces(stages))
}

fn ping(host: &str, n: u64) -> Value {
    json!({ "host": host, "n": n })
}

/// The outcome of an event, from its enforcement.
fn enforcement_outcome(outcome: &Outcome) -> &'static str {
    let made = outcome.facts().find_map(|fact| if let Fact::EnforcementMade(made) = fact { Some(made.outcome.as_str()) } else { None });
    made.unwrap_or("nothing")
}

fn sends(site: &mut Site, host: &str, n: u64) -> &'static str {
    enforcement_outcome(&site.receive("demo.ping", &ping(host, n)))
}

/// The parameters of the requested executions, in order.
fn requested_params(outcome: &Outcome) -> Vec<Value> {
    let asked = outcome.records().iter().filter(|record| matches!(record.fact, Fact::ExecutionRequested(_)));
    let params = asked.map(|record| record.body.as_ref().and_then(|body| body.content.clone()).unwrap());
    params.map(|params| serde_json::from_slice(&params).unwrap()).collect()
}

/// The same state, folded from the log.
fn fold_log(site: &Site) -> Engine {
    let mut engine = Engine::new(site.engine().log());
    site.records().iter().for_each(|record| engine.apply(record));
    engine.commit();
    engine
}

#[test]
fn dedupe_acts_on_a_key_once_within_its_period() {
    let mut site = site([(DEDUPE, HOST)]);
    assert_eq!(sends(&mut site, "a", 1), "executed");
    assert_eq!(sends(&mut site, "b", 1), "executed");
    site.later(MINUTE - 1);
    let outcome = site.receive("demo.ping", &ping("a", 2)).then(&["event.received", "enforcement.made"]);
    let Some(Fact::EnforcementMade(made)) = outcome.facts().nth(1) else { panic!("{:?}", outcome.kinds()) };
    let first = site.records().iter().find(|record| record.kind() == "enforcement.made").unwrap().id;
    assert!(matches!(made.outcome, Enforced::Deduplicated { of } if of.0 == first), "{made:?}");
    // A duplicate does not extend the period.
    site.later(1);
    assert_eq!(sends(&mut site, "a", 3), "executed");
}

#[test]
fn throttle_lets_its_limit_pass_and_one_more_per_token() {
    let mut site = site([(THROTTLE, HOST)]);
    let outcomes: Vec<_> = (0..3).map(|n| sends(&mut site, "a", n)).collect();
    assert_eq!(outcomes, ["executed", "executed", "throttled"]);
    assert_eq!(sends(&mut site, "b", 0), "executed");
    site.later(MINUTE / 2 - 1);
    assert_eq!(sends(&mut site, "a", 3), "throttled");
    site.later(1);
    assert_eq!((sends(&mut site, "a", 4), sends(&mut site, "a", 5)), ("executed", "throttled"));
    site.later(60 * MINUTE);
    let outcomes: Vec<_> = (0..3).map(|n| sends(&mut site, "a", n)).collect();
    assert_eq!(outcomes, ["executed", "executed", "throttled"]);
}

#[test]
fn delaying_throttle_acts_as_soon_as_a_token_is_available() {
    let mut site = site([(DELAY, HOST)]);
    let outcomes: Vec<_> = (0..5).map(|n| sends(&mut site, "a", n)).collect();
    assert_eq!(outcomes, ["executed", "executed", "held", "held", "held"]);
    site.after(MINUTE / 2 - 1).then(&[]);
    for n in 2..5 {
        let outcome = site.after(if n == 2 { 1 } else { MINUTE / 2 });
        assert_eq!(outcome.kinds()[..3], ["timer.fired", "enforcement.released", "execution.requested"]);
        assert_eq!(requested_params(&outcome), [json!({ "n": n })]);
    }
    assert_eq!(site.engine().flows().held_count(), 0);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn debounce_acts_on_the_last_match_once_it_is_quiet() {
    let mut site = site([(DEBOUNCE, HOST)]);
    site.receive("demo.ping", &ping("a", 1)).then(&["event.received", "enforcement.made", "timer.set"]);
    site.later(MINUTE - 1);
    let second = ["event.received", "enforcement.made", "timer.set", "enforcement.superseded"];
    site.receive("demo.ping", &ping("a", 2)).then(&second);
    assert_eq!(sends(&mut site, "b", 7), "held");
    site.after(MINUTE - 1).then(&[]);
    let outcome = site.after(1);
    assert_eq!(requested_params(&outcome), [json!({ "n": 2 }), json!({ "n": 7 })]);
    site.after(60 * MINUTE).then(&[]);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn window_acts_on_the_match_that_fills_it_and_starts_again() {
    let mut site = site([(WINDOW, HOST)]);
    assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "a", 2), sends(&mut site, "b", 1)), ("held", "held", "held"));
    let outcome = site.receive("demo.ping", &ping("a", 3));
    assert_eq!(enforcement_outcome(&outcome), "executed");
    assert_eq!(outcome.kinds().iter().filter(|kind| **kind == "enforcement.superseded").count(), 2);
    assert_eq!(requested_params(&outcome), [json!({ "n": 3 })]);
    assert_eq!((sends(&mut site, "a", 4), sends(&mut site, "a", 5), sends(&mut site, "a", 6)), ("held", "held", "executed"));
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn match_counts_in_its_window_until_it_expires() {
    let mut site = site([(WINDOW, HOST)]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    site.later(MINUTE / 2);
    assert_eq!(sends(&mut site, "a", 2), "held");
    site.after(MINUTE / 2).then(&["timer.fired", "enforcement.superseded"]);
    assert_eq!((sends(&mut site, "a", 3), sends(&mut site, "a", 4)), ("held", "executed"));
}

#[test]
fn execution_reads_the_events_of_its_window() {
    let mut site = Site::with(&Pieces::default().trigger("demo.ping").action_at_once("demo.echo").rule_with(
        "demo.paced",
        "demo.ping",
        "",
        "demo.echo",
        |rule| {
            rule.flow = flow([(WINDOW, HOST)]);
            rule.with = template(&json!({ "all": "${{ events.map(e, e.payload.n) }}", "last": "${{ event.payload.n }}" }));
        },
    ));
    assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "a", 2)), ("held", "held"));
    assert_eq!(requested_params(&site.receive("demo.ping", &ping("a", 3))), [json!({ "all": [1, 2, 3], "last": 3 })]);
}

#[test]
fn missing_acts_if_no_match_follows_within_its_period() {
    let mut site = site([(MISSING, HOST)]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    site.later(MINUTE - 1);
    assert_eq!(sends(&mut site, "a", 2), "held");
    site.after(1).then(&[]);
    let outcome = site.after(MINUTE);
    assert_eq!(requested_params(&outcome), [json!({ "n": 2 })]);
    // It fires once; the next match starts a new period.
    site.after(60 * MINUTE).then(&[]);
    assert_eq!(sends(&mut site, "a", 3), "held");
    assert_eq!(requested_params(&site.after(MINUTE)), [json!({ "n": 3 })]);
}

#[test]
fn flow_control_keys_are_separate_for_each_rule() {
    let two = pieces([(DEDUPE, "")]).rule_with("demo.other", "demo.ping", "", "demo.echo", |rule| rule.flow = flow([(DEDUPE, "")]));
    let mut site = Site::with(&two);
    let outcome = site.receive("demo.ping", &ping("a", 1));
    let made: Vec<_> = outcome
        .facts()
        .filter_map(|fact| if let Fact::EnforcementMade(made) = fact { Some(made.outcome.as_str()) } else { None })
        .collect();
    assert_eq!(made, ["executed", "executed"]);
    assert_eq!(sends(&mut site, "b", 1), "deduplicated");
}

#[test]
fn key_that_errs_or_is_not_a_scalar_rejects_the_match() {
    let mut site = site([(DEDUPE, HOST)]);
    for (payload, why) in [(json!({ "n": 1 }), "the key of `dedupe`: "), (json!({ "n": 1, "host": {} }), "must be a string")] {
        let outcome = site.receive("demo.ping", &payload).then(&["event.received", "enforcement.made"]);
        let Some(Fact::EnforcementMade(made)) = outcome.facts().nth(1) else { panic!("{:?}", outcome.kinds()) };
        assert!(matches!(&made.outcome, Enforced::Rejected { error } if error.contains(why)), "{made:?}");
    }
}

#[test]
fn invalid_match_is_rejected_before_flow_control_and_uses_nothing() {
    let mut site = site([(DEBOUNCE, "")]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    assert_eq!(enforcement_outcome(&site.receive("demo.ping", &json!({ "host": "a" }))), "rejected");
    assert_eq!(requested_params(&site.after(MINUTE)), [json!({ "n": 1 })]);
}

#[test]
fn match_that_is_invalid_when_its_window_fills_is_rejected_then() {
    let mut site = site([(Does::Window { count: 2, within_millis: MINUTE }, ""), (MISSING, "")]);
    site.receive("demo.ping", &ping("a", 1));
    site.receive("demo.ping", &json!({ "host": "a" }));
    let outcome = site.after(MINUTE).then(&["timer.fired", "enforcement.released"]);
    let Some(Fact::EnforcementReleased(released)) = outcome.facts().nth(1) else { panic!("{:?}", outcome.kinds()) };
    assert!(matches!(released.outcome, Release::Rejected { .. }), "{released:?}");
}

#[test]
fn shadow_rule_passes_through_flow_control_without_acting() {
    let shadow = |pieces: Pieces| pieces.changed_rule("demo.paced", |rule| rule.mode = Mode::Shadow);
    let mut site = Site::with(&shadow(pieces([(DEDUPE, "event.payload.n"), (DEBOUNCE, HOST)])));
    assert_eq!((sends(&mut site, "a", 1), sends(&mut site, "a", 1)), ("held", "deduplicated"));
    let outcome = site.after(MINUTE).then(&["timer.fired", "enforcement.released"]);
    let Some(Fact::EnforcementReleased(released)) = outcome.facts().nth(1) else { panic!("{:?}", outcome.kinds()) };
    assert_eq!(released.outcome, Release::Shadowed);
    let mut site = Site::with(&shadow(pieces([(THROTTLE, "")])));
    let outcomes: Vec<_> = (0..3).map(|n| sends(&mut site, "a", n)).collect();
    assert_eq!(outcomes, ["shadowed", "shadowed", "throttled"]);
}

#[test]
fn clock_step_makes_no_period_shorter_or_longer() {
    let mut site = site([(DEDUPE, "event.payload.n"), (THROTTLE, ""), (DEBOUNCE, HOST)]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    let tomorrow = site.now().plus_millis(24 * 60 * MINUTE);
    site.clock_steps_to(tomorrow);
    assert_eq!((sends(&mut site, "b", 1), sends(&mut site, "b", 2), sends(&mut site, "b", 3)), ("deduplicated", "held", "throttled"));
    site.after(MINUTE - 1).then(&[]);
    assert_eq!(requested_params(&site.after(1)), [json!({ "n": 1 }), json!({ "n": 2 })]);
}

#[test]
fn held_match_survives_a_restart() {
    let mut site = site([(DEBOUNCE, HOST)]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    site.restart();
    assert_eq!(sends(&mut site, "a", 2), "held");
    site.restart();
    assert_eq!(requested_params(&site.after(MINUTE)), [json!({ "n": 2 })]);
    site.restart();
    site.after(60 * MINUTE).then(&[]);
}

#[test]
fn match_that_arrives_at_the_due_time_starts_a_new_hold() {
    let mut site = site([(DEBOUNCE, HOST)]);
    assert_eq!(sends(&mut site, "a", 1), "held");
    site.later(MINUTE);
    site.receive("demo.ping", &ping("a", 2)).then(&["event.received", "enforcement.made", "timer.set"]);
    assert_eq!(requested_params(&site.after(0)), [json!({ "n": 1 })]);
    assert_eq!(requested_params(&site.after(MINUTE)), [json!({ "n": 2 })]);
}
