//! States: their size, and how their JSON comes out.

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};

use crate::support::{GAME, Server, expect_error, fence};

/// Tracks this JSON text, as it stands.
async fn track_text(peer: &mut RawConnection, state: &str) {
    let text = format!(r#"{{"type":"presence_join","channel":"{GAME}","state":{state}}}"#);
    peer.send_text(&text).await;
}

/// The state that subscribers are told for this text.
async fn told(peer: &mut RawConnection, state: &str) -> Value {
    track_text(peer, state).await;
    let message = peer.next_message().await;
    let kind = message["type"].as_str().unwrap_or("none");
    assert!(["presence_join", "presence_update"].contains(&kind), "{state}: {message}");
    message["state"].clone()
}

/// `{"k":"…"}` in which the string between the quotes is given as the sender writes it.
fn holding(written: &str) -> String {
    format!(r#"{{"k":"{written}"}}"#)
}

/// What `{"k":""}` leaves of 1024 bytes.
const ROOM: usize = 1024 - 8;

// P1.6
#[tokio::test]
async fn a_state_of_1024_bytes_is_taken_and_one_of_1025_is_not() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    let fits = "x".repeat(ROOM);
    assert_eq!(told(&mut jane, &holding(&fits)).await["k"], fits);
    track_text(&mut jane, &holding(&"x".repeat(ROOM + 1))).await;
    let error = expect_error(&mut jane, "STATE_TOO_LARGE").await;
    let sentence = error["message"].as_str().expect("an error says why");
    assert!(sentence.contains("1025") && sentence.contains("1024"), "both sizes: {sentence}");
    track_text(&mut jane, &holding(&"x".repeat(10_000))).await;
    expect_error(&mut jane, "STATE_TOO_LARGE").await;
    fence(&mut jane).await;
}

// P1.7
#[tokio::test]
async fn the_size_is_that_of_the_servers_own_json_however_it_was_escaped() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    // How the sender writes one character, what it is, and its bytes in the compact form.
    let cases = [
        (r"\u0041", "A", 1),
        (r"\/", "/", 1),
        (r"\u00e9", "\u{e9}", 2),
        ("\u{e9}", "\u{e9}", 2),
        (r"\ud83d\ude00", "\u{1F600}", 4),
        ("\u{1F600}", "\u{1F600}", 4),
        (r"\u000a", "\n", 2),
        (r"\u0001", "\u{1}", 6),
        (r"\u007f", "\u{7f}", 1),
        (r"\u2028", "\u{2028}", 3),
        (r#"\""#, "\"", 2),
        (r"\\", "\\", 2),
    ];
    for (index, (written, character, bytes)) in cases.into_iter().enumerate() {
        // Each state begins differently, so that none is a repetition of the one before.
        let mark = format!("{index:02}");
        let times = (ROOM - mark.len()) / bytes;
        let filler = "x".repeat(ROOM - mark.len() - times * bytes);
        let fits = format!("{mark}{}{filler}", written.repeat(times));
        let expected = format!("{mark}{}{filler}", character.repeat(times));
        assert_eq!(told(&mut jane, &holding(&fits)).await["k"], expected, "{written}");
        track_text(&mut jane, &holding(&format!("{fits}x"))).await;
        expect_error(&mut jane, "STATE_TOO_LARGE").await;
    }
}

// P4.23
#[tokio::test]
async fn a_field_with_a_time_ends_by_itself() {
    let server = Server::start();
    let (mut watcher, _) = server.watch("ann").await;
    let mut jane = server.sign_in("jane").await;
    let join = json!({
        "type": "presence_join", "channel": GAME, "state": {"a": 1, "typing": true},
        "expire": {"typing": 1000},
    });
    jane.send(join).await;
    assert_eq!(watcher.next_message().await["state"], json!({"a": 1, "typing": true}));
    let ended = watcher.next_message().await;
    assert_eq!((&ended["type"], &ended["state"]), (&json!("presence_update"), &json!({"a": 1})));
    assert_eq!(ended["userId"], "jane");
}

#[tokio::test]
async fn blanks_between_tokens_do_not_count() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    let fits = "x".repeat(ROOM);
    let state = format!(" \t\r\n{{ \"k\" \n:\t\"{fits}\" \r}}{}", " ".repeat(2000));
    assert_eq!(told(&mut jane, &state).await, json!({"k": fits}));
}

