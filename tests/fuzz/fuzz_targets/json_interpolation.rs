//! cargo-fuzz's entry to `languages::json_interpolation`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::languages::json_interpolation(input));
