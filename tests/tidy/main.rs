//! The rules of this repository as tests. Each failure says what to do.
//!
//! Nothing is built here and no node is started: the tests read the files as they are, and ask cargo for the
//! dependencies.

mod architecture;
mod dependencies;
mod documents;
mod gate;
mod names;
mod phrases;
mod prose;
mod reference;
mod rooms;
mod simulation;
mod sources;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates of the house, by folder.
const CRATES: &[&str] = &[
    "expression",
    "derive",
    "engine",
    "content",
    "views",
    "packs",
    "rehearsal",
    "store",
    "postgres",
    "objects",
    "sensors",
    "connectors",
    "executor",
    "login",
    "manual",
    "page",
    "api",
    "node",
    "bench",
    "cli",
    "tests",
    "tests/disk",
    "tests/mutants",
    "tests/support",
    "tests/tidy",
    "tests/verify",
];

/// The crates that decide and touch nothing outside.
const PURE_CRATES: &[&str] = &["expression", "engine", "views"];

/// Generated folders, and those of git.
const NOT_OURS: &[&str] = &["target", ".git", "node_modules", "ensue-data", "proptest-regressions"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in the workspace").to_owned()
}

/// Returns the files below a folder of the workspace whose names have this ending, as path from the root and
/// text.
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
        if NOT_OURS.contains(&name.as_str()) {
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

/// Returns all Rust sources of this repository.
fn rust_sources() -> Vec<(String, String)> {
    CRATES.iter().flat_map(|folder| files(folder, ".rs")).collect()
}

/// Returns the Rust sources of the product: without tests, and each file only up to its tests.
fn running_sources() -> Vec<(String, String)> {
    let before_tests = |text: String| text.split("#[cfg(test)]\nmod tests {").next().map(str::to_owned).unwrap_or_default();
    rust_sources().into_iter().filter(|(path, _)| !is_test_file(path)).map(|(path, text)| (path, before_tests(text))).collect()
}

/// Returns true for a file that only tests need.
fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Returns the documents: those of `docs` and `examples`, and those in the root.
fn documents() -> Vec<(String, String)> {
    let mut documents = files("docs", ".md");
    documents.extend(files("examples", ".md"));
    for name in ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"] {
        documents.push((name.to_owned(), read(name)));
    }
    documents
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path} cannot be read: {error}"))
}

/// Returns the part of a document under a heading, up to the next heading of the same depth.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let depth = heading.chars().take_while(|c| *c == '#').count();
    let next = format!("\n{} ", "#".repeat(depth));
    let begun = format!("\n{heading}\n");
    let (_, rest) = document.split_once(&begun).unwrap_or_else(|| panic!("there is no heading `{heading}`"));
    rest.split(&next).next().unwrap_or(rest)
}

/// Returns the rows of the tables in a text, each as its cells, without header rows and rulers.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_ruler = |line: &str| line.starts_with('|') && line.contains("---") && line.chars().all(|c| matches!(c, '|' | '-' | ' ' | ':'));
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let is_head = lines.get(at + 1).is_some_and(|next| is_ruler(next));
        if line.starts_with('|') && !is_head && !is_ruler(line) {
            // A bar inside a cell is written `\|`.
            let inner = line.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{1}");
            rows.push(inner.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect());
        }
    }
    rows
}

/// Returns the texts in backticks.
fn backticked_texts(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the code in a document: the texts in backticks and the lines of its code blocks.
fn code_of(document: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut is_fenced = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced || line.starts_with("    ") {
            code.push(line.trim().to_owned());
        } else {
            code.extend(backticked_texts(line).into_iter().map(str::to_owned));
        }
    }
    code
}

/// Returns the string literals of a Rust text.
fn literals(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// Returns the names of all tests of this repository: functions with the attribute, and the cases of lists
/// that generate tests.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in rust_sources() {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                let function = lines[at + 1..].iter().take(6).find_map(|line| line.split_once("fn ").map(|(_, rest)| rest));
                names.extend(function.and_then(|rest| rest.split('(').next()).map(str::to_owned));
            }
            if line.starts_with("on_every_") && line.ends_with("! {") {
                let cases = lines[at + 1..].iter().take_while(|line| **line != "}");
                names.extend(cases.map(|case| case.trim_end_matches(',').to_owned()));
            }
        }
    }
    names
}

/// Fails with all findings at once.
#[track_caller]
fn demand_none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}

/// Fails if two lists differ that must be the same.
#[track_caller]
fn demand_same(rule: &str, left: (&str, &BTreeSet<String>), right: (&str, &BTreeSet<String>)) {
    let beyond = |one: (&str, &BTreeSet<String>), other: (&str, &BTreeSet<String>)| -> Vec<String> {
        one.1.difference(other.1).map(|name| format!("`{name}`: {} has it, {} does not", one.0, other.0)).collect()
    };
    let mut findings = beyond(left, right);
    findings.extend(beyond(right, left));
    demand_none(&findings, rule);
}
