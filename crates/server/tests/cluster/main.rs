//! Herenows that are one presence over real NATS servers, as processes of their own: who sees whom, and
//! what becomes of that when a node, a NATS server, the net or a clock fails. Clients on every node record
//! what they are told.

mod background;
mod busy;
mod client;
mod clocks;
mod cluster;
mod cut;
mod engine_servers;
mod junk;
mod killed;
mod load;
mod nats;
mod node;
mod nodes;
mod outage;
mod paused;
mod race;
#[path = "../webhooks/receiver.rs"]
#[expect(dead_code, reason = "the tests of webhooks use more of it")]
mod receiver;
mod refused;
mod rolling;
mod soak;

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// Waits for what takes a few seconds, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Lets a fault last.
pub fn last(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        park_timeout(left);
    }
}

/// Whether there is time for faults that last for long: `make cluster` sets it.
pub fn has_time() -> bool {
    std::env::var_os("LONG").is_some()
}
