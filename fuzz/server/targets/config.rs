#![no_main]
//! See the oracle.

#[path = "../../oracles/config.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|input: &[u8]| config::check(input));
