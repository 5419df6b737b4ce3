//! A log that cannot be written costs log lines, and nothing else.

use std::time::Duration;

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};

use crate::process::{Launch, Log, Process};

/// A stop takes less than ten seconds.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// More than the rules have threads, and more than the lines that are written in a second.
const THROWS: usize = 40;

const RULES: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:throws': { access: { subscribe: () => { throw new Error('thrown') } } },
    'presence:good': { access: { subscribe: (auth) => auth.id === 'jane' } } } } });";

async fn asked(peer: &mut RawConnection, channel: &str) -> Value {
    peer.send(json!({"type": "subscribe", "channel": channel, "ref": "asked"})).await;
    loop {
        let reply = peer.next_message().await;
        if reply["ref"] == "asked" {
            return reply;
        }
    }
}

async fn works_and_stops_in_order(log: Log) {
    let config =
        std::env::temp_dir().join(format!("herenow-logs-{log:?}-{}.ts", std::process::id()));
    std::fs::write(&config, RULES).expect("the temporary folder can be written");
    let path = config.to_string_lossy().into_owned();
    // One of its warnings is about the time to live, so that it has several lines to write at once.
    let settings = vec![("HERENOW_CONFIG", path), ("HERENOW_PRESENCE_TTL", "5000".into())];
    let mut server = Process::launch(Launch { settings, log, ..Launch::default() }).await;
    let mut jane = server.sign_in("jane").await;
    for _ in 0..THROWS {
        assert_eq!(asked(&mut jane, "presence:throws").await["code"], "CHANNEL_ACCESS_DENIED");
    }
    assert_eq!(asked(&mut jane, "presence:good").await["type"], "subscribed");
    assert_eq!(jane.next_message().await["type"], "presence_sync");
    // A queue holds the lines in a pipe that is full; a pipe that is broken loses each at once.
    if log != Log::Full {
        assert!(server.metric("log_lines_dropped_total").await > 0);
    }
    server.signal("TERM");
    assert_eq!(jane.expect_close().await.0, 1012);
    drop(jane);
    assert_eq!(server.exit_code(STOPPED_WITHIN), Some(0));
    std::fs::remove_file(config).expect("it was written");
}

#[tokio::test]
async fn a_log_reader_that_leaves_stops_no_rule_and_no_stop() {
    works_and_stops_in_order(Log::ReadOnce).await;
}

#[tokio::test]
async fn a_log_without_a_reader_stops_no_start_no_rule_and_no_stop() {
    works_and_stops_in_order(Log::Closed).await;
}

#[tokio::test]
async fn a_full_log_that_nobody_reads_stalls_nothing() {
    works_and_stops_in_order(Log::Full).await;
}
