//! What the fuzzer has kept, replayed: every input that ever led somewhere new.

#[path = "../../../fuzz/oracles/frames.rs"]
mod frames;
#[path = "../../../fuzz/oracles/links.rs"]
mod links;
#[path = "../../../fuzz/oracles/messages.rs"]
mod messages;
#[path = "../../../fuzz/oracles/replay.rs"]
mod replay;

use self::replay::replay;

#[test]
fn kept_streams_mean_the_same_however_they_are_cut() {
    replay("corpus/frames", frames::check);
}

#[test]
fn kept_packets_say_the_same_when_they_are_written_again() {
    replay("corpus/links", links::check);
}

#[test]
fn kept_texts_are_one_message_or_one_refusal() {
    replay("corpus/messages", messages::check);
}
