//! Nodes that are killed and started again.

use crate::client::Told::{Joined, Left};
use crate::cluster::{Cluster, Settings};
use crate::nats::Nats;

#[test]
fn the_members_of_a_killed_node_leave_once_and_come_back_once() {
    let nats = Nats::start();
    let mut cluster = Cluster::start(Settings::at(&nats.url(), "killed"));
    cluster.kill(2);
    cluster.expect(&[0, 1], &[(2, &[Left])]);
    cluster.drop_clients_of(2);
    for client in cluster.clients() {
        assert!(client.record().reasons.iter().all(|reason| reason == "disconnect"));
    }
    cluster.agree();
    cluster.start_again(2);
    cluster.until_shards_are_even();
    cluster.still_as_expected();
    cluster.fill(2);
    cluster.expect(&[0, 1], &[(2, &[Left, Joined])]);
    cluster.end();
}

#[test]
fn with_a_grace_nobody_sees_that_a_node_was_killed_whose_clients_come_back() {
    let nats = Nats::start();
    let mut settings = Settings::at(&nats.url(), "grace");
    settings.arguments = vec!["--disconnect-grace-ms", "60000"];
    let mut cluster = Cluster::start(settings);
    cluster.kill(2);
    cluster.move_clients(2, 0);
    cluster.start_again(2);
    cluster.until_shards_are_even();
    cluster.expect_nothing();
    cluster.end();
}

#[test]
fn two_nodes_or_all_of_them_can_be_killed_at_once() {
    let nats = Nats::start();
    let mut cluster = Cluster::start(Settings::at(&nats.url(), "several"));
    cluster.kill(1);
    cluster.kill(2);
    cluster.update(&[0]);
    cluster.expect(&[0], &[(1, &[Left]), (2, &[Left])]);
    cluster.drop_clients_of(1);
    cluster.drop_clients_of(2);
    cluster.agree();
    cluster.still_as_expected();
    (0..3).for_each(|node| cluster.kill(node));
    cluster.drop_clients_of(0);
    cluster.start_all_again();
    cluster.until_shards_are_even();
    (0..3).for_each(|node| cluster.fill(node));
    cluster.settle();
    cluster.end();
}
