//! New rules arrive, whatever the server is at.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use herenow_client::raw::RawConnection;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::process::{Launch, Process};

const OPEN: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: () => true, track: () => true } } } } });";
const CLOSED: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: () => false } } } } });";

/// How long the loop stands still.
const STALL_MS: u64 = 10_000;
/// More batches than may wait for a loop.
const BATCHES: usize = 2000;
/// How long a loop takes at most to answer, unless it reads no more.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1000);
const CONNECTIONS: usize = 3000;
const SIGHUP_EVERY: Duration = Duration::from_millis(120);
/// From the first SIGHUP to the last revoked subscription.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// A server with a configuration of its own; the file is gone with this.
struct Configured {
    server: Process,
    config: PathBuf,
}

impl Configured {
    async fn start(name: &str, arguments: &[&str]) -> Self {
        let config = format!("herenow-reload-{name}-{}.ts", std::process::id());
        let config = std::env::temp_dir().join(config);
        std::fs::write(&config, OPEN).expect("the temporary folder can be written");
        let settings = vec![
            ("HERENOW_CONFIG", config.to_string_lossy().into_owned()),
            ("HERENOW_MAX_MESSAGES_PER_SECOND", "100000".into()),
            ("HERENOW_MESSAGE_BURST", "100000".into()),
        ];
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let launch = Launch { settings, arguments, ..Launch::default() };
        Self { server: Process::launch(launch).await, config }
    }

    fn close_all_channels(&self) {
        std::fs::write(&self.config, CLOSED).expect("the temporary folder can be written");
        self.server.signal("HUP");
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.config);
    }
}

async fn subscribe(peer: &mut RawConnection, channel: &str) {
    peer.send(json!({"type": "subscribe", "channel": channel})).await;
    assert_eq!(peer.next_message().await["type"], "subscribed");
    assert_eq!(peer.next_message().await["type"], "presence_sync");
}

async fn expect_revoked(peer: &mut RawConnection) {
    assert_eq!(peer.next_of_type("unsubscribed").await["code"], "CHANNEL_ACCESS_DENIED");
}

/// Two loops: a channel of the first one's.
fn channel_of_the_first_loop() -> String {
    let names = (0..).map(|n| format!("presence:busy-{n}"));
    let is_of_it = |name: &String| {
        herenow_wire::ChannelName::parse(name).expect("a good name").shard().is_multiple_of(2)
    };
    let mut fitting = names.filter(is_of_it);
    fitting.next().expect("there are names without end")
}

#[tokio::test]
async fn a_loop_that_stood_still_with_a_full_queue_revokes_when_it_turns_again() {
    let stall = format!("loop-stall={STALL_MS}=presence:still");
    let configured = Configured::start("stall", &["--rehearse", &stall]).await;
    let server = &configured.server;
    // They go to the loops in turn.
    let (mut jane, mut bob) = (server.sign_in("jane").await, server.sign_in("bob").await);
    subscribe(&mut jane, "presence:watched").await;
    subscribe(&mut bob, "presence:watched").await;
    jane.send(json!({"type": "presence_join", "channel": "presence:still", "state": {}})).await;
    // Bob's loop sends one batch to jane's for each of these. When no more fit, it stops to read.
    let busy = channel_of_the_first_loop();
    let mut sent = 0;
    loop {
        bob.send(json!({"type": "presence_join", "channel": busy, "state": {"n": sent}})).await;
        bob.send(json!({"type": "ping"})).await;
        if timeout(ANSWERED_WITHIN, bob.next_of_type("pong")).await.is_err() {
            break;
        }
        sent += 1;
        assert!(sent < BATCHES, "the queue is never full");
    }
    let began = Instant::now();
    configured.close_all_channels();
    let late = server.wait_for("not in force yet");
    assert!(late.contains("loops=\"[0]\""), "{late}");
    server.wait_for("new rules are in force");
    assert!(began.elapsed() > ANSWERED_WITHIN, "no loop stood still");
    expect_revoked(&mut jane).await;
    expect_revoked(&mut bob).await;
}

#[tokio::test]
async fn signals_in_quick_succession_starve_no_connection_of_its_review() {
    let configured = Configured::start("herd", &[]).await;
    let server = &configured.server;
    let mut joining = JoinSet::new();
    for n in 0..CONNECTIONS {
        let mut peer = server.sign_in(&format!("user-{n}")).await;
        joining.spawn(async move {
            subscribe(&mut peer, &format!("presence:room-{}", n % 100)).await;
            peer
        });
    }
    let peers = joining.join_all().await;
    let mut losing = JoinSet::new();
    for mut peer in peers {
        losing.spawn(async move {
            expect_revoked(&mut peer).await;
            Instant::now()
        });
    }
    let began = Instant::now();
    configured.close_all_channels();
    let mut last = began;
    let mut signals = tokio::time::interval(SIGHUP_EVERY);
    loop {
        tokio::select! {
            lost = losing.join_next() => match lost {
                Some(at) => last = last.max(at.expect("it was revoked")),
                None => break,
            },
            _ = signals.tick() => server.signal("HUP"),
        }
    }
    let took = last - began;
    assert!(took < REVOKED_WITHIN, "the last of {CONNECTIONS} was revoked after {took:?}");
    println!("{CONNECTIONS} connections were revoked in {took:?}");
}
