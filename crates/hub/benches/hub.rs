//! What a hub costs without sockets, from frames to what is written: `cargo bench -p herenow-hub`.

use divan::Bencher;
use divan::counter::ItemsCount;
use one_hub::{OneHub, track};

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

const CHANNEL: &str = "bench";
const STATE_BYTES: usize = 120;
/// States that differ, so that no update is one that changes nothing.
const FRAMES: usize = 1024;

fn main() {
    divan::main();
}

/// An update on its way from a frame to the sockets of so many.
#[divan::bench(args = [1, 10, 100, 1000])]
fn track_and_tell(bencher: Bencher, members: usize) {
    let (mut one_hub, frames) = (gathered(members), frames());
    let mut turn = 0;
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        turn += 1;
        one_hub.receive((turn % members) as u32, &frames[turn % FRAMES]);
        one_hub.turn();
    });
}

/// So many updates of as many members in one turn.
#[divan::bench(args = [8, 32, 128])]
fn tracks_in_one_turn(bencher: Bencher, updates: usize) {
    let (mut one_hub, frames) = (gathered(updates), frames());
    let mut turn = 0;
    bencher.counter(ItemsCount::new(updates)).bench_local(|| {
        for slot in 0..updates {
            turn += 1;
            one_hub.receive(slot as u32, &frames[turn % FRAMES]);
        }
        one_hub.turn();
    });
}

/// A connection comes back to so many: a leave, a join and a snapshot.
#[divan::bench(args = [10, 1000])]
fn come_back(bencher: Bencher, members: usize) {
    let (mut one_hub, frames) = (gathered(members), frames());
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        let slot = (turn % members) as u32;
        one_hub.reconnect(slot);
        one_hub.receive(slot, &frames[turn % FRAMES]);
        one_hub.turn();
    });
}

fn gathered(members: usize) -> OneHub {
    let mut one_hub = OneHub::new();
    for number in 0..members {
        let slot = one_hub.connect();
        one_hub.receive(slot, &track(CHANNEL, number as u64, STATE_BYTES));
    }
    one_hub.turn();
    one_hub
}

fn frames() -> Vec<Vec<u8>> {
    (0..FRAMES).map(|number| track(CHANNEL, number as u64, STATE_BYTES)).collect()
}
