//! See `targets::configuration`.

#![no_main]

#[allow(dead_code, reason = "each program runs one of them")]
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::configuration(data));
