//! A deploy: each node is stopped and started again, under load.

use crate::PATIENCE;
use crate::client::Told::{Joined, Left};
use crate::cluster::{Cluster, Settings};
use crate::load::Load;
use crate::nats::Nats;

#[test]
fn a_rolling_restart_under_load_shows_nobody_a_leave_of_who_stays() {
    let nats = Nats::start();
    let mut cluster = Cluster::start(Settings::at(&nats.url(), "rolling"));
    for node in 0..3 {
        let others: Vec<_> = (0..3).filter(|other| *other != node).collect();
        let load = Load::start(&cluster, &others);
        cluster.nodes[node].process.signal("TERM");
        cluster.expect(&others, &[(node, &[Left])]);
        let status = cluster.nodes[node].process.ended_within(PATIENCE).expect("it ends");
        assert!(status.success());
        cluster.drop_clients_of(node);
        cluster.start_again(node);
        cluster.until_shards_are_even();
        cluster.fill(node);
        cluster.expect(&others, &[(node, &[Left, Joined])]);
        load.stop();
        cluster.agree();
        cluster.still_as_expected();
        cluster.forget();
    }
    cluster.end();
}

#[test]
fn with_a_grace_nobody_sees_a_rolling_restart_whose_clients_come_back_elsewhere() {
    let nats = Nats::start();
    let mut settings = Settings::at(&nats.url(), "deploy");
    settings.arguments = vec!["--disconnect-grace-ms", "60000"];
    let mut cluster = Cluster::start(settings);
    for node in 0..3 {
        let others: Vec<_> = (0..3).filter(|other| *other != node).collect();
        let load = Load::start(&cluster, &others);
        cluster.nodes[node].process.signal("TERM");
        for client in cluster.clients_of(node) {
            client.until("it is sent away", |record| record.is_ended);
        }
        cluster.move_clients(node, others[0]);
        let status = cluster.nodes[node].process.ended_within(PATIENCE).expect("it ends");
        assert!(status.success());
        cluster.start_again(node);
        cluster.until_shards_are_even();
        load.stop();
        cluster.expect_nothing();
    }
    cluster.end();
}