#[tokio::test]
async fn numbers_come_out_as_the_same_double() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    let numbers = [
        "0",
        "1",
        "-1",
        "0.1",
        "1.0",
        "1e2",
        "1E+2",
        "123456789012345680000",
        "1e21",
        "1e-7",
        "5e-324",
        "1.7976931348623157e308",
        "9007199254740993",
        "0.30000000000000004",
        "1e-400",
    ];
    for number in numbers {
        let state = told(&mut jane, &format!(r#"{{"a":{number},"of":"{number}"}}"#)).await;
        let expected: f64 = number.parse().expect("a number");
        assert_eq!(state["a"].as_f64(), Some(expected), "{number}");
    }
    let state = told(&mut jane, r#"{"a":-0}"#).await;
    assert_eq!(state["a"].as_f64(), Some(0.0));
}

#[tokio::test]
async fn what_json_does_not_know_is_invalid() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    let values = [
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        ".5",
        "1.",
        "0x10",
        "1e",
        "'a'",
        "undefined",
        "True",
        r#""\x""#,
        r#""\u12""#,
        "\"a\tb\"",
        "[1,]",
        "{,}",
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{1:2}"#,
        "/**/1",
        "1 2",
    ];
    for value in values {
        track_text(&mut jane, &format!(r#"{{"a":{value}}}"#)).await;
        expect_error(&mut jane, "INVALID_JSON").await;
    }
    fence(&mut jane).await;
}

#[tokio::test]
async fn of_equal_keys_the_last_wins_and_is_sent_once() {
    let server = Server::start();
    let mut watcher = server.sign_in("watcher").await;
    crate::support::subscribe(&mut watcher, GAME).await;
    let mut jane = server.sign_in("jane").await;
    let many = (0..100).map(|n| format!(r#""k":{n},"\u006b":"x""#)).collect::<Vec<_>>().join(",");
    for state in
        [r#"{"k":1,"k":2,"\u006b":"last"}"#.to_owned(), format!(r#"{{{many},"k":"last2"}}"#)]
    {
        track_text(&mut jane, &state).await;
        let message = watcher.next_message().await;
        let told = message["state"].to_string();
        assert!(told.starts_with(r#"{"k":"last"#), "{told}");
    }
    // A second key of the message's own: the last counts there too.
    let text = format!(
        r#"{{"type":"subscribe","state":7,"channel":"{GAME}","state":{{"n":1}},"type":"presence_join"}}"#
    );
    jane.send_text(&text).await;
    assert_eq!(watcher.next_message().await["state"], json!({"n": 1}));
}

#[tokio::test]
async fn every_kind_of_value_survives() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    let state = json!({
        "": "", "null": null, "true": true, "false": false, "list": [1, [2, [], {}]],
        "__proto__": {"constructor": 1}, "0": "a", "caf\u{e9}": "\u{1F600}\u{2028}\u{0}",
    });
    assert_eq!(told(&mut jane, &state.to_string()).await, state);
    assert_eq!(told(&mut jane, "{}").await, json!({}));
}

#[tokio::test]
async fn a_state_that_is_no_object_is_invalid() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    for state in ["null", "true", "7", r#""text""#, "[]", "[{}]"] {
        track_text(&mut jane, state).await;
        expect_error(&mut jane, "INVALID_STATE").await;
    }
    jane.send(json!({"type": "presence_join", "channel": GAME})).await;
    expect_error(&mut jane, "INVALID_STATE").await;
    fence(&mut jane).await;
}

// P4.2
#[tokio::test]
async fn json_may_be_nested_32_deep_and_not_33() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    // The message is one level and the state another.
    let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let deepest = nested(30);
    let expected: Value = serde_json::from_str(&deepest).expect("valid JSON");
    assert_eq!(told(&mut jane, &deepest).await, expected);
    for levels in [31, 500, 8000] {
        track_text(&mut jane, &nested(levels)).await;
        expect_error(&mut jane, "INVALID_JSON").await;
    }
    jane.send_text(&"[".repeat(16_000)).await;
    expect_error(&mut jane, "INVALID_JSON").await;
    fence(&mut jane).await;
}
