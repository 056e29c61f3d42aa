//! Metrics from a monitoring system's point of view: those of the reference, in the form that Prometheus' own
//! checker accepts.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::skipped::has_program;
use crate::support::{Client, NodeFolder};

const CHECKER: &str = "promtool";

/// Creates an execution from an event, and waits for its end and the resulting metrics.
async fn figures_of_one_event(client: &Client) -> String {
    let event = json!({ "trigger": "examples.hello", "payload": { "name": "Ada" }, "dedupe": "one" });
    let tried = client.post("/events?dry_run=true", &event).await;
    assert_eq!(tried.status, 204, "{tried:?}");
    let taken = client.post("/events", &event).await;
    assert_eq!(taken.status, 202, "{taken:?}");
    // A dry run or a duplicate counts neither as a received event nor in a latency.
    let again = client.post("/events", &event).await;
    assert_eq!((again.status.is_success(), &again.body["id"]), (true, &taken.body["id"]), "{again:?}");
    client.until("/executions?status=succeeded", |page| !page["items"].as_array().unwrap().is_empty()).await;
    let is_counted = |text: &str| text.contains("ensue_executions_total{outcome=\"succeeded\"} 1\n").then(|| text.to_owned());
    client.until_metrics("the execution is counted", is_counted).await
}

/// The names of the metrics in a text, without the suffixes of the formats.
fn names(text: &str) -> BTreeSet<String> {
    let named = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    named.map(|(name, kind)| if kind == "counter" { name.trim_end_matches("_total") } else { name }.to_owned()).collect()
}

#[tokio::test]
async fn metrics_match_the_reference_and_follow_an_event_to_its_end() {
    let place = NodeFolder::new();
    let node = place.start();
    let text = figures_of_one_event(&node.client()).await;
    let page = include_str!("../../docs/reference/metrics.md");
    let told: BTreeSet<String> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect();
    assert_eq!(names(&text), told);
    for line in [
        "ensue_events_total 1",
        "ensue_enforcements_total{outcome=\"executed\"} 1",
        "ensue_stage_seconds_count{stage=\"committed\"} 1",
        "ensue_stage_seconds_count{stage=\"dispatched\"} 1",
        "ensue_stage_seconds_count{stage=\"finished\"} 1",
        "ensue_rule_errors_total 0",
        "ensue_views_lag_records 0",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
    }
}

#[tokio::test]
async fn prometheus_own_checker_accepts_the_metrics() {
    if !has_program("prometheus_own_checker_accepts_the_metrics", CHECKER) {
        return;
    }
    let place = NodeFolder::new();
    let node = place.start();
    let text = figures_of_one_event(&node.client()).await;
    let check = |text: &str| {
        let mut checker = Command::new(CHECKER);
        checker.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut checking = checker.spawn().unwrap();
        checking.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = checking.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&text), (true, String::new()));
    // The checker would report that.
    assert!(!check(&text.replace("# HELP ensue_memory_bytes", "# HALP ensue_memory_bytes")).0);
}
