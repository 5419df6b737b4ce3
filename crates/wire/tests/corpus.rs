//! What the fuzzer has kept, replayed: every input that ever led somewhere new.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/oracles/frames.rs"]
mod frames;
#[path = "../../../fuzz/oracles/messages.rs"]
mod messages;

#[test]
fn kept_streams_mean_the_same_however_they_are_cut() {
    replay("frames", frames::check);
}

#[test]
fn kept_texts_are_one_message_or_one_refusal() {
    replay("messages", messages::check);
}

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let kept = fs::read_dir(&corpus).expect("the corpus is kept");
    let mut count = 0;
    for file in kept {
        let input = fs::read(file.expect("it is listed").path()).expect("it can be read");
        check(&input);
        count += 1;
    }
    assert!(count > 0, "nothing is kept in {corpus:?}");
}
