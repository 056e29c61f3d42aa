//! Chains of events that cause each other: they end.

use ensue_engine::catalog::Mode;
use ensue_engine::fact::Fact;
use ensue_engine::rules::react::DEPTH_MAX;
use ensue_test_support::spec::Outcome;
use serde_json::json;

use crate::support::{Pieces, Site, set_mode};

const GOES_ON: &[&str] =
    &["attempt.succeeded", "event.received", "execution.succeeded", "enforcement.made", "execution.requested", "attempt.started"];
const STOPS: &[&str] = &["attempt.succeeded", "event.received", "execution.succeeded", "loop.stopped"];

fn site() -> Site {
    Site::with(&Pieces::default().trigger("demo.ping").action("demo.emit").rule("demo.again", "demo.ping", "", "demo.emit"))
}

/// Makes the only running execution emit the next event.
fn emit(site: &mut Site) -> Outcome {
    let execution = site.engine().executions().iter().next().map(|(id, _)| *id).expect("one runs");
    site.emit(execution, "demo.ping", &json!({}))
}

fn go_round(site: &mut Site) {
    site.receive("demo.ping", &json!({}));
    for _ in 0..DEPTH_MAX {
        emit(site).then(GOES_ON);
    }
}

#[test]
fn looping_rule_is_stopped_and_suspended() {
    let mut site = site();
    go_round(&mut site);
    let outcome = emit(&mut site).then(STOPS);
    let Some(Fact::LoopStopped(stopped)) = outcome.facts().last() else { panic!("the loop is stopped") };
    assert_eq!((stopped.rule.as_str(), stopped.depth), ("demo.again", DEPTH_MAX + 1));
    assert_eq!(site.engine().executions().iter().count(), 0);
    site.receive("demo.ping", &json!({})).then(&["event.received"]);
    site.restart();
    site.receive("demo.ping", &json!({})).then(&["event.received"]);
}

#[test]
fn enabling_the_rule_lifts_the_suspension() {
    let mut site = site();
    go_round(&mut site);
    emit(&mut site).then(STOPS);
    site.when(set_mode("demo.again", Mode::Enabled));
    site.receive("demo.ping", &json!({})).then(&["event.received", "enforcement.made", "execution.requested", "attempt.started"]);
}

#[test]
fn rule_outside_the_loop_is_suspended_only_if_it_matches_at_that_depth() {
    let pieces = Pieces::default()
        .trigger("demo.ping")
        .action("demo.emit")
        .action("demo.say")
        .rule("demo.again", "demo.ping", "", "demo.emit")
        .rule("demo.bystander", "demo.ping", "event.payload.?n.orValue(0) == 1", "demo.say");
    let mut site = Site::with(&pieces);
    go_round(&mut site);
    emit(&mut site).then(STOPS);
    let outcome = site.receive("demo.ping", &json!({ "n": 1 }));
    outcome.then(&["event.received", "enforcement.made", "execution.requested", "attempt.started"]);
}
