//! The simulator's lists agree with the sources: the bugs it must find, and the rare states it must reach.

use std::collections::BTreeSet;

use ensue_mutants::{MUTANTS, patch};

use crate::{CRATES, demand_none, demand_same, files, literals, read, root, running_sources, rust_sources};

/// The fewest bugs that must be found.
const MUTANTS_MIN: usize = 25;
/// The fewest rare states that must be reached.
const RARE_STATES_MIN: usize = 40;

/// Returns the name of a mark, starting at its opening bracket: the last text before the closing one.
fn marked_in(rest: &str) -> Option<String> {
    rest.split("\")").next()?.rsplit('"').next().map(str::to_owned)
}

/// What a line that enables a bug contains.
const SEAM: &str = "mutants::is(";

#[test]
fn mutants_match_their_patches() {
    let patches = patch::read_all(&root()).expect("the patches can be read");
    let mut findings = Vec::new();
    for patch in &patches {
        match MUTANTS.iter().find(|mutant| patch::path_of(mutant.name) == patch.path) {
            None => findings.push(format!("{}: tests/mutants/src/lib.rs lists no bug of this name", patch.path)),
            Some(mutant) => {
                let seam = format!("{SEAM}\"{}\")", mutant.name);
                if !patch.added_lines().any(|line| line.contains(&seam)) {
                    findings.push(format!("{} does not add `{seam}`", patch.path));
                }
            }
        }
    }
    let has_patch = |name: &str| patches.iter().any(|patch| patch.path == patch::path_of(name));
    let without = MUTANTS.iter().map(|mutant| mutant.name).filter(|name| !has_patch(name));
    findings.extend(without.map(|name| format!("`{name}` has no patch {}", patch::path_of(name))));
    assert!(MUTANTS.len() >= MUTANTS_MIN, "{} mutants are listed", MUTANTS.len());
    demand_none(&findings, "each mutant has one patch:");
}

#[test]
fn each_mutant_applies_to_the_sources() {
    let patches = patch::read_all(&root()).expect("the patches can be read");
    let apply = |patches: &[patch::Patch]| patch::apply(&root(), patches).err().map(|error| format!("{error:#}"));
    let mut findings: Vec<String> = patches.iter().filter_map(|one| apply(std::slice::from_ref(one))).collect();
    if findings.is_empty() {
        findings.extend(apply(&patches));
    }
    demand_none(&findings, "write the lines of the patch as the source has them now:");
}

#[test]
fn product_sources_contain_no_mutant() {
    let seams = running_sources().into_iter().filter(|(_, text)| text.contains(SEAM));
    demand_none(&seams.map(|(path, _)| path).collect::<Vec<_>>(), "a mutant is planted by a patch in tests/mutants:");
}

#[test]
fn deliberate_bug_is_planted_only_by_the_simulator() {
    let mut findings = Vec::new();
    for folder in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let is_feature = |line: &&str| !line.starts_with('#') && !line.starts_with("description") && line.contains("bugs");
        let lines = manifest.lines().filter(is_feature);
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
    let allowed = ["expression/src/planted_bug.rs", "tests/simulation/lib.rs"].map(str::to_owned).into();
    demand_same("only the simulator plants the bug on purpose:", ("the house", &allowed), ("the code", &planted));
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
