//! SIGTERM on a bad day: the process ends in time whatever its peers and its log do.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::crowd::Crowd;
use crate::flood::{Flood, Replies};
use crate::kinds::{self, Sender, Small};
use crate::server::{Log, Server, Setup, until};
use crate::socket::{Socket, Width, connect, subscribe, text};

/// From the first SIGTERM to the end of the process.
const ENDS_WITHIN: Duration = Duration::from_secs(12);
/// From the second.
const ENDS_AT_ONCE_WITHIN: Duration = Duration::from_secs(1);
/// What the machine may add.
const SLACK: Duration = Duration::from_millis(500);
/// Questions to rules that log: their lines are more than a pipe holds.
const LOGGED_QUESTIONS: usize = 40;

/// Subscribers with more waiting than they take, and a flood from users.
struct Load {
    _members: Crowd,
    _stuck: Flood,
    _flood: Flood,
}

fn load(server: &Server) -> Load {
    let addr = server.addr;
    Load {
        _members: Crowd::fill(addr, "large"),
        _stuck: Flood::start(kinds::syncs(addr, "large", Replies::Unread)),
        _flood: Flood::start(kinds::small(
            addr,
            Small::EmptyFrames,
            Sender::Unauthenticated,
            Replies::Read,
        )),
    }
}

fn expect_end(mut server: Server, what: &str, within: Duration) {
    let ended = server.ended_within(within + SLACK);
    println!("{what}: {ended:?}");
    assert!(ended.is_some(), "{what}: the process runs {within:?} later");
}

#[test]
fn a_loaded_server_ends_within_12_s() {
    let server = Setup::default().start();
    let _load = load(&server);
    server.signal("TERM");
    expect_end(server, "SIGTERM under load", ENDS_WITHIN);
}

#[test]
fn a_second_sigterm_ends_a_loaded_server_within_1_s() {
    let server = Setup::default().start();
    let _load = load(&server);
    server.signal("TERM");
    // Two signals that are not heard in between count as one: the first has been heard when
    // nobody is let in any more.
    let is_heard = || connect(server.addr, Ipv4Addr::LOCALHOST, Width::Usual).is_err();
    assert!(until(ENDS_WITHIN, is_heard), "the listener closes");
    server.signal("TERM");
    expect_end(server, "the second SIGTERM under load", ENDS_AT_ONCE_WITHIN);
}

/// Every question to the rules is logged in many long lines.
const TALKATIVE: &str = "{ subscribe: () => {
    for (let n = 0; n < 100; n++) console.log('a long line '.repeat(100));
    return true;
} }";

#[test]
fn a_log_that_nobody_reads_stops_neither_the_server_nor_its_end() {
    let server = Setup::default().access(TALKATIVE).log(Log::FillsItsPipe).start();
    let mut talker = Socket::sign_in(server.addr, Width::Usual, "talker", b"");
    for n in 0..LOGGED_QUESTIONS {
        talker.send(&subscribe(&format!("logged-{n}")));
        talker.until("presence_sync");
    }
    let mut other = Socket::sign_in(server.addr, Width::Usual, "other", b"");
    other.send(&text(r#"{"type":"ping"}"#));
    other.until("pong");
    server.signal("TERM");
    expect_end(server, "SIGTERM with a full log", ENDS_WITHIN);
}
