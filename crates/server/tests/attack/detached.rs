//! Members whose connections have broken and may come back: what one user can leave behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Server, Setup, token};
use crate::socket::{Socket, Width, auth, subscribe, text, track};

/// Longer than the test: nothing ends because of its age.
const GRACE_MS: u32 = 120_000;
/// Detached members of one user.
const PER_USER: usize = 16;
/// How soon the server has dealt with sockets that have ended.
const DEALT_WITH: Duration = Duration::from_secs(10);
/// Sockets of one user, one after the other.
const ROUNDS: usize = 100;

/// Tracks in a channel, and breaks without a farewell. False if the server lets it not in.
fn leave_behind(server: &Server, user: &str, channel: &str) -> bool {
    let first = [auth(&token(user)), track(channel, "{}")].concat();
    let Ok(mut socket) = Socket::open(server.addr, Width::Usual, &first) else { return false };
    loop {
        match socket.next_text() {
            Ok(text) if text.contains("presence_sync") => return true,
            Ok(text) if text.contains(r#""error""#) => return false,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// A subscriber of the channels, and the members that it sees in them.
struct Watcher {
    socket: Socket,
    channels: Vec<String>,
    /// The user of each, by connection.
    members: BTreeMap<String, String>,
}

const WATCHER: &str = "watcher";

impl Watcher {
    fn new(server: &Server, channels: Vec<String>) -> Self {
        let socket = Socket::sign_in(server.addr, Width::Usual, WATCHER, b"");
        let mut watcher = Self { socket, channels, members: BTreeMap::new() };
        for channel in &watcher.channels {
            watcher.socket.send(&subscribe(channel));
            watcher.socket.until("presence_sync");
        }
        watcher
    }

    /// Takes in what it is told until this is so, or nothing comes in time.
    fn until(&mut self, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + DEALT_WITH;
        while !is_so(self) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.socket.stream.set_read_timeout(Some(left)).expect("it is not zero");
            let Ok(text) = self.socket.next_text() else { return false };
            let told: Value = serde_json::from_str(&text).expect("the server sends JSON");
            let name = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
            let member = format!("{} {}", name("channel"), name("connectionId"));
            match told["type"].as_str() {
                Some("presence_join") => {
                    self.members.insert(member, name("userId"));
                }
                Some("presence_leave") => {
                    self.members.remove(&member);
                }
                _ => {}
            }
        }
        true
    }

    fn count(&self, of: impl Fn(&str) -> bool) -> usize {
        self.members.values().filter(|user| of(user)).count()
    }

    /// The server keeps at most so many members besides the watcher's own.
    fn expect_at_most(&mut self, most: usize) {
        // It joins after all the others: who has seen that has seen them.
        for channel in &self.channels {
            self.socket.send(&track(channel, "{}"));
        }
        let own = self.channels.len();
        assert!(self.until(|watcher| watcher.count(|user| user == WATCHER) == own));
        let others = |watcher: &Self| watcher.count(|user| user != WATCHER);
        let is_bounded = self.until(|watcher| others(watcher) <= most);
        println!("{} members are left behind, {most} are allowed", others(self));
        assert!(is_bounded, "{} members are left behind, {most} are allowed", others(self));
    }
}

fn start() -> Setup {
    Setup::default().set("HERENOW_DISCONNECT_GRACE_MS", GRACE_MS)
}

// P7.12
#[test]
fn one_user_leaves_at_most_16_detached_members_in_a_channel() {
    let server = start().start();
    let mut watcher = Watcher::new(&server, vec!["one".into()]);
    for _ in 0..ROUNDS {
        leave_behind(&server, "ghost", "one");
    }
    watcher.expect_at_most(PER_USER);
}

// P7.12
#[test]
fn one_user_leaves_at_most_16_detached_members_whatever_the_channels() {
    let server = start().start();
    let channels: Vec<String> = (0..2 * PER_USER).map(|n| format!("own-{n}")).collect();
    let mut watcher = Watcher::new(&server, channels.clone());
    for channel in &channels {
        leave_behind(&server, "ghost", channel);
    }
    watcher.expect_at_most(PER_USER);
}

// P4.14
#[test]
fn detached_members_give_way_when_a_channel_is_full() {
    const MEMBERS: usize = 20;
    let server = start().set("HERENOW_MAX_MEMBERS", MEMBERS).start();
    let mut watcher = Watcher::new(&server, vec!["full".into()]);
    for _ in 0..PER_USER {
        leave_behind(&server, "ghost", "full");
    }
    let join = r#"{"type":"presence_join","channel":"presence:full","state":{},"ref":"join"}"#;
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        let user = format!("member-{n}");
        let join = text(join);
        let mut member = Socket::sign_in(server.addr, Width::Usual, &user, &join);
        let answer = member.until(r#""join""#);
        assert!(answer.contains(r#""ack""#), "{user} of {MEMBERS}: {answer}");
        members.push(member);
    }
    let is_true = watcher.until(|watcher| {
        watcher.count(|user| user == "ghost") == 0 && watcher.members.len() == MEMBERS
    });
    assert!(is_true, "the watcher sees {:?}", watcher.members);
}

// P7.12
#[test]
fn detached_sessions_count_as_connections() {
    const CONNECTIONS: usize = 30;
    let server = start().set("HERENOW_MAX_CONNECTIONS", CONNECTIONS).start();
    let mut watcher = Watcher::new(&server, vec!["crowded".into()]);
    for n in 0..ROUNDS {
        leave_behind(&server, &format!("ghost-{n}"), "crowded");
    }
    watcher.expect_at_most(CONNECTIONS);
}
