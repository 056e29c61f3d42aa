//! Tests that cannot be had where they run are passed over by name, never in silence. Included by the tests of several crates.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Says which test is passed over and why.
pub(crate) fn skipped(test: &str, why: &str) {
    // Not `eprintln!`: the test runner shows that of failed tests only.
    writeln!(std::io::stderr(), "skipped: {test}: {why}").expect("the terminal takes a line");
}

/// Says which test is passed over for want of something that `.ci/run` installs; where `CI` is `true`, the test fails instead.
#[track_caller]
pub(crate) fn not_installed(test: &str, what: &str) {
    let why = format!("{what} is not installed; `.ci/run` installs it");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
    skipped(test, &why);
}

/// Says whether a program is here that `.ci/run` installs; where it is not, the test is [not to be had](not_installed).
#[track_caller]
pub(crate) fn has_program(test: &str, program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
    let is_here = found.is_ok_and(|status| status.success());
    if !is_here {
        not_installed(test, program);
    }
    is_here
}
