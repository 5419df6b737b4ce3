//! How often a connection gets snapshots, and what it gets while its socket takes nothing.

use herenow_client::raw::{RawConnection, text_frame};
use serde_json::json;

use crate::support::{GAME, Server, fence, sign_in, subscribe, track};

/// Members of the large channel; each shows about a kilobyte.
const MEMBERS: usize = 300;
const REPEATED: usize = 300;

fn server() -> Server {
    Server::with(|settings| {
        settings.max_messages_per_second = 100_000;
        settings.message_burst = 1_000_000;
    })
}

/// A channel whose snapshot has some 300 KB. Its members read nothing.
async fn large_channel(server: &Server) -> Vec<RawConnection> {
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        let mut member = server.sign_in(&format!("member-{n}")).await;
        track(&mut member, json!({"pad": "x".repeat(900)})).await;
        members.push(member);
    }
    view.read_until(&mut watcher, |view| view.members().len() == MEMBERS).await;
    members
}

// P8.9
#[tokio::test]
async fn a_client_that_asks_for_snapshots_gets_few_at_once_and_an_ack_for_each_request() {
    let server = server();
    let (mut peer, _) = server.watch("jane").await;
    let mut bytes = Vec::new();
    for n in 0..REPEATED {
        let sync = json!({"type": "presence_sync", "channel": GAME, "ref": n});
        bytes.extend(text_frame(&sync.to_string()));
    }
    peer.send_bytes(&bytes).await;
    let (mut acks, mut snapshots) = (0, 0);
    while acks < REPEATED {
        let message = peer.next_message().await;
        match message["type"].as_str() {
            Some("ack") => {
                assert_eq!(message["ref"], acks);
                acks += 1;
            }
            Some("presence_sync") => snapshots += 1,
            _ => panic!("{message}"),
        }
    }
    // What waited comes as one, later.
    while peer.next_message().await["type"] != "presence_sync" {}
    assert!(snapshots <= 8, "{snapshots} snapshots for {REPEATED} requests at once");
}

// P8.9
#[tokio::test]
async fn a_client_that_unsubscribes_and_subscribes_in_a_loop_gets_few_snapshots() {
    let server = server();
    let (mut peer, _) = server.watch("jane").await;
    let mut bytes = Vec::new();
    for _ in 0..REPEATED {
        for kind in ["unsubscribe", "subscribe"] {
            bytes.extend(text_frame(&json!({"type": kind, "channel": GAME}).to_string()));
        }
    }
    peer.send_bytes(&bytes).await;
    let (mut subscribed, mut snapshots) = (0, 0);
    while subscribed < REPEATED {
        let message = peer.next_message().await;
        subscribed += usize::from(message["type"] == "subscribed");
        snapshots += usize::from(message["type"] == "presence_sync");
    }
    // The last subscription gets its own, and deltas after it.
    let snapshot = peer.next_message().await;
    assert_eq!(snapshot["type"], "presence_sync");
    let mut bob = server.sign_in("bob").await;
    track(&mut bob, json!({})).await;
    assert_eq!(peer.next_message().await["type"], "presence_join");
    assert!(snapshots <= 8, "{snapshots} snapshots for {REPEATED} subscriptions");
}

// P8.9
#[tokio::test]
async fn each_of_a_hundred_channels_is_shown_to_one_who_subscribes_to_all_at_once() {
    let server = server();
    let mut peer = server.sign_in("jane").await;
    let mut bytes = Vec::new();
    for n in 0..100 {
        let channel = format!("presence:channel-{n}");
        bytes.extend(text_frame(&json!({"type": "subscribe", "channel": channel}).to_string()));
    }
    peer.send_bytes(&bytes).await;
    let mut shown = std::collections::BTreeSet::new();
    while shown.len() < 100 {
        let message = peer.next_message().await;
        if message["type"] == "presence_sync" {
            let is_new = shown.insert(message["channel"].to_string());
            assert!(is_new, "{} is shown twice", message["channel"]);
        }
    }
    fence(&mut peer).await;
}

// P6.9
#[tokio::test]
async fn a_reader_that_stops_gets_no_second_snapshot_before_it_has_taken_the_first() {
    let server = server();
    let members = large_channel(&server).await;
    let narrow = RawConnection::connect_narrow(server.addr, "").await;
    let mut slow = sign_in(narrow, "slow").await;
    slow.send(json!({"type": "subscribe", "channel": GAME})).await;
    let mut quiet = server.sign_in("quiet").await;
    for _ in 0..20 {
        slow.send(json!({"type": "presence_sync", "channel": GAME})).await;
        fence(&mut quiet).await;
    }
    let before = server.counter("bytes_out_total").await;
    for _ in 0..20 {
        slow.send(json!({"type": "presence_sync", "channel": GAME})).await;
        fence(&mut quiet).await;
    }
    let sent = server.counter("bytes_out_total").await - before;
    assert!(sent < 100_000, "{sent} bytes were sent to a reader that takes none");
    // When it reads again it gets what it began, and one that is true.
    let view = subscribe(&mut server.sign_in("other").await, GAME).await;
    let mut snapshots = 0;
    while snapshots < 2 {
        let message = slow.next_message().await;
        snapshots += usize::from(message["type"] == "presence_sync");
        if snapshots == 2 {
            let rows = message["presences"].as_array().expect("the rows").len();
            assert_eq!(rows, view.members().len());
        }
    }
    drop(members);
}
