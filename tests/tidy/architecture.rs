//! ARCHITECTURE.md: its table of crate dependencies agrees with cargo, and each invariant and promise names
//! its tests.

use std::collections::BTreeSet;

use cargo_metadata::DependencyKind;

use crate::dependencies::metadata;
use crate::{backticked_texts, demand_none, read, root, rows, section, test_names};

/// The fewest invariants that the table must have: fewer means that its shape has changed.
const INVARIANTS_MIN: usize = 12;
/// The fewest promises that docs/guarantees.md must make.
const PROMISES_MIN: usize = 20;
/// The fewest attacks that docs/security.md must list.
const ATTACKS_MIN: usize = 60;

/// The values of the column "must not use" with the crates that they mean. An empty list is checked by
/// another test or by a reviewer.
const MUST_NOT_USE: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("databases", &["rusqlite", "libsqlite3-sys", "sqlx", "tokio-postgres"]),
    ("domain logic", &[]),
    ("environment", &[]),
    ("files", &["tempfile", "rustix"]),
    ("HTTP", &["axum", "hyper", "hyper-util", "reqwest", "tower"]),
    ("HTTP routes", &["axum", "hyper", "hyper-util", "tower"]),
    ("HTTP server", &["axum", "hyper", "hyper-util", "tower"]),
    ("I/O", &["rustix", "tempfile", "tokio"]),
    ("network", &["axum", "hyper", "reqwest", "rustls"]),
    ("randomness", &["getrandom", "rand"]),
    ("runners", &["ensue-executor"]),
    ("runtime", &["tokio"]),
    ("unordered maps", &["ahash", "hashbrown"]),
];

/// A row of the table "Who may know whom".
struct Wall {
    folder: String,
    name: String,
    may: BTreeSet<String>,
    must_not: Vec<String>,
}

fn walls() -> Vec<Wall> {
    let text = read("ARCHITECTURE.md");
    let cell = |cell: &str| cell.trim_matches('`').to_owned();
    let list = |cell: &str| -> Vec<String> { cell.split(',').map(|word| word.trim().to_owned()).filter(|word| word != "—").collect() };
    let walls: Vec<Wall> = rows(section(&text, "## Who may know whom"))
        .into_iter()
        .map(|row| Wall {
            folder: cell(&row[0]),
            name: cell(&row[1]),
            may: list(&row[3]).iter().map(|folder| format!("ensue-{}", folder.trim_matches('`'))).collect(),
            must_not: list(&row[4]),
        })
        .collect();
    assert!(walls.len() >= 10, "the table of ARCHITECTURE.md has {} rows; its shape has changed", walls.len());
    walls
}

#[test]
fn each_crate_depends_on_exactly_what_the_table_says() {
    let walls = walls();
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for package in metadata().workspace_packages() {
        let name = package.name.to_string();
        let folder = package.manifest_path.parent().and_then(|folder| folder.strip_prefix(root()).ok()).map(ToString::to_string);
        named.insert(name.clone());
        let Some(wall) = walls.iter().find(|wall| wall.name == name) else {
            if name != "ensue-simulation" {
                findings.push(format!("{name} has no row"));
            }
            continue;
        };
        if folder.as_ref() != Some(&wall.folder) {
            findings.push(format!("{name} lies in `{}`, the table says `{}`", folder.unwrap_or_default(), wall.folder));
        }
        let is_real = |dependency: &&cargo_metadata::Dependency| dependency.kind == DependencyKind::Normal;
        let all: BTreeSet<String> = package.dependencies.iter().filter(is_real).map(|dependency| dependency.name.clone()).collect();
        let real: BTreeSet<String> = all.iter().filter(|dependency| dependency.starts_with("ensue")).cloned().collect();
        findings.extend(real.difference(&wall.may).map(|other| format!("{name} depends on {other}, which the table does not allow")));
        findings.extend(wall.may.difference(&real).map(|other| format!("the table allows {name} to depend on {other}, which it does not")));
        for word in &wall.must_not {
            let Some((_, banned)) = MUST_NOT_USE.iter().find(|(known, _)| known == word) else {
                findings.push(format!("{name}: nobody knows what `{word}` forbids; add it to MUST_NOT_USE"));
                continue;
            };
            findings.extend(banned.iter().filter(|banned| all.contains(**banned)).map(|banned| format!("{name} uses {banned} ({word})")));
        }
    }
    findings.extend(walls.iter().filter(|wall| !named.contains(&wall.name)).map(|wall| format!("there is no crate {}", wall.name)));
    let said: BTreeSet<&str> = walls.iter().flat_map(|wall| &wall.must_not).map(String::as_str).collect();
    let unsaid = MUST_NOT_USE.iter().filter(|(word, _)| !said.contains(word));
    findings.extend(unsaid.map(|(word, _)| format!("MUST_NOT_USE knows `{word}`, which no row says")));
    demand_none(&findings, "the table \"Who may know whom\" of ARCHITECTURE.md and the crates must agree:");
}

