//! cargo-fuzz's entry to `registry::docker_config`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::registry::docker_config(input));
