//! The gate tries the same inputs each time, and no test of it depends on how fast the machine is.

use std::collections::BTreeMap;

use crate::{demand_none, read, rust_sources};

/// The file with the places where tests sleep: a line each, as `file: function: reason`.
const SLEEPS: &str = "tests/tidy/sleeps";

#[test]
fn seed_of_the_gate_is_also_that_of_cargo_test() {
    let config = read(".cargo/config.toml");
    let line = config.lines().find_map(|line| line.strip_prefix("PROPTEST_RNG_SEED = "));
    assert_eq!(line.map(|value| value.trim_matches('"')), Some(read("tests/seed").trim()), "tests/seed and .cargo/config.toml differ");
}

#[test]
fn each_sleep_of_a_test_has_its_reason() {
    let listed = read(SLEEPS);
    let mut reasons: BTreeMap<(String, String), bool> = BTreeMap::new();
    let mut findings = Vec::new();
    for line in listed.lines().filter(|line| !line.starts_with('#')) {
        match line.splitn(3, ": ").collect::<Vec<_>>()[..] {
            [file, function, reason] if !reason.trim().is_empty() => {
                reasons.insert((file.to_owned(), function.to_owned()), false);
            }
            _ => findings.push(format!("{SLEEPS}: `{line}` is not `file: function: reason`")),
        }
    }
    let sources = rust_sources();
    for (path, function) in sources.iter().flat_map(|(path, text)| sleeping(path, text)) {
        match reasons.get_mut(&(path.to_owned(), function.clone())) {
            Some(is_used) => *is_used = true,
            None => findings.push(format!("{path}: `{function}` sleeps: wait for a state that the test reads, or list it in {SLEEPS}")),
        }
    }
    findings.extend(
        reasons.iter().filter(|(_, is_used)| !**is_used).map(|((file, function), _)| format!("{file}: `{function}` sleeps no longer")),
    );
    demand_none(&findings, "a test waits for a state, never for a time:");
}

/// How a test sleeps.
const SLEEPERS: &[&str] = &["thread::sleep(", "time::sleep(", " sleep(", "(sleep("];

/// Returns the functions of tests that sleep.
fn sleeping<'a>(path: &'a str, text: &'a str) -> Vec<(&'a str, String)> {
    let is_test_file = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
    let mut is_test = is_test_file;
    let mut function = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        is_test |= line.trim_start() == "mod tests {";
        let words = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        let name = words.trim_start_matches("async ").strip_prefix("fn ");
        if let Some(name) = name.and_then(|rest| rest.split(['(', '<']).next()) {
            function = name.to_owned();
        }
        let is_call =
            SLEEPERS.iter().any(|sleeper| line.contains(sleeper)) && !line.contains("fn sleep(") && !line.trim_start().starts_with("//");
        if is_test && is_call && !found.iter().any(|(_, known)| *known == function) {
            found.push((path, function.clone()));
        }
    }
    found
}

#[test]
fn sleep_is_found_in_tests_only() {
    let source = "fn f() { sleep(1); }\n#[cfg(test)]\nmod tests {\n    async fn g() {\n        tokio::time::sleep(x).await;\n    }\n}\n";
    assert_eq!(sleeping("a/src/b.rs", source), [("a/src/b.rs", "g".to_owned())]);
    assert_eq!(sleeping("a/tests/b.rs", source).len(), 2);
}
