//! A channel with many members: what a snapshot of it costs is what its attackers are after.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use crate::flood::Flood;
use crate::server::token;
use crate::socket::{Socket, Width, auth, text};

/// The members show so much that a snapshot of them is as long as one of six thousand members who
/// show next to nothing, and the test opens a tenth of the sockets.
pub const MEMBERS: usize = 600;
pub const STATE_BYTES: usize = 980;

const READ_EVERY: Duration = Duration::from_millis(50);

/// The members of a channel, who read what they are sent.
pub struct Crowd {
    _reading: Flood,
}

impl Crowd {
    /// Fills a channel. The members stay as long as this.
    pub fn fill(server: SocketAddr, channel: &str) -> Self {
        let state = "s".repeat(STATE_BYTES);
        let join = format!(
            r#"{{"type":"presence_join","channel":"presence:{channel}","state":{{"s":"{state}"}},"ref":1}}"#
        );
        let members = std::sync::Arc::new(Mutex::new(Vec::with_capacity(MEMBERS)));
        let read = members.clone();
        let reading = Flood::repeat(READ_EVERY, move || {
            let mut members = read.lock().expect("no thread panics with it");
            members.iter_mut().for_each(read_all);
        });
        for n in 0..MEMBERS {
            let first = [auth(&token(&format!("member-{n}"))), text(&join)].concat();
            let mut member = Socket::open(server, Width::Usual, &first).expect("it is let in");
            member.until(r#""ack""#);
            member.stream.set_nonblocking(true).expect("an open socket takes the option");
            members.lock().expect("no thread panics with it").push(member);
        }
        Self { _reading: reading }
    }
}

fn read_all(member: &mut Socket) {
    let mut sink = [0; 64 * 1024];
    // A socket that has ended has nothing to read, and is noticed by what the test measures.
    while member.stream.read(&mut sink).is_ok_and(|bytes| bytes > 0) {}
}
