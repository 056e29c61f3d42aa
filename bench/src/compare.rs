//! Two runs side by side: each of the [`FIGURES`] that both have, and the second as a multiple of the first.
//!
//! It does not judge which is better: the figures do not show whether the machine was idle.

use serde_json::{Value, json};

use crate::cores::describe;
use crate::figures::{number, round_to_hundredths};
use crate::table::laid_out;

/// The compared figures, by their path in a run and their name for people.
const FIGURES: &[(&str, &str)] = &[
    ("/answered_per_second", "answered a second"),
    ("/finished_per_second", "finished a second"),
    ("/answered/p50_ms", "answer p50 ms"),
    ("/answered/p99_ms", "answer p99 ms"),
    ("/finished/p50_ms", "finish p50 ms"),
    ("/finished/p99_ms", "finish p99 ms"),
    ("/called/p50_ms", "call p50 ms"),
    ("/called/p99_ms", "call p99 ms"),
    ("/reads_per_second", "reads a second"),
    ("/read/p50_ms", "read p50 ms"),
    ("/read/p99_ms", "read p99 ms"),
    ("/reads_refused", "reads refused"),
    ("/views_lag_records", "views behind"),
    ("/arrived/p50_ms", "arrival p50 ms"),
    ("/arrived/p99_ms", "arrival p99 ms"),
    ("/lost", "lost"),
    ("/memory_per_stream_bytes", "bytes a stream"),
    ("/makespan_ms", "makespan ms"),
    ("/asked_per_second", "asked a second"),
    ("/refused", "refused"),
    ("/unfinished", "unfinished"),
    ("/disk_bytes_per_event", "bytes an event"),
    ("/processor_us_per_event", "processor µs an event"),
    ("/judged_us", "judging µs an event"),
    ("/events_per_second", "events a second"),
    ("/took_ms", "took ms"),
    ("/memory_rest_bytes", "memory bytes at rest"),
    ("/memory_idle_bytes", "idle memory bytes"),
    ("/memory_peak_bytes", "peak memory bytes"),
    ("/memory_after_rest_bytes", "memory bytes at rest after it"),
    ("/memory_bytes", "memory bytes"),
    ("/memory_after_start_bytes", "memory bytes after a start"),
    ("/first_start_ms", "first start ms"),
    ("/ready_ms", "ready ms"),
    ("/difference_ms", "beyond the schedule ms"),
    ("/bytes", "bytes of the file"),
];

/// Returns the name for people of the figure at a path; the path if it has none.
pub(crate) fn named_figure(path: &str) -> &str {
    FIGURES.iter().find(|(place, _)| *place == path).map_or(path, |(_, name)| name)
}

/// Compares the runs of two `ensue bench` documents. Runs are paired by scenario and pace; if there are
/// several of a kind, the n-th is paired with the n-th.
pub(crate) fn compare_runs(first: &Value, second: &Value) -> Result<Value, String> {
    let cores = json!({ "first": first["cores"], "second": second["cores"] });
    let (first, second) = (runs(first, "first")?, runs(second, "second")?);
    let mut alone = second;
    let (mut items, mut only_first) = (Vec::new(), Vec::new());
    for run in first {
        let Some(place) = alone.iter().position(|other| run["scenario"] == other["scenario"] && run["pace"] == other["pace"]) else {
            only_first.push(run_key(run));
            continue;
        };
        let other = alone.remove(place);
        for &(place, figure) in FIGURES {
            let of = |run: &Value| run.pointer(place).and_then(Value::as_f64);
            let (Some(a), Some(b)) = (of(run), of(other)) else { continue };
            if a == 0.0 && b == 0.0 {
                continue;
            }
            // There is no ratio to zero.
            let ratio = (a > 0.0).then(|| round_to_hundredths(b / a));
            items.push(json!({
                "scenario": run["scenario"], "pace": run["pace"], "figure": figure, "first": a, "second": b, "ratio": ratio,
            }));
        }
    }
    let only_second: Vec<Value> = alone.into_iter().map(run_key).collect();
    Ok(json!({ "items": items, "only_first": only_first, "only_second": only_second, "cores": cores }))
}

fn run_key(run: &Value) -> Value {
    json!({ "scenario": run["scenario"], "pace": run["pace"] })
}

