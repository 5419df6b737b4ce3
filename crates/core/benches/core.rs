//! What the parts of the core cost without sockets: `cargo bench -p herenow-core`.

use bare_loop::{BareLoop, track_text};
use divan::Bencher;
use divan::counter::ItemsCount;
use herenow_core::{Channel, Decision, Owner, Put};
use herenow_wire::{ConnectionId, State, UserId};

#[path = "../examples/bare_loop/mod.rs"]
mod bare_loop;

const CHANNEL: &str = "bench";
const STATE_BYTES: usize = 120;
/// States that differ, so that no update is one that changes nothing.
const TEXTS: usize = 1024;

fn main() {
    divan::main();
}

/// An update on its way from the text of a frame to the encoded flush, told to so many.
#[divan::bench(args = [1, 10, 100, 1000])]
fn track_and_flush(bencher: Bencher, members: usize) {
    let (mut one_loop, texts) = (gathered(members), texts());
    let mut turn = 0;
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        turn += 1;
        one_loop.receive((turn % members) as u32, &texts[turn % TEXTS]);
        one_loop.flush();
    });
}

/// So many updates of as many members in one flush.
#[divan::bench(args = [8, 32, 128])]
fn tracks_in_one_flush(bencher: Bencher, updates: usize) {
    let (mut one_loop, texts) = (gathered(updates), texts());
    let mut turn = 0;
    bencher.counter(ItemsCount::new(updates)).bench_local(|| {
        for slot in 0..updates {
            turn += 1;
            one_loop.receive(slot as u32, &texts[turn % TEXTS]);
        }
        one_loop.flush();
    });
}

/// Somebody comes back to so many: a leave, a join and a snapshot.
#[divan::bench(args = [10, 1000])]
fn come_back(bencher: Bencher, members: usize) {
    let (mut one_loop, texts) = (gathered(members), texts());
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        let slot = (turn % members) as u32;
        one_loop.reconnect(slot);
        one_loop.receive(slot, &texts[turn % TEXTS]);
        one_loop.flush();
    });
}

/// A channel's rows in the order of their last track.
#[divan::bench(args = [10, 1000])]
fn snapshot(bencher: Bencher, members: usize) {
    let channel = channel_of(members);
    bencher.counter(ItemsCount::new(members)).bench_local(|| channel.snapshot());
}

fn gathered(members: usize) -> BareLoop {
    let mut one_loop = BareLoop::new();
    for number in 0..members {
        let slot = one_loop.connect();
        one_loop.receive(slot, &track_text(CHANNEL, number as u64, STATE_BYTES));
    }
    one_loop.flush();
    one_loop
}

fn texts() -> Vec<String> {
    (0..TEXTS).map(|number| track_text(CHANNEL, number as u64, STATE_BYTES)).collect()
}

fn channel_of(members: usize) -> Channel {
    let mut channel = Channel::default();
    let state = State::parse(r#"{"status":"online"}"#).expect("a valid state");
    for number in 0..members as u64 {
        let spread = u128::from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) << 64;
        let put = Put {
            connection: ConnectionId::from_bytes((spread | u128::from(number)).to_be_bytes()),
            owner: Owner(0),
            user: UserId::parse(&format!("user-{number}")).expect("a valid user"),
            state: state.clone(),
        };
        let decision = channel.decide_put(put, members, number + 1);
        let Decision::Change(change) = decision else { unreachable!("each is a newcomer") };
        channel.apply(change);
    }
    channel
}
