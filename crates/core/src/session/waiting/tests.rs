//! The count of bytes: it follows everything that comes and goes.

use herenow_wire::{DefaultChannel, Mode, decode};

use super::*;

const ROOM: Room = Room { messages: 64, channels: 100, bytes: 100_000 };

fn message(json: &str) -> Input {
    let mut out = Vec::new();
    decode(json, &DefaultChannel::None, &mut out);
    out.remove(0).map_or_else(Input::Refused, Input::Message)
}

fn held(name: &str, state: &str) -> Join {
    Join {
        expire: None,
        channel: ChannelName::parse(&format!("presence:{name}")).expect("a valid name"),
        state: State::parse(state).expect("a valid state"),
        reference: None,
    }
}

/// Behind a decision.
fn waiting() -> Waiting {
    let mut waiting = Waiting::default();
    waiting.await_decision(Pending::Subscribe { mode: Mode::List, reference: None });
    waiting
}

// P8.8
#[test]
fn the_count_of_bytes_is_zero_again_when_nothing_waits_any_more() {
    let mut waiting = waiting();
    for json in [
        r#"{"type":"auth","token":"abc","resume":"def","ref":"1"}"#,
        r#"{"type":"auth","token":"a longer one","ref":"2"}"#,
        r#"{"type":"presence_leave","channel":"presence:a","ref":"3"}"#,
        r#"{"type":"presence_leave","channel":"presence:a"}"#,
        r#"{"type":"unsubscribe","channel":"presence:a","ref":4}"#,
        r#"{"type":"presence_join","channel":"presence:b","state":{"n":1}}"#,
        r#"{"type":"no such type","channel":"presence:b","ref":5}"#,
        r#"{"type":"ping"}"#,
    ] {
        let queued = waiting.queue(message(json), ROOM);
        assert!(matches!(queued, Queued::Waits | Queued::Replaced(_)), "{json}: {queued:?}");
    }
    waiting.queue(Input::Review, ROOM);
    for (name, state) in [("a", "{}"), ("b", "{}"), ("b", r#"{"n":1}"#), ("c", "{}")] {
        assert!(waiting.hold(held(name, state), ROOM).is_ok());
    }
    waiting.take_held(&held("a", "{}").channel);
    assert_eq!(waiting.release_join(), None, "it waits behind the decision");
    assert!(waiting.take_pending(|_| true).is_some());
    assert!(waiting.release_join().is_some());
    let mut left = 0;
    while waiting.next_message().is_some() {
        left += 1;
    }
    assert_eq!(left, 7, "of eight, two made another needless; a review and a join came to them");
    assert!(waiting.is_idle());
    assert_eq!(waiting.bytes, 0);
}

// P8.8
#[test]
fn every_kind_counts_with_its_texts() {
    let padding = "p".repeat(200);
    let mut before = 0;
    let mut waiting = waiting();
    let mut grows_by_its_text = |waiting: &mut Waiting, what: &str| {
        assert!(waiting.bytes >= before + 200, "{what}: {before} to {}", waiting.bytes);
        before = waiting.bytes;
    };
    for json in [
        format!(r#"{{"type":"auth","token":"{padding}"}}"#),
        format!(r#"{{"type":"subscribe","channel":"presence:{padding}"}}"#),
        format!(r#"{{"type":"ping","ref":"{padding}"}}"#),
        format!(r#"{{"type":"nonsense","ref":"{padding}"}}"#),
        format!(r#"{{"type":"presence_join","channel":"presence:a","state":{{"n":"{padding}"}}}}"#),
    ] {
        assert_eq!(waiting.queue(message(&json), ROOM), Queued::Waits);
        grows_by_its_text(&mut waiting, &json);
    }
    waiting.hold(held("a", &format!(r#"{{"n":"{padding}"}}"#)), ROOM).expect("there is room");
    grows_by_its_text(&mut waiting, "a join above the rate");
    waiting.take_pending(|_| true);
    before = waiting.bytes;
    let state = State::parse(&format!(r#"{{"n":"{padding}"}}"#)).expect("a valid state");
    waiting.await_decision(Pending::Track { state, expire: None, reference: None });
    assert!(waiting.bytes >= before + 200, "the request in flight");
}

// P8.8
#[test]
fn nothing_is_taken_past_the_bound_and_a_smaller_one_may_still_take_its_place() {
    let mut waiting = waiting();
    let room = Room { bytes: waiting.bytes + 3 * ITEM_BYTES, ..ROOM };
    let large = format!(r#"{{"n":"{}"}}"#, "n".repeat(ITEM_BYTES));
    assert!(waiting.hold(held("a", &large), room).is_ok());
    let bytes = waiting.bytes;
    assert!(waiting.hold(held("b", &large), room).is_err());
    let token = "t".repeat(ITEM_BYTES);
    let refused = waiting.queue(message(&format!(r#"{{"type":"auth","token":"{token}"}}"#)), room);
    assert!(matches!(refused, Queued::NoRoom(_)), "{refused:?}");
    assert_eq!(
        waiting.queue(message(r#"{"type":"auth","token":"t"}"#), room),
        Queued::NoRoom(message(r#"{"type":"auth","token":"t"}"#))
    );
    assert!(waiting.bytes <= room.bytes);
    assert!(matches!(waiting.hold(held("a", "{}"), room), Ok(Some(_))));
    assert!(waiting.bytes < bytes);
}
