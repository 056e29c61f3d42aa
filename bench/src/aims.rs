//! Compares the performance goals for workflows with the measurements.
//!
//! This module measures nothing itself.

use serde_json::Value;

use crate::figures::number;
use crate::table::laid_out;

/// How many workflows are requested per second when their latency is measured.
pub(crate) const STEADY_RATE: f64 = 100.0;

/// Returns the goals as a table for people, with those that were measured: by `runs`, graphs and timers.
pub(crate) fn table(document: &Value) -> String {
    let rows = aims(document).into_iter().map(|aim| {
        let mark = if aim.is_met { "" } else { "missed" };
        vec![aim.what, aim.aim, aim.measured, mark.to_owned()]
    });
    laid_out(["WORKFLOWS", "AIM", "MEASURED", ""].map(str::to_owned).to_vec(), rows)
}

struct Aim {
    what: String,
    aim: String,
    measured: String,
    is_met: bool,
}

fn aims(document: &Value) -> Vec<Aim> {
    let runs = document["runs"].as_array().into_iter().flatten().filter_map(of_run);
    let graphs = of_graphs(&document["workflow"]["graphs"]);
    runs.chain(graphs).chain(of_timers(&document["workflow"]["timers"])).collect()
}

fn of_run(run: &Value) -> Option<Aim> {
    let (scenario, pace) = (run["scenario"].as_str()?, run["pace"].as_str()?);
    let (p50, p99) = (run["answered"]["p50_ms"].as_f64(), run["answered"]["p99_ms"].as_f64());
    let at_most = |figure: Option<f64>, most| figure.is_some_and(|figure| figure <= most);
    let latency = |of: &Value| format!("p50 {}, p99 {} ms", number(&of["p50_ms"]), number(&of["p99_ms"]));
    let (aim, measured, is_met) = match scenario.split(' ').next()? {
        "workflow" if pace.starts_with(&format!("{STEADY_RATE}/s")) => {
            let measured = format!("{}; in the log {}", latency(&run["answered"]), latency(&run["finished"]));
            ("p50 6, p99 25 ms", measured, at_most(p50, 6.0) && at_most(p99, 25.0))
        }
        "workflow" if pace.contains("connections") => {
            let per_second = run["finished_per_second"].as_f64()?;
            ("1000 a second", format!("{per_second:.0} a second"), per_second >= 1_000.0)
        }
        "chain" | "items" | "steps" => ("500 ms", latency(&run["answered"]), at_most(p50, 500.0)),
        _ => return None,
    };
    let what = format!("{} ({pace})", told(scenario));
    // A run that did not succeed meets no goal.
    let unfinished = run["unfinished"].as_u64().unwrap_or_default() + run["refused"].as_u64().unwrap_or_default();
    let measured = if unfinished == 0 { measured } else { format!("{measured}; {unfinished} did not succeed") };
    Some(Aim { what, aim: aim.to_owned(), measured, is_met: is_met && unfinished == 0 })
}

fn told(scenario: &str) -> String {
    match scenario.split_once(' ') {
        Some(("chain", count)) => format!("a chain of {count} no-ops"),
        Some(("items", count)) => format!("a step with {count} items, all at once"),
        Some(("steps", count)) => format!("{count} steps beside each other"),
        _ => "three no-ops in a row".to_owned(),
    }
}

fn of_graphs(graphs: &Value) -> Option<Aim> {
    let graphs = graphs.as_array()?;
    let over = graphs.iter().filter(|run| run["over_aim"] == true).count();
    let farthest = graphs.iter().max_by(|one, other| {
        let part = |run: &Value| run["difference_ms"].as_f64().unwrap_or_default() / run["allowed_ms"].as_f64().unwrap_or(1.0);
        part(one).total_cmp(&part(other))
    })?;
    let name = |of: &str| farthest[of].as_str().unwrap_or_default().to_owned();
    let measured = format!(
        "{over} of {} over it; most in {} ({}): {} ms of {}",
        graphs.len(),
        name("scenario"),
        name("pace"),
        number(&farthest["difference_ms"]),
        number(&farthest["allowed_ms"]),
    );
    let aim = "schedule + 3 % + 50 ms, sleeping + 1 ms a step".to_owned();
    Some(Aim { what: "graphs".to_owned(), aim, measured, is_met: over == 0 })
}

fn of_timers(timers: &Value) -> Option<Aim> {
    const MEMORY_BYTES: u64 = 200_000_000;
    const READY_MS: f64 = 2_000.0;
    let memory = timers["memory_bytes"].as_u64()?.max(timers["memory_after_start_bytes"].as_u64()?);
    let ready = timers["ready_ms"].as_f64()?;
    Some(Aim {
        what: format!("timers ({})", timers["pace"].as_str()?),
        aim: "200 MB, ready in 2000 ms".to_owned(),
        measured: format!("{} MB, ready in {ready:.0} ms", memory.div_ceil(1_000_000)),
        is_met: memory <= MEMORY_BYTES && ready <= READY_MS,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let graph = |name: &str, difference: f64| json!({ "scenario": name, "pace": "2 workers", "difference_ms": difference, "allowed_ms": 140.0, "over_aim": difference > 140.0 });
        let document = json!({
            "runs": [
                run("rule", "64 connections", 7_000.0, 6.0, 0), run("workflow", "64 connections", 1_234.5, 50.0, 0),
                run("workflow", "100/s", 100.0, 5.5, 0), run("chain 200", "1 connections", 2.5, 512.0, 0),
                run("items 500", "1 connections", 10.0, 80.0, 1),
            ],
            "workflow": {
                "graphs": [graph("graph hic", 30.0), graph("graph soy", 150.0)],
                "timers": { "pace": "100000 pending", "memory_bytes": 180_500_000, "memory_after_start_bytes": 90, "ready_ms": 812.25 },
            },
        });
        insta::assert_snapshot!(table(&document), @r"
        WORKFLOWS                                           AIM                                             MEASURED
        three no-ops in a row (64 connections)              1000 a second                                   1234 a second
        three no-ops in a row (100/s)                       p50 6, p99 25 ms                                p50 5.5, p99 11 ms; in the log p50 2.75, p99 5.5 ms
        a chain of 200 no-ops (1 connections)               500 ms                                          p50 512, p99 1024 ms                                          missed
        a step with 500 items, all at once (1 connections)  500 ms                                          p50 80, p99 160 ms; 1 did not succeed                         missed
        graphs                                              schedule + 3 % + 50 ms, sleeping + 1 ms a step  1 of 2 over it; most in graph soy (2 workers): 150 ms of 140  missed
        timers (100000 pending)                             200 MB, ready in 2000 ms                        181 MB, ready in 812 ms
        ");
    }
}
