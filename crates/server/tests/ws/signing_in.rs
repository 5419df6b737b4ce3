//! Tokens: the first, the next, the bad and the old.

use std::time::{Duration, Instant};

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};

use crate::support::{
    GAME, Server, ask, expect_error, fence, subscribe, token, token_with, track, unix_seconds,
};

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

/// A token that stops counting about this long from now, when the leeway of 60 s is over.
fn token_ending_in(user: &str, seconds: f64) -> String {
    token_with(json!({"sub": user, "exp": unix_seconds() - 60.0 + seconds}))
}

// P1.3, P3.1
#[tokio::test]
async fn a_good_token_is_answered_with_the_user_and_an_unguessable_connection() {
    let server = Server::start();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut peer = server.connect().await;
        let reply = ask(&mut peer, auth(&token("jane"))).await;
        assert_eq!(reply["type"], "auth_success");
        assert_eq!(reply["userId"], "jane");
        let id = reply["connectionId"].as_str().expect("an id is a string").to_owned();
        assert_eq!(id.len(), 22, "128 bits in base64url");
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{id}");
        assert!(ids.insert(id), "every connection has its own");
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_and_the_socket_closed_with_4002() {
    let server = Server::start();
    let good = token("jane");
    let (unsigned, _) = good.rsplit_once('.').expect("a token has three parts");
    let other = if good.ends_with('A') { "B" } else { "A" };
    let forged = format!("{}{other}", &good[..good.len() - 1]);
    let expired = token_ending_in("jane", -1.0);
    let bad = [
        json!({"type": "auth", "token": ""}),
        json!({"type": "auth", "token": "nonsense"}),
        json!({"type": "auth", "token": "a.b.c"}),
        json!({"type": "auth", "token": format!("{unsigned}.")}),
        json!({"type": "auth", "token": forged}),
        json!({"type": "auth", "token": expired}),
        json!({"type": "auth", "token": null}),
        json!({"type": "auth", "token": 7}),
        json!({"type": "auth", "token": {}}),
        json!({"type": "auth"}),
    ];
    for message in bad {
        let mut peer = server.connect().await;
        let reply = ask(&mut peer, message.clone()).await;
        assert_eq!(reply["type"], "auth_error", "{message}");
        assert_eq!(reply["code"], "AUTH_FAILED", "{message}");
        let sentence = reply["message"].as_str().expect("an error says why");
        assert!(!sentence.contains(&good[..20]), "a token is never repeated");
        assert_eq!(peer.expect_close().await.0, 4002, "{message}");
    }
}

#[tokio::test]
async fn the_answers_to_auth_repeat_its_ref() {
    let server = Server::start();
    let mut peer = server.connect().await;
    let message = json!({"type": "auth", "token": token("jane"), "ref": 0});
    assert_eq!(ask(&mut peer, message.clone()).await["ref"], 0);
    let reply = ask(&mut peer, message).await;
    assert_eq!((&reply["type"], &reply["ref"]), (&json!("auth_refreshed"), &json!(0)));
    let reply = ask(&mut peer, json!({"type": "auth", "token": "bad", "ref": "b"})).await;
    assert_eq!((&reply["code"], &reply["ref"]), (&json!("AUTH_REFRESH_FAILED"), &json!("b")));
    let mut peer = server.connect().await;
    let reply = ask(&mut peer, json!({"type": "auth", "token": "bad", "ref": ""})).await;
    assert_eq!((&reply["type"], &reply["ref"]), (&json!("auth_error"), &json!("")));
}

#[tokio::test]
async fn who_shows_no_token_in_time_is_closed_with_4001() {
    let server = Server::with(|settings| settings.auth_timeout_ms = 200);
    let start = Instant::now();
    let mut peer = server.connect().await;
    expect_error(&mut peer, "AUTH_TIMEOUT").await;
    assert_eq!(peer.expect_close().await.0, 4001);
    assert!(start.elapsed() >= Duration::from_millis(200), "never before the time is over");
}

#[tokio::test]
async fn traffic_does_not_stop_the_auth_clock() {
    let server = Server::with(|settings| settings.auth_timeout_ms = 200);
    let mut peer = server.connect().await;
    loop {
        let reply = ask(&mut peer, json!({"type": "ping"})).await;
        if reply["type"] == "error" && reply["code"] == "AUTH_TIMEOUT" {
            break;
        }
        let is_expected = reply["type"] == "pong" || reply["code"] == "RATE_LIMITED";
        assert!(is_expected, "{reply}");
    }
    assert_eq!(peer.expect_close().await.0, 4001);
}

#[tokio::test]
async fn a_signed_in_connection_outlives_the_auth_timeout() {
    let server = Server::with(|settings| settings.auth_timeout_ms = 200);
    let mut jane = server.sign_in("jane").await;
    // Somebody who came later meets the timeout; by then it would have met this one too.
    let mut late = server.connect().await;
    expect_error(&mut late, "AUTH_TIMEOUT").await;
    fence(&mut jane).await;
}

#[tokio::test]
async fn without_a_token_nothing_but_signing_in_is_granted() {
    let server = Server::start();
    let mut peer = server.connect().await;
    for message in [
        json!({"type": "subscribe", "channel": GAME}),
        json!({"type": "presence_join", "channel": GAME, "state": {}}),
    ] {
        peer.send(message).await;
        let error = expect_error(&mut peer, "NOT_AUTHENTICATED").await;
        assert_eq!(error["channel"], GAME);
    }
    for kind in ["presence_sync", "unsubscribe"] {
        peer.send(json!({"type": kind, "channel": GAME})).await;
        expect_error(&mut peer, "NOT_SUBSCRIBED").await;
    }
    fence(&mut peer).await;
    let reply = ask(&mut peer, auth(&token("jane"))).await;
    assert_eq!(reply["type"], "auth_success", "and it may still sign in");
}

#[tokio::test]
async fn a_server_without_a_key_closes_with_4003() {
    let server = Server::without_key();
    let mut peer = server.connect().await;
    let reply = ask(&mut peer, auth(&token("jane"))).await;
    assert_eq!(reply["type"], "auth_error");
    assert_eq!(peer.expect_close().await.0, 4003);
}

#[tokio::test]
async fn auth_on_the_same_socket_refreshes_and_nobody_else_sees_it() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.sign_in("jane").await;
    subscribe(&mut jane, GAME).await;
    track(&mut jane, json!({"n": 1})).await;
    assert_eq!(jane.next_message().await["type"], "presence_join");
    view.apply(&watcher.next_message().await);
    let reply = ask(&mut jane, auth(&token("jane"))).await;
    let expected = json!({"type": "auth_refreshed", "userId": "jane", "revokedChannels": []});
    assert_eq!(reply, expected);
    track(&mut jane, json!({"n": 2})).await;
    let next = watcher.next_message().await;
    assert_eq!((&next["type"], &next["state"]), (&json!("presence_update"), &json!({"n": 2})));
}

