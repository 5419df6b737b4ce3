#![no_main]
//! See the oracle.

#[path = "../oracles/turns/mod.rs"]
mod turns;

libfuzzer_sys::fuzz_target!(|operations: Vec<turns::Operation>| turns::run(operations));
