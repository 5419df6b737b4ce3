//! A machine that has other work to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use crate::cluster::{Cluster, Settings};
use crate::nats::Nats;
use crate::{has_time, last};

#[test]
fn busy_cores_take_no_node_out() {
    let nats = Nats::start();
    let mut cluster = Cluster::start(Settings::at(&nats.url(), "busy"));
    cluster.until_shards_are_even();
    let before = cluster.view();
    let is_over = Arc::new(AtomicBool::new(false));
    let cores = available_parallelism().map_or(2, usize::from);
    let spinning: Vec<_> = (0..2 * cores).map(|_| spin(Arc::clone(&is_over))).collect();
    for _ in 0..if has_time() { 60 } else { 8 } {
        cluster.update(&[0, 1, 2]);
        cluster.expect_nothing();
        last(Duration::from_secs(1));
    }
    assert_eq!(cluster.view().to_bits(), before.to_bits(), "no node has left");
    is_over.store(true, Ordering::Relaxed);
    spinning.into_iter().for_each(|thread| thread.join().expect("it spins"));
    cluster.end();
}

fn spin(is_over: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    })
}
