#![no_main]
//! See the oracle.

#[path = "../oracles/messages.rs"]
mod messages;

libfuzzer_sys::fuzz_target!(|input: &[u8]| messages::check(input));
