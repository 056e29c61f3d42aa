//! The sources: module docs, purity, no catch-all files, nothing unfinished, nothing of anybody's machine.

use crate::{CRATES, PURE_CRATES, demand_none, files, read, root, running_sources, rust_sources};

/// Names of folders and files that do not describe their content.
const BUCKETS: &[&str] = &["common", "util", "utils", "helper", "helpers", "misc", "manager", "models", "shared"];

/// Names that the pure crates' own code must not use, each with the alternative.
const IMPURE_PATHS: &[(&str, &str)] = &[
    ("Instant", "time enters as a Moment"),
    ("SystemTime", "time enters as a Moment"),
    ("Utc::now", "time enters as a Moment"),
    ("Local::now", "time enters as a Moment"),
    ("std::fs", "the edges touch files"),
    ("std::net", "the edges touch the network"),
    ("std::env", "the edges read the environment"),
    ("std::thread", "the edges start threads"),
    ("std::process", "the edges start processes"),
    ("std::{", "name each thing of std by its whole path, so that this test sees it"),
    ("Mutex", "the core takes no lock"),
    ("RwLock", "the core takes no lock"),
    ("static mut", "the state is in the Engine"),
    ("thread_local!", "the state is in the Engine"),
    ("println!", "the edges talk to people"),
    ("HashMap", "its order differs between runs; use BTreeMap"),
    ("HashSet", "its order differs between runs; use BTreeSet"),
    ("async fn", "async only where there is I/O"),
    (".await", "async only where there is I/O"),
    ("Uuid::now_v7", "ids enter with a Moment or are derived"),
    ("Uuid::new_v4", "ids enter with a Moment or are derived"),
];

/// Exceptions for the pure crates: the file, the name, and why that is pure. An unneeded entry fails too.
const PURE_ALL_THE_SAME: &[(&str, &str, &str)] =
    &[("expression/src/functions/network.rs", "std::net", "an address is parsed and compared; nothing is connected to")];

/// The types that hold secrets, and where they are declared.
const SECRETS: &[(&str, &str)] =
    &[("engine/src/ports.rs", "Secret"), ("executor/src/programs.rs", "GivenKey"), ("store/src/master_key.rs", "MasterKey")];

/// The only file of the node that names a concrete store; the file of its traits re-exports from it.
const STORED_IN: &str = "node/src/backend/sqlite.rs";

/// How a concrete store is named.
const STORES: &[&str] = &["sqlite::", "Sqlite", ".sqlite", "FolderOutputs", "FolderBlobs"];

/// Endings of type names that carry no meaning.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils", "Service", "Info", "Common"];

#[test]
fn each_source_file_starts_with_a_doc_comment() {
    let mut findings = Vec::new();
    for (path, text) in rust_sources() {
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.trim_end().len() < "//! Words.".len() {
            findings.push(path);
        }
    }
    demand_none(&findings, "each file begins with a sentence on what it holds (`//! …`):");
}

/// Returns true if a line contains these words: `.awaited` does not count as `.await`.
fn has(line: &str, words: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    line.match_indices(words).any(|(at, _)| words != ".await" || !goes_on(&line[at + words.len()..]))
}

#[test]
fn pure_crates_use_no_clock_disk_or_lock() {
    let mut findings = Vec::new();
    let mut excused: Vec<bool> = PURE_ALL_THE_SAME.iter().map(|_| false).collect();
    let pure = |path: &str| PURE_CRATES.iter().any(|folder| path.starts_with(&format!("{folder}/src/")));
    let sources: Vec<_> = running_sources().into_iter().filter(|(path, _)| pure(path)).collect();
    assert!(sources.len() > 30, "{} pure sources were found", sources.len());
    for (path, text) in sources {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for (banned, instead) in IMPURE_PATHS.iter().filter(|(banned, _)| has(line, banned)) {
                match PURE_ALL_THE_SAME.iter().position(|(file, named, _)| *file == path && named == banned) {
                    Some(at) => excused[at] = true,
                    None => findings.push(format!("{path}:{}: `{banned}`: {instead}", number + 1)),
                }
            }
        }
    }
    for ((file, named, _), _) in PURE_ALL_THE_SAME.iter().zip(excused).filter(|(_, is_needed)| !is_needed) {
        findings.push(format!("{file} does not name `{named}` any more: take its exemption out"));
    }
    demand_none(&findings, "the pure crates touch nothing:");
}

