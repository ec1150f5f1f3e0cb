//! cargo-fuzz's entry to `notifications::config_map`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::notifications::config_map(input));
