//! A NATS server that is away, or forgets.

use std::time::Duration;

use crate::cluster::{Cluster, Settings};
use crate::last;
use crate::nats::{Nats, Tap};

/// Longer than nodes wait for each other.
const OUTAGE: Duration = Duration::from_secs(10);

/// What was shown meanwhile is seen, and nothing else.
fn goes_on(cluster: &mut Cluster) {
    cluster.until_all_act();
    cluster.update(&[0, 1, 2]);
    cluster.agree();
    cluster.expect_nothing();
}

#[test]
fn nobody_leaves_while_nats_is_away_even_if_it_forgets_everything() {
    let mut nats = Nats::start();
    let mut cluster = Cluster::start(Settings::at(&nats.url(), "outage"));
    nats.signal("STOP");
    cluster.update(&[0, 1, 2]);
    last(OUTAGE);
    cluster.expect_nothing();
    nats.signal("CONT");
    goes_on(&mut cluster);
    // The bucket is in memory.
    nats.kill();
    cluster.update(&[0, 1, 2]);
    last(OUTAGE);
    cluster.expect_nothing();
    nats.start_again();
    goes_on(&mut cluster);
    cluster.end();
}

#[test]
fn nobody_leaves_if_the_bucket_is_wiped_or_comes_from_a_copy_of_long_ago() {
    let nats = Nats::start();
    let tap = nats.connect();
    let mut cluster = Cluster::start(Settings::at(&nats.url(), "bucket"));
    let long_ago = values(&tap, "bucket");
    let first = cluster.view();
    tap.ask_until_granted("$JS.API.STREAM.DELETE.KV_hn_bucket", "");
    cluster.until_view_is_above(first);
    goes_on(&mut cluster);
    // Another view than the one that was kept.
    cluster.kill(2);
    cluster.drop_clients_of(2);
    cluster.start_again(2);
    cluster.until_shards_are_even();
    cluster.fill(2);
    cluster.settle();
    let second = cluster.view();
    tap.ask_until_granted("$JS.API.STREAM.PURGE.KV_hn_bucket", "");
    for (key, value) in long_ago {
        tap.publish(&key, value);
    }
    cluster.until_view_is_above(second);
    goes_on(&mut cluster);
    cluster.end();
}

// P7.16
#[test]
fn connections_resume_after_the_bucket_was_wiped_and_a_node_started() {
    let nats = Nats::start();
    let tap = nats.connect();
    let mut settings = Settings::at(&nats.url(), "key");
    settings.arguments = vec!["--disconnect-grace-ms", "60000"];
    let mut cluster = Cluster::start(settings);
    cluster.kill(2);
    cluster.move_clients(2, 0);
    // The one that starts is the first to find no key for the tokens that resume.
    tap.ask_until_granted("$JS.API.STREAM.DELETE.KV_hn_key", "");
    cluster.start_again(2);
    cluster.until_shards_are_even();
    cluster.kill(1);
    cluster.move_clients(1, 2);
    cluster.start_again(1);
    cluster.until_shards_are_even();
    cluster.expect_nothing();
    cluster.end();
}

/// What the bucket of a cluster holds.
fn values(tap: &Tap, cluster: &str) -> Vec<(String, Vec<u8>)> {
    // A heartbeat of an earlier start of a node would say that its name is taken.
    let keys = ["view", "resume", "beat.node0", "beat.node1"];
    let value = |key| (format!("$KV.hn_{cluster}.{key}"), tap.value(cluster, key));
    keys.into_iter().map(value).collect()
}
