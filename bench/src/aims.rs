//! Compares the performance goals with measurements.
//!
//! This module measures nothing itself.

use serde_json::{Value, json};

use crate::compare::{named_figure, runs};
use crate::figures::number;
use crate::table::{bytes, laid_out};

/// How many workflows are requested per second when their latency is measured.
pub(crate) const STEADY_RATE: f64 = 100.0;

/// A goal for one figure of the runs of some scenarios.
struct Goal {
    /// The scenarios, by their names or the first words of these.
    scenarios: &'static [&'static str],
    pace: PaceFilter,
    /// The path of the figure in a run.
    figure: &'static str,
    bound: Bound,
}

/// The runs of a scenario that have a goal.
#[derive(Clone, Copy)]
enum PaceFilter {
    Any,
    /// Each connection sends the next delivery when it has its answer.
    Closed,
    /// As many per second.
    Rate(f64),
    /// Exactly this pace.
    Exactly(&'static str),
}

/// The limit of a figure.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const fn at_least(scenarios: &'static [&'static str], pace: PaceFilter, figure: &'static str, least: f64) -> Goal {
    Goal { scenarios, pace, figure, bound: Bound::AtLeast(least) }
}

const fn at_most(scenarios: &'static [&'static str], pace: PaceFilter, figure: &'static str, most: f64) -> Goal {
    Goal { scenarios, pace, figure, bound: Bound::AtMost(most) }
}

const MIB: f64 = 1_048_576.0;
/// The figure of the memory after a burst and a rest.
const AFTER_REST: &str = "/memory_after_rest_bytes";
/// The shortest rest after which that memory is judged.
const REST_SECONDS: u64 = 300;
/// The runs that also have goals for starts and memory: of small packs, without anything alongside.
const PLAIN: &[&str] = &["ingest", "http"];

/// All goals, by scenario. [`PaceFilter`] separates the runs of a scenario.
const GOALS: &[Goal] = &[
    at_least(&["ingest"], PaceFilter::Closed, "/answered_per_second", 12_000.0),
    at_most(&["ingest"], PaceFilter::Closed, "/disk_bytes_per_event", 3_300.0),
    at_least(&["rule"], PaceFilter::Closed, "/finished_per_second", 9_000.0),
    at_most(&["rule"], PaceFilter::Rate(2_000.0), "/finished/p99_ms", 10.0),
    at_least(&["http"], PaceFilter::Closed, "/finished_per_second", 5_000.0),
    at_most(&["http"], PaceFilter::Closed, "/processor_us_per_event", 400.0),
    at_most(&["http"], PaceFilter::Closed, "/disk_bytes_per_event", 4_200.0),
    at_most(&["http"], PaceFilter::Rate(1_000.0), "/called/p99_ms", 2.0),
    at_most(&["http"], PaceFilter::Rate(20.0), "/called/p50_ms", 1.5),
    at_most(&["http"], PaceFilter::Rate(20.0), "/called/p99_ms", 5.0),
    at_most(PLAIN, PaceFilter::Closed, "/first_start_ms", 60.0),
    at_most(PLAIN, PaceFilter::Closed, "/ready_ms", 45.0),
    at_most(PLAIN, PaceFilter::Closed, "/memory_rest_bytes", 25.0 * MIB),
    at_most(PLAIN, PaceFilter::Closed, AFTER_REST, 25.0 * MIB),
    at_most(&["rules 10000"], PaceFilter::Any, "/judged_us", 10.0),
    at_least(&["batch"], PaceFilter::Closed, "/answered_per_second", 40_000.0),
    at_most(&["streams"], PaceFilter::Any, "/memory_per_stream_bytes", 100_000.0),
    at_least(&["workflow"], PaceFilter::Closed, "/finished_per_second", 6_000.0),
    at_most(&["workflow"], PaceFilter::Rate(STEADY_RATE), "/answered/p50_ms", 6.0),
    at_most(&["workflow"], PaceFilter::Rate(STEADY_RATE), "/answered/p99_ms", 25.0),
    at_most(&["chain"], PaceFilter::Any, "/answered/p50_ms", 50.0),
    at_most(&["items", "steps"], PaceFilter::Any, "/answered/p50_ms", 25.0),
    at_most(&["timers"], PaceFilter::Any, "/memory_bytes", 200_000_000.0),
    at_most(&["timers"], PaceFilter::Any, "/memory_after_start_bytes", 200_000_000.0),
    at_most(&["timers"], PaceFilter::Any, "/ready_ms", 2_000.0),
    at_most(&["backtest"], PaceFilter::Exactly("1000000 events"), "/took_ms", 5_000.0),
    at_most(&["binary"], PaceFilter::Exactly("release build"), "/bytes", 40_000_000.0),
];

