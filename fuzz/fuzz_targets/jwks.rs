//! Fuzzes `fuzz/checks/jwks.rs`.

#![no_main]

#[path = "../checks/jwks.rs"]
mod jwks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| jwks::check_input(input));
