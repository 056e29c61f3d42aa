//! Who may know whom: the table of ARCHITECTURE.md against what cargo says.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::{demand_none, read, root};

/// What no pure crate may draw in, however far away.
const IMPURE: &[&str] = &[
    "ahash", "async-std", "axum", "fastrand", "getrandom", "hyper", "mio", "rand", "reqwest", "rusqlite", "rustls", "socket2", "sqlx",
    "tokio",
];

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).other_options(vec!["--locked".to_owned(), "--offline".to_owned()]);
    command.exec().expect("cargo metadata reads the workspace")
}

/// The table under "Who may know whom": crate → the workspace crates it may depend on.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("ARCHITECTURE.md");
    let section = text.split("## Who may know whom").nth(1).expect("ARCHITECTURE.md has the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut table = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[2].trim_matches('`').to_owned();
        let may = cells[4].split([',', ' ']).map(|cell| cell.trim().trim_matches('`')).filter(|cell| !cell.is_empty() && *cell != "—");
        table.insert(name, may.map(|folder| format!("ensue-{folder}")).collect());
    }
    assert!(table.len() >= 10, "the table of ARCHITECTURE.md has {} rows; its shape has changed", table.len());
    table
}

#[test]
fn each_crate_depends_on_exactly_what_the_table_says() {
    let metadata = metadata();
    let allowed = allowed();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.to_string();
        let Some(may) = allowed.get(&name) else {
            if name != "ensue-tests" {
                findings.push(format!("{name} has no row"));
            }
            continue;
        };
        let real: BTreeSet<String> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal && dependency.name.starts_with("ensue"))
            .map(|dependency| dependency.name.clone())
            .collect();
        findings.extend(real.difference(may).map(|other| format!("{name} depends on {other}, which the table does not allow")));
        findings.extend(may.difference(&real).map(|other| format!("the table allows {name} to depend on {other}, which it does not")));
    }
    demand_none(&findings, "the table \"Who may know whom\" of ARCHITECTURE.md and the crates must agree:");
}

#[test]
fn the_pure_crates_draw_in_no_runtime_no_driver_no_network_and_no_randomness() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let name_of = |id: &PackageId| metadata[id].name.to_string();
    let mut findings = Vec::new();
    for pure in crate::PURE_CRATES {
        let start = metadata.workspace_packages().into_iter().find(|package| package.name == format!("ensue-{pure}"));
        let mut pending = vec![start.expect("the crate is there").id.clone()];
        let mut seen = BTreeSet::new();
        while let Some(id) = pending.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            if IMPURE.contains(&name_of(&id).as_str()) {
                findings.push(format!("ensue-{pure} draws in {}", name_of(&id)));
            }
            let node = resolve.nodes.iter().find(|node| node.id == id).expect("each package is resolved");
            for dependency in &node.deps {
                let is_normal = dependency.dep_kinds.iter().any(|kind| {
                    kind.kind == DependencyKind::Normal && kind.target.as_ref().is_none_or(|target| !target.to_string().contains("wasm"))
                });
                if is_normal {
                    pending.push(dependency.pkg.clone());
                }
            }
        }
    }
    demand_none(&findings, "the pure crates decide and touch nothing:");
}

#[test]
fn no_crate_switches_on_json_features_that_change_what_is_read() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let json = resolve.nodes.iter().filter(|node| metadata[&node.id].name == "serde_json");
    let mut findings = Vec::new();
    for node in json {
        for feature in &node.features {
            if ["preserve_order", "arbitrary_precision"].contains(&feature.to_string().as_str()) {
                findings.push(format!("serde_json/{feature} is on"));
            }
        }
        let has_round_trip = node.features.iter().any(|feature| feature.to_string() == "float_roundtrip");
        if !has_round_trip {
            findings.push("serde_json/float_roundtrip is off: 1.38e-23 would be read wrongly".to_owned());
        }
    }
    demand_none(&findings, "what JSON means does not depend on who else uses the parser:");
}

#[test]
fn each_outside_crate_has_its_reason_and_each_reason_its_crate() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the manifest has the section");
    let section = section.split("\n[").next().unwrap_or(section);
    let named = section.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim()).filter(|name| !name.starts_with("ensue-"));
    let crates: BTreeSet<&str> = named.collect();
    let document = read("docs/dependencies.md");
    let taken = document.split("## Not taken").next().unwrap_or(&document);
    let reasons: BTreeSet<&str> =
        taken.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| line.split('`').next()).collect();
    let mut findings: Vec<String> = crates.difference(&reasons).map(|name| format!("{name} has no reason")).collect();
    findings.extend(reasons.difference(&crates).map(|name| format!("{name} has a reason and is not used")));
    demand_none(&findings, "docs/dependencies.md says why each crate is there:");
}

#[test]
fn each_crate_uses_what_its_manifest_names() {
    let mut findings = Vec::new();
    for folder in crate::CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let sources: String = crate::files(folder, ".rs").into_iter().map(|(_, text)| text).collect();
        let entries = manifest.lines().filter_map(|line| line.split_once(" = {")).map(|(name, _)| name.trim());
        for name in entries {
            let path = name.replace('-', "_");
            if !sources.contains(&path) {
                findings.push(format!("{folder} names {name} and does not use it"));
            }
        }
    }
    demand_none(&findings, "a manifest names what its crate uses:");
}
