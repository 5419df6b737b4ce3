//! The upgrade, and what may come before any reply.

use herenow_client::raw::{RawConnection, text_frame, upgrade_request};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{GAME, Server, View, ask, fence, token};

/// Sends a whole request and gives the head of the answer in lower case.
async fn request(server: &Server, head: &str) -> String {
    let mut stream = TcpStream::connect(server.addr).await.expect("the server listens");
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.expect("the server answers");
        assert!(read > 0, "the server answers before it closes");
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

// P2.2
#[tokio::test]
async fn a_plain_get_is_told_to_upgrade() {
    let server = Server::start();
    let answer = request(&server, "GET /api/realtime HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("http/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
}

// P2.2
#[tokio::test]
async fn another_websocket_version_is_told_the_right_one() {
    let server = Server::start();
    for version in ["12", "8", "14", "thirteen"] {
        let head = upgrade_request("").replace("Version: 13", &format!("Version: {version}"));
        let answer = request(&server, &head).await;
        assert!(answer.starts_with("http/1.1 426 "), "{answer}");
        assert!(answer.contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
    }
}

// P2.2
#[tokio::test]
async fn another_path_is_not_found() {
    let server = Server::start();
    for path in ["/api/realtime/", "/api/realtime2", "/api", "/API/REALTIME", "//api/realtime"] {
        let head = upgrade_request("").replace("GET /api/realtime", &format!("GET {path}"));
        let answer = request(&server, &head).await;
        assert!(answer.starts_with("http/1.1 404 "), "{path}: {answer}");
    }
}

// P2.1, P2.2
#[tokio::test]
async fn any_origin_may_connect_and_unknown_offers_are_ignored() {
    let server = Server::start();
    let offers = "\r\nOrigin: https://anywhere.example\r\nSec-WebSocket-Protocol: chat, superchat\
                  \r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let head = upgrade_request("").replace("\r\n\r\n", offers);
    let answer = request(&server, &head).await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(!answer.contains("sec-websocket-protocol"), "{answer}");
    assert!(!answer.contains("sec-websocket-extensions"), "{answer}");
}

#[tokio::test]
async fn a_handshake_key_that_is_no_16_bytes_is_refused() {
    let server = Server::start();
    for key in
        ["", "c2hvcnQ=", "not base64 at all!!!!!!", "dGhlIHNhbXBsZSBub25jZSBpcyB0b28gbG9uZw=="]
    {
        let head = upgrade_request("").replace("dGhlIHNhbXBsZSBub25jZQ==", key);
        let answer = request(&server, &head).await;
        assert!(answer.starts_with("http/1.1 400 "), "{key}: {answer}");
    }
}

#[tokio::test]
async fn header_names_and_values_are_matched_as_http_does() {
    let server = Server::start();
    let head = upgrade_request("")
        .replace("Connection: Upgrade", "connection: keep-alive, UPGRADE")
        .replace("Upgrade: websocket", "UPGRADE: WebSocket");
    let answer = request(&server, &head).await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
}

// P2.6
#[tokio::test]
async fn frames_in_the_same_packet_as_the_upgrade_count() {
    let server = Server::start();
    let mut first = text_frame(&json!({"type": "auth", "token": token("jane")}).to_string());
    first.extend(text_frame(&json!({"type": "subscribe", "channel": GAME}).to_string()));
    first.extend(text_frame(&json!({"type": "ping", "ref": 1}).to_string()));
    // And the beginning of one that ends in a later packet.
    let late = text_frame(&json!({"type": "ping", "ref": 2}).to_string());
    first.extend_from_slice(&late[..9]);
    let mut peer = RawConnection::connect_with(server.addr, "", &first).await;
    assert_eq!(peer.next_message().await["type"], "auth_success");
    peer.send_bytes(&late[9..]).await;
    let mut types = Vec::new();
    for _ in 0..4 {
        types.push(peer.next_message().await["type"].as_str().expect("a type").to_owned());
    }
    // The snapshot is made by a flush, which may come after replies to later messages.
    types.sort_unstable();
    assert_eq!(types, ["pong", "pong", "presence_sync", "subscribed"]);
}

#[tokio::test]
async fn a_client_may_send_everything_before_any_reply() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut peer = server.connect().await;
    let mut bytes = Vec::new();
    for message in [
        json!({"type": "auth", "token": token("jane")}),
        json!({"type": "presence_join", "channel": GAME, "state": {"n": 1}}),
        json!({"type": "presence_leave", "channel": GAME}),
        json!({"type": "presence_join", "channel": GAME, "state": {"n": 2}, "ref": "last"}),
    ] {
        bytes.extend(text_frame(&message.to_string()));
    }
    peer.send_bytes(&bytes).await;
    assert_eq!(peer.next_of_type("ack").await["ref"], "last");
    view.read_until(&mut watcher, |view| view.state_of("jane") == Some(&json!({"n": 2}))).await;
}

#[tokio::test]
async fn what_is_sent_after_a_track_takes_effect_after_it() {
    let server = Server::start();
    let mut peer = server.sign_in("jane").await;
    let mut bytes = Vec::new();
    for message in [
        json!({"type": "presence_join", "channel": GAME, "state": {}}),
        json!({"type": "unsubscribe", "channel": GAME, "ref": 1}),
        json!({"type": "unsubscribe", "channel": GAME, "ref": 2}),
        json!({"type": "subscribe", "channel": GAME, "ref": 3}),
    ] {
        bytes.extend(text_frame(&message.to_string()));
    }
    peer.send_bytes(&bytes).await;
    let mut replies = Vec::new();
    let mut view = View::new(GAME);
    loop {
        let message = peer.next_message().await;
        if message["type"] == "presence_sync" {
            view.apply(&message);
            if replies.len() == 3 {
                break;
            }
        } else if message.get("ref").is_some() {
            replies.push((message["type"].clone(), message["code"].clone()));
        }
    }
    let expected = [
        ("unsubscribed", json!(null)),
        ("error", json!("NOT_SUBSCRIBED")),
        ("subscribed", json!(null)),
    ];
    assert_eq!(replies, expected.map(|(kind, code)| (json!(kind), code)));
    assert!(view.users().is_empty(), "the entry left before the second subscribe");
    fence(&mut peer).await;
}

#[tokio::test]
async fn a_token_in_the_url_signs_nobody_in() {
    let server = Server::start();
    let query = format!("?token={}", token("jane"));
    let mut peer = RawConnection::connect(server.addr, &query).await;
    let reply = ask(&mut peer, json!({"type": "subscribe", "channel": GAME})).await;
    assert_eq!(reply["code"], "NOT_AUTHENTICATED");
}

#[tokio::test]
async fn a_stranger_that_never_finishes_its_request_bothers_nobody() {
    let server = Server::start();
    let mut strangers = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(server.addr).await.expect("the server listens");
        stream.write_all(b"GET /api/realtime HTTP/1.1\r\nHost:").await.expect("the server reads");
        strangers.push(stream);
    }
    let mut peer = server.sign_in("jane").await;
    fence(&mut peer).await;
}
