//! Every error code: when it comes, that the connection survives it, and that nobody else notices.

use serde_json::json;

use crate::support::{GAME, Server, ask, expect_error, fence, subscribe, track};

/// Every text that no connection may be harmed by, with its code.
fn bad_messages() -> Vec<(String, &'static str)> {
    let mut cases: Vec<(String, &str)> = Vec::new();
    let mut add = |code: &'static str, texts: &[&str]| {
        cases.extend(texts.iter().map(|text| ((*text).to_owned(), code)));
    };
    add(
        "INVALID_JSON",
        &[
            "",
            " ",
            "nonsense",
            "{",
            "}",
            r#"{"type":"ping""#,
            r#"{"type":"ping"}}"#,
            "{'type':'ping'}",
            r#"{"type":"ping"}{"type":"ping"}"#,
            "\u{feff}{\"type\":\"ping\"}",
            r#"{"type":"ping","a":1e999}"#,
            "\u{0}",
            r#"{"type":ping}"#,
            r#"{"type":"ping",}"#,
            "nul",
            "\"unterminated",
        ],
    );
    add(
        "INVALID_MESSAGE",
        &[
            "null",
            "true",
            "7",
            r#""ping""#,
            "[]",
            r#"[{"type":"ping"}]"#,
            "{}",
            r#"{"type":7}"#,
            r#"{"type":null}"#,
            r#"{"type":["ping"]}"#,
            r#"{"Type":"ping"}"#,
            r#"{"type":"ping","ref":true}"#,
            r#"{"type":"ping","ref":{}}"#,
            r#"{"type":"ping","ref":[1]}"#,
        ],
    );
    add(
        "UNKNOWN_TYPE",
        &[
            r#"{"type":""}"#,
            r#"{"type":"PING"}"#,
            r#"{"type":"ping "}"#,
            r#"{"type":"toString"}"#,
            r#"{"type":"subscribed"}"#,
            r#"{"type":"PRESENCE_RESYNC"}"#,
            r#"{"type":"auth_success"}"#,
            r#"{"type":"error"}"#,
            r#"{"type":"ack"}"#,
            r#"{"type":"pong"}"#,
            r#"{"type":"unsubscribed"}"#,
        ],
    );
    add(
        "INVALID_CHANNEL",
        &[
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","channel":"game"}"#,
            r#"{"type":"unsubscribe","channel":null}"#,
            r#"{"type":"presence_sync","channel":{}}"#,
            r#"{"type":"presence_join","channel":"presence:","state":{}}"#,
            r#"{"type":"presence_leave","channel":["presence:game"]}"#,
            r#"{"type":"subscribe","channel":"presence:\udc00"}"#,
        ],
    );
    let long_ref = format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(257));
    let wide_ref = format!(r#"{{"type":"ping","ref":"{}"}}"#, "\u{e9}".repeat(129));
    add("INVALID_MESSAGE", &[&long_ref, &wide_ref]);
    let state =
        |state: &str| format!(r#"{{"type":"presence_join","channel":"{GAME}","state":{state}}}"#);
    let large = state(&format!(r#"{{"k":"{}"}}"#, "x".repeat(1017)));
    add("STATE_TOO_LARGE", &[&large]);
    add("INVALID_STATE", &[&state("[]"), &state("null")]);
    cases
}

#[tokio::test]
async fn each_bad_message_gets_its_code_and_the_connection_survives() {
    let server = Server::with(|settings| settings.message_burst = 10_000);
    let mut peer = server.sign_in("jane").await;
    for (text, code) in bad_messages() {
        peer.send_text(&text).await;
        let error = peer.next_message().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{text}");
        assert!(error["message"].as_str().is_some_and(|sentence| !sentence.is_empty()), "{error}");
        assert!(error.get("ref").is_none(), "there was none to repeat: {error}");
    }
    fence(&mut peer).await;
}

#[tokio::test]
async fn who_has_not_signed_in_gets_the_same_codes() {
    let server = Server::start();
    let mut peer = server.connect().await;
    for (text, code) in bad_messages() {
        peer.send_text(&text).await;
        expect_error(&mut peer, code).await;
    }
    fence(&mut peer).await;
}

#[tokio::test]
async fn nobody_else_notices_a_bad_message() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let (mut jane, _) = server.watch("jane").await;
    track(&mut jane, json!({"n": 1})).await;
    assert_eq!(jane.next_message().await["type"], "presence_join");
    view.apply(&watcher.next_message().await);
    for (text, code) in bad_messages() {
        jane.send_text(&text).await;
        expect_error(&mut jane, code).await;
    }
    track(&mut jane, json!({"n": 2})).await;
    let next = watcher.next_message().await;
    assert_eq!((&next["type"], &next["state"]), (&json!("presence_update"), &json!({"n": 2})));
}

#[tokio::test]
async fn a_refused_state_leaves_the_last_good_one() {
    let server = Server::start();
    let (mut jane, mut view) = server.watch("jane").await;
    track(&mut jane, json!({"n": 1})).await;
    view.apply(&jane.next_message().await);
    track(&mut jane, json!({"k": "x".repeat(2000)})).await;
    let error = expect_error(&mut jane, "STATE_TOO_LARGE").await;
    assert_eq!(error["channel"], GAME);
    track(&mut jane, json!([])).await;
    expect_error(&mut jane, "INVALID_STATE").await;
    view.apply(&ask(&mut jane, json!({"type": "presence_sync", "channel": GAME})).await);
    assert_eq!(view.state_of("jane"), Some(&json!({"n": 1})));
}

#[tokio::test]
async fn a_connection_may_use_so_many_channels_and_no_more() {
    let server = Server::with(|settings| settings.max_channels_per_connection = 3);
    let mut peer = server.sign_in("jane").await;
    for channel in ["presence:a", "presence:b", "presence:c"] {
        subscribe(&mut peer, channel).await;
    }
    for message in [
        json!({"type": "subscribe", "channel": "presence:d"}),
        json!({"type": "presence_join", "channel": "presence:d", "state": {}}),
    ] {
        peer.send(message).await;
        let error = expect_error(&mut peer, "CHANNEL_LIMIT").await;
        assert_eq!(error["channel"], "presence:d");
    }
    let again = ask(&mut peer, json!({"type": "subscribe", "channel": "presence:a"})).await;
    assert_eq!(again["type"], "subscribed", "one that it has is no further one");
    assert_eq!(peer.next_message().await["type"], "presence_sync");
    let reply = ask(&mut peer, json!({"type": "unsubscribe", "channel": "presence:b"})).await;
    assert_eq!(reply["type"], "unsubscribed");
    subscribe(&mut peer, "presence:d").await;
}

#[tokio::test]
async fn a_channel_holds_so_many_entries_and_no_more() {
    let server = Server::with(|settings| settings.max_members = 2);
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut members = Vec::new();
    for user in ["ann", "bob"] {
        let mut peer = server.sign_in(user).await;
        track(&mut peer, json!({"n": 1})).await;
        members.push(peer);
    }
    view.read_until(&mut watcher, |view| view.users() == ["ann", "bob"]).await;
    let (mut eve, _) = server.watch("eve").await;
    let message = json!({"type": "presence_join", "channel": GAME, "state": {}, "ref": 5});
    eve.send(message).await;
    let error = expect_error(&mut eve, "MEMBER_LIMIT").await;
    assert_eq!((&error["channel"], &error["ref"]), (&json!(GAME), &json!(5)));
    // Who is in may still change, and whoever leaves makes room.
    track(&mut members[0], json!({"n": 2})).await;
    view.read_until(&mut watcher, |view| view.state_of("ann") == Some(&json!({"n": 2}))).await;
    members[1].send(json!({"type": "presence_leave", "channel": GAME})).await;
    view.read_until(&mut watcher, |view| view.users() == ["ann"]).await;
    track(&mut eve, json!({})).await;
    view.read_until(&mut watcher, |view| view.users() == ["ann", "eve"]).await;
}
