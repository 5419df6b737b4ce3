//! A small request with a large answer: how many bytes a few clients get out of the server.

use std::io::Read as _;
use std::time::{Duration, Instant};

use crate::crowd::{Crowd, MEMBERS, STATE_BYTES};
use crate::flood::Flood;
use crate::server::Setup;
use crate::socket::{Socket, Width, subscribe, sync};

/// A snapshot of the channel is at least this long.
const SNAPSHOT_BYTES: usize = MEMBERS * STATE_BYTES;
/// What a snapshot of ten thousand members is, where they show next to nothing.
const SNAPSHOT_BYTES_OF_10_000: usize = 1_060_000;

const CLIENTS: usize = 3;
/// As often as a connection may send anything.
const ASKED_EVERY: Duration = Duration::from_millis(5);
const ATTACKED_FOR: Duration = Duration::from_secs(3);
/// 50 MB/s if the channel had ten thousand members; in proportion for a smaller one.
const ALLOWED_BYTES_PER_SECOND: usize = 50_000_000 / SNAPSHOT_BYTES_OF_10_000 * SNAPSHOT_BYTES;

// P4.11
#[test]
fn clients_that_ask_for_large_snapshots_as_often_as_they_may_get_a_bounded_amount() {
    let server = Setup::default().start();
    let _members = Crowd::fill(server.addr, "large");
    let mut asking = Vec::new();
    let mut counting = Vec::new();
    for n in 0..CLIENTS {
        let user = format!("client-{n}");
        let mut client = Socket::sign_in(server.addr, Width::Usual, &user, &subscribe("large"));
        let reader = client.stream.try_clone().expect("a socket can be shared");
        counting.push(std::thread::spawn(move || count(reader)));
        asking.push(Flood::repeat(ASKED_EVERY, move || client.send(&sync("large"))));
    }
    let counts = counting.into_iter().map(|thread| thread.join().expect("it counts"));
    let bytes: usize = counts.sum();
    drop(asking);
    let per_second = bytes / ATTACKED_FOR.as_secs() as usize;
    println!("{CLIENTS} clients are sent {per_second} bytes a second");
    assert!(bytes >= CLIENTS * SNAPSHOT_BYTES, "each gets its first snapshot: {bytes} bytes");
    assert!(
        per_second <= ALLOWED_BYTES_PER_SECOND,
        "{CLIENTS} clients are sent {per_second} bytes a second"
    );
}

/// What a socket is sent in the time of the attack.
fn count(mut stream: std::net::TcpStream) -> usize {
    let end = Instant::now() + ATTACKED_FOR;
    let mut sink = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return bytes;
        }
        stream.set_read_timeout(Some(left)).expect("a timeout that is not zero");
        // Nothing may come for the rest of the time.
        bytes += stream.read(&mut sink).unwrap_or(0);
    }
}