impl Goal {
    fn is_for(&self, scenario: &str, pace: &str) -> bool {
        let named = |name: &&str| *name == scenario || scenario.split(' ').next() == Some(*name);
        let sent = pace.split(',').next().unwrap_or_default();
        let is_paced = match self.pace {
            PaceFilter::Any => true,
            PaceFilter::Closed => sent.ends_with(" connections"),
            PaceFilter::Rate(rate) => sent == format!("{rate}/s"),
            PaceFilter::Exactly(exactly) => sent == exactly,
        };
        self.scenarios.iter().any(named) && is_paced
    }
}

/// Returns the goals that a document has figures for, with these; none if the node's disk was made slower,
/// or its log was in a database.
/// Fails with a message for people if the document, which is called `which`, has no runs.
pub(crate) fn aims(document: &Value, which: &str) -> Result<Vec<Value>, String> {
    let all = runs(document, which)?;
    if document["slow_disk_ms"].is_number() || document["database"] == true {
        return Ok(Vec::new());
    }
    let of_run = |run: &&Value| GOALS.iter().filter_map(|goal| of_goal(goal, run)).collect::<Vec<_>>();
    let found = all.iter().flat_map(of_run).chain(of_graphs(&document["workflow"]["graphs"]));
    Ok(found.collect())
}

fn of_goal(goal: &Goal, run: &Value) -> Option<Value> {
    // The node releases its caches only after a while without work.
    let rested = goal.figure != AFTER_REST || run["rest_s"].as_u64().is_some_and(|rest| rest >= REST_SECONDS);
    let is_judged = rested && goal.is_for(run["scenario"].as_str()?, run["pace"].as_str()?);
    is_judged.then(|| aim(run, goal.figure, goal.bound)).flatten()
}

/// Returns the graph that came nearest to the time that it may take, or is farthest beyond it.
fn of_graphs(graphs: &Value) -> Option<Value> {
    let part = |run: &Value| run["difference_ms"].as_f64().unwrap_or_default() / run["allowed_ms"].as_f64().unwrap_or(1.0);
    let farthest = graphs.as_array()?.iter().max_by(|one, other| part(one).total_cmp(&part(other)))?;
    aim(farthest, "/difference_ms", Bound::AtMost(farthest["allowed_ms"].as_f64()?))
}

fn aim(run: &Value, figure: &str, bound: Bound) -> Option<Value> {
    let measured = run.pointer(figure)?.as_f64()?;
    // A run that did not succeed meets no goal.
    let failed = run["unfinished"].as_u64().unwrap_or_default() + run["refused"].as_u64().unwrap_or_default();
    let (bound, aim, is_within) = match bound {
        Bound::AtLeast(least) => ("at_least", least, measured >= least),
        Bound::AtMost(most) => ("at_most", most, measured <= most),
    };
    Some(json!({
        "scenario": run["scenario"], "pace": run["pace"], "figure": figure, "bound": bound, "aim": aim, "measured": measured,
        "failed": failed, "is_met": is_within && failed == 0,
    }))
}

/// Returns goals as a table for people.
pub(crate) fn table(aims: &[Value]) -> String {
    let rows = aims.iter().map(|aim| {
        let text = |of: &str| aim[of].as_str().unwrap_or_default().to_owned();
        let is_bytes = text("figure").ends_with("bytes");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
        let shown = |value: &Value| if is_bytes { bytes(value.as_f64().unwrap_or_default() as u64) } else { number(value) };
        let failed = if aim["failed"] == 0 { String::new() } else { format!("; {} did not succeed", aim["failed"]) };
        vec![
            describe(&text("scenario"), &text("pace")),
            named_figure(&text("figure")).to_owned(),
            format!("{} {}", text("bound").replace('_', " "), shown(&aim["aim"])),
            format!("{}{failed}", shown(&aim["measured"])),
            if aim["is_met"] == true { String::new() } else { "missed".to_owned() },
        ]
    });
    laid_out(["MEASURED", "FIGURE", "AIM", "RESULT", ""].map(str::to_owned).to_vec(), rows)
}

