//! What the parts of the core cost by themselves: `cargo bench -p herenow-core`.

use divan::Bencher;
use divan::counter::ItemsCount;
use herenow_core::{
    Asker, Channel, Command, Decision, Expire, Flush, Instant, Owner, Peer, Put, Shard,
};
use herenow_wire::{ChannelName, ConnectionId, State, UserId};

const CHANNEL: &str = "presence:bench";

fn main() {
    divan::main();
}

/// So many updates of as many members, and what the channel then owes.
#[divan::bench(args = [1, 8, 32, 128])]
fn put_and_flush(bencher: Bencher, updates: usize) {
    let mut shard = Shard::new(1);
    let (mut effects, mut flush) = (Vec::new(), Flush::default());
    let mut turn = 0;
    bencher.counter(ItemsCount::new(updates)).bench_local(|| {
        turn += 1;
        for member in 0..updates as u64 {
            shard.handle(put(member, turn), Instant::from_millis(turn), &mut effects);
        }
        shard.flush(&channel_name(), Instant::from_millis(turn), &mut flush);
        effects.clear();
    });
}

/// A channel's rows in the order of their last track.
#[divan::bench(args = [10, 1000])]
fn snapshot(bencher: Bencher, members: usize) {
    let channel = channel_of(members);
    bencher.counter(ItemsCount::new(members)).bench_local(|| channel.snapshot());
}

fn channel_of(members: usize) -> Channel {
    let mut channel = Channel::default();
    for number in 0..members as u64 {
        let decision = channel.decide_put(shown(number, 0), members, number + 1);
        let Decision::Change(change) = decision else { unreachable!("each is new") };
        channel.apply(change);
    }
    channel
}

/// A state that differs with the turn, so that no update is one that changes nothing.
fn put(member: u64, turn: u64) -> Command {
    let put = shown(member, turn);
    let connection = put.connection;
    let asker = Asker { peer: Peer(0), slot: 0, connection, generation: 0 };
    Command::Put {
        channel: channel_name(),
        put,
        expire: Expire::Never,
        max_members: u32::MAX,
        asker,
        reference: None,
    }
}

fn shown(member: u64, turn: u64) -> Put {
    let spread = u128::from(member.wrapping_mul(0x9E37_79B9_7F4A_7C15)) << 64;
    Put {
        connection: ConnectionId::from_bytes((spread | u128::from(member)).to_be_bytes()),
        owner: Owner(0),
        generation: 0,
        user: UserId::parse(&format!("user-{member}")).expect("a valid user").into(),
        state: State::parse(&format!(r#"{{"n":{turn}}}"#)).expect("a valid state"),
    }
}

fn channel_name() -> ChannelName {
    ChannelName::parse(CHANNEL).expect("a valid name")
}
