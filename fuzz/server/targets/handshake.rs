#![no_main]
//! See the oracle.

#[path = "../../oracles/handshake.rs"]
mod handshake;

libfuzzer_sys::fuzz_target!(|input: &[u8]| handshake::check(input));
