//! Fuzzes `fuzz/checks/parse.rs`.

#![no_main]

#[path = "../checks/parse.rs"]
mod parse;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| parse::check_input(input));
