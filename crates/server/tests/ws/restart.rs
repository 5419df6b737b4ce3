//! A server that is told to stop, and one that comes after it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use herenow_client::raw::{Received, text_frame};
use serde_json::{Value, json};

use crate::support::{Server, View, track};

// P7.7
#[tokio::test]
async fn everybody_is_told_to_come_back_at_a_time_of_its_own() {
    let mut server = Server::start();
    let mut peers = Vec::new();
    for n in 0..50 {
        peers.push(server.watch(&format!("user-{n}")).await.0);
    }
    // Also who has not signed in yet.
    peers.push(server.connect().await);
    server.stop();
    let mut delays = BTreeSet::new();
    for peer in &mut peers {
        let (code, reason) = peer.expect_close().await;
        assert_eq!(code, 1012);
        let reason: Value = serde_json::from_str(&reason).expect("the reason is JSON");
        delays.insert(reason["retryAfterMs"].as_u64().expect("a whole number"));
    }
    assert!(delays.len() > peers.len() / 2, "spread over time: {delays:?}");
    drop(peers);
    server.join();
}

#[tokio::test]
async fn a_stop_takes_less_than_ten_seconds_whoever_does_not_answer() {
    let server = Server::start();
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(server.watch("silent").await.0);
    }
    let start = Instant::now();
    tokio::task::spawn_blocking(|| server.join()).await.expect("the server returns");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    for peer in &mut peers {
        assert_eq!(peer.expect_close().await.0, 1012);
    }
}

#[tokio::test]
async fn a_stop_whose_closes_are_answered_takes_no_time() {
    let mut server = Server::start();
    let mut peer = server.watch("jane").await.0;
    let start = Instant::now();
    server.stop();
    assert_eq!(peer.expect_close().await.0, 1012);
    drop(peer);
    tokio::task::spawn_blocking(|| server.join()).await.expect("the server returns");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_is_said_after_the_close_is_not_heard() {
    let mut server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    server.stop();
    assert_eq!(jane.expect_close().await.0, 1012);
    let message = json!({"type": "ping"}).to_string();
    let _ = jane.try_send_bytes(&text_frame(&message)).await;
    assert_eq!(jane.next().await, Received::End);
}

#[tokio::test]
async fn nobody_is_told_a_leave_because_the_server_stops() {
    let mut server = Server::start();
    let mut peers = Vec::new();
    for n in 0..40 {
        let (mut peer, mut view) = server.watch(&format!("user-{n}")).await;
        track(&mut peer, json!({})).await;
        view.read_until(&mut peer, |view| view.members().len() == n + 1).await;
        peers.push((peer, view));
    }
    for (peer, view) in &mut peers {
        view.read_until(peer, |view| view.members().len() == 40).await;
    }
    server.stop();
    let mut closing = tokio::task::JoinSet::new();
    for (mut peer, _) in peers {
        // Each goes as soon as it is told to; the others must not hear of it.
        closing.spawn(async move { assert_eq!(peer.expect_close().await.0, 1012) });
    }
    closing.join_all().await;
}

// P5.5
#[tokio::test]
async fn the_epoch_grows_over_a_restart() {
    let mut server = Server::start();
    let mut before: Option<View> = None;
    for _ in 0..3 {
        let addr = server.addr;
        let (peer, view) = server.watch("jane").await;
        if let Some(before) = &before {
            assert!(view.position().0 > before.position().0, "{view:?} after {before:?}");
        }
        before = Some(view);
        drop(peer);
        server.join();
        server = Server::on(addr, |_| {});
    }
}