/// Returns the runs: scenarios, for `workflow` also the graphs and the timers, the backtest, and the
/// binary.
pub(crate) fn runs<'v>(document: &'v Value, which: &str) -> Result<Vec<&'v Value>, String> {
    let runs = document["runs"].as_array().ok_or_else(|| {
        format!("the {which} document has no `runs`: name a file that `ensue bench SCENARIO… --output json` wrote, for scenarios other than `reads` and `log`")
    })?;
    let workflow = &document["workflow"];
    let alone = [&workflow["timers"], &document["backtest"], &document["binary"]].into_iter().filter(|figures| figures.is_object());
    Ok(runs.iter().chain(workflow["graphs"].as_array().into_iter().flatten()).chain(alone).collect())
}

/// Returns the comparison as a table for people.
pub(crate) fn table(compared: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = compared["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = items.iter().map(|item| {
        let ratio = item["ratio"].as_f64().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        vec![text(&item["scenario"]), text(&item["pace"]), text(&item["figure"]), number(&item["first"]), number(&item["second"]), ratio]
    });
    let titles = ["SCENARIO", "PACE", "FIGURE", "FIRST", "SECOND", "RATIO"];
    let mut shown = laid_out(titles.map(str::to_owned).to_vec(), rows);
    for (name, which) in [("only_first", "first"), ("only_second", "second")] {
        for run in compared[name].as_array().map(Vec::as_slice).unwrap_or_default() {
            shown.push_str(&format!("\n\nOnly in the {which}: {} ({}).", text(&run["scenario"]), text(&run["pace"])));
        }
    }
    let cores = &compared["cores"];
    if cores["first"] != cores["second"] {
        shown.push_str("\n\nThe two runs used different cores:");
        for which in ["first", "second"] {
            shown.push_str(&format!("\n  {which}: {}", describe(&cores[which])));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(scenario: &str, per_second: f64, p99: Option<f64>) -> Value {
        json!({
            "scenario": scenario, "pace": "64 connections", "answered_per_second": per_second, "finished_per_second": 0.0, "refused": 0,
            "answered": { "p50_ms": 4.0, "p99_ms": p99 }, "finished": null, "memory_idle_bytes": 41_943_040,
        })
    }

    #[test]
    fn two_runs_are_compared_side_by_side_with_the_rest_listed() {
        let first = json!({ "runs": [run("ingest", 8_000.0, Some(10.0)), run("http", 4_000.0, Some(6.0))] });
        let second = json!({ "runs": [run("ingest", 12_000.0, None), run("process", 700.0, Some(90.0))] });
        insta::assert_snapshot!(table(&compare_runs(&first, &second).unwrap()), @r"
        SCENARIO  PACE            FIGURE             FIRST     SECOND    RATIO
        ingest    64 connections  answered a second  8000      12000     1.50
        ingest    64 connections  answer p50 ms      4         4         1.00
        ingest    64 connections  idle memory bytes  41943040  41943040  1.00

        Only in the first: http (64 connections).

        Only in the second: process (64 connections).
        ");
    }

    #[test]
    fn repeated_scenarios_are_compared_by_their_order() {
        let of = |rates: &[f64]| json!({ "runs": rates.iter().map(|rate| run("rule", *rate, None)).collect::<Vec<_>>() });
        let compared = compare_runs(&of(&[1_000.0, 2_000.0, 3_000.0]), &of(&[1_100.0, 2_200.0])).unwrap();
        let rates = compared["items"].as_array().unwrap().iter().filter(|item| item["figure"] == "answered a second");
        let rates: Vec<_> = rates.map(|item| (item["first"].as_f64().unwrap(), item["second"].as_f64().unwrap())).collect();
        assert_eq!(rates, [(1_000.0, 1_100.0), (2_000.0, 2_200.0)]);
        assert_eq!(compared["only_first"], json!([{ "scenario": "rule", "pace": "64 connections" }]));
        assert_eq!(compared["only_second"], json!([]));
    }

    #[test]
    fn comparison_without_runs_is_rejected() {
        assert!(compare_runs(&json!({ "runs": [] }), &json!({ "log": {} })).unwrap_err().contains("second"));
    }
}
