//! The simulator's lists agree with the sources: the bugs it must find, and the rare states it must reach.

use std::collections::BTreeSet;

use crate::dependencies::metadata;
use crate::{CRATES, demand_none, demand_same, files, literals, read, running_sources, rust_sources};

/// The fewest bugs that must be found.
const MUTANTS_MIN: usize = 25;
/// The fewest rare states that must be reached.
const RARE_STATES_MIN: usize = 40;

/// Returns the text arguments of a macro or function.
fn called_with(text: &str, call: &str) -> Vec<String> {
    text.split(call).skip(1).filter_map(|rest| literals(rest.split(')').next()?).last().map(|name| (*name).to_owned())).collect()
}

/// Returns the name of a mark, starting at its opening bracket: the last text before the closing one.
fn marked_in(rest: &str) -> Option<String> {
    rest.split("\")").next()?.rsplit('"').next().map(str::to_owned)
}

#[test]
fn mutants_match_their_marks_in_the_code() {
    let list = read("tests/simulation/mutants.rs");
    let listed: BTreeSet<String> = list.split("mutant(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect();
    let placed: BTreeSet<String> = running_sources()
        .into_iter()
        .filter(|(path, _)| path != "engine/src/mutants.rs")
        .flat_map(|(_, text)| called_with(&text, "mutants::is("))
        .collect();
    assert!(listed.len() >= MUTANTS_MIN, "{} mutants are listed", listed.len());
    demand_same("the mutants:", ("tests/simulation/mutants.rs", &listed), ("the code", &placed));
}

#[test]
fn no_production_crate_enables_mutants() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let on = resolve.nodes.iter().filter(|node| node.features.iter().any(|feature| feature.as_str() == "mutants"));
    let mut findings: Vec<String> = on.map(|node| format!("{} has the feature by default", metadata[&node.id].name)).collect();
    for folder in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let lines = manifest.lines().filter(|line| !line.starts_with('#') && line.contains("mutants"));
        let allowed = [
            "mutants = []",
            "mutants = [\"ensue-engine/mutants\"]",
            "name = \"mutants\"",
            "path = \"src/bin/mutants.rs\"",
            "required-features = [\"mutants\"]",
        ];
        findings.extend(lines.filter(|line| !allowed.contains(line)).map(|line| format!("{folder}: {line}")));
    }
    demand_none(&findings, "mutants are for `cargo sim --mutants` alone:");
}

#[test]
fn deliberate_bug_is_planted_only_by_the_simulator() {
    let mut findings = Vec::new();
    for folder in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let lines = manifest.lines().filter(|line| !line.starts_with('#') && line.contains("bugs"));
        let allowed = match *folder {
            "expression" => "bugs = []",
            "tests" => "ensue-expression = { workspace = true, features = [\"bugs\"] }",
            _ => "",
        };
        findings.extend(lines.filter(|line| *line != allowed).map(|line| format!("{folder}: {line}")));
    }
    demand_none(&findings, "the feature `bugs` is for the simulator alone:");
    // Cargo builds a crate with the union of all requested features, so in CI all have the feature: the call
    // is what counts.
    let planted = rust_sources().into_iter().filter(|(_, text)| text.contains(concat!("plant", "()"))).map(|(path, _)| path).collect();
    let allowed = ["expression/src/bugs.rs", "tests/simulation/lib.rs"].map(str::to_owned).into();
    demand_same("who plants the bug on purpose:", ("the house", &allowed), ("the code", &planted));
}

#[test]
fn rare_states_match_their_marks_in_the_code() {
    let list = read("tests/simulation/sometimes.rs");
    let list = list.split("];").next().unwrap_or_default().to_owned();
    let (_, list) = list.split_once("NAMES: &[&str] = &[").expect("the list of rare states is there");
    let listed: BTreeSet<String> = literals(list).into_iter().map(str::to_owned).collect();
    let marked: BTreeSet<String> = files("tests/simulation", ".rs")
        .into_iter()
        .filter(|(path, _)| !path.ends_with("sometimes.rs"))
        .flat_map(|(_, text)| text.split("sometimes!(").skip(1).filter_map(marked_in).collect::<Vec<_>>())
        .collect();
    assert!(listed.len() >= RARE_STATES_MIN, "{} rare states are listed", listed.len());
    demand_same("the rare states:", ("tests/simulation/sometimes.rs", &listed), ("the simulator", &marked));
}