#[test]
fn each_invariant_names_existing_tests() {
    let text = read("docs/guarantees.md");
    let invariants = rows(section(&text, "## Invariants"));
    assert!(invariants.len() >= INVARIANTS_MIN, "the table of invariants has {} rows; its shape has changed", invariants.len());
    demand_none(&without_tests(&invariants), "an invariant has a test that fails when it is broken:");
}

#[test]
fn each_promise_names_existing_tests() {
    let text = read("docs/guarantees.md");
    let promises = rows(&text);
    assert!(promises.len() >= PROMISES_MIN, "the tables of promises have {} rows; their shape has changed", promises.len());
    demand_none(&without_tests(&promises), "a promise has a test that fails when it is broken:");
}

#[test]
fn each_attack_names_existing_tests() {
    let attacks = rows(&read("docs/security.md"));
    assert!(attacks.len() >= ATTACKS_MIN, "the tables of attacks have {} rows; their shape has changed", attacks.len());
    let (mut named, mut findings) = (Vec::new(), Vec::new());
    for row in attacks {
        // Some rows have the tests of the row above, and some the file of a test before its name.
        let cell = row.last().map_or("", String::as_str);
        let files: Vec<&str> = backticked_texts(cell).into_iter().filter(|name| name.contains('/')).collect();
        findings.extend(files.iter().filter(|file| !root().join(file).exists()).map(|file| format!("there is no file `{file}`")));
        if !cell.contains("the same") {
            let tests = files.iter().fold(cell.to_owned(), |cell, file| cell.replace(&format!("`{file}`"), ""));
            named.push([&row[..row.len() - 1], &[tests]].concat());
        }
    }
    findings.extend(without_tests(&named));
    demand_none(&findings, "an attack has a test that fails when it succeeds:");
}

/// Returns the rows that name no test, or an unknown one, in their last cell.
fn without_tests(rows: &[Vec<String>]) -> Vec<String> {
    let tests = test_names();
    let mut findings = Vec::new();
    for row in rows {
        let named = row.last().map(|cell| backticked_texts(cell)).unwrap_or_default();
        if named.is_empty() {
            findings.push(format!("no test is named: {}", row[0]));
        }
        findings.extend(named.into_iter().filter(|name| !tests.contains(*name)).map(|name| format!("there is no test `{name}`")));
    }
    findings
}

/// The most bytes of ARCHITECTURE.md: it is a map, and a map is read whole.
const MAP_BYTES_MAX: usize = 8 * 1024;

#[test]
fn the_map_is_short() {
    let bytes = read("ARCHITECTURE.md").len();
    assert!(bytes <= MAP_BYTES_MAX, "ARCHITECTURE.md has {bytes} bytes, {MAP_BYTES_MAX} is the most: move what is no map to docs/");
}
