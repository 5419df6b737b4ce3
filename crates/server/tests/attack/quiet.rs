//! What an attack costs those who have nothing to do with it: how long a change takes to be seen in
//! a quiet channel, before and during the attack, on the same machine in the same run.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::flood::{Attack, Flood, Replies, Sockets};
use crate::kinds::{self, Sender, Small};
use crate::probe::Probe;
use crate::server::{Server, Setup};
use crate::socket::{Socket, Width, subscribe, track};

/// How many times the 99th percentile of before it may be.
const FACTOR: u32 = 10;
/// What it may be in any case: with a few hundred microseconds before, the scheduler of a busy
/// machine alone is a larger factor. A build for debugging takes more than ten times as long for a
/// frame, and so for a turn that is full of them; unbounded turns cost it seconds.
const ALLOWED: Duration = Duration::from_millis(if cfg!(debug_assertions) { 300 } else { 20 });
/// Seconds of the attack that are looked at. The machine has other things to do, and what it does
/// in one second says nothing of the server; an attack that works shows in every one of them.
const WINDOWS: usize = 5;

/// A server, and what its quiet channel was like before anything happened.
struct Quiet {
    server: Server,
    probe: Probe,
    before: Duration,
}

impl Quiet {
    fn of(server: Server) -> Self {
        let mut probe = Probe::new(server.addr);
        let before = probe.p99().min(probe.p99());
        Self { server, probe, before }
    }

    /// Holds the bound while the attack runs, and ends it.
    fn expect_during(&mut self, what: &str, attack: Flood) {
        let allowed = ALLOWED.max(self.before * FACTOR);
        let mut during = Vec::new();
        while during.len() < WINDOWS && during.iter().all(|p99| *p99 > allowed) {
            during.push(self.probe.p99());
        }
        attack.stop();
        let before = self.before;
        println!("{what}: quiet p99 {before:?} before, {during:?} during");
        let is_quiet = during.iter().any(|p99| *p99 <= allowed);
        assert!(is_quiet, "{what}: quiet p99 {before:?} before, {during:?} during the attack");
    }
}

fn expect_quiet_in_small_frames(sender: Sender, replies: Replies) {
    for what in Small::ALL {
        let mut quiet = Quiet::of(Setup::default().start());
        let small = kinds::small(quiet.server.addr, what, sender, replies);
        let attack = Attack { sockets_are: Sockets::Renewed, ..small };
        quiet.expect_during(&format!("{what:?}, {sender:?}, {replies:?}"), Flood::start(attack));
    }
}

#[test]
fn a_hundred_sockets_that_have_not_authenticated_and_read_nothing_delay_nobody() {
    expect_quiet_in_small_frames(Sender::Unauthenticated, Replies::Unread);
}

#[test]
fn a_hundred_sockets_that_have_not_authenticated_and_read_all_delay_nobody() {
    expect_quiet_in_small_frames(Sender::Unauthenticated, Replies::Read);
}

#[test]
fn a_hundred_users_that_flood_delay_nobody() {
    expect_quiet_in_small_frames(Sender::User, Replies::Read);
}

#[test]
fn subscribers_that_ask_for_snapshots_all_the_time_delay_nobody() {
    let mut quiet = Quiet::of(Setup::default().start());
    let addr = quiet.server.addr;
    let _members = Crowd::fill(addr, "large");
    let unread = kinds::syncs(addr, "large", Replies::Unread);
    let unread = Attack { sockets_are: Sockets::Renewed, ..unread };
    quiet.expect_during("presence_sync, unread", Flood::start(unread));
    let read = Attack { sockets: 3, ..kinds::syncs(addr, "large", Replies::Read) };
    quiet.expect_during("presence_sync, read", Flood::start(read));
}

