//! cargo-fuzz's entry to `files::yaml_splice`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::files::yaml_splice(input));
