//! What a connection may say how fast, and what becomes of the rest.

use std::time::Duration;

use herenow_client::raw::{Control, OpCode, RawConnection, Received, frame, text_frame};
use serde_json::{Value, json};

use crate::support::{GAME, Server, View, ask, fence, subscribe, token, track};

const RATE: u32 = 10;
const BURST: u32 = 20;

fn server() -> Server {
    Server::with(|settings| {
        settings.max_messages_per_second = RATE;
        settings.message_burst = BURST;
    })
}

/// One write of many messages.
async fn send_all(peer: &mut RawConnection, messages: impl IntoIterator<Item = Value>) {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend(text_frame(&message.to_string()));
    }
    peer.send_bytes(&bytes).await;
}

#[tokio::test]
async fn a_burst_is_handled_and_what_exceeds_it_is_refused_by_name() {
    let server = server();
    let mut peer = server.sign_in("jane").await;
    let count = 100;
    send_all(&mut peer, (0..count).map(|n| json!({"type": "ping", "ref": n}))).await;
    let (mut pongs, mut refused) = (0, 0);
    for n in 0..count {
        let reply = peer.next_message().await;
        assert_eq!(reply["ref"], n, "each is answered in its turn");
        match reply["type"].as_str() {
            Some("pong") => pongs += 1,
            Some("error") => {
                assert_eq!(reply["code"], "RATE_LIMITED");
                refused += 1;
            }
            _ => panic!("{reply}"),
        }
    }
    // Signing in took one of the burst; a slow machine earns a few while it works.
    assert!((BURST - 1..BURST + 3 * RATE).contains(&pongs), "{pongs} handled, {refused} refused");
}

#[tokio::test]
async fn joins_above_the_rate_merge_and_the_newest_is_applied() {
    let server = server();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.sign_in("jane").await;
    subscribe(&mut jane, GAME).await;
    let count = 300;
    let join =
        |n: i32| json!({"type": "presence_join", "channel": GAME, "state": {"n": n}, "ref": n});
    send_all(&mut jane, (0..count).map(join)).await;
    let mut told = 0;
    let last = json!({"n": count - 1});
    while view.state_of("jane") != Some(&last) {
        view.apply(&watcher.next_message().await);
        told += 1;
    }
    assert!(told < count, "updates merged: {told}");
    let mut acknowledged = std::collections::BTreeSet::new();
    while acknowledged.len() < count as usize {
        let reply = jane.next_message().await;
        assert_ne!(reply["type"], "error", "a join is never refused for its rate");
        if reply["type"] == "ack" {
            assert!(acknowledged.insert(reply["ref"].as_i64().expect("a number")), "{reply}");
        }
    }
}

#[tokio::test]
async fn of_what_waits_the_last_word_wins_and_leaving_is_never_refused() {
    let server = server();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.sign_in("jane").await;
    track(&mut jane, json!({"first": true})).await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    let join = |n: i32| json!({"type": "presence_join", "channel": GAME, "state": {"n": n}});
    let leave = json!({"type": "presence_leave", "channel": GAME, "ref": "leave"});
    send_all(&mut jane, (0..100).map(join).chain([leave.clone()])).await;
    let reply = jane.next_of_type("ack").await;
    assert_eq!(reply["ref"], "leave");
    view.read_until(&mut watcher, |view| view.users().is_empty()).await;
    // And the other way round: a join after the leave is the last word.
    send_all(&mut jane, (0..100).map(join).chain([leave, join(500)])).await;
    let last = json!({"n": 500});
    view.read_until(&mut watcher, |view| view.state_of("jane") == Some(&last)).await;
    let unsubscribe = json!({"type": "unsubscribe", "channel": GAME, "ref": "end"});
    send_all(&mut jane, (0..100).map(join).chain([unsubscribe])).await;
    assert_eq!(jane.next_of_type("unsubscribed").await["ref"], "end");
    view.read_until(&mut watcher, |view| view.users().is_empty()).await;
    // None of the joins that waited comes to life afterwards.
    let mut bob = server.sign_in("bob").await;
    track(&mut bob, json!({})).await;
    assert_eq!(watcher.next_message().await["userId"], "bob");
}

#[tokio::test]
async fn auth_is_never_refused_for_its_rate() {
    let server = server();
    let mut jane = server.sign_in("jane").await;
    let pings = (0..100).map(|_| json!({"type": "ping"}));
    let auth = json!({"type": "auth", "token": token("jane"), "ref": "auth"});
    send_all(&mut jane, pings.chain([auth])).await;
    let reply = loop {
        let reply = jane.next_message().await;
        if reply["ref"] == "auth" {
            break reply;
        }
    };
    assert_eq!(reply["type"], "auth_refreshed");
}

#[tokio::test]
async fn a_busy_connection_does_not_use_up_anothers_rate() {
    let server = server();
    let mut loud = server.sign_in("loud").await;
    let mut quiet = server.sign_in("quiet").await;
    send_all(&mut loud, (0..200).map(|_| json!({"type": "ping"}))).await;
    for _ in 0..5 {
        fence(&mut quiet).await;
    }
}

#[tokio::test]
async fn who_waits_may_speak_again() {
    let server = server();
    let mut peer = server.sign_in("jane").await;
    send_all(&mut peer, (0..50).map(|n| json!({"type": "ping", "ref": n}))).await;
    for _ in 0..50 {
        peer.next_message().await;
    }
    // One message is earned in a tenth of a second, also while others are refused.
    let mut view = View::new(GAME);
    loop {
        let reply = ask(&mut peer, json!({"type": "subscribe", "channel": GAME})).await;
        if reply["type"] == "subscribed" {
            break;
        }
        assert_eq!(reply["code"], "RATE_LIMITED");
        assert_eq!(reply["channel"], GAME);
    }
    view.apply(&peer.next_message().await);
}

/// Sends frames at about this pace until the server closes; the pace is what is tested.
async fn flood(peer: &mut RawConnection, frames_per_tick: usize, whole: &[u8]) -> u16 {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let bytes = whole.repeat(frames_per_tick);
    loop {
        tokio::select! {
            received = peer.next() => match received {
                Received::Close(code, _) => return code,
                Received::Message(_) | Received::Pong(_) => {}
                other => panic!("waited for a close, got {other:?}"),
            },
            _ = tick.tick() => {
                // The close may already be on its way.
                let _ = peer.try_send_bytes(&bytes).await;
            }
        }
    }
}

#[tokio::test]
async fn far_above_the_rate_for_long_is_abuse() {
    let server = server();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.sign_in("jane").await;
    track(&mut jane, json!({})).await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    // 300 a second, three times what is ten times the rate.
    let start = std::time::Instant::now();
    let code = flood(&mut jane, 30, &text_frame(r#"{"type":"ping"}"#)).await;
    assert_eq!(code, 4029);
    assert!(start.elapsed() >= Duration::from_secs(4), "a short burst is not abuse");
    view.read_until(&mut watcher, |view| view.users().is_empty()).await;
}

#[tokio::test]
async fn control_frames_count_towards_abuse() {
    let server = server();
    let mut jane = server.sign_in("jane").await;
    let pong = frame(OpCode::Control(Control::Pong), b"");
    assert_eq!(flood(&mut jane, 30, &pong).await, 4029);
}

#[tokio::test]
async fn control_frames_do_not_use_up_the_rate() {
    let server = server();
    let mut jane = server.sign_in("jane").await;
    jane.send_bytes(&frame(OpCode::Control(Control::Pong), b"").repeat(90)).await;
    for _ in 0..BURST / 2 {
        fence(&mut jane).await;
    }
}
