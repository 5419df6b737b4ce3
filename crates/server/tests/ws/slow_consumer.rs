//! A subscriber that does not read costs bounded memory, delays nobody, and is true again one
//! snapshot after it resumes.

use herenow_client::raw::RawConnection;
use serde_json::json;

use crate::support::{GAME, Server, View, sign_in, subscribe, token, track};

const OUTBOX_BYTES: usize = 32 * 1024;
/// What a socket takes in the kernel before the outbox fills, and then some.
const KERNEL_BYTES: usize = 1 << 20;
const WRITERS: usize = 10;
const ROUNDS: usize = 1000;

fn server() -> Server {
    Server::with(|settings| {
        settings.send_queue_bytes = OUTBOX_BYTES;
        settings.message_burst = 1_000_000;
    })
}

/// A subscriber that reads nothing from now on.
async fn stalled(server: &Server) -> (RawConnection, View) {
    let mut peer = sign_in(RawConnection::connect_narrow(server.addr, "").await, "stalled").await;
    let view = subscribe(&mut peer, GAME).await;
    (peer, view)
}

/// Each writer replaces its large state this many times. The watcher sees every round before the
/// next begins, so it is never behind, whatever the stalled one does.
async fn write(
    server: &Server,
    watcher: &mut RawConnection,
    view: &mut View,
) -> Vec<RawConnection> {
    let mut writers = Vec::new();
    for n in 0..WRITERS {
        writers.push(server.sign_in(&format!("writer-{n}")).await);
    }
    let pad = "x".repeat(900);
    for round in 0..ROUNDS {
        for writer in &mut writers {
            track(writer, json!({"round": round, "pad": pad})).await;
        }
        let is_seen = |view: &View| {
            view.members().len() == WRITERS
                && view.members().values().all(|(_, state)| state["round"] == round)
        };
        while !is_seen(view) {
            let message = watcher.next_message().await;
            assert_ne!(message["type"], "presence_sync", "who reads is never dropped");
            view.apply(&message);
        }
    }
    writers
}

// P6.9
#[tokio::test]
async fn who_stops_reading_gets_one_snapshot_and_delays_nobody() {
    let server = server();
    let (mut slow, mut slow_view) = stalled(&server).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    let _writers = write(&server, &mut watcher, &mut view).await;
    let (mut bytes, mut snapshots) = (0, 0);
    while slow_view.members() != view.members() {
        let message = slow.next_message().await;
        bytes += message.to_string().len();
        snapshots += usize::from(message["type"] == "presence_sync");
        slow_view.apply(&message);
    }
    let all = WRITERS * ROUNDS * 900;
    assert!(bytes < KERNEL_BYTES + 4 * OUTBOX_BYTES, "{bytes} of {all} bytes were kept for it");
    assert!((1..=2).contains(&snapshots), "{snapshots} snapshots in place of what was dropped");
    assert_eq!(slow_view.position(), view.position());
}

#[tokio::test]
async fn who_resumes_hears_what_comes_afterwards() {
    let server = server();
    let (mut slow, mut slow_view) = stalled(&server).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut writers = write(&server, &mut watcher, &mut view).await;
    slow_view.read_until(&mut slow, |slow_view| slow_view.members() == view.members()).await;
    for n in 0..20 {
        track(&mut writers[0], json!({"after": n})).await;
        let last = json!({"after": n});
        slow_view.read_until(&mut slow, |view| view.state_of("writer-0") == Some(&last)).await;
    }
}

#[tokio::test]
async fn a_reader_that_never_resumes_can_be_closed_like_any_other() {
    let server = server();
    let (mut slow, _) = stalled(&server).await;
    track(&mut slow, json!({})).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    view.read_until(&mut watcher, |view| view.users() == ["stalled"]).await;
    let mut writer = server.sign_in("writer").await;
    for round in 0..3000 {
        track(&mut writer, json!({"round": round, "pad": "x".repeat(900)})).await;
        let is_seen =
            |view: &View| view.state_of("writer").is_some_and(|state| state["round"] == round);
        view.read_until(&mut watcher, is_seen).await;
    }
    slow.reset();
    view.read_until(&mut watcher, |view| view.users() == ["writer"]).await;
}

#[tokio::test]
async fn replies_to_a_reader_that_stops_are_never_dropped() {
    let server = server();
    let mut slow = RawConnection::connect_narrow(server.addr, "").await;
    slow.send(json!({"type": "auth", "token": token("slow")})).await;
    slow.send(json!({"type": "subscribe", "channel": GAME})).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    let _writers = write(&server, &mut watcher, &mut view).await;
    for n in 0..50 {
        slow.send(json!({"type": "ping", "ref": n})).await;
    }
    let (mut next, mut slow_view) = (0, View::new(GAME));
    while next < 50 {
        let message = slow.next_message().await;
        match message["type"].as_str() {
            Some("pong") => {
                assert_eq!(message["ref"], next, "each reply once, in order");
                next += 1;
            }
            Some("auth_success" | "subscribed") => {}
            _ => slow_view.apply(&message),
        }
    }
    slow_view.read_until(&mut slow, |slow_view| slow_view.members() == view.members()).await;
}
