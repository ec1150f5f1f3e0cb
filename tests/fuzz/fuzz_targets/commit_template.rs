//! cargo-fuzz's entry to `commits::commit_template`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::commits::commit_template(input));
