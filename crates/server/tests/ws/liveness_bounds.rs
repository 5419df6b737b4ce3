//! Peers that are silent in every way there is, many at once: each leaves when its lease ends, not
//! before and at most a second late, and whoever still answers stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use herenow_client::machine::{Event, Status};
use herenow_client::raw::{Control, OpCode, RawConnection, Received, frame};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Proxy, Server, User, fence, names, track};

const TTL: Duration = Duration::from_secs(4);
/// How late the protocol allows a lease to end.
const LATE: Duration = Duration::from_secs(1);
/// What a busy test machine may add to that.
const SLACK: Duration = Duration::from_secs(3);
const SILENT: usize = 60;

fn server() -> Server {
    Server::with(|settings| settings.presence_ttl_ms = TTL.as_millis() as u64)
}

/// When the last frame of a peer was sent: it arrived between these.
struct LastFrame {
    before: Instant,
    after: Instant,
}

/// Answers so many pings and then hangs, its socket open and unread.
async fn hang_after(mut peer: RawConnection, pings: usize) -> (RawConnection, LastFrame) {
    let mut last = LastFrame { before: Instant::now(), after: Instant::now() };
    for n in 0..=pings {
        if n > 0 {
            while !matches!(peer.next().await, Received::Ping(_)) {}
        }
        last.before = Instant::now();
        peer.send_bytes(&frame(OpCode::Control(Control::Pong), b"")).await;
        last.after = Instant::now();
    }
    (peer, last)
}

// P7.3
#[tokio::test]
async fn of_many_silent_peers_each_leaves_within_its_second_and_none_early() {
    let server = server();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut hanging = JoinSet::new();
    for n in 0..SILENT {
        let user = format!("silent-{n}");
        let mut peer = server.sign_in(&user).await;
        track(&mut peer, json!({})).await;
        hanging.spawn(async move {
            let (peer, last) = hang_after(peer, n % 3).await;
            (user, peer, last)
        });
    }
    view.read_until(&mut watcher, |view| view.members().len() == SILENT).await;
    let mut left = BTreeMap::new();
    while left.len() < SILENT {
        let message = watcher.next_message().await;
        let at = Instant::now();
        view.apply(&message);
        assert_eq!(message["reason"], "timeout", "{message}");
        left.insert(message["userId"].as_str().expect("an id is a string").to_owned(), at);
    }
    for (user, _peer, last) in hanging.join_all().await {
        let at = left[&user];
        assert!(at - last.before >= TTL, "{user} left after {:?}", at - last.before);
        let silent = at - last.after;
        assert!(silent <= TTL + LATE + SLACK, "{user} left after {silent:?}");
    }
}

#[tokio::test]
async fn a_connection_whose_net_is_gone_leaves_like_a_silent_one() {
    let server = server();
    let proxy = Proxy::before(server.addr).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane =
        crate::support::sign_in(RawConnection::connect(proxy.addr, "").await, "jane").await;
    track(&mut jane, json!({})).await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    proxy.stand_still();
    let still = Instant::now();
    // It says what it likes: no end is told, and nothing arrives.
    for n in 0..10 {
        track(&mut jane, json!({"n": n})).await;
    }
    let leave = watcher.next_message().await;
    assert_eq!((&leave["userId"], &leave["reason"]), (&json!("jane"), &json!("timeout")));
    assert!(still.elapsed() <= TTL + LATE + SLACK, "{:?}", still.elapsed());
    // When the net is back, what was said meanwhile comes too late to count.
    proxy.go_on();
    let mut bob = server.sign_in("bob").await;
    track(&mut bob, json!({})).await;
    view.apply(&leave);
    view.read_until(&mut watcher, |view| view.users() == ["bob"]).await;
    fence(&mut watcher).await;
}

#[tokio::test]
async fn a_laptop_that_sleeps_is_gone_and_back_with_a_true_list_when_it_wakes() {
    let server = server();
    let proxy = Proxy::before(server.addr).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut laptop = User::join(proxy.addr, "laptop").await;
    view.read_until(&mut watcher, |view| view.users() == ["laptop"]).await;
    proxy.stand_still();
    view.read_until(&mut watcher, |view| view.users().is_empty()).await;
    // The world goes on without it.
    let bob = User::join(server.addr, "bob").await;
    assert_eq!(names(&laptop.list().await), ["laptop"], "it has heard of nothing");
    proxy.go_on();
    while laptop.event().await != Event::Status(Status::Reconnecting) {}
    laptop.until(|users| names(users) == ["bob", "laptop"]).await;
    view.read_until(&mut watcher, |view| view.users() == ["bob", "laptop"]).await;
    drop(bob);
}