/// Whose lease ends is decided by the loop that the flood keeps busy.
// P7.3
#[test]
fn a_silent_member_leaves_within_its_second_while_the_server_is_under_attack() {
    const TTL: Duration = Duration::from_secs(2);
    const LATE: Duration = Duration::from_secs(1);
    let server = Setup::default().set("HERENOW_PRESENCE_TTL", TTL.as_millis()).start();
    let mut watcher = Socket::sign_in(server.addr, Width::Usual, "watcher", &subscribe("quiet"));
    watcher.until("presence_sync");
    let small = kinds::small(server.addr, Small::EmptyFrames, Sender::User, Replies::Read);
    let attack = Flood::start(Attack { sockets_are: Sockets::Renewed, ..small });
    let mut silent = Socket::sign_in(server.addr, Width::Usual, "silent", b"");
    let last_word = Instant::now();
    silent.send(&track("quiet", "{}"));
    let left = watcher.until("presence_leave");
    let took = last_word.elapsed();
    attack.stop();
    println!("a lease of {TTL:?} ended after {took:?}");
    assert!(left.contains(r#""timeout""#), "{left}");
    assert!(took >= TTL && took <= TTL + LATE + ALLOWED, "a lease of {TTL:?} took {took:?}");
}

#[test]
fn an_account_that_refreshes_padded_tokens_delays_nobody() {
    let mut quiet =
        Quiet::of(Setup::default().access("{ subscribe: (auth) => auth !== null }").start());
    let attack = kinds::refreshes(quiet.server.addr);
    quiet.expect_during("refreshes", Flood::start(attack));
}

/// Two accounts, each with one socket after the other, that leave members behind.
#[test]
fn accounts_whose_sockets_break_all_the_time_delay_nobody() {
    let mut quiet = Quiet::of(Setup::default().set("HERENOW_DISCONNECT_GRACE_MS", 60_000).start());
    let attack = kinds::broken_sockets(quiet.server.addr);
    quiet.expect_during("sockets that break", attack);
}

#[test]
fn unfinished_heads_delay_nobody_who_is_connected() {
    let mut quiet = Quiet::of(Setup::default().start());
    let attack = kinds::unfinished_heads(quiet.server.addr);
    quiet.expect_during("unfinished heads", attack);
}

/// Public keys whose private halves nobody has kept.
const KEYS: &str = r#"{"keys":[
    {"kid":"rsa","kty":"RSA","use":"sig","e":"AQAB","n":"wqI3dysGNLth-RVbpweOmsTjj5nucylehWtvwGNDoLtIvkI-1dNVsral1rTmzgOnrRBoReyLRb9-_zNSDfCiGoIs9dlGSbEG7bg3uIUE492LPeGDrar2U4bx-d4hxw6XUQOR1JgSUtRFAAbO4B0QQ_-YDUndLpy1E45jckUg7TP7X_05NvhFLAVmPb4WTWdbmJ4rwJbFMAOp21EmzizmPqrbCYlGcLaO59v4Wpq8-SFs_GCPhbgVGsyFZYOXNHz0hMSaWnfo0OHihdpIQe2MvCtdR676VsJ5fe6Sltl5-bjM1v-qvYQ9HCFyHQ8x5QSNcFrylsEvCDmDBvOCndsZfQ"},
    {"kid":"ec","kty":"EC","crv":"P-256","use":"sig","x":"1tEBZusOktEmtioe55KhFT-xvHCtWKcsZdRWOoX1uV4","y":"mmryHTqPQR-e_2TKtNy2k7t3rueMrOMIwfLBROf2vvo"}
]}"#;

/// `{"sub":"forger-0","exp":4000000000}`
const PAYLOAD: &str = "eyJzdWIiOiJmb3JnZXItMCIsImV4cCI6NDAwMDAwMDAwMH0";

// P8.7
#[test]
fn two_clients_that_refresh_with_forged_rs256_and_es256_tokens_delay_nobody() {
    // {"alg":"RS256","kid":"rsa"} and {"alg":"ES256","kid":"ec"}; the signatures are below the
    // modulus and the order, so that the whole of the arithmetic is done.
    let forgeries = [
        ("RS256", "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9", "QUFB".repeat(85) + "QQ"),
        ("ES256", "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0", "QUFB".repeat(21) + "QQ"),
    ];
    for (algorithm, header, signature) in forgeries {
        let mut quiet = Quiet::of(Setup::default().jwks(KEYS).start());
        let forged = format!("{header}.{PAYLOAD}.{signature}");
        let attack = Flood::start(kinds::forged(quiet.server.addr, forged));
        quiet.expect_during(&format!("forged {algorithm}"), attack);
    }
}
