//! cargo-fuzz's entry to `notifications::state_annotation`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::notifications::state_annotation(input));
