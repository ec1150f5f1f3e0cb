//! cargo-fuzz's entry to `languages::tpl_parse`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::languages::tpl_parse(input));
