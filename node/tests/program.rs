//! The program that the suite of sources runs (`tests/program/main.rs`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Returns what the program prints after a cursor, until it breaks off after some messages.
fn run_program(cursor: &str, cut: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut tape = Vec::new();
    for message in ["10", "20", "30"] {
        tape.push(0);
        tape.extend((message.len() as u64).to_le_bytes());
        tape.extend(message.bytes());
    }
    fs::write(folder.path().join("tape"), tape).unwrap();
    fs::write(folder.path().join("cut"), cut).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_ensue-test-program"));
    let mut program = program.arg("tape").arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    program.stdin.as_mut().unwrap().write_all(format!("{{\"cursor\": {cursor}}}\n").as_bytes()).unwrap();
    let ended = program.wait_with_output().unwrap();
    assert!(!ended.status.success() && !folder.path().join("cut").exists());
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn program_prints_its_messages_after_the_cursor_and_breaks_off_within_one() {
    assert_eq!(run_program("null", "1"), "{\"event\": 10, \"cursor\": 1}\n{\"event\": 20,");
    assert_eq!(run_program("2", "0"), "{\"event\": 30,");
}
