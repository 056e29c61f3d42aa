//! Fuzzes `fuzz/checks/evaluate.rs`.

#![no_main]

#[path = "../checks/evaluate.rs"]
mod evaluate;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| evaluate::check_input(input));
