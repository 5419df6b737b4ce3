//! A deploy: each node is stopped and started again, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::client::Told::{Joined, Left};
use crate::client::Writer;
use crate::cluster::{Cluster, Settings};
use crate::nats::Nats;
use crate::{PATIENCE, has_time, last};

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

/// Members that change their states all the time.
struct Load {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(cluster: &Cluster, nodes: &[usize]) -> Self {
        let channels = cluster.channels.clone();
        let members = nodes.iter().flat_map(|node| cluster.members_of(*node));
        let writers: Vec<Writer> = members.map(|client| client.writer()).collect();
        let per_second = if has_time() { 1000 } else { 300 };
        let pause = Duration::from_secs(1) * writers.len() as u32 / per_second;
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            for (state, channel) in (1..).zip(channels.iter().cycle()) {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                writers.iter().for_each(|writer| writer.track(channel, state));
                last(pause);
            }
        });
        Self { is_over, thread }
    }

    fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it sends");
    }
}
