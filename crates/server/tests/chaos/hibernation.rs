//! What a channel that hibernates costs no longer: others take its place in memory.

use herenow_client::raw::RawConnection;
use serde_json::json;

use crate::process::Process;

/// Channels of each half: the first falls asleep before the second comes.
const CHANNELS: usize = 300;
const CONNECTIONS: usize = 40;
const STATE_BYTES: usize = 900;

fn channel(n: usize) -> String {
    format!("presence:sleepy-{n}")
}

/// Every connection shows something in each of these channels.
async fn fill(peers: &mut [RawConnection], channels: std::ops::Range<usize>) {
    let state = json!({ "note": "n".repeat(STATE_BYTES) });
    for n in channels {
        let message =
            json!({"type": "presence_join", "channel": channel(n), "state": state, "ref": n});
        for peer in peers.iter_mut() {
            peer.send(message.clone()).await;
        }
        for peer in peers.iter_mut() {
            while peer.next_of_type("ack").await["ref"] != n {}
        }
    }
}

/// How much memory both halves take, where a channel sleeps after so long.
async fn used_kib(hibernate_after_ms: &str) -> u64 {
    let server = Process::start(&[
        ("HERENOW_HIBERNATE_AFTER_MS", hibernate_after_ms),
        ("HERENOW_MAX_CHANNELS_PER_CONNECTION", "1000"),
        ("HERENOW_MESSAGE_BURST", "1000000"),
    ])
    .await;
    let mut peers = Vec::new();
    for n in 0..CONNECTIONS {
        peers.push(server.sign_in(&format!("user-{n}")).await);
    }
    let empty = server.used();
    fill(&mut peers, 0..CHANNELS).await;
    if hibernate_after_ms != "0" {
        server.until_metric("members", 0).await;
    }
    fill(&mut peers, CHANNELS..2 * CHANNELS).await;
    server.used().anonymous_kib - empty.anonymous_kib
}

// P9.1
#[tokio::test]
async fn channels_that_hibernate_make_room_for_others() {
    let awake = used_kib("0").await;
    let asleep = used_kib("2000").await;
    assert!(asleep < awake * 3 / 4, "{asleep} KiB with sleeping channels, {awake} KiB without");
}
