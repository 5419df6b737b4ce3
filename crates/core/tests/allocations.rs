//! How often memory is asked for on the way from a client's track to its subscribers: a bounded
//! few times for the update, and not once for each subscriber. Alone in its binary, since it
//! counts for the whole process.

#[path = "../examples/bare_loop/mod.rs"]
mod bare_loop;
#[path = "../examples/counting/mod.rs"]
mod counting;

use bare_loop::{BareLoop, track_text};
use counting::{Counting, count};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CHANNEL: &str = "hot";
const STATE_BYTES: usize = 120;
const UPDATES: usize = 2000;
/// For one update: its channel's name, its state, the change, and what grows now and then.
const MOST_PER_UPDATE: f64 = 6.0;

/// Allocations for each update where so many members are told, after everything has its size.
fn per_update(members: usize, updates_per_flush: usize) -> f64 {
    let mut one_loop = BareLoop::new();
    for _ in 0..members {
        let slot = one_loop.connect();
        one_loop.receive(slot, &track_text(CHANNEL, 0, STATE_BYTES));
    }
    one_loop.flush();
    let texts: Vec<String> =
        (1..=2 * UPDATES as u64).map(|number| track_text(CHANNEL, number, STATE_BYTES)).collect();
    let (warm_up, counted) = texts.split_at(UPDATES);
    let mut play = |texts: &[String]| {
        for (turn, texts) in texts.chunks(updates_per_flush).enumerate() {
            for (place, text) in texts.iter().enumerate() {
                let slot = (turn * updates_per_flush + place) % members;
                one_loop.receive(slot as u32, text);
            }
            one_loop.flush();
        }
        one_loop.written().deliveries
    };
    let before_deliveries = play(warm_up);
    let before = count().allocations;
    let deliveries = play(counted) - before_deliveries;
    let allocations = (count().allocations - before) as f64;
    assert_eq!(deliveries as usize, UPDATES * members, "nothing was merged or lost");
    println!(
        "{members} members, {updates_per_flush} updates in a flush: {:.2} allocations an update, \
         {:.4} a delivery",
        allocations / UPDATES as f64,
        allocations / deliveries as f64
    );
    allocations / UPDATES as f64
}

#[test]
fn a_delivery_allocates_nothing_however_many_there_are() {
    let alone = [100, 1000].map(|members| per_update(members, 1));
    let together = [100, 1000].map(|members| per_update(members, 100));
    for [few, many] in [alone, together] {
        assert!(few <= MOST_PER_UPDATE, "{few} allocations for each update");
        assert!((few - many).abs() < 0.1, "{few} with 100 subscribers, {many} with 1,000");
    }
}