#[tokio::test]
async fn a_bad_refresh_leaves_everything_as_it_was() {
    let server = Server::start();
    let (mut jane, mut view) = server.watch("jane").await;
    for message in [auth("nonsense"), json!({"type": "auth"}), auth(&token_ending_in("jane", -5.0))]
    {
        jane.send(message).await;
        expect_error(&mut jane, "AUTH_REFRESH_FAILED").await;
    }
    jane.send(auth(&token("bob"))).await;
    expect_error(&mut jane, "AUTH_USER_MISMATCH").await;
    track(&mut jane, json!({})).await;
    view.apply(&jane.next_message().await);
    assert_eq!(view.users(), ["jane"]);
}

#[tokio::test]
async fn a_token_that_expires_ends_the_connection_with_4002_and_its_entries() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.connect().await;
    let reply = ask(&mut jane, auth(&token_ending_in("jane", 1.5))).await;
    assert_eq!(reply["type"], "auth_success", "the leeway of 60 s holds at the check");
    track(&mut jane, json!({})).await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    assert_eq!(jane.next_of_type("error").await["code"], "AUTH_EXPIRED");
    assert_eq!(jane.expect_close().await.0, 4002);
    view.read_until(&mut watcher, |view| view.users().is_empty()).await;
}

#[tokio::test]
async fn a_refresh_in_time_keeps_the_connection() {
    let server = Server::start();
    let mut jane = server.connect().await;
    ask(&mut jane, auth(&token_ending_in("jane", 1.5))).await;
    assert_eq!(ask(&mut jane, auth(&token("jane"))).await["type"], "auth_refreshed");
    // Another connection lives through the end of a token that ends later than the first one did.
    let mut bob = server.connect().await;
    ask(&mut bob, auth(&token_ending_in("bob", 2.0))).await;
    expect_error(&mut bob, "AUTH_EXPIRED").await;
    fence(&mut jane).await;
}

#[tokio::test]
async fn a_date_far_ahead_means_for_ever() {
    let server = Server::start();
    for exp in [json!(4_102_444_800_u64), json!(9_007_199_254_740_991_u64), json!(1e300)] {
        let mut peer = server.connect().await;
        let reply = ask(&mut peer, auth(&token_with(json!({"sub": "jane", "exp": exp})))).await;
        assert_eq!(reply["type"], "auth_success", "{exp}");
        subscribe(&mut peer, GAME).await;
        fence(&mut peer).await;
    }
}

#[tokio::test]
async fn users_are_compared_byte_by_byte() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let users =
        ["__proto__", "constructor", "caf\u{e9}", "cafe\u{301}", "Jane", "jane", "\u{1F600}"];
    let mut peers: Vec<RawConnection> = Vec::new();
    for user in users {
        let mut peer = server.sign_in(user).await;
        track(&mut peer, json!({"__proto__": user})).await;
        peers.push(peer);
    }
    view.read_until(&mut watcher, |view| view.members().len() == users.len()).await;
    let mut expected = users;
    expected.sort_unstable();
    assert_eq!(view.users(), expected);
    for user in users {
        assert_eq!(view.state_of(user), Some(&json!({"__proto__": user})));
    }
}
