#![no_main]
//! See the oracle.

#[path = "../oracles/links.rs"]
mod links;

libfuzzer_sys::fuzz_target!(|input: &[u8]| links::check(input));
