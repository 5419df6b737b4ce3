//! Three NATS servers, one of which is killed or cut off from the others.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use herenow_testing::{Proxy, until};
use serde_json::Value;

use crate::background::wait_for;
use crate::client::Told::{Joined, Left};
use crate::cluster::{Cluster, Settings};
use crate::nats::Nats;
use crate::{PATIENCE, last};

/// Three of them as one, with a net between each two.
struct Servers {
    servers: Vec<Nats>,
    routes: Vec<Route>,
}

/// Between two servers.
struct Route {
    ends: [usize; 2],
    net: Proxy,
}

impl Servers {
    fn start() -> Self {
        let places: Vec<SocketAddr> = (0..3).map(|_| free_address()).collect();
        // Each of them must name a route.
        let pairs = [[0, 1], [1, 2], [2, 0]];
        let routes =
            pairs.map(|ends| Route { ends, net: wait_for(Proxy::before(places[ends[1]])) });
        let routes = Vec::from(routes);
        let server = |n: usize| {
            let own = routes.iter().filter(|route| route.ends[0] == n);
            let named: Vec<_> = own.map(|route| format!("nats://{}", route.net.addr)).collect();
            // Where it says it is nothing listens, so that no route goes past the nets.
            Nats::with(&format!(
                "server_name: n{n}\nhttp: \"127.0.0.1:-1\"\n\
                 jetstream {{ store_dir: \"FOLDER\", max_mem: 64MB, max_file: 64MB }}\n\
                 cluster {{ name: tests, listen: \"{}\", advertise: \"127.0.0.1:1\", routes: {named:?} }}",
                places[n]
            ))
        };
        let servers: Vec<_> = (0..3).map(server).collect();
        for server in &servers {
            server.connect().ask_until_granted("$JS.API.INFO", "");
        }
        Self { servers, routes }
    }

    fn settings(&self, name: &str) -> Settings {
        let urls: Vec<_> = self.servers.iter().map(Nats::url).collect();
        Settings::at(&urls.join(","), name)
    }

    /// Which of them leads the bucket, once all of them have all of it.
    fn leader(&self, cluster: &str) -> usize {
        let subject = format!("$JS.API.STREAM.INFO.KV_hn_{cluster}");
        let tap = self.servers[0].connect();
        let mut last = None;
        let is_whole = until(PATIENCE, || {
            last = tap.ask(&subject, "").map(|mut answer| answer["cluster"].take());
            last.as_ref().is_some_and(|state| {
                let replicas = state["replicas"].as_array();
                let current = replicas.into_iter().flatten().filter(|one| one["current"] == true);
                state["leader"].is_string() && current.count() == 2
            })
        });
        assert!(is_whole, "{last:?}");
        let leader = last.as_ref().and_then(|state| state["leader"].as_str());
        let number = leader.and_then(|name| name.strip_prefix('n')?.parse().ok());
        number.expect("it is one of these")
    }

    /// One of them reaches neither of the others from now on.
    fn cut_off(&self, server: usize) {
        let routes = self.routes.iter().filter(|route| route.ends.contains(&server));
        routes.for_each(|route| route.net.stand_still());
    }

    fn join_again(&self) {
        self.routes.iter().for_each(|route| route.net.go_on());
    }

    /// The nodes that are connected to a server.
    fn nodes_at(&self, server: usize) -> Vec<usize> {
        let url = format!("http://{}/connz", self.servers[server].monitor());
        let mut answer = ureq::get(&url).call().expect("it answers");
        let answer: Value = answer.body_mut().read_json().expect("it is JSON");
        let names = answer["connections"].as_array().into_iter().flatten();
        let names = names.filter_map(|one| one["name"].as_str()?.strip_prefix("herenow node"));
        names.map(|number| number.parse().expect("it is a number")).collect()
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a listener has an address")
}

#[test]
fn nobody_leaves_if_one_of_three_nats_servers_is_killed() {
    let mut servers = Servers::start();
    let mut cluster = Cluster::start(servers.settings("three"));
    let leader = servers.leader("three");
    servers.servers[leader].kill();
    cluster.update(&[0, 1, 2]);
    cluster.agree();
    cluster.expect_nothing();
    // Nodes go and come without it too.
    cluster.kill(2);
    cluster.expect(&[0, 1], &[(2, &[Left])]);
    cluster.drop_clients_of(2);
    cluster.start_again(2);
    cluster.fill(2);
    cluster.expect(&[0, 1], &[(2, &[Left, Joined])]);
    servers.servers[leader].start_again();
    cluster.settle();

    let other = (servers.leader("three") + 1) % 3;
    servers.servers[other].kill();
    cluster.update(&[0, 1, 2]);
    cluster.agree();
    servers.servers[other].start_again();
    servers.leader("three");
    cluster.until_all_act();
    cluster.expect_nothing();
    cluster.end();
}

#[test]
fn nodes_at_a_nats_server_that_is_cut_off_come_back_through_the_others() {
    let servers = Servers::start();
    let mut cluster = Cluster::start(servers.settings("routes"));
    let leader = servers.leader("routes");
    let has_nodes = |server: &usize| !servers.nodes_at(*server).is_empty();
    // The leader of the bucket, unless it has no nodes to lose.
    let lone = (leader..leader + 3).map(|n| n % 3).find(has_nodes).expect("nodes are connected");
    let there = servers.nodes_at(lone);
    servers.cut_off(lone);
    cluster.update(&[0, 1, 2]);
    let all_left = || servers.nodes_at(lone).is_empty();
    assert!(until(PATIENCE, all_left), "they turn to the other servers");
    cluster.until_all_act();
    last(Duration::from_secs(5));
    cluster.expect_back(&there);
    servers.join_again();
    servers.leader("routes");
    cluster.update(&[0, 1, 2]);
    cluster.expect_nothing();
    cluster.end();
}
