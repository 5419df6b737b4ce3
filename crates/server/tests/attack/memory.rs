//! What one socket can make the server hold: it sends as much as the server reads, and reads
//! nothing. Counted is the memory of the process; what the kernel buffers for a socket is not.

use std::time::Duration;

use crate::crowd::Crowd;
use crate::flood::{Attack, Flood, Replies, Sockets};
use crate::kinds::{self, Sender, Small};
use crate::server::{Server, Setup, until};
use crate::socket::{Socket, Width, auth, track};

/// What a socket costs at most once it has authenticated, whatever it sends.
const AUTHENTICATED_KIB: u64 = 512;
/// What one costs before.
const UNAUTHENTICATED_KIB: u64 = 64;
/// How soon memory is given back after the sockets have ended.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(10);
/// What may stay: pages that the allocator cannot give back, and tables that have grown.
const KEPT_KIB: u64 = 4 * 1024;

/// How long the sockets send.
const ATTACKED_FOR: Duration = Duration::from_millis(1_500);
/// So that it is not the server's clock that bounds what a socket sends.
const AUTH_TIMEOUT_MS: u32 = 60_000;

fn start() -> Setup {
    Setup::default().set("HERENOW_AUTH_TIMEOUT_MS", AUTH_TIMEOUT_MS)
}

/// Sockets come and go before anything is measured: the tables that they need stay.
fn warm_up(server: &Server) {
    let peer = |n| Socket::sign_in(server.addr, Width::Usual, &format!("early-{n}"), b"");
    drop((0..100).map(peer).collect::<Vec<_>>());
}

/// Runs the attack and holds what each of its sockets costs to the bound.
fn expect_bounded(server: &Server, what: &str, attack: Attack, bound_kib: u64) {
    let before = server.memory_kib();
    let sockets = attack.sockets as u64;
    let flood = Flood::start(attack);
    let (mut most, mut after) = (before, before);
    until(ATTACKED_FOR, || {
        most = most.max(server.memory_kib());
        false
    });
    flood.stop();
    // The server may still have to read what was sent.
    let is_given_back = until(GIVEN_BACK_WITHIN, || {
        after = server.memory_kib();
        most = most.max(after);
        after <= before + KEPT_KIB
    });
    let each = most.saturating_sub(before) / sockets;
    println!("{what}: {each} KiB a socket; {before} KiB before, {most} at most, {after} after");
    assert!(each <= bound_kib, "{what}: {each} KiB for a socket, {bound_kib} are allowed");
    assert!(
        is_given_back,
        "{what}: {before} KiB before {sockets} sockets, {most} with them, and still {after} after \
         {GIVEN_BACK_WITHIN:?}"
    );
}

// P6.9
#[test]
fn a_socket_that_has_not_authenticated_costs_at_most_64_kib() {
    for what in Small::ALL {
        let server = start().start();
        warm_up(&server);
        let attack = kinds::small(server.addr, what, Sender::Unauthenticated, Replies::Unread);
        expect_bounded(&server, &format!("{what:?}"), attack, UNAUTHENTICATED_KIB);
    }
}

// P6.9
#[test]
fn a_user_that_reads_nothing_costs_at_most_512_kib() {
    for what in Small::ALL {
        let server = start().start();
        warm_up(&server);
        let attack = kinds::small(server.addr, what, Sender::User, Replies::Unread);
        expect_bounded(&server, &format!("{what:?}"), attack, AUTHENTICATED_KIB);
    }
}

/// The channel changes all the time, so that no two attackers wait for the same snapshot.
// P6.9
#[test]
fn a_subscriber_that_asks_for_snapshots_and_reads_none_costs_at_most_512_kib() {
    let server = start().start();
    let _members = Crowd::fill(server.addr, "large");
    let server_addr = server.addr;
    let moving = Flood::start(Attack {
        sockets: 1,
        open: Box::new(move |_| {
            Socket::open(server_addr, Width::Usual, &auth(&crate::server::token("mover"))).ok()
        }),
        block: [track("large", r#"{"n":1}"#), track("large", r#"{"n":2}"#)].concat(),
        replies: Replies::Read,
        every: Duration::from_millis(20),
        sockets_are: Sockets::Kept,
    });
    let attack = kinds::syncs(server.addr, "large", Replies::Unread);
    expect_bounded(&server, "presence_sync", attack, AUTHENTICATED_KIB);
    moving.stop();
}

#[test]
fn an_account_that_floods_refreshes_costs_at_most_512_kib_a_socket() {
    let server = start().access("{ subscribe: (auth) => auth !== null }").start();
    warm_up(&server);
    expect_bounded(&server, "refreshes", kinds::refreshes(server.addr), AUTHENTICATED_KIB);
}
