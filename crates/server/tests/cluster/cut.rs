//! Nodes that do not reach NATS.

use std::time::Duration;

use herenow_testing::{Direction, Proxy};

use crate::background::wait_for;
use crate::client::Told::{Joined, Left};
use crate::cluster::{Cluster, Settings};
use crate::last;
use crate::nats::Nats;

/// Each node has a net of its own.
pub fn start(nats: &Nats, name: &str, arguments: &[&'static str]) -> (Cluster, Vec<Proxy>) {
    let nets: Vec<_> = (0..3).map(|_| wait_for(Proxy::before(nats.address))).collect();
    let mut settings = Settings::at("", name);
    settings.arguments = arguments.to_vec();
    settings.urls = nets.iter().map(|net| format!("nats://{}", net.addr)).collect();
    (Cluster::start(settings), nets)
}

/// What it takes from a node until its net goes on.
fn is_away_and_back(cluster: &mut Cluster, nets: &[Proxy], node: usize) {
    let others: Vec<_> = (0..3).filter(|other| *other != node).collect();
    // On the node itself nothing comes of the others, and they do not see its members any more.
    cluster.update(&[0, 1, 2]);
    last(Duration::from_secs(10));
    cluster.expect(&others, &[(node, &[Left])]);
    nets[node].go_on();
    cluster.expect(&others, &[(node, &[Left, Joined])]);
    cluster.expect(&[node], &[]);
    cluster.agree();
    cluster.still_as_expected();
    cluster.forget();
}

#[test]
fn the_members_of_a_node_that_is_cut_off_leave_once_and_come_back_once() {
    let nats = Nats::start();
    let (mut cluster, nets) = start(&nats, "cut", &[]);
    nets[0].stand_still();
    is_away_and_back(&mut cluster, &nets, 0);
    // A break that is over at once is not noticed.
    nets.iter().for_each(Proxy::cut);
    cluster.update(&[0, 1, 2]);
    cluster.expect_nothing();
    cluster.end();
}

#[test]
fn the_same_goes_for_a_net_that_passes_one_way_only() {
    let nats = Nats::start();
    let (mut cluster, nets) = start(&nats, "oneway", &[]);
    nets[1].hold(Direction::ToServer);
    is_away_and_back(&mut cluster, &nets, 1);
    nets[2].hold(Direction::ToClient);
    is_away_and_back(&mut cluster, &nets, 2);
    cluster.end();
}

#[test]
fn with_a_grace_a_node_that_is_cut_off_is_not_noticed() {
    let nats = Nats::start();
    let grace = ["--disconnect-grace-ms", "60000"];
    let (mut cluster, nets) = start(&nats, "cutgrace", &grace);
    let before = cluster.view();
    nets[1].stand_still();
    cluster.update(&[0, 1, 2]);
    last(Duration::from_secs(10));
    nets[1].go_on();
    cluster.until_view_is_above(before);
    cluster.until_shards_are_even();
    cluster.agree();
    cluster.expect_nothing();
    cluster.end();
}