#[test]
fn node_names_a_concrete_store_in_one_file() {
    let sources = running_sources();
    let mut findings = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| path.starts_with("node/src/") && path != STORED_IN) {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        let is_re_export = |line: &str| path == "node/src/backend.rs" && line.starts_with("pub use sqlite::");
        for (number, line) in lines.filter(|(_, line)| !is_re_export(line)) {
            findings.extend(STORES.iter().filter(|store| line.contains(**store)).map(|store| format!("{path}:{}: `{store}`", number + 1)));
        }
    }
    assert!(sources.iter().any(|(path, _)| path == STORED_IN), "there is no {STORED_IN}");
    demand_none(&findings, "only `node/src/backend/sqlite.rs` names a concrete store:");
}

#[test]
fn no_file_has_a_catch_all_name() {
    let mut findings = Vec::new();
    for (path, _) in rust_sources() {
        let parts = path.trim_end_matches(".rs").split('/');
        findings.extend(parts.filter(|part| BUCKETS.contains(part)).map(|part| format!("{path}: `{part}` names nothing")));
    }
    demand_none(&findings, "a file is named after what it holds:");
}

#[test]
fn no_type_has_a_meaningless_suffix() {
    let mut findings = Vec::new();
    for (path, text) in rust_sources() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let declared = ["struct ", "trait ", "enum ", "type "].iter().find_map(|word| line.split_once(word));
            let name: String = declared.map(|(_, rest)| rest.chars().take_while(|c| c.is_alphanumeric()).collect()).unwrap_or_default();
            if EMPTY_NAMES.iter().any(|empty| name.ends_with(empty)) {
                findings.push(format!("{path}:{}: `{name}`", number + 1));
            }
        }
    }
    demand_none(&findings, "no Manager, Helper, Service or Util: say what it does:");
}

#[test]
fn each_crate_uses_the_workspace_lints() {
    let table = read("Cargo.toml");
    assert!(table.contains("unsafe_code = \"forbid\""), "no unsafe code, in any crate");
    let without = CRATES.iter().filter(|folder| !read(&format!("{folder}/Cargo.toml")).contains("[lints]\nworkspace = true"));
    demand_none(&without.map(|folder| (*folder).to_owned()).collect::<Vec<_>>(), "each manifest has `[lints] workspace = true`:");
}

#[test]
fn secret_types_can_be_neither_printed_nor_serialized() {
    let mut findings = Vec::new();
    for (path, name) in SECRETS {
        let text = read(path);
        let declared = format!("pub struct {name}");
        let (before, _) = text.split_once(&declared).unwrap_or_else(|| panic!("{path} has no {name}"));
        let attributes = before.rsplit("\n\n").next().unwrap_or_default();
        findings.extend(
            ["Debug", "Display", "Serialize"]
                .iter()
                .filter(|word| attributes.contains(**word))
                .map(|word| format!("{name} derives {word}")),
        );
    }
    for (path, text) in running_sources() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("impl")) {
            let shows = ["Debug for ", "Display for ", "Serialize for "].iter().find_map(|word| line.split_once(word));
            let shown = shows.map(|(_, rest)| rest.trim_end_matches([' ', '{'])).unwrap_or_default();
            findings.extend(SECRETS.iter().filter(|(_, name)| *name == shown).map(|_| format!("{path}:{}: {line}", number + 1)));
        }
    }
    demand_none(&findings, "a secret has no form that could end up in a message:");
}

#[test]
fn sources_contain_no_unfinished_work() {
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
fn no_file_names_a_developer_s_machine() {
    // The folder of this checkout differs on each machine; the others are the usual places of checkouts.
    let here = format!("{}/", root().display());
    let marks = [here.as_str(), concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let mut findings = Vec::new();
    for (path, text) in files("", "") {
        for (number, line) in text.lines().enumerate() {
            findings.extend(marks.iter().filter(|mark| line.contains(**mark)).map(|mark| format!("{path}:{}: {mark}", number + 1)));
        }
    }
    demand_none(&findings, "no path of anybody's machine stands in the project:");
}
