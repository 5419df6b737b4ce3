//! What the fuzzer has kept, replayed: every input that ever led somewhere new.

#[path = "../../../fuzz/oracles/config.rs"]
mod config;
#[path = "../../../fuzz/oracles/handshake.rs"]
mod handshake;
#[path = "../../../fuzz/oracles/replay.rs"]
mod replay;

use self::replay::replay;

#[test]
fn kept_files_are_read_or_refused_with_a_sentence() {
    replay("server/corpus/config", config::check);
}

#[test]
fn kept_requests_become_a_websocket_or_are_answered() {
    replay("server/corpus/handshake", handshake::check);
}
