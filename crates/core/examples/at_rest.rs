//! What one connection at rest owns in the core, counted part by part: the sizes of what is public,
//! and the heap after each step from an open socket to a tracked state. What the event loop adds
//! (the socket, the lease, flags) is not here.

use std::mem::size_of;
use std::time::Duration;

use bare_loop::{BareLoop, track_text};
use counting::{Counting, count};
use herenow_core::{Auth, Entry, Session, Subscriber};

mod bare_loop;
mod counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A power of two, so that no vector has room to spare.
const CONNECTIONS: usize = 1 << 14;
const CHANNEL_MEMBERS: usize = 10;
const STATE_BYTES: usize = 120;

fn main() {
    println!("size of Session     {:>4} bytes", size_of::<Session>());
    println!("size of Auth        {:>4} bytes, boxed once signed in", size_of::<Auth>());
    println!("size of Subscriber  {:>4} bytes", size_of::<Subscriber>());
    println!("size of Entry       {:>4} bytes", size_of::<Entry>());
    println!();

    let mut one_loop = BareLoop::new();
    let mut step = |name: &str, take: &dyn Fn(&mut BareLoop, u32)| {
        let before = count().live_bytes;
        for slot in 0..CONNECTIONS as u32 {
            take(&mut one_loop, slot);
            // As on a server, where people come one by one.
            one_loop.flush();
        }
        one_loop.give_back_buffers();
        let each = (count().live_bytes as f64 - before as f64) / CONNECTIONS as f64;
        println!("{name:<40} {each:>6.1} bytes of heap for each connection");
    };
    step("a session, signed in", &|one_loop, _| {
        one_loop.connect();
    });
    step("subscribed, in a channel of 10", &|one_loop, slot| {
        let channel = slot as usize / CHANNEL_MEMBERS;
        let text = format!(r#"{{"type":"subscribe","channel":"presence:c{channel:05}"}}"#);
        one_loop.receive(slot, &text);
    });
    step("tracked, a state of 120 bytes", &|one_loop, slot| {
        let channel = format!("c{:05}", slot as usize / CHANNEL_MEMBERS);
        one_loop.receive(slot, &track_text(&channel, u64::from(slot), STATE_BYTES));
    });
    step("its channel hibernates", &|one_loop, slot| {
        if slot == 0 {
            one_loop.hibernate(Duration::from_secs(60));
        }
    });
}
