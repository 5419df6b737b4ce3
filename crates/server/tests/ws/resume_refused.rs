//! What the grace does not cover, and who may not take a place.

use std::time::{Duration, Instant};

use herenow_client::raw::{Control, OpCode, RawConnection, frame};
use serde_json::json;

use crate::support::{GAME, Seat, Server, View, ask, fence, next_close, subscribe, token, track};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(700);
/// What a busy test machine may add.
const SLACK: Duration = Duration::from_secs(1);

fn server(grace: Duration) -> Server {
    Server::with(|settings| settings.disconnect_grace_ms = grace.as_millis() as u64)
}

/// The watcher's next word is jane's leave, for this reason.
async fn expect_leave((watcher, view): &mut (RawConnection, View), reason: &str) {
    let leave = watcher.next_message().await;
    assert_eq!((&leave["type"], &leave["reason"]), (&json!("presence_leave"), &json!(reason)));
    view.apply(&leave);
    assert_eq!(view.users(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_token_works_once() {
    let server = server(LONG);
    let mut watcher = server.watch("watcher").await;
    let first = Seat::tracked(server.addr, &mut watcher).await;
    let mut second = Seat::again(server.addr, &first.resume, &first.id).await;
    for _ in 0..4 {
        let mut third = Seat::take(server.addr, "jane", Some(first.resume.clone())).await;
        assert_ne!(third.id, first.id, "an ordinary connection");
        fence(&mut third.peer).await;
    }
    second.expect_only(1, &mut watcher).await;
}

#[tokio::test]
async fn a_token_is_for_its_user_alone() {
    let server = server(LONG);
    let mut watcher = server.watch("watcher").await;
    let jane = Seat::tracked(server.addr, &mut watcher).await;
    jane.peer.reset();
    for _ in 0..4 {
        let mut bob = Seat::take(server.addr, "bob", Some(jane.resume.clone())).await;
        assert_ne!(bob.id, jane.id);
        fence(&mut bob.peer).await;
    }
    let mut jane = Seat::again(server.addr, &jane.resume, &jane.id).await;
    jane.expect_only(1, &mut watcher).await;
}

#[tokio::test]
async fn what_is_no_token_is_an_ordinary_sign_in() {
    let server = server(LONG);
    for resume in [json!(""), json!("nonsense"), json!("A".repeat(48)), json!(7), json!(null)] {
        let mut message = json!({"type": "auth", "token": token("jane")});
        message["resume"] = resume;
        let mut peer = server.connect().await;
        assert_eq!(ask(&mut peer, message).await["type"], "auth_success");
    }
}

#[tokio::test]
async fn without_grace_there_is_no_token_and_a_break_is_an_end() {
    let server = Server::start();
    let mut watcher = server.watch("watcher").await;
    let mut jane = server.connect().await;
    let reply = ask(&mut jane, json!({"type": "auth", "token": token("jane")})).await;
    assert_eq!(reply.get("resume"), None);
    track(&mut jane, json!({})).await;
    watcher.1.read_until(&mut watcher.0, |view| view.users() == ["jane"]).await;
    jane.reset();
    expect_leave(&mut watcher, "disconnect").await;
}

// P7.8
#[tokio::test]
async fn after_the_grace_the_entry_is_gone_and_nobody_can_take_its_place() {
    let server = server(SHORT);
    let mut watcher = server.watch("watcher").await;
    let jane = Seat::tracked(server.addr, &mut watcher).await;
    let before = Instant::now();
    jane.peer.reset();
    let after = Instant::now();
    expect_leave(&mut watcher, "disconnect").await;
    assert!(before.elapsed() >= SHORT, "not before the grace is over: {:?}", before.elapsed());
    assert!(after.elapsed() < SHORT + SLACK, "and not late: {:?}", after.elapsed());
    let mut late = Seat::take(server.addr, "jane", Some(jane.resume)).await;
    assert_ne!(late.id, jane.id);
    fence(&mut late.peer).await;
    fence(&mut watcher.0).await;
}

// P7.11
#[tokio::test]
async fn a_farewell_never_waits_for_the_grace() {
    let close = |payload: &[u8]| frame(OpCode::Control(Control::Close), payload);
    for farewell in [close(&1000u16.to_be_bytes()), close(b"")] {
        let server = server(LONG);
        let mut watcher = server.watch("watcher").await;
        let mut jane = Seat::tracked(server.addr, &mut watcher).await;
        jane.peer.send_bytes(&farewell).await;
        expect_leave(&mut watcher, "disconnect").await;
        let again = Seat::take(server.addr, "jane", Some(jane.resume)).await;
        assert_ne!(again.id, jane.id, "there is nothing to come back to");
    }
    for farewell in ["presence_leave", "unsubscribe"] {
        let server = server(LONG);
        let mut watcher = server.watch("watcher").await;
        let mut jane = Seat::tracked(server.addr, &mut watcher).await;
        jane.peer.send(json!({"type": farewell, "channel": GAME})).await;
        expect_leave(&mut watcher, "leave").await;
    }
}

// P7.11
#[tokio::test]
async fn the_end_of_a_lease_never_waits_for_the_grace() {
    let server = Server::with(|settings| {
        settings.disconnect_grace_ms = LONG.as_millis() as u64;
        settings.presence_ttl_ms = SHORT.as_millis() as u64;
    });
    let mut watcher = server.watch("watcher").await;
    let mut jane = Seat::tracked(server.addr, &mut watcher).await;
    expect_leave(&mut watcher, "timeout").await;
    assert_eq!(next_close(&mut jane.peer).await, 4008);
    let again = Seat::take(server.addr, "jane", Some(jane.resume)).await;
    assert_ne!(again.id, jane.id);
}

#[tokio::test]
async fn who_has_signed_in_or_watches_already_keeps_its_own_name() {
    let server = server(LONG);
    let mut watcher = server.watch("watcher").await;
    let jane = Seat::tracked(server.addr, &mut watcher).await;
    jane.peer.reset();
    let mut other = Seat::take(server.addr, "jane", None).await;
    let message = json!({"type": "auth", "token": token("jane"), "resume": jane.resume});
    let reply = ask(&mut other.peer, message).await;
    assert_eq!(reply["type"], "auth_refreshed");
    subscribe(&mut other.peer, "presence:other").await;
    let mut jane = Seat::again(server.addr, &jane.resume, &jane.id).await;
    jane.expect_only(1, &mut watcher).await;
}
