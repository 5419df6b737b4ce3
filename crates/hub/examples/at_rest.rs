//! What one connection at rest owns in a hub, counted part by part: the sizes of what is public, and
//! the heap after each step from an open socket to a tracked state. Its socket is the server's and
//! is not here.

use std::mem::size_of;

use counting::{Counting, count};
use herenow_core::{
    Asker, Auth, Command, Expire, Flush, Instant, Member, Owner, Patterns, Peer, Policy, Put,
    Session, Shard, Subscriber, UserIndex,
};
use herenow_wire::{ChannelName, ConnectionId, State, UserId};
use one_hub::{OneHub, masked, settings, track};

mod counting;
mod one_hub;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A power of two, so that no vector has room to spare.
const CONNECTIONS: usize = 1 << 14;
const CHANNEL_MEMBERS: usize = 10;
const STATE_BYTES: usize = 120;

fn main() {
    println!("size of Session     {:>4} bytes", size_of::<Session>());
    println!("size of Auth        {:>4} bytes, boxed once authenticated", size_of::<Auth>());
    println!("size of Subscriber  {:>4} bytes", size_of::<Subscriber>());
    println!("size of Member      {:>4} bytes", size_of::<Member>());
    println!();

    let mut one_hub = OneHub::new();
    let mut step = |name: &str, take: &dyn Fn(&mut OneHub, u32)| {
        let before = count().live_bytes;
        for slot in 0..CONNECTIONS as u32 {
            take(&mut one_hub, slot);
            // As on a server, where people come one by one.
            one_hub.turn();
        }
        let each = (count().live_bytes as f64 - before as f64) / CONNECTIONS as f64;
        println!("{name:<40} {each:>6.1} bytes of heap for each connection");
    };
    step("a connection and its lease, authenticated", &|one_hub, _| {
        one_hub.connect();
    });
    step("subscribed, in a channel of 10", &|one_hub, slot| {
        let channel = slot as usize / CHANNEL_MEMBERS;
        let text = format!(r#"{{"type":"subscribe","channel":"presence:c{channel:05}"}}"#);
        one_hub.receive(slot, &masked(&text));
    });
    step("tracked, a state of 120 bytes", &|one_hub, slot| {
        let channel = format!("c{:05}", slot as usize / CHANNEL_MEMBERS);
        one_hub.receive(slot, &track(&channel, u64::from(slot), STATE_BYTES));
    });
    step("its channel hibernates", &|one_hub, slot| {
        if slot == 0 {
            one_hub.hibernate();
        }
    });
    let policy = || Policy::new(settings(), Patterns::default());
    let remembered = of_connections(OneHub::remembering(policy()))
        - of_connections(OneHub::with_policy(policy()));
    println!(
        "{:<40} {remembered:>6.1} bytes of heap for each connection",
        "what is remembered of it"
    );
    let index = of_members(UserIndex::LargeChannels) - of_members(UserIndex::None);
    println!(
        "{:<40} {index:>6.1} bytes of heap for each member",
        "the index of a large channel's users"
    );
}

/// The heap of a connection that has authenticated.
fn of_connections(mut one_hub: OneHub) -> f64 {
    let before = count().live_bytes;
    for _ in 0..CONNECTIONS {
        one_hub.connect();
        one_hub.turn();
    }
    (count().live_bytes as f64 - before as f64) / CONNECTIONS as f64
}

/// The heap of a member in a large channel.
fn of_members(user_index: UserIndex) -> f64 {
    let channel = ChannelName::parse("presence:large").expect("a valid name");
    let mut shard = Shard::new(1).with_user_index(user_index);
    let mut effects = Vec::new();
    let before = count().live_bytes;
    for n in 0..CONNECTIONS {
        let spread = (n as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let connection = ConnectionId::from_bytes(spread.to_le_bytes());
        let user = UserId::parse(&format!("user-{n}")).expect("a valid id");
        let state = State::parse("{}").expect("a valid state");
        let put = Put { connection, owner: Owner(1), generation: 0, user: user.into(), state };
        let asker = Asker { peer: Peer(0), slot: 0, connection, generation: 0 };
        let channel = channel.clone();
        let max_members = u32::MAX;
        let command = Command::Put {
            channel,
            put,
            expire: Expire::Never,
            max_members,
            asker,
            reference: None,
        };
        shard.handle(command, Instant::default(), &mut effects);
        effects.clear();
    }
    shard.flush(&channel, Instant::default(), &mut Flush::default());
    drop(effects);
    (count().live_bytes as f64 - before as f64) / CONNECTIONS as f64
}
