//! What no node has sent, on each subject that nodes listen to.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Settings};
use crate::nats::Nats;

/// The least that a NATS server may take in one message here.
const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
const FLOOD: Duration = Duration::from_secs(5);

#[test]
fn a_flood_of_junk_on_every_subject_changes_nothing() {
    let nats = Nats::with("max_payload: 64KB\njetstream { store_dir: \"FOLDER\" }");
    let mut cluster = Cluster::start(Settings::at(&nats.url(), "junk"));
    let tap = nats.connect();
    let mut heard = tap.listen("hn.junk.>");
    cluster.update(&[0, 1, 2]);
    cluster.agree();
    heard.take(Duration::from_secs(2));
    let inboxes = heard.subjects.keys().filter(|subject| subject.starts_with("hn.junk.n."));
    assert_eq!(inboxes.count(), 3, "{:?}", heard.subjects.keys());
    let real = heard.subjects.values().max_by_key(|payload| payload.len()).expect("one is heard");
    let junk = [
        Vec::new(),
        vec![0; MAX_PAYLOAD_BYTES],
        vec![0xff; MAX_PAYLOAD_BYTES],
        b"{\"v\":1}".repeat(1000),
        real[..real.len() / 2].to_vec(),
        [real, [7; 3].as_slice()].concat(),
    ];
    let subjects = heard.subjects.keys().cloned().chain(["hn.junk.view".to_owned()]);
    let subjects: Vec<_> = subjects.chain(["hn.junk.settings".to_owned()]).collect();
    let before = cluster.view();
    let end = Instant::now() + FLOOD;
    'flood: for payload in junk.iter().cycle().take(600) {
        for subject in &subjects {
            if Instant::now() > end {
                break 'flood;
            }
            tap.publish(subject, payload.clone());
        }
        // It is heard by everybody who listens to heartbeats, and not taken by the bucket.
        let room = payload.len().min(MAX_PAYLOAD_BYTES - 200);
        tap.publish_conditional("$KV.hn_junk.beat.node0", payload[..room].to_vec());
    }
    cluster.update(&[0, 1, 2]);
    cluster.expect_nothing();
    cluster.agree();
    let dropped = "cluster_batches_dropped_total{reason=\"unreadable\"}";
    assert!(cluster.nodes[0].metric(dropped).is_some_and(|count| count > 0.0));
    assert_eq!(cluster.view().to_bits(), before.to_bits(), "no node has left");
    cluster.end();
}
