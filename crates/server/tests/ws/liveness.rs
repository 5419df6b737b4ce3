//! Leases: what renews them, and when they end. Times are the input here, so a few tests take as
//! long as the lease that they set.

use std::time::{Duration, Instant};

use herenow_client::raw::{
    Control, Data, OpCode, Part, RawConnection, Received, fragment, frame, text_frame,
};
use serde_json::json;

use crate::support::{GAME, Server, fence, subscribe, track};

const TTL: Duration = Duration::from_millis(800);
/// How late the protocol allows a lease to end.
const LATE: Duration = Duration::from_secs(1);
/// What a busy test machine may add to that.
const SLACK: Duration = Duration::from_secs(1);

fn server() -> Server {
    Server::with(|settings| settings.presence_ttl_ms = TTL.as_millis() as u64)
}

/// Reads up to the server's next ping. Everything else is dropped.
async fn next_ping(peer: &mut RawConnection) -> Vec<u8> {
    loop {
        match peer.next().await {
            Received::Ping(payload) => return payload,
            Received::Message(_) | Received::Pong(_) => {}
            other => panic!("waited for a ping, got {other:?}"),
        }
    }
}

/// Keeps a connection alive as a browser does, for as long as it is polled.
async fn keep_alive(mut peer: RawConnection) {
    loop {
        let payload = next_ping(&mut peer).await;
        peer.send_bytes(&frame(OpCode::Control(Control::Pong), &payload)).await;
    }
}

// P7.3
#[tokio::test]
async fn a_silent_connections_entries_leave_after_the_lease_and_not_before() {
    let server = server();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.sign_in("jane").await;
    let before = Instant::now();
    track(&mut jane, json!({})).await;
    let sent = Instant::now();
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    // The watcher answers pings while it waits; jane does not read.
    let leave = watcher.next_message().await;
    let (at_least, at_most) = (sent.elapsed(), before.elapsed());
    assert_eq!((&leave["type"], &leave["reason"]), (&json!("presence_leave"), &json!("timeout")));
    assert!(at_most >= TTL, "left {at_most:?} after its last frame");
    assert!(at_least <= TTL + LATE + SLACK, "left {at_least:?} after its last frame");
    next_ping(&mut jane).await;
    assert_eq!(jane.expect_close().await.0, 4008);
}

#[tokio::test]
async fn an_observer_holds_a_lease_as_well() {
    let server = server();
    let (mut observer, _) = server.watch("observer").await;
    next_ping(&mut observer).await;
    assert_eq!(observer.expect_close().await.0, 4008);
}

// P7.2
#[tokio::test]
async fn half_the_lease_in_silence_brings_a_websocket_ping() {
    let server = server();
    let mut jane = server.sign_in("jane").await;
    let start = Instant::now();
    next_ping(&mut jane).await;
    assert!(start.elapsed() <= TTL, "there is time to answer: {:?}", start.elapsed());
}

#[tokio::test]
async fn each_whole_frame_renews_the_lease() {
    let server = server();
    let renewals: [fn() -> Vec<u8>; 5] = [
        || frame(OpCode::Control(Control::Pong), b"unasked"),
        || frame(OpCode::Control(Control::Ping), b""),
        || text_frame(r#"{"type":"ping"}"#),
        || text_frame("nonsense"),
        || text_frame(r#"{"type":"unsubscribe","channel":"presence:none"}"#),
    ];
    let mut kept = tokio::task::JoinSet::new();
    for renewal in renewals {
        let mut peer = server.sign_in("jane").await;
        kept.spawn(async move {
            let start = Instant::now();
            // Six half leases: three times as long as silence is allowed.
            for _ in 0..6 {
                next_ping(&mut peer).await;
                peer.send_bytes(&renewal()).await;
            }
            assert!(start.elapsed() > TTL, "it outlived its first lease");
        });
    }
    kept.join_all().await;
}

// P7.1
#[tokio::test]
async fn a_part_of_a_message_renews_nothing() {
    let server = server();
    let whole = text_frame(&json!({"type": "ping", "pad": "x".repeat(1000)}).to_string());
    let half_a_frame = whole[..whole.len() / 2].to_vec();
    let fragments = fragment(OpCode::Data(Data::Text), Part::More, b"{");
    for part in [half_a_frame, fragments] {
        let mut jane = server.sign_in("jane").await;
        next_ping(&mut jane).await;
        let at = Instant::now();
        jane.send_bytes(&part).await;
        assert_eq!(jane.expect_close().await.0, 4008);
        // Renewed, the lease would have lasted for the whole TTL from here.
        assert!(at.elapsed() < TTL / 2 + LATE, "{:?}", at.elapsed());
    }
}

#[tokio::test]
async fn a_control_frame_between_fragments_renews_the_lease() {
    let server = server();
    let mut jane = server.sign_in("jane").await;
    jane.send_bytes(&fragment(OpCode::Data(Data::Text), Part::More, b"{\"type\":")).await;
    for _ in 0..6 {
        next_ping(&mut jane).await;
        jane.send_bytes(&frame(OpCode::Control(Control::Pong), b"")).await;
    }
    jane.send_bytes(&fragment(OpCode::Data(Data::Continue), Part::Last, b"\"ping\"}")).await;
    assert_eq!(jane.next_of_type("pong").await, json!({"type": "pong"}));
}

#[tokio::test]
async fn who_answers_pings_stays_however_long_the_page_is_silent() {
    let server = server();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut hidden = server.sign_in("hidden").await;
    track(&mut hidden, json!({})).await;
    view.read_until(&mut watcher, |view| view.users() == ["hidden"]).await;
    let witness = async {
        // Two silent connections one after the other live through a lease each.
        for _ in 0..2 {
            let (mut silent, _) = server.watch("silent").await;
            next_ping(&mut silent).await;
            silent.expect_close().await;
        }
    };
    tokio::select! {
        () = keep_alive(hidden) => {}
        () = witness => {}
        message = watcher.next_message() => panic!("nobody came or went: {message}"),
    }
}

#[tokio::test]
async fn a_lease_ends_in_all_channels_and_the_socket_with_it() {
    let server = server();
    let mut watcher = server.sign_in("watcher").await;
    let mut jane = server.sign_in("jane").await;
    let channels = ["presence:a", "presence:b"];
    for channel in channels {
        subscribe(&mut watcher, channel).await;
        jane.send(json!({"type": "presence_join", "channel": channel, "state": {}})).await;
        assert_eq!(watcher.next_message().await["type"], "presence_join");
    }
    for _ in channels {
        let leave = watcher.next_message().await;
        assert_eq!((&leave["userId"], &leave["reason"]), (&json!("jane"), &json!("timeout")));
    }
    fence(&mut watcher).await;
}

#[tokio::test]
async fn tracking_again_after_the_lease_needs_a_new_connection() {
    let server = server();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.sign_in("jane").await;
    track(&mut jane, json!({})).await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    view.read_until(&mut watcher, |view| view.users().is_empty()).await;
    // The server has closed; whatever is still said on the old socket is not heard.
    let message = json!({"type": "presence_join", "channel": GAME, "state": {"ghost": true}});
    let _ = jane.try_send_bytes(&text_frame(&message.to_string())).await;
    let (mut bob, _) = server.watch("bob").await;
    track(&mut bob, json!({})).await;
    let join = watcher.next_message().await;
    assert_eq!(join["userId"], "bob");
}
