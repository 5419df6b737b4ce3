//! Thousands of hostile connections, and two hundred that behave and see the truth throughout.

use std::net::SocketAddr;
use std::sync::Arc;

use herenow_client::raw::{Data, OpCode, Part, RawConnection, Received, fragment, text_frame};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::crowd::{List, Member, channel_text};
use crate::process::{Process, Use, sign_in};

const HOSTILE: usize = 5_000;
const CHANNELS: usize = 500;
const MEMBERS: usize = 200;
/// How many channels each member watches. It tracks in the first of them.
const WATCHED: usize = 5;
/// Connections made at once: the server is to be filled, not the test's machine.
const AT_ONCE: usize = 200;
const STORMS: usize = 4;
/// In so many of them some flood: those need the most memory, and the allocator keeps it.
const FLOODS: usize = 2;
/// The least allowed, so that a flood of complaints costs little.
const SEND_QUEUE_BYTES: &str = "16384";
/// What the busiest moment may leave behind: tables that have grown, and what the allocator keeps.
const LEFT_KIB: u64 = 64 * 1024;
/// What the storms without a flood may add to that: 300 bytes lost per connection would be more.
const GROWN_KIB: u64 = 3 * 1024;

fn watched(member: usize) -> impl Iterator<Item = usize> {
    (0..WATCHED).map(move |n| (member * WATCHED + n) % CHANNELS)
}

fn own_channel(member: usize) -> usize {
    member * WATCHED % CHANNELS
}

fn state(round: usize) -> String {
    format!(r#"{{"round":{round}}}"#)
}

/// What is to be seen in a channel: the members, and everybody of the hostile.
fn truth(channel: usize, round: usize, hostile: usize) -> List {
    let members = (0..MEMBERS).filter(|member| own_channel(*member) == channel);
    let mut list: List =
        members.map(|member| (format!("member-{member}"), vec![state(round)])).collect();
    let hostile = (channel..hostile).step_by(CHANNELS);
    list.extend(hostile.map(|n| (format!("hostile-{n}"), vec!["{}".to_owned()])));
    list
}

async fn gather(addr: SocketAddr) -> Vec<Member> {
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        let member = Member::connect(addr, format!("member-{n}"));
        for channel in watched(n) {
            member.listen(channel).await;
        }
        member.track(own_channel(n), &state(0)).await;
        members.push(member);
    }
    members
}

/// Each member sees the whole truth in each of its channels.
async fn all_see(members: Vec<Member>, round: usize, hostile: usize) -> Vec<Member> {
    let mut seeing = JoinSet::new();
    for (n, mut member) in members.into_iter().enumerate() {
        seeing.spawn(async move {
            for channel in watched(n) {
                member.until(channel, &truth(channel, round, hostile)).await;
            }
            (n, member)
        });
    }
    let mut members = seeing.join_all().await;
    members.sort_unstable_by_key(|(n, _)| *n);
    members.into_iter().map(|(_, member)| member).collect()
}

/// Signs in and tracks.
async fn invade(addr: SocketAddr, n: usize) -> RawConnection {
    let narrow = RawConnection::connect_narrow(addr, "").await;
    let mut peer = sign_in(narrow, &format!("hostile-{n}")).await;
    let channel = channel_text(n % CHANNELS);
    peer.send(json!({"type": "presence_join", "channel": channel, "state": {}})).await;
    while peer.next_message().await["type"] != "presence_sync" {}
    peer
}

