//! The attacks that several tests measure, as sockets, bytes and a pace.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::flood::{Attack, Flood, Replies, Sockets};
use crate::server::{token, token_of};
use crate::socket::{
    Socket, Width, auth, connect, first_part, frame, next_part, subscribe, sync, text, track,
};

/// Bytes that a socket sends in one round, where frames are small.
const BLOCK_BYTES: usize = 16 * 1024;
const ROUND_EVERY: Duration = Duration::from_millis(10);

/// What a token may be long, less what is not padding.
const PADDING_BYTES: usize = 5_900;
/// What a connection may subscribe to.
const CHANNELS: usize = 100;

/// The head of a request that goes on.
pub const UNFINISHED: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n";
/// Connections to HTTP that are opened again in one round.
const REOPENED_PER_ROUND: usize = 50;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Sockets that never authenticate.
    Unauthenticated,
    /// Sockets of users.
    User,
}

/// What is small and sent in great numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Small {
    EmptyFrames,
    Pings,
    InvalidJson,
    /// Messages in many parts.
    Fragments,
    /// Tokens that are none. They end a socket that has not authenticated.
    Auths,
}

impl Small {
    pub const ALL: [Self; 5] =
        [Self::EmptyFrames, Self::Pings, Self::InvalidJson, Self::Fragments, Self::Auths];

    fn block(self) -> Vec<u8> {
        let one = match self {
            Self::EmptyFrames => frame(1, b""),
            Self::Pings => frame(9, &[b'p'; 125]),
            Self::InvalidJson => text("{"),
            Self::Fragments => {
                [first_part(b"{"), next_part(b"").repeat(20), frame(0, b"")].concat()
            }
            Self::Auths => auth("x.y.z"),
        };
        one.repeat(BLOCK_BYTES / one.len())
    }
}

/// Many small frames.
pub fn small(server: SocketAddr, what: Small, sender: Sender, replies: Replies) -> Attack {
    let open = move |n: usize| {
        let first = match sender {
            Sender::Unauthenticated => Vec::new(),
            Sender::User => auth(&token(&format!("attacker-{n}"))),
        };
        Socket::open(server, Width::Narrow, &first).ok()
    };
    Attack {
        sockets: 100,
        open: Box::new(open),
        block: what.block(),
        replies,
        every: ROUND_EVERY,
        sockets_are: Sockets::Kept,
    }
}

/// Members of `channel` that ask for snapshots all the time. Each joins after the one before, so no
/// two of them are sent the same first snapshot.
pub fn syncs(server: SocketAddr, channel: &'static str, replies: Replies) -> Attack {
    let width = match replies {
        Replies::Unread => Width::Narrow,
        Replies::Read => Width::Usual,
    };
    let join = format!(
        r#"{{"type":"presence_join","channel":"presence:{channel}","state":{{}},"ref":1}}"#
    );
    let open = move |n: usize| {
        let first = [auth(&token(&format!("attacker-{n}"))), text(&join)].concat();
        let mut socket = Socket::open(server, width, &first).ok()?;
        socket.until(r#""ack""#);
        Some(socket)
    };
    Attack {
        sockets: 100,
        open: Box::new(open),
        block: sync(channel).repeat(4),
        replies,
        every: ROUND_EVERY,
        sockets_are: Sockets::Kept,
    }
}

/// An account that refreshes a valid token, as long as one may be, on connections with as many
/// channels as one may have. Each refresh asks the rules about every one of them.
pub fn refreshes(server: SocketAddr) -> Attack {
    let padded = token_of(json!({"sub": "account", "pad": "p".repeat(PADDING_BYTES)}));
    let block = auth(&padded);
    let first = block.clone();
    let open = move |n: usize| {
        let channels = (0..CHANNELS).flat_map(|channel| subscribe(&format!("own-{n}-{channel}")));
        let first: Vec<u8> = first.iter().copied().chain(channels).collect();
        let mut socket = Socket::open(server, Width::Narrow, &first).ok()?;
        socket.until(&format!("own-{n}-{}", CHANNELS - 1));
        Some(socket)
    };
    Attack {
        sockets: 20,
        open: Box::new(open),
        block,
        replies: Replies::Unread,
        every: Duration::from_millis(2),
        sockets_are: Sockets::Kept,
    }
}

/// Two clients that refresh with tokens whose signatures are forged.
pub fn forged(server: SocketAddr, token: String) -> Attack {
    let open = move |n: usize| {
        Socket::open(server, Width::Usual, &auth(&crate::server::token(&format!("forger-{n}"))))
            .ok()
    };
    // 950 a second and client: below what counts as abuse.
    Attack {
        sockets: 2,
        open: Box::new(open),
        block: auth(&token).repeat(19),
        replies: Replies::Read,
        every: Duration::from_millis(20),
        sockets_are: Sockets::Kept,
    }
}

/// Two accounts that open a socket, track, and break it without a farewell, again and again.
pub fn broken_sockets(server: SocketAddr) -> Flood {
    let mut n = 0;
    Flood::repeat(ROUND_EVERY, move || {
        n += 1;
        let user = format!("account-{}", n % 2);
        let first = [auth(&token(&user)), track("left-behind", "{}")].concat();
        // The server may have no room, which is as good an answer.
        if let Ok(mut socket) = Socket::open(server, Width::Usual, &first) {
            let _ = socket.next_text();
        }
    })
}

/// Holds connections, each with these first bytes, and opens those again that the server drops.
pub fn occupy(
    server: SocketAddr,
    connections: u16,
    first: &'static [u8],
    from: fn(u16) -> Ipv4Addr,
) -> Flood {
    let open = move |n: u16| -> io::Result<TcpStream> {
        let mut stream = connect(server, from(n), Width::Usual)?;
        stream.write_all(first)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let mut held: Vec<_> = (0..connections).map(|n| open(n).ok()).collect();
    Flood::repeat(2 * ROUND_EVERY, move || {
        let mut may_reopen = REOPENED_PER_ROUND;
        for (n, place) in (0..).zip(&mut held) {
            let is_held = place.as_mut().is_some_and(is_open);
            if !is_held && may_reopen > 0 {
                may_reopen -= 1;
                *place = open(n).ok();
            }
        }
    })
}

/// Three hundred heads that are begun and not finished, of one address.
pub fn unfinished_heads(server: SocketAddr) -> Flood {
    occupy(server, 300, UNFINISHED, |_| Ipv4Addr::new(127, 0, 0, 2))
}

fn is_open(stream: &mut TcpStream) -> bool {
    let read = stream.read(&mut [0; 256]);
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
