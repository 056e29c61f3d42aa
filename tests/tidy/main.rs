//! The house's rules as tests. Each rule says in its failure what to do.

mod dependencies;
mod documents;
mod sources;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// The crates of the house, by folder.
const CRATES: &[&str] = &["expression", "engine", "views", "packs", "store", "sensors", "executor", "api", "node", "cli", "tests"];

/// The crates that decide and touch nothing.
const PURE_CRATES: &[&str] = &["expression", "engine", "views"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Gives the files below a folder of the workspace whose names end so, as path from the root and text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root().join(folder), ending, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            collect(&path, ending, found);
        } else if name.ends_with(ending)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let shown = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
            found.push((shown, text));
        }
    }
}

/// Gives all Rust sources of the house.
fn rust_sources() -> Vec<(String, String)> {
    CRATES.iter().flat_map(|folder| files(folder, ".rs")).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path} cannot be read: {error}"))
}

/// Fails with all findings at once.
#[track_caller]
fn demand_none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}
