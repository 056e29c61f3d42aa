//! Fuzzes `fuzz/checks/jwt.rs`.

#![no_main]

#[path = "../checks/jwt.rs"]
mod jwt;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| jwt::check_input(input));
