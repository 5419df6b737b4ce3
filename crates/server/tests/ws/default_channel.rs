//! `?channel=` of the upgrade, and the names of channels.

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};

use crate::support::{Server, ask, expect_error, fence, sign_in, subscribe};

async fn signed_in(server: &Server, query: &str) -> RawConnection {
    sign_in(RawConnection::connect(server.addr, query).await, "jane").await
}

async fn subscribed_channel(server: &Server, query: &str) -> Value {
    let mut peer = signed_in(server, query).await;
    let reply = ask(&mut peer, json!({"type": "subscribe"})).await;
    assert_eq!(reply["type"], "subscribed", "{query}: {reply}");
    let sync = peer.next_message().await;
    assert_eq!(sync["type"], "presence_sync");
    assert_eq!(sync["channel"], reply["channel"]);
    reply["channel"].clone()
}

// P2.4
#[tokio::test]
async fn the_query_names_the_channel_of_messages_that_name_none() {
    let server = Server::start();
    let cases = [
        ("?channel=presence:game", "presence:game"),
        ("?channel=presence%3Agame", "presence:game"),
        ("?channel=realtime:presence:game", "presence:game"),
        ("?a=b&channel=presence:game&c", "presence:game"),
        ("?channel=presence:one&channel=presence:two", "presence:one"),
        ("?channel=presence:a+b%20c", "presence:a b c"),
        ("?channel=presence:a%2Bb", "presence:a+b"),
        ("?channel=presence:%2541", "presence:%41"),
        ("?channel=presence:100%", "presence:100%"),
        ("?channel=presence:a%26b%3Dc", "presence:a&b=c"),
        ("?ch%61nnel=presence:caf%C3%A9", "presence:caf\u{e9}"),
        ("?channel=presence:%FF", "presence:\u{fffd}"),
    ];
    for (query, channel) in cases {
        assert_eq!(subscribed_channel(&server, query).await, channel, "{query}");
    }
}

#[tokio::test]
async fn every_message_may_rely_on_the_default_channel() {
    let server = Server::start();
    let mut peer = signed_in(&server, "?channel=presence:game").await;
    let sync = ask(&mut peer, json!({"type": "presence_join", "state": {"n": 1}})).await;
    assert_eq!(sync["type"], "presence_sync");
    assert_eq!(sync["presences"][0]["state"], json!({"n": 1}));
    assert_eq!(ask(&mut peer, json!({"type": "presence_sync"})).await["type"], "presence_sync");
    assert_eq!(ask(&mut peer, json!({"type": "presence_leave"})).await["type"], "presence_leave");
    let reply = ask(&mut peer, json!({"type": "unsubscribe"})).await;
    assert_eq!(reply, json!({"type": "unsubscribed", "channel": "presence:game"}));
}

#[tokio::test]
async fn a_message_that_names_a_channel_means_that_one() {
    let server = Server::start();
    let mut peer = signed_in(&server, "?channel=presence:game").await;
    subscribe(&mut peer, "presence:other").await;
    peer.send(json!({"type": "presence_sync"})).await;
    let error = expect_error(&mut peer, "NOT_SUBSCRIBED").await;
    assert_eq!(error["channel"], "presence:game");
}

// P2.5
#[tokio::test]
async fn without_a_default_every_message_names_its_channel() {
    let server = Server::start();
    for query in ["", "?", "?channel=", "?channel", "?other=presence:game", "?Channel=presence:a"] {
        let mut peer = signed_in(&server, query).await;
        for message in [
            json!({"type": "subscribe"}),
            json!({"type": "unsubscribe"}),
            json!({"type": "presence_join", "state": {}}),
            json!({"type": "presence_leave"}),
            json!({"type": "presence_sync"}),
        ] {
            peer.send(message).await;
            let error = expect_error(&mut peer, "INVALID_CHANNEL").await;
            assert!(error.get("channel").is_none(), "there is none to name: {error}");
        }
        fence(&mut peer).await;
    }
}

// P2.5
#[tokio::test]
async fn a_bad_default_channel_is_told_to_each_message_that_relies_on_it() {
    let server = Server::start();
    let too_long = format!("?channel=presence:{}", "x".repeat(201));
    let queries = [
        "?channel=game",
        "?channel=presence:",
        "?channel=Presence:game",
        "?channel=room:game",
        "?channel=realtime:realtime:presence:game",
        "?channel=presence:a%00b",
        "?channel=presence:a%7Fb",
        "?channel=presence:a%C2%85b",
        &too_long,
    ];
    for query in queries {
        let mut peer = signed_in(&server, query).await;
        let mut reasons = Vec::new();
        for kind in ["subscribe", "presence_sync"] {
            peer.send(json!({"type": kind, "ref": kind})).await;
            let error = expect_error(&mut peer, "INVALID_CHANNEL").await;
            assert_eq!(error["ref"], kind);
            reasons.push(error["message"].clone());
        }
        assert_eq!(reasons[0], reasons[1], "the reason is that of the name");
        subscribe(&mut peer, "presence:game").await;
    }
}

// P1.1
#[tokio::test]
async fn both_ways_to_write_a_name_mean_one_channel() {
    let server = Server::start();
    let mut peer = signed_in(&server, "").await;
    subscribe(&mut peer, "presence:game").await;
    let message =
        json!({"type": "presence_join", "channel": "realtime:presence:game", "state": {"n": 1}});
    let join = ask(&mut peer, message).await;
    assert_eq!(
        (&join["type"], &join["channel"]),
        (&json!("presence_join"), &json!("presence:game"))
    );
}

// P1.2
#[tokio::test]
async fn a_name_is_1_to_200_bytes_without_control_characters() {
    let server = Server::start();
    let mut peer = signed_in(&server, "").await;
    let longest = "x".repeat(200);
    let wide = "\u{e9}".repeat(100);
    for name in ["a", " ", "presence:", "realtime:", "*", "a:b:c", "\u{1F600}", &longest, &wide] {
        subscribe(&mut peer, &format!("presence:{name}")).await;
    }
    let too_long = "x".repeat(201);
    let too_wide = "\u{e9}".repeat(101);
    for name in ["", "\n", "a\u{0}", "\u{7f}", "a\u{80}", "\u{9f}b", &too_long, &too_wide] {
        peer.send(json!({"type": "subscribe", "channel": format!("presence:{name}")})).await;
        expect_error(&mut peer, "INVALID_CHANNEL").await;
    }
    fence(&mut peer).await;
}

#[tokio::test]
async fn what_is_no_name_of_a_channel_is_invalid_whatever_the_default() {
    let server = Server::start();
    let mut peer = signed_in(&server, "?channel=presence:game").await;
    for channel in [r#""""#, "null", "7", "true", "[]", "{}", r#""game""#, r#""presence:\ud800""#] {
        peer.send_text(&format!(r#"{{"type":"subscribe","channel":{channel}}}"#)).await;
        expect_error(&mut peer, "INVALID_CHANNEL").await;
    }
    fence(&mut peer).await;
}

#[tokio::test]
async fn names_are_compared_byte_by_byte() {
    let server = Server::start();
    let mut peer = signed_in(&server, "").await;
    let names = ["presence:caf\u{e9}", "presence:cafe\u{301}", "presence:Game", "presence:game"];
    for name in names {
        let message = json!({"type": "presence_join", "channel": name, "state": {"in": name}});
        let sync = ask(&mut peer, message).await;
        assert_eq!(sync["channel"], name);
        assert_eq!(sync["presences"].as_array().map(Vec::len), Some(1), "{name} is its own");
        assert_eq!(sync["presences"][0]["state"]["in"], name);
    }
}
