//! `ensue bench` as who measures meets it: each scenario for a second, in the form that the reference tells of.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Place, Printed};

fn fields(of: &Value) -> BTreeSet<String> {
    of.as_object().unwrap().keys().cloned().collect()
}

/// The fields that a section of the reference names in its table.
fn told(section: &str) -> BTreeSet<String> {
    let page = include_str!("../../docs/reference/bench.md");
    let section = page.split(&format!("\n## {section}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect()
}

/// Measures with these arguments, writes the document into a file of the place, and gives it.
fn measured(place: &Place, arguments: &[&str], file: &str) -> Value {
    let printed = Printed::by(&mut place.ensue(&[&["bench", "--seconds", "1", "--connections", "2", "-o", "json"], arguments].concat()));
    assert_eq!(printed.code, Some(0), "{printed:?}");
    std::fs::write(place.path().join(file), &printed.stdout).unwrap();
    serde_json::from_str(&printed.stdout).unwrap()
}

#[test]
fn each_scenario_gives_the_figures_of_the_reference_and_shares_of_the_limits() {
    let place = Place::new();
    let document = measured(&place, &["limits", "ingest", "rule", "http", "process", "api"], "first.json");
    assert_eq!(fields(&document["limits"]), told("Limits"));
    let positive = |value: &Value| value.as_f64().is_some_and(|figure| figure > 0.0);
    for (limit, figure) in document["limits"].as_object().unwrap() {
        assert!(positive(figure), "{limit}: {figure}");
    }
    let runs = document["runs"].as_array().unwrap();
    let scenarios: Vec<&str> = runs.iter().map(|run| run["scenario"].as_str().unwrap()).collect();
    assert_eq!(scenarios, ["ingest", "rule", "http", "process", "api"]);
    for run in runs {
        let scenario = run["scenario"].as_str().unwrap();
        assert_eq!(fields(run), told("Runs"), "{scenario}");
        assert_eq!(run["refused"], 0, "{run:#}");
        assert!(positive(&run["answered_per_second"]) && positive(&run["answered"]["p50_ms"]), "{run:#}");
        assert_eq!(positive(&run["finished_per_second"]), scenario != "ingest", "{run:#}");
        assert_eq!(run["called"].is_object(), scenario == "http", "{run:#}");
        assert_eq!(positive(&run["reads_per_second"]), scenario == "api", "{run:#}");
        assert!(run["share"]["handled"].is_number(), "{run:#}");
        assert_eq!(run["share"]["spawned"].is_number(), scenario == "process", "{run:#}");
    }

    let open = measured(&place, &["process", "--rate", "5"], "second.json");
    assert_eq!(open["runs"][0]["pace"], "5/s");
    let compared = Printed::by(&mut place.ensue(&["bench", "compare", "first.json", "first.json"]));
    assert_eq!(compared.code, Some(0), "{compared:?}");
    assert!(compared.stdout.contains("answered a second") && compared.stdout.contains("1.00"), "{}", compared.stdout);
    let compared = Printed::by(&mut place.ensue(&["bench", "compare", "first.json", "second.json"]));
    assert!(compared.stdout.contains("Only the second has process (5/s)."), "{}", compared.stdout);
}

#[test]
fn what_is_no_measurement_cannot_be_compared() {
    let place = Place::new();
    std::fs::write(place.path().join("other.json"), "{}").unwrap();
    let refused = Printed::by(&mut place.ensue(&["bench", "compare", "other.json", "missing.json"]));
    assert_eq!(refused.code, Some(6), "{refused:?}");
    assert!(refused.stderr.contains("`missing.json` cannot be read"), "{}", refused.stderr);
}
