//! A server process that stands still for longer than every lease, as a suspended host does.

use std::time::{Duration, Instant};

use herenow_client::raw::{Control, OpCode, RawConnection, Received, frame};
use herenow_server::config::Settings;
use herenow_testing::{Server, Setup};
use serde_json::{Value, json};

use crate::process::{Process, token};

const TTL: Duration = Duration::from_secs(2);
/// The pause, which ends when a lease of this length ends on another server.
const PAUSE: Duration = Duration::from_secs(5);
/// How late the protocol allows a lease to end.
const LATE: Duration = Duration::from_secs(1);
/// What a busy test machine may add to that.
const SLACK: Duration = Duration::from_secs(1);
const MEMBERS: usize = 50;
const CHANNEL: &str = "presence:paused";

/// The lease of a silent connection on a server that is not paused: the clock of this test.
async fn wait_for_the_pause() {
    let settings = Settings {
        loops: 1,
        presence_ttl_ms: PAUSE.as_millis() as u64,
        auth_timeout_ms: PAUSE.as_millis() as u64,
        ..Settings::default()
    };
    let server = Server::start(Setup { settings, ..Setup::default() });
    let mut silent = server.connect().await;
    while !matches!(silent.next().await, Received::Close(..)) {}
}

async fn track(peer: &mut RawConnection, state: Value) {
    peer.send(json!({"type": "presence_join", "channel": CHANNEL, "state": state})).await;
    while peer.next_message().await["type"] != "presence_sync" {}
}

/// Answers pings as a browser does, whatever the page does.
async fn answer(mut peer: RawConnection) -> Received {
    loop {
        match peer.next().await {
            Received::Ping(payload) => {
                let pong = frame(OpCode::Control(Control::Pong), &payload);
                peer.send_bytes(&pong).await;
            }
            Received::Message(_) | Received::Pong(_) => {}
            end => return end,
        }
    }
}

// P7.5, P7.8
#[tokio::test]
async fn a_paused_server_keeps_the_places_of_those_who_were_away() {
    let server = Process::start(&[("HERENOW_DISCONNECT_GRACE_MS", "3000")]).await;
    let mut watcher = server.sign_in("watcher").await;
    watcher.send(json!({"type": "subscribe", "channel": CHANNEL})).await;
    while watcher.next_message().await["type"] != "presence_sync" {}
    let mut away = server.connect().await;
    away.send(json!({"type": "auth", "token": token("away")})).await;
    let first = away.next_message().await;
    track(&mut away, json!({})).await;
    assert_eq!(watcher.next_message().await["type"], "presence_join");
    away.reset();
    server.until_metric("connections", 1).await;
    server.signal("STOP");
    wait_for_the_pause().await;
    server.signal("CONT");
    let mut back = server.connect().await;
    back.send(json!({"type": "auth", "token": token("away"), "resume": first["resume"]})).await;
    assert_eq!(back.next_message().await["connectionId"], first["connectionId"]);
    // What the watcher hears next is what comes next: nobody went and nobody came.
    track(&mut back, json!({"n": 1})).await;
    assert_eq!(watcher.next_message().await["type"], "presence_update");
}

// P7.5
#[tokio::test]
async fn a_paused_server_expires_nobody_who_still_answers_and_the_silent_in_time() {
    let ttl_ms = TTL.as_millis().to_string();
    let server = Process::start(&[("HERENOW_PRESENCE_TTL", &ttl_ms)]).await;
    let mut watcher = server.sign_in("watcher").await;
    watcher.send(json!({"type": "subscribe", "channel": CHANNEL})).await;
    while watcher.next_message().await["type"] != "presence_sync" {}
    let mut answering = tokio::task::JoinSet::new();
    for n in 0..MEMBERS {
        let mut member = server.sign_in(&format!("member-{n}")).await;
        track(&mut member, json!({})).await;
        assert_eq!(watcher.next_message().await["type"], "presence_join");
        answering.spawn(answer(member));
    }
    let mut silent = server.sign_in("silent").await;
    track(&mut silent, json!({})).await;
    let heard = Instant::now();
    assert_eq!(watcher.next_message().await["userId"], "silent");
    server.signal("STOP");
    let stopped = Instant::now();
    wait_for_the_pause().await;
    server.signal("CONT");
    let paused = stopped.elapsed();
    assert!(paused > TTL + LATE, "longer than any lease: {paused:?}");
    // One leaves: who is silent for its whole lease, the pause not counted.
    let leave = watcher.next_message().await;
    assert_eq!((&leave["userId"], &leave["reason"]), (&json!("silent"), &json!("timeout")));
    let silent_for = heard.elapsed();
    assert!(silent_for >= TTL + paused - LATE, "{silent_for:?}, of which {paused:?} paused");
    assert!(silent_for <= TTL + paused + LATE + SLACK, "{silent_for:?}, {paused:?} paused");
    // Another lease goes by, and the others are there as before.
    let mut late = server.sign_in("late").await;
    track(&mut late, json!({})).await;
    assert_eq!(watcher.next_message().await["userId"], "late");
    let leave = watcher.next_message().await;
    assert_eq!((&leave["userId"], &leave["reason"]), (&json!("late"), &json!("timeout")));
    assert!(answering.try_join_next().is_none(), "nobody who answers was closed");
    server.until_metric("members", MEMBERS as u64).await;
    answering.abort_all();
}
