//! What it costs a connection at rest that backends may ask why it is here. Alone in its binary,
//! since it counts for the whole process.

#[path = "../examples/counting/mod.rs"]
mod counting;
#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use counting::{Counting, count};
use herenow_core::{Patterns, Policy};
use one_hub::{OneHub, settings, track};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A power of two, so that no vector has room to spare.
const CONNECTIONS: u32 = 1 << 13;
const CHANNEL_MEMBERS: u32 = 10;
/// What docs/performance.md states.
const STATED_BYTES: f64 = 64.0;

/// The heap of a connection that has authenticated and tracks in a channel of ten.
fn bytes_of_a_connection(mut one_hub: OneHub) -> f64 {
    let before = count().live_bytes;
    for _ in 0..CONNECTIONS {
        let slot = one_hub.connect();
        one_hub.receive(slot, &track(&format!("c{:05}", slot / CHANNEL_MEMBERS), 0, 120));
        one_hub.turn();
    }
    let each = (count().live_bytes as f64 - before as f64) / f64::from(CONNECTIONS);
    assert_eq!(one_hub.counters().members, CONNECTIONS as usize);
    each
}

#[test]
fn a_connection_at_rest_is_remembered_in_64_bytes_at_most() {
    let policy = || Policy::new(settings(), Patterns::default());
    let without = bytes_of_a_connection(OneHub::with_policy(policy()));
    let with = bytes_of_a_connection(OneHub::remembering(policy()));
    println!("{:.1} bytes for each connection: {with:.1}, not {without:.1}", with - without);
    assert!(with - without <= STATED_BYTES, "{} bytes more for each", with - without);
}
