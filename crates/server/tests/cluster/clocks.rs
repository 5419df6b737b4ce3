//! Wrong clocks.

use std::time::Duration;

use crate::cluster::{Cluster, Settings};
use crate::last;
use crate::nats::Nats;

#[test]
fn a_clock_that_is_an_hour_off_or_fast_takes_no_node_out() {
    let nats = Nats::start();
    let mut settings = Settings::at(&nats.url(), "clocks");
    settings.clocks = vec!["+0 x1.05", "-1h", "+1h"];
    let mut cluster = Cluster::start(settings);
    cluster.until_shards_are_even();
    let before = cluster.view();
    for _ in 0..10 {
        last(Duration::from_secs(1));
        cluster.update(&[0, 1, 2]);
        cluster.expect_nothing();
    }
    assert_eq!(cluster.view().to_bits(), before.to_bits(), "no node has left");
    // The next view is numbered by another clock, perhaps one that is two hours behind.
    cluster.kill(2);
    cluster.drop_clients_of(2);
    cluster.start_again(2);
    cluster.fill(2);
    cluster.settle();
    cluster.until_view_is_above(before);
    cluster.end();
}
