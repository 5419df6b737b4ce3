//! Rights that are taken away while the server is under attack: when the last one has gone.

use std::time::{Duration, Instant};

use crate::flood::{Flood, Replies};
use crate::kinds::{self, Sender, Small};
use crate::server::Setup;
use crate::socket::{Socket, Width, subscribe};

const CONNECTIONS: usize = 3_000;
const CHANNELS: usize = 100;
const THREADS: usize = 2;
/// From the signal to the last subscription.
const ALLOWED: Duration = Duration::from_secs(5);

/// How often the configuration is read again meanwhile, as by a tool that writes it file by file.
const HUNG_UP_EVERY: Duration = Duration::from_millis(120);

const OPEN: &str = "{ subscribe: (auth) => auth !== null }";
const SHUT: &str = "{ subscribe: () => false }";

// P4.17
#[test]
fn revoked_rights_are_gone_within_5_s_while_the_server_is_under_attack() {
    let server = Setup::default().access(OPEN).start();
    let addr = server.addr;
    let subscriber = |n: usize| {
        let channel = subscribe(&format!("kept-{}", n % CHANNELS));
        let mut socket = Socket::sign_in(addr, Width::Usual, &format!("user-{n}"), &channel);
        socket.until("presence_sync");
        socket
    };
    let mut sockets: Vec<Socket> = std::thread::scope(|scope| {
        let thread = |first: usize| (first..CONNECTIONS).step_by(THREADS).map(subscriber).collect();
        let threads: Vec<_> = (0..THREADS)
            .map(|first| scope.spawn(move || -> Vec<Socket> { thread(first) }))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("all subscribe")).collect()
    });
    let _attack = Flood::start(kinds::small(addr, Small::EmptyFrames, Sender::User, Replies::Read));
    server.write_access(SHUT);
    server.signal("HUP");
    let told = Instant::now();
    // Each of them begins a review of everything that is granted.
    let _again = server.signal_every("HUP", HUNG_UP_EVERY);
    let mut revoked = 0;
    for socket in &mut sockets {
        let left = ALLOWED.saturating_sub(told.elapsed());
        let is_set = if left.is_zero() {
            socket.stream.set_nonblocking(true)
        } else {
            socket.stream.set_read_timeout(Some(left))
        };
        is_set.expect("an open socket takes the option");
        let is_revoked = std::iter::from_fn(|| socket.next_text().ok())
            .any(|text| text.contains(r#""unsubscribed""#));
        revoked += usize::from(is_revoked);
    }
    let took = told.elapsed();
    println!("{revoked} of {CONNECTIONS} subscriptions were revoked after {took:?}");
    assert_eq!(revoked, CONNECTIONS, "subscriptions that were revoked after {took:?}");
}
