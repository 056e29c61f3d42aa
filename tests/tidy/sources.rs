//! What stands in the sources: module docs, purity, no buckets, nothing of anybody's machine.

use crate::{PURE_CRATES, demand_none, files, rust_sources};

/// Names of folders and files that say nothing of what is in them.
const BUCKETS: &[&str] = &["common", "util", "utils", "helper", "helpers", "misc", "manager", "types_common"];

/// What the pure crates' own code may not name: a path and what to do instead.
const IMPURE_PATHS: &[(&str, &str)] = &[
    ("std::time::Instant", "time enters as a Moment"),
    ("std::time::SystemTime", "time enters as a Moment"),
    ("Utc::now", "time enters as a Moment"),
    ("std::fs", "the edges touch files"),
    ("std::net", "the edges touch the network"),
    ("std::env", "the edges read the environment"),
    ("std::thread", "the edges start threads"),
    ("std::process", "the edges start processes"),
    ("std::sync::Mutex", "the core takes no lock"),
    ("std::sync::RwLock", "the core takes no lock"),
    ("HashMap", "its order differs between runs; use BTreeMap"),
    ("HashSet", "its order differs between runs; use BTreeSet"),
    ("async fn", "async only where there is I/O"),
    ("Uuid::now_v7", "ids enter with a Moment or are derived"),
    ("Uuid::new_v4", "ids enter with a Moment or are derived"),
];

/// Endings of variable parts of names that name nothing.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Util", "Utils"];

#[test]
fn each_source_says_what_it_holds() {
    let findings: Vec<String> =
        rust_sources().into_iter().filter(|(_, text)| !text.trim_start().starts_with("//!")).map(|(path, _)| path).collect();
    demand_none(&findings, "each file begins with a module doc (`//! …`):");
}

#[test]
fn the_pure_crates_name_no_clock_no_disk_and_no_lock() {
    let mut findings = Vec::new();
    for folder in PURE_CRATES {
        for (path, text) in files(&format!("{folder}/src"), ".rs") {
            let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
            for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                for (banned, instead) in IMPURE_PATHS.iter().filter(|(banned, _)| line.contains(banned)) {
                    findings.push(format!("{path}:{}: `{banned}`: {instead}", number + 1));
                }
            }
        }
    }
    demand_none(&findings, "the pure crates touch nothing:");
}

#[test]
fn no_file_is_a_bucket() {
    let mut findings = Vec::new();
    for (path, _) in rust_sources() {
        let parts = path.trim_end_matches(".rs").split('/');
        findings.extend(parts.filter(|part| BUCKETS.contains(part)).map(|part| format!("{path}: `{part}` names nothing")));
    }
    demand_none(&findings, "a file is named after what it holds:");
}

#[test]
fn no_type_is_named_after_nothing() {
    let mut findings = Vec::new();
    for (path, text) in rust_sources().into_iter().filter(|(path, _)| !path.starts_with("tests/")) {
        for (number, line) in text.lines().enumerate() {
            let Some((_, rest)) = line.split_once("struct ").or_else(|| line.split_once("trait ")).or_else(|| line.split_once("enum ")) else {
                continue;
            };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            if EMPTY_NAMES.iter().any(|empty| name.ends_with(empty)) && !line.trim_start().starts_with("//") {
                findings.push(format!("{path}:{}: `{name}`", number + 1));
            }
        }
    }
    demand_none(&findings, "no Manager, Helper or Util: say what it does:");
}

#[test]
fn nothing_is_left_to_be_done_in_the_sources() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimpl", "emented!(")];
    let mut findings = Vec::new();
    for (path, text) in rust_sources() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| marks.iter().any(|mark| line.contains(mark))) {
            findings.push(format!("{path}:{}: {}", number + 1, line.trim()));
        }
    }
    demand_none(&findings, "what is not done stands in docs/roadmap.md:");
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let marks = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/home/", "user")];
    let mut findings = Vec::new();
    for ending in [".rs", ".md", ".toml", ".yaml", ".yml", ".json", ".sh", ".lock"] {
        for (path, text) in files("", ending) {
            if marks.iter().any(|mark| text.contains(mark)) {
                findings.push(path);
            }
        }
    }
    demand_none(&findings, "no path of anybody's machine stands in the project:");
}
