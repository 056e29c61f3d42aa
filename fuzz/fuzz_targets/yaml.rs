//! Fuzzes `fuzz/checks/yaml.rs`.

#![no_main]

#[path = "../checks/yaml.rs"]
mod yaml;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| yaml::check_input(input));
