//! Connections that broke and are kept for a while: how many, and to whom they give way.

use std::time::Duration;

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};

use crate::support::{GAME, Seat, Server, View, ask, fence, track};

const GRACE: Duration = Duration::from_secs(60);
/// By default.
const MAX_PER_USER: usize = 16;

fn server(change: impl FnOnce(&mut herenow_server::config::Settings)) -> Server {
    Server::with(|settings| {
        settings.disconnect_grace_ms = GRACE.as_millis() as u64;
        // The connections of one user are on several loops, and so is who counts them.
        settings.loops = 3;
        change(settings);
    })
}

/// A connection of `user` that tracks.
async fn tracking(server: &Server, user: &str) -> Seat {
    let mut seat = Seat::take(server.addr, user, None).await;
    track(&mut seat.peer, json!({"of": user})).await;
    seat
}

/// Reads until the watcher sees exactly these connections.
async fn until_seen((peer, view): &mut (RawConnection, View), ids: &[&String]) {
    let mut wanted: Vec<&String> = ids.to_vec();
    wanted.sort();
    view.read_until(peer, |view| view.members().keys().collect::<Vec<_>>() == wanted).await;
}

// P7.12
#[tokio::test]
async fn of_one_user_the_newest_broken_connections_stay_and_no_more_than_the_bound() {
    let server = server(|_| {});
    let mut watcher = server.watch("watcher").await;
    let bob = tracking(&server, "bob").await;
    bob.peer.reset();
    let mut kept = Vec::new();
    for _ in 0..2 * MAX_PER_USER {
        let Seat { peer, id, resume } = tracking(&server, "jane").await;
        peer.reset();
        // One after the other, so that it is known which one is the oldest.
        server.until_gauge("connections", 1).await;
        kept.push((id, resume));
    }
    let kept = kept.split_off(kept.len() - MAX_PER_USER);
    let mut ids: Vec<&String> = kept.iter().map(|(id, _)| id).collect();
    ids.push(&bob.id);
    until_seen(&mut watcher, &ids).await;
    server.until_gauge("detached_sessions", MAX_PER_USER as u64 + 1).await;
    server.until_gauge("members", MAX_PER_USER as u64 + 1).await;
    for (id, resume) in &kept {
        Seat::again(server.addr, resume, id).await.peer.reset();
    }
    fence(&mut watcher.0).await;
}

// P7.12
#[tokio::test]
async fn a_connection_that_breaks_and_comes_back_many_times_counts_once() {
    let server = server(|settings| settings.max_detached_per_user = 1);
    let mut watcher = server.watch("watcher").await;
    let mut seat = Seat::tracked(server.addr, &mut watcher).await;
    for attempt in 1..=12 {
        let Seat { peer, id, resume } = seat;
        peer.reset();
        seat = Seat::again(server.addr, &resume, &id).await;
        seat.expect_only(attempt, &mut watcher).await;
    }
    server.until_gauge("detached_sessions", 0).await;
}

// P7.12
#[tokio::test]
async fn a_new_connection_takes_the_place_of_the_one_that_broke_longest_ago() {
    let server = server(|settings| settings.max_connections = 4);
    let mut watcher = server.watch("watcher").await;
    let mut ids = Vec::new();
    for (n, user) in ["ann", "bob", "cat"].into_iter().enumerate() {
        let seat = tracking(&server, user).await;
        seat.peer.reset();
        server.until_gauge("detached_sessions", n as u64 + 1).await;
        ids.push(seat.id);
    }
    until_seen(&mut watcher, &ids.iter().collect::<Vec<_>>()).await;
    let mut live = Vec::new();
    for n in 0..3 {
        live.push(server.connect().await);
        until_seen(&mut watcher, &ids[n + 1..].iter().collect::<Vec<_>>()).await;
        server.until_gauge("connections", n as u64 + 2).await;
    }
    server.until_gauge("detached_sessions", 0).await;
    for peer in &mut live {
        fence(peer).await;
    }
}

// P4.14
#[tokio::test]
async fn in_a_full_channel_broken_connections_make_room_for_live_ones() {
    let server = server(|settings| settings.max_members = 2);
    let mut watcher = server.watch("watcher").await;
    let ann = tracking(&server, "ann").await;
    let bob = tracking(&server, "bob").await;
    until_seen(&mut watcher, &[&ann.id, &bob.id]).await;
    let mut cat = Seat::take(server.addr, "cat", None).await;
    let joining = json!({"type": "presence_join", "channel": GAME, "state": {}});
    let reply = ask(&mut cat.peer, joining.clone()).await;
    assert_eq!(reply["code"], "MEMBER_LIMIT", "who is connected gives way to nobody");
    ann.peer.reset();
    server.until_gauge("detached_sessions", 1).await;
    bob.peer.reset();
    server.until_gauge("detached_sessions", 2).await;
    // Of those who broke, the one that broke longest ago.
    cat.peer.send(joining).await;
    let reason = |message: &Value| (message["type"].clone(), message["reason"].clone());
    let left = watcher.0.next_message().await;
    assert_eq!(reason(&left), (json!("presence_leave"), json!("disconnect")));
    watcher.1.apply(&left);
    until_seen(&mut watcher, &[&bob.id, &cat.id]).await;
    // Back again, she is as live as anybody.
    let mut ann = Seat::take(server.addr, "ann", Some(ann.resume)).await;
    until_seen(&mut watcher, &[&ann.id, &cat.id]).await;
    let mut view = View::new(GAME);
    view.read_until(&mut ann.peer, |view| view.users() == ["ann", "cat"]).await;
    // Bob's connection is there, but his place is not.
    let mut bob = Seat::take(server.addr, "bob", Some(bob.resume)).await;
    let error = bob.peer.next_of_type("error").await;
    assert_eq!((&error["code"], &error["channel"]), (&json!("MEMBER_LIMIT"), &json!(GAME)));
}
