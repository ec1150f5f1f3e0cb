//! cargo-fuzz's entry to `commits::branch_template`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::commits::branch_template(input));
