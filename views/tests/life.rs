//! Tests what people read about an event's life, produced by a real core.

use ensue_engine::command::ReportOutcome;
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind, Settlement};
use ensue_engine::record::Record;
use ensue_views::{Enforcement, Event, Execution, Pack, RuleActivity, TimelineEntry, Totals};
use serde_json::{Value, json};

use crate::garden::Garden;
use crate::{fold, only};

fn timeline(records: &[Record]) -> String {
    let entries = records.iter().filter_map(TimelineEntry::of);
    let lines = entries.map(|entry| format!("{:>3} {} {:<32} {:<13} {}", entry.position, entry.time, entry.kind, entry.actor, entry.what));
    lines.collect::<Vec<_>>().join("\n")
}

fn fold_views(garden: &Garden) -> Value {
    let records = garden.records();
    json!({
        "events": fold::<Event>(records).into_values().collect::<Vec<_>>(),
        "enforcements": fold::<Enforcement>(records).into_values().collect::<Vec<_>>(),
        "executions": fold::<Execution>(records).into_values().collect::<Vec<_>>(),
        "rules": fold::<RuleActivity>(records).into_values().collect::<Vec<_>>(),
        "packs": fold::<Pack>(records).into_values().collect::<Vec<_>>(),
        "totals": only::<Totals>(records),
    })
}

#[test]
fn event_can_be_followed_from_its_arrival_to_the_result() {
    let mut garden = Garden::new();
    garden.rain(&json!(3));
    garden.later(1_500);
    garden.report(ReportOutcome::Succeeded, Some(r#"{"open":true}"#));
    insta::assert_json_snapshot!(fold_views(&garden));
    insta::assert_snapshot!(timeline(garden.records()));
}

#[test]
fn failure_is_shown_with_its_reason() {
    let mut garden = Garden::new();
    garden.rain(&json!(3));
    garden.later(200);
    let error = Failure::new(FailureKind::HttpStatus, "the gate answered 503 Service Unavailable").with_detail(503);
    garden.report(ReportOutcome::Failed(error), Some(r#"{"status":503}"#));
    insta::assert_json_snapshot!(only::<Execution>(garden.records()));
}

#[test]
fn lost_attempt_is_shown_with_its_evidence_and_settlement() {
    let mut garden = Garden::new();
    garden.rain(&json!(3));
    garden.later(1_000);
    garden.lose(Evidence::NotBegun);
    garden.later(1_000);
    garden.lose(Evidence::MayHaveBegun);
    garden.later(60_000);
    garden.settle(Settlement::Failed { error: "the gate is shut".into() });
    insta::assert_json_snapshot!(only::<Execution>(garden.records()));
    insta::assert_snapshot!(timeline(garden.records()));
}

#[test]
fn rule_error_is_shown_with_its_message() {
    let mut garden = Garden::new();
    garden.rain(&json!("a lot"));
    garden.later(61_000);
    garden.rain(&json!("a lot"));
    garden.later(61_000);
    garden.rain(&json!("a lot"));
    let rules = fold::<RuleActivity>(garden.records());
    insta::assert_json_snapshot!(rules.values().next().unwrap());
    assert_eq!(only::<Totals>(garden.records()).rules_erred, 9);
}