/// One of the ways to go wrong. The last of them is a flood.
async fn misbehave(mut peer: RawConnection, way: usize) {
    match way {
        0 => peer.reset(),
        1 => {
            peer.half_close().await;
            read_to_end(peer).await;
        }
        2 => {
            // Bits that are reserved, a length that is a lie.
            let garbage: Vec<u8> = (0..4096).map(|at| (at % 251) as u8 | 0x70).collect();
            let _ = peer.try_send_bytes(&garbage).await;
            read_to_end(peer).await;
        }
        3 => {
            let half = &text_frame(&"x".repeat(2000))[..700];
            peer.send_bytes(half).await;
            drop(peer);
        }
        4 => {
            let part = fragment(OpCode::Data(Data::Text), Part::More, b"{\"type\":");
            peer.send_bytes(&part).await;
            peer.reset();
        }
        5 => {
            let _ = peer.try_send_bytes(&text_frame(&"x".repeat(20_000))).await;
            read_to_end(peer).await;
        }
        6 => drop(peer),
        _ => {
            // Far above its rate, and never reading the complaints.
            let flood: Vec<u8> =
                (0..1000).flat_map(|_| text_frame(r#"{"type":"nonsense"}"#)).collect();
            let _ = peer.try_send_bytes(&flood).await;
            peer.reset();
        }
    }
}

async fn read_to_end(mut peer: RawConnection) {
    while peer.next().await != Received::End {}
}

/// Everybody comes, is seen, and goes wrong in a way of its own, while the members go on.
async fn storm(addr: SocketAddr, mut members: Vec<Member>, round: usize) -> Vec<Member> {
    let doors = Arc::new(Semaphore::new(AT_ONCE));
    let mut invading = JoinSet::new();
    for n in 0..HOSTILE {
        let doors = doors.clone();
        invading.spawn(async move {
            let _door = doors.acquire().await.expect("nobody closes it");
            (n, invade(addr, n).await)
        });
    }
    let hostile = invading.join_all().await;
    members = all_see(members, round - 1, HOSTILE).await;
    let ways = if round <= FLOODS { 8 } else { 7 };
    let mut misbehaving = JoinSet::new();
    for (n, peer) in hostile {
        misbehaving.spawn(misbehave(peer, n % ways));
    }
    for (n, member) in members.iter().enumerate() {
        member.track(own_channel(n), &state(round)).await;
    }
    misbehaving.join_all().await;
    all_see(members, round, 0).await
}

async fn expect_only_members(server: &Process) {
    server.until_metric("connections", MEMBERS as u64).await;
    server.until_metric("members", MEMBERS as u64).await;
    server.until_metric("subscriptions", (MEMBERS * WATCHED) as u64).await;
    server.until_metric("channels", CHANNELS as u64).await;
    server.until_metric("queued_messages", 0).await;
}

#[tokio::test]
async fn thousands_of_hostile_connections_hide_nothing_and_leave_nothing_behind() {
    let server = Process::start(&[("HERENOW_SEND_QUEUE_BYTES", SEND_QUEUE_BYTES)]).await;
    // Its loops run when it answers.
    server.until_metric("connections", 0).await;
    let before = server.used();
    let mut members = all_see(gather(server.addr).await, 0, 0).await;
    let with_members = server.used();
    let mut used = Vec::new();
    for round in 1..=STORMS {
        members = storm(server.addr, members, round).await;
        expect_only_members(&server).await;
        let after = server.used();
        expect_back(after, with_members, LEFT_KIB);
        used.push(after);
    }
    // What the allocator keeps at times it has kept after one of the floods; what leaks grows with
    // each storm.
    let floods = used[..FLOODS].iter().max_by_key(|used| used.anonymous_kib);
    expect_back(used[STORMS - 1], *floods.expect("there were floods"), GROWN_KIB);
    drop(members);
    for gauge in ["connections", "members", "subscriptions", "channels", "queued_messages"] {
        server.until_metric(gauge, 0).await;
    }
    expect_back(server.used(), before, LEFT_KIB);
}

fn expect_back(after: Use, before: Use, more_kib: u64) {
    assert_eq!(after.threads, before.threads);
    // The one that asks for the gauges may be open still.
    assert!(after.open_files <= before.open_files + 1, "{after:?} after {before:?}");
    let left_kib = after.anonymous_kib.saturating_sub(before.anonymous_kib);
    assert!(left_kib <= more_kib, "{after:?} after {before:?}");
}
