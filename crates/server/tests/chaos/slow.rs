//! A hundred readers that have stopped: what they cost the server, and what they cost the others.

use std::time::{Duration, Instant};

use herenow_client::raw::RawConnection;
use serde_json::json;

use crate::process::{Process, sign_in};

const CHANNEL: &str = "presence:busy";
const STALLED: usize = 100;
const SEND_QUEUE_BYTES: usize = 64 * 1024;
const ROUNDS: usize = 1_500;
const PAD_BYTES: usize = 900;
/// What a stalled reader may cost beside its send queue: buffers that are being filled, and shares.
const OTHER_KIB_EACH: u64 = 32;
/// Loose on purpose: the machine has other things to do. Waiting for a stalled reader would cost
/// seconds.
const LATER: Duration = Duration::from_millis(50);

/// One changes its state again and again; how long each change took to be seen by another.
async fn delays(
    writer: &mut RawConnection,
    watcher: &mut RawConnection,
    first: usize,
) -> Vec<Duration> {
    let pad = "x".repeat(PAD_BYTES);
    let mut delays = Vec::new();
    for round in first..first + ROUNDS {
        let sent = Instant::now();
        let state = json!({"round": round, "pad": pad});
        writer.send(json!({"type": "presence_join", "channel": CHANNEL, "state": state})).await;
        loop {
            let message = watcher.next_message().await;
            let is_delta = message["type"] != "presence_sync" || round == first;
            assert!(is_delta, "who reads is never dropped");
            if message["state"]["round"] == round {
                break;
            }
        }
        delays.push(sent.elapsed());
    }
    delays.sort_unstable();
    delays
}

async fn subscribe(peer: &mut RawConnection) {
    peer.send(json!({"type": "subscribe", "channel": CHANNEL})).await;
    while peer.next_message().await["type"] != "presence_sync" {}
}

#[tokio::test]
async fn readers_that_stop_cost_their_outbox_and_delay_nobody() {
    let server = Process::start(&[
        ("HERENOW_SEND_QUEUE_BYTES", &SEND_QUEUE_BYTES.to_string()),
        ("HERENOW_MESSAGE_BURST", "1000000"),
    ])
    .await;
    let mut watcher = server.sign_in("watcher").await;
    subscribe(&mut watcher).await;
    let mut writer = server.sign_in("writer").await;
    let without = delays(&mut writer, &mut watcher, 0).await;
    let mut stalled = Vec::new();
    for n in 0..STALLED {
        let narrow = RawConnection::connect_narrow(server.addr, "").await;
        let mut peer = sign_in(narrow, &format!("stalled-{n}")).await;
        subscribe(&mut peer).await;
        stalled.push(peer);
    }
    let before = server.used();
    let with = delays(&mut writer, &mut watcher, ROUNDS).await;
    let after = server.used();
    assert!(server.metric("slow_subscriber_drops_total").await >= STALLED as u64);
    let p99 = |sorted: &[Duration]| sorted[sorted.len() * 99 / 100];
    let (without, with) = (p99(&without), p99(&with));
    assert!(with <= without * 5 + LATER, "{with:?} with stalled readers, {without:?} without");
    let each_kib = (SEND_QUEUE_BYTES / 1024) as u64 + OTHER_KIB_EACH;
    let cost_kib = after.anonymous_kib.saturating_sub(before.anonymous_kib);
    assert!(cost_kib <= STALLED as u64 * each_kib, "{cost_kib} KiB for {STALLED} stalled");
    // Each is true again one snapshot after it resumes.
    for peer in &mut stalled {
        let mut snapshots = 0;
        let mut is_true = false;
        while !is_true {
            let message = peer.next_message().await;
            snapshots += usize::from(message["type"] == "presence_sync");
            let last = 2 * ROUNDS - 1;
            is_true = message["state"]["round"] == last
                || message["presences"][0]["state"]["round"] == last;
        }
        assert_eq!(snapshots, 1, "one snapshot in place of what was dropped");
    }
}
