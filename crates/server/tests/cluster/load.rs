//! Changes without end, while a fault lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::client::Writer;
use crate::cluster::Cluster;
use crate::{has_time, last};

/// Members that change their states all the time.
pub struct Load {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    pub fn start(cluster: &Cluster, nodes: &[usize]) -> Self {
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

    pub fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it sends");
    }
}
