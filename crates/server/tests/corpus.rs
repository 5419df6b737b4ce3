//! What the fuzzer has kept, replayed: every input that ever led somewhere new.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/oracles/config.rs"]
mod config;
#[path = "../../../fuzz/oracles/handshake.rs"]
mod handshake;

#[test]
fn kept_files_are_read_or_refused_with_a_sentence() {
    replay("config", config::check);
}

#[test]
fn kept_requests_become_a_websocket_or_are_answered() {
    replay("handshake", handshake::check);
}

fn replay(target: &str, check: fn(&[u8])) {
    let corpus =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/server/corpus").join(target);
    let kept = fs::read_dir(&corpus).expect("the corpus is kept");
    let mut count = 0;
    for file in kept {
        let input = fs::read(file.expect("it is listed").path()).expect("it can be read");
        check(&input);
        count += 1;
    }
    assert!(count > 0, "nothing is kept in {corpus:?}");
}
