//! The messages of the server as a client reads them.

use herenow_client::protocol::{self, ServerMessage};
use herenow_wire::{ChannelName, State};
use serde_json::{Value, json};

#[test]
fn what_is_not_understood_is_unknown_and_no_error() {
    let texts = [
        "",
        "nonsense",
        "[]",
        "null",
        "{}",
        r#"{"type":1}"#,
        r#"{"type":"brand_new","channel":[]}"#,
        // Known types in a shape that is not theirs.
        r#"{"type":"presence_sync","channel":"presence:a"}"#,
        r#"{"type":"presence_join","channel":"a","seq":1,"userId":"u","connectionId":"c","state":{}}"#,
        r#"{"type":"presence_leave","channel":"presence:a","seq":-1,"userId":"u","connectionId":"c"}"#,
        r#"{"type":"auth_success"}"#,
        r#"{"type":"error"}"#,
    ];
    for text in texts {
        assert_eq!(ServerMessage::parse(text), ServerMessage::Unknown, "{text}");
    }
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    let text = r#"{"type":"auth_success","userId":"u","connectionId":"c","resume":"r","new":[1]}"#;
    let expected = ServerMessage::AuthSuccess {
        user_id: "u".into(),
        connection_id: "c".into(),
        resume: Some("r".into()),
    };
    assert_eq!(ServerMessage::parse(text), expected);
}

#[test]
fn a_delta_may_name_the_epoch() {
    let text = r#"{"type":"presence_leave","channel":"presence:a","epoch":9,"seq":1,"userId":"u","connectionId":"c","reason":"timeout"}"#;
    let ServerMessage::Leave(departure) = ServerMessage::parse(text) else { panic!("a leave") };
    assert_eq!((departure.epoch, departure.seq, &*departure.reason), (Some(9), 1, "timeout"));
}

#[test]
fn every_golden_frame_of_the_server_is_understood() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/frames.json");
    let frames = std::fs::read_to_string(path).expect("the fixture is in the repository");
    let frames: Vec<Value> = serde_json::from_str(&frames).expect("the fixture is an array");
    assert!(!frames.is_empty());
    for frame in frames {
        let text = frame["text"].as_str().expect("a golden frame has a text");
        let message = ServerMessage::parse(text);
        assert_ne!(message, ServerMessage::Unknown, "{}: {text}", frame["name"]);
    }
}

#[test]
fn what_a_client_says_is_json_whatever_it_names() {
    let name = "quote\" back\\slash é \u{1F600}";
    let channel = ChannelName::parse(&format!("presence:{name}")).expect("a good name");
    let state = State::parse(r#"{"a":"\"\\"}"#).expect("a good state");
    let wire = format!("presence:{name}");
    let cases = [
        (protocol::auth("a\"b"), json!({"type": "auth", "token": "a\"b"})),
        (
            protocol::auth_resuming("a\"b", "c\\"),
            json!({"type": "auth", "token": "a\"b", "resume": "c\\"}),
        ),
        (protocol::subscribe(&channel), json!({"type": "subscribe", "channel": wire})),
        (
            protocol::track_expiring(&channel, &state, &[("a", 3000)]),
            json!({
                "type": "presence_join", "channel": wire, "state": {"a": "\"\\"},
                "expire": {"a": 3000},
            }),
        ),
        (
            protocol::subscribe_to_all(&[channel.clone(), channel.clone()]),
            json!({"type": "subscribe", "channels": [wire, wire]}),
        ),
        (
            protocol::subscribe_to_count(&channel),
            json!({"type": "subscribe", "channel": wire, "mode": "count"}),
        ),
        (protocol::unsubscribe(&channel), json!({"type": "unsubscribe", "channel": wire})),
        (protocol::untrack(&channel), json!({"type": "presence_leave", "channel": wire})),
        (
            protocol::track(&channel, &state),
            json!({"type": "presence_join", "channel": wire, "state": {"a": "\"\\"}}),
        ),
        (protocol::ping(), json!({"type": "ping"})),
    ];
    for (text, expected) in cases {
        let said: Value = serde_json::from_str(&text).expect("valid JSON");
        assert_eq!(said, expected);
    }
}
