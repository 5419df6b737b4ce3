//! Nodes that stand still.

use std::time::Duration;

use crate::client::Told::{Joined, Left};
use crate::cluster::{Cluster, Settings};
use crate::nats::Nats;
use crate::{has_time, last};

#[test]
fn a_node_that_stands_still_is_not_noticed_for_two_seconds_and_comes_back_after_ten() {
    let nats = Nats::start();
    let mut cluster = Cluster::start(Settings::at(&nats.url(), "paused"));
    cluster.pause(1, Duration::from_secs(2));
    cluster.update(&[0, 1, 2]);
    cluster.expect_nothing();
    cluster.agree();
    cluster.still_as_expected();
    cluster.pause(1, Duration::from_secs(10));
    cluster.expect(&[0, 2], &[(1, &[Left, Joined])]);
    cluster.expect(&[1], &[]);
    if has_time() {
        cluster.settle();
        cluster.pause(1, Duration::from_secs(90));
        cluster.expect(&[0, 2], &[(1, &[Left, Joined])]);
    }
    cluster.end();
}

impl Cluster {
    /// What is sent to it meanwhile waits.
    fn pause(&self, node: usize, time: Duration) {
        let process = &self.nodes[node].process;
        process.signal("STOP");
        self.update(&[0, 1, 2]);
        last(time);
        process.signal("CONT");
    }
}

#[test]
fn with_a_grace_a_node_that_stands_still_for_ten_seconds_is_not_noticed() {
    let nats = Nats::start();
    let mut settings = Settings::at(&nats.url(), "pausedgrace");
    settings.arguments = vec!["--disconnect-grace-ms", "60000"];
    let mut cluster = Cluster::start(settings);
    let before = cluster.view();
    cluster.pause(1, Duration::from_secs(10));
    cluster.until_view_is_above(before);
    cluster.until_shards_are_even();
    cluster.update(&[0, 1, 2]);
    cluster.expect_nothing();
    cluster.end();
}
