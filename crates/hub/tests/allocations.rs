//! How often memory is asked for on the way from a client's track to its subscribers: a bounded
//! few times for the update, and not once for each subscriber. Alone in its binary, since it
//! counts for the whole process.

#[path = "../examples/counting/mod.rs"]
mod counting;
#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use counting::{Counting, count};
use one_hub::{OneHub, track};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CHANNEL: &str = "hot";
const STATE_BYTES: usize = 120;
const UPDATES: usize = 2000;
/// For one update: its channel's name, its state, the change, and what grows now and then.
const MOST_PER_UPDATE: f64 = 5.0;
/// Few and many, of whom all are told in one turn.
const MEMBERS: [usize; 2] = [100, 500];

/// Allocations for each update where so many members are told, after everything has its size.
fn per_update(members: usize, updates_per_turn: usize) -> f64 {
    let mut one_hub = OneHub::new();
    for _ in 0..members {
        let slot = one_hub.connect();
        one_hub.receive(slot, &track(CHANNEL, 0, STATE_BYTES));
    }
    one_hub.turn();
    let frames: Vec<Vec<u8>> =
        (1..=2 * UPDATES as u64).map(|number| track(CHANNEL, number, STATE_BYTES)).collect();
    let (warm_up, counted) = frames.split_at(UPDATES);
    let mut play = |frames: &[Vec<u8>]| {
        for (turn, frames) in frames.chunks(updates_per_turn).enumerate() {
            for (place, frame) in frames.iter().enumerate() {
                let slot = (turn * updates_per_turn + place) % members;
                one_hub.receive(slot as u32, frame);
            }
            one_hub.turn();
        }
        one_hub.written().writes
    };
    let before_writes = play(warm_up);
    let before = count().allocations;
    let writes = play(counted) - before_writes;
    let allocations = (count().allocations - before) as f64;
    let turns = UPDATES / updates_per_turn;
    assert_eq!(writes as usize, turns * members, "everybody is told once a turn");
    assert_eq!(one_hub.counters().updates_merged, 0, "nothing was merged");
    let deliveries = UPDATES * members;
    println!(
        "{members} members, {updates_per_turn} updates in a turn: {:.2} allocations an update, \
         {:.4} a delivery",
        allocations / UPDATES as f64,
        allocations / deliveries as f64
    );
    allocations / UPDATES as f64
}

#[test]
fn a_delivery_allocates_nothing_however_many_there_are() {
    let alone = MEMBERS.map(|members| per_update(members, 1));
    let together = MEMBERS.map(|members| per_update(members, 100));
    for [few, many] in [alone, together] {
        assert!(few <= MOST_PER_UPDATE, "{few} allocations for each update");
        assert!((few - many).abs() < 0.1, "{few} with few subscribers, {many} with many");
    }
}
