//! Third-party crates: each has its reason, each is used, and none is used where it must not be.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::OnceLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::{CRATES, PURE_CRATES, backticked_texts, demand_none, demand_same, files, read, root, rows};

/// Crates that no pure crate may depend on, even indirectly: runtimes, drivers, networks, randomness,
/// unordered maps.
const IMPURE: &[&str] = &[
    "ahash",
    "async-std",
    "axum",
    "crossbeam",
    "dashmap",
    "fastrand",
    "getrandom",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "parking_lot",
    "rand",
    "rand_core",
    "rayon",
    "reqwest",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "tempfile",
    "tokio",
    "tokio-postgres",
    "ureq",
];

/// Returns cargo's metadata of the workspace on this machine. It is read offline: the dependencies of the
/// tests are already fetched.
pub(crate) fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        let options = ["--locked", "--offline", "--filter-platform", &host()].map(str::to_owned).to_vec();
        let mut command = MetadataCommand::new();
        command.manifest_path(root().join("Cargo.toml")).other_options(options);
        command.exec().expect("cargo metadata reads the workspace")
    })
}

fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let about = Command::new(rustc).arg("-vV").output().expect("rustc says what it is");
    let about = String::from_utf8_lossy(&about.stdout).into_owned();
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

/// The third-party crates in the table `[workspace.dependencies]`.
fn table() -> BTreeSet<String> {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the manifest has the section");
    let section = section.split("\n[").next().unwrap_or(section);
    let named = section.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned());
    named.filter(|name| !name.starts_with("ensue-")).collect()
}

/// A line of a crate's manifest that names a dependency.
struct NamedDependency {
    name: String,
    is_for_tests: bool,
}

fn named_by(folder: &str) -> Vec<NamedDependency> {
    let mut named = Vec::new();
    let mut section = String::new();
    for line in read(&format!("{folder}/Cargo.toml")).lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once(" = ")
        {
            named.push(NamedDependency { name: name.trim().to_owned(), is_for_tests: section == "[dev-dependencies]" });
        }
    }
    named
}

/// Returns true if a Rust text names the crate in a path.
fn names(text: &str, name: &str) -> bool {
    let path = name.replace('-', "_");
    text.match_indices(&path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = &text[at + path.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') && (after.starts_with("::") || after.starts_with(" as "))
    })
}

#[test]
fn pure_crates_depend_on_no_runtime_driver_network_or_randomness() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let mut findings = Vec::new();
    for pure in PURE_CRATES {
        let start = metadata.workspace_packages().into_iter().find(|package| package.name == format!("ensue-{pure}"));
        let mut pending = vec![start.expect("the crate is there").id.clone()];
        let mut seen: BTreeSet<PackageId> = BTreeSet::new();
        while let Some(id) = pending.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let name = metadata[&id].name.to_string();
            if IMPURE.contains(&name.as_str()) {
                findings.push(format!("ensue-{pure} draws in {name}"));
            }
            let node = resolve.nodes.iter().find(|node| node.id == id).expect("each package is resolved");
            let real = node.deps.iter().filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
            pending.extend(real.map(|dependency| dependency.pkg.clone()));
        }
        assert!(seen.len() > 3, "ensue-{pure} seems to depend on nothing; what cargo says has changed its shape");
    }
    demand_none(&findings, "the pure crates decide and touch nothing:");
}

#[test]
fn no_crate_enables_json_features_that_change_parsing() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let json: Vec<_> = resolve.nodes.iter().filter(|node| metadata[&node.id].name == "serde_json").collect();
    assert!(!json.is_empty(), "serde_json is not among the crates; what cargo says has changed its shape");
    let mut findings = Vec::new();
    for node in json {
        let features: BTreeSet<String> = node.features.iter().map(ToString::to_string).collect();
        for feature in ["preserve_order", "arbitrary_precision"] {
            if features.contains(feature) {
                findings.push(format!("serde_json/{feature} is on"));
            }
        }
        if !features.contains("float_roundtrip") {
            findings.push("serde_json/float_roundtrip is off: 1.38e-23 would be read wrongly".to_owned());
        }
    }
    demand_none(&findings, "what JSON means does not depend on who else uses the parser:");
}

#[test]
fn third_party_crates_match_the_documented_reasons() {
    let document = read("docs/dependencies.md");
    let (taken, not_taken) = document.split_once("\n## Not taken\n").expect("docs/dependencies.md has the part `Not taken`");
    let first = |row: &Vec<String>| backticked_texts(&row[0]).first().map(|name| (*name).to_owned()).unwrap_or_default();
    let reasons: BTreeSet<String> = rows(taken).iter().map(first).collect();
    demand_same("docs/dependencies.md says why each crate is there:", ("Cargo.toml", &table()), ("docs/dependencies.md", &reasons));
    let refused: BTreeSet<String> = rows(not_taken).iter().flat_map(|row| backticked_texts(&row[0])).map(str::to_owned).collect();
    assert!(refused.len() >= 4, "the crates that were not taken are missing from docs/dependencies.md");
    let findings: Vec<String> = refused.intersection(&table()).map(|name| format!("`{name}` is not taken, and taken")).collect();
    demand_none(&findings, "a crate is taken or not:");
}

#[test]
fn each_crate_of_the_workspace_table_is_used() {
    let used: BTreeSet<String> = CRATES.iter().flat_map(|folder| named_by(folder)).map(|named| named.name).collect();
    let unused: Vec<String> = table().difference(&used).cloned().collect();
    demand_none(&unused, "[workspace.dependencies] names only what is used:");
}

#[test]
fn each_crate_uses_the_dependencies_of_its_manifest() {
    let mut findings = Vec::new();
    for folder in CRATES {
        let mut sources = files(folder, ".rs");
        if *folder == "tests" {
            // A test of it runs the checks of the fuzzers.
            sources.extend(files("fuzz/checks", ".rs"));
        }
        // The library of `tests` is the simulator, which has its own folder.
        let inside = [format!("{folder}/src/"), "tests/simulation/".to_owned()];
        for NamedDependency { name, is_for_tests } in named_by(folder) {
            let is_used = sources
                .iter()
                .filter(|(path, _)| is_for_tests || inside.iter().any(|inside| path.starts_with(inside)))
                .any(|(_, text)| names(text, &name));
            if !is_used {
                let part = if is_for_tests { "its tests" } else { "its sources" };
                findings.push(format!("{folder} names {name} and does not use it in {part}"));
            }
        }
    }
    demand_none(&findings, "a manifest names what its crate uses, and for tests what only they use:");
}

#[test]
fn each_crate_inherits_its_versions_from_the_workspace_table() {
    let mut findings = Vec::new();
    for folder in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let lines =
            manifest.lines().filter(|line| line.contains("version = \"") || line.contains("git = ") || line.contains("path = \".."));
        findings.extend(lines.map(|line| format!("{folder}: {line}")));
    }
    demand_none(&findings, "declare versions in the root's [workspace.dependencies]; a crate writes `{ workspace = true }`:");
}
