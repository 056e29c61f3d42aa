//! Tests that cannot run on a machine are skipped by name, never silently. Included by the tests of several
//! crates.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Reports which test is skipped and why.
pub(crate) fn skipped(test: &str, why: &str) {
    // Not `eprintln!`: the test runner shows that of failed tests only.
    writeln!(std::io::stderr(), "skipped: {test}: {why}").expect("the terminal takes a line");
}

/// Reports that a test is skipped because something that `.ci/run` installs is missing; fails the test if
/// `CI` is `true`.
#[track_caller]
pub(crate) fn not_installed(test: &str, what: &str) {
    let why = format!("{what} is not installed; `.ci/run` installs it");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
    skipped(test, &why);
}

/// Returns true if a program that `.ci/run` installs is available; otherwise the test is
/// [skipped](not_installed).
#[track_caller]
pub(crate) fn has_program(test: &str, program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
    let is_here = found.is_ok_and(|status| status.success());
    if !is_here {
        not_installed(test, program);
    }
    is_here
}
