#![no_main]
//! See the oracle.

#[path = "../oracles/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|input: &[u8]| frames::check(input));
