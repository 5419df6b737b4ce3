//! What a denied channel gives away: nothing.

use std::time::{Duration, Instant};

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};

use crate::support::{Server, ask, fence, subscribe, track};

const NAMESPACES: &str =
    "{ 'presence:secret-*': { access: { subscribe: (auth) => auth?.role === 'admin' } },
    'presence:open': { access: { subscribe: () => true } } }";

const FULL: &str = "presence:secret-full";
const EMPTY: &str = "presence:secret-none";

/// Every message that names a channel.
fn messages(channel: &str) -> Vec<Value> {
    let state = json!({"x": 1});
    vec![
        json!({"type": "subscribe", "channel": channel}),
        json!({"type": "presence_sync", "channel": channel}),
        json!({"type": "presence_join", "channel": channel, "state": state}),
        json!({"type": "presence_track", "channel": channel, "state": state}),
        json!({"type": "presence_update", "channel": channel, "state": state}),
        json!({"type": "presence_leave", "channel": channel}),
        json!({"type": "unsubscribe", "channel": channel}),
        json!({"type": "subscribe", "channel": format!("realtime:{channel}")}),
    ]
}

#[tokio::test]
async fn a_full_channel_answers_as_an_empty_one_does() {
    let server = Server::start(NAMESPACES);
    let mut admin = server.sign_in(json!({"sub": "root", "role": "admin"})).await;
    assert_eq!(track(&mut admin, FULL).await, None);
    for mut peer in [server.anonymous().await, server.sign_in(json!({"sub": "jane"})).await] {
        for (full, empty) in messages(FULL).into_iter().zip(messages(EMPTY)) {
            let asked = full.to_string();
            let (full, empty) = (ask(&mut peer, full).await, ask(&mut peer, empty).await);
            let unnamed = |reply: &Value| reply.to_string().replace(FULL, EMPTY);
            assert_eq!(unnamed(&full), unnamed(&empty), "to {asked}");
            assert!(full["type"] == "error" || full["type"] == "ack", "{full} to {asked}");
        }
    }
}

#[tokio::test]
async fn nothing_of_what_happens_in_it_is_heard() {
    let server = Server::start(NAMESPACES);
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    assert_eq!(subscribe(&mut jane, "presence:open").await, None);
    assert_eq!(jane.next_message().await["type"], "presence_sync");
    for message in messages(FULL) {
        ask(&mut jane, message).await;
    }
    let mut admin = server.sign_in(json!({"sub": "root", "role": "admin"})).await;
    for at in 0..10 {
        admin.send(json!({"type": "presence_join", "channel": FULL, "state": {"at": at}})).await;
    }
    admin.send(json!({"type": "presence_leave", "channel": FULL})).await;
    assert_eq!(track(&mut admin, FULL).await, None);
    // The admin has been answered; what Jane was owed of it would be on its way before this.
    assert_eq!(track(&mut admin, "presence:open").await, None);
    assert_eq!(jane.next_message().await["channel"], "presence:open");
    fence(&mut jane).await;
}

#[tokio::test]
async fn the_denied_are_not_seen_in_it() {
    let server = Server::start(NAMESPACES);
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    for message in messages(FULL) {
        ask(&mut jane, message).await;
    }
    let mut admin = server.sign_in(json!({"sub": "root", "role": "admin"})).await;
    assert_eq!(subscribe(&mut admin, FULL).await, None);
    let snapshot = admin.next_message().await;
    assert_eq!((&snapshot["type"], &snapshot["presences"]), (&json!("presence_sync"), &json!([])));
}

#[tokio::test]
async fn the_refusal_takes_as_long_for_a_full_channel_as_for_an_empty_one() {
    let server = Server::start(NAMESPACES);
    let mut crowd = Vec::new();
    for _ in 0..50 {
        let mut admin = server.sign_in(json!({"sub": "root", "role": "admin"})).await;
        assert_eq!(track(&mut admin, FULL).await, None);
        crowd.push(admin);
    }
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    let (mut full, mut empty) = (Vec::new(), Vec::new());
    // In turn, so that whatever else the machine does falls on both alike; below the rate.
    for _ in 0..75 {
        full.push(refused_after(&mut jane, FULL).await);
        empty.push(refused_after(&mut jane, EMPTY).await);
    }
    let (full, empty) = (median(full), median(empty));
    let ratio = full.as_secs_f64() / empty.as_secs_f64();
    assert!((0.5..2.0).contains(&ratio), "{full:?} for a full channel, {empty:?} for an empty one");
}

async fn refused_after(peer: &mut RawConnection, channel: &str) -> Duration {
    let asked = Instant::now();
    assert_eq!(subscribe(peer, channel).await.as_deref(), Some("CHANNEL_ACCESS_DENIED"));
    asked.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