fn describe(scenario: &str, pace: &str) -> String {
    let what = match scenario.split_once(' ') {
        Some(("chain", count)) => format!("a chain of {count} no-ops"),
        Some(("items", count)) => format!("a step with {count} items, all at once"),
        Some(("steps", count)) => format!("{count} steps beside each other"),
        None if scenario == "workflow" => "three no-ops in a row".to_owned(),
        Some(_) | None => scenario.to_owned(),
    };
    format!("{what} ({pace})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_printed_next_to_the_measured_values() {
        let latency = |p50: f64, p99: f64| json!({ "p50_ms": p50, "p99_ms": p99, "max_ms": p99 });
        let run = |scenario: &str, pace: &str, per_second: f64, p50: f64, unfinished: u64| {
            json!({
                "scenario": scenario, "pace": pace, "finished_per_second": per_second, "refused": 0, "unfinished": unfinished,
                "answered": latency(p50, p50 * 2.0), "finished": latency(p50 / 2.0, p50),
            })
        };
        let mut call = run("http", "64 connections", 5_100.0, 6.0, 0);
        call["memory_rest_bytes"] = 30_000_000.into();
        call["ready_ms"] = 17.5.into();
        let rest = |seconds: u64, bytes: u64| json!({ "scenario": "ingest", "pace": "64 connections", "refused": 0, "rest_s": seconds, "memory_after_rest_bytes": bytes });
        let (rested, hurried) = (rest(300, 26_214_400), rest(3, 99_000_000));
        let graph = |name: &str, difference: f64| json!({ "scenario": name, "pace": "2 workers", "difference_ms": difference, "allowed_ms": 140.0, "over_aim": difference > 140.0 });
        let mut document = json!({
            "slow_disk_ms": null,
            "binary": { "scenario": "binary", "pace": "release build", "bytes": 39_000_000 },
            "runs": [
                run("rule", "64 connections", 7_000.0, 6.0, 0), call, rested, hurried,
                json!({ "scenario": "http", "pace": "1000/s", "called": latency(0.8, 6.6) }),
                json!({ "scenario": "rules 10", "pace": "64 connections", "judged_us": 20.5 }),
                json!({ "scenario": "rules 10000", "pace": "64 connections", "judged_us": 20.5 }),
                run("workflow", "64 connections", 6_234.5, 50.0, 0), run("workflow", "100/s", 100.0, 5.5, 0),
                run("chain 200", "1 connections", 2.5, 51.0, 0), run("items 500", "1 connections", 10.0, 8.0, 1),
            ],
            "workflow": {
                "graphs": [graph("graph hic", 30.0), graph("graph soy", 150.0)],
                "timers": { "scenario": "timers", "pace": "100000 pending", "memory_bytes": 180_500_000, "memory_after_start_bytes": 90, "ready_ms": 2_812.25 },
            },
            "backtest": { "scenario": "backtest", "pace": "1000000 events", "took_ms": 4_900.5 },
        });
        insta::assert_snapshot!(table(&aims(&document, "first").unwrap()), @r"
        MEASURED                                            FIGURE                         AIM                RESULT
        rule (64 connections)                               finished a second              at least 9000      7000                  missed
        http (64 connections)                               finished a second              at least 5000      5100
        http (64 connections)                               ready ms                       at most 45         17.5
        http (64 connections)                               memory bytes at rest           at most 25.0 MiB   28.6 MiB              missed
        ingest (64 connections)                             memory bytes at rest after it  at most 25.0 MiB   25.0 MiB
        http (1000/s)                                       call p99 ms                    at most 2          6.6                   missed
        rules 10000 (64 connections)                        judging µs an event            at most 10         20.5                  missed
        three no-ops in a row (64 connections)              finished a second              at least 6000      6234
        three no-ops in a row (100/s)                       answer p50 ms                  at most 6          5.5
        three no-ops in a row (100/s)                       answer p99 ms                  at most 25         11
        a chain of 200 no-ops (1 connections)               answer p50 ms                  at most 50         51                    missed
        a step with 500 items, all at once (1 connections)  answer p50 ms                  at most 25         8; 1 did not succeed  missed
        timers (100000 pending)                             memory bytes                   at most 190.7 MiB  172.1 MiB
        timers (100000 pending)                             memory bytes after a start     at most 190.7 MiB  90 B
        timers (100000 pending)                             ready ms                       at most 2000       2812                  missed
        backtest (1000000 events)                           took ms                        at most 5000       4900
        binary (release build)                              bytes of the file              at most 38.1 MiB   37.2 MiB
        graph soy (2 workers)                               beyond the schedule ms         at most 140        150                   missed
        ");
        document["slow_disk_ms"] = 5.into();
        assert!(aims(&document, "first").unwrap().is_empty());
        document["slow_disk_ms"] = Value::Null;
        document["database"] = true.into();
        assert!(aims(&document, "first").unwrap().is_empty());
        assert!(aims(&json!({ "log": {} }), "first").unwrap_err().contains("first"));
    }
}
