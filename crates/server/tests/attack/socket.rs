//! One WebSocket of an attacker: bytes out as they are, frames in as text. Masks with zeros, so
//! that what is sent can be read in the test.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Type};

use crate::server::token;

/// How long what must come may take. It only costs time when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What a socket takes in that is not read, where the server is to notice soon that nobody reads.
const NARROW_BYTES: usize = 4096;

const UPGRADE: &str = "GET /api/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// See the module.
#[derive(Debug)]
pub struct Socket {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// How much a socket takes in while nobody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// What the system gives.
    Usual,
    /// As little as it can.
    Narrow,
}

impl Socket {
    /// Upgrades and sends `first` in the same write.
    pub fn open(server: SocketAddr, width: Width, first: &[u8]) -> io::Result<Self> {
        let stream = connect(server, Ipv4Addr::LOCALHOST, width)?;
        let mut socket = Self { stream, unread: Vec::new() };
        socket.stream.write_all(&[UPGRADE.as_bytes(), first].concat())?;
        socket.read_head()?;
        Ok(socket)
    }

    /// A socket that signs in; what follows is sent in the same write.
    pub fn sign_in(server: SocketAddr, width: Width, user: &str, then: &[u8]) -> Self {
        let first = [auth(&token(user)), then.to_vec()].concat();
        let mut socket = Self::open(server, width, &first).expect("the server lets it in");
        socket.until(r#""auth_success""#);
        socket
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Reads texts until one holds this, and returns it.
    pub fn until(&mut self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.next_text();
            let text = text.unwrap_or_else(|error| panic!("waited for {part}: {error}"));
            if text.contains(part) {
                return text;
            }
            assert!(Instant::now() < end, "waited for {part}, and it did not come");
        }
    }

    /// The next text frame; pings are answered. An error once the socket has ended, and when
    /// nothing comes in time.
    pub fn next_text(&mut self) -> io::Result<String> {
        loop {
            while let Some((opcode, payload)) = self.take_frame() {
                match opcode {
                    1 => return Ok(String::from_utf8_lossy(&payload).into_owned()),
                    8 => return Err(io::Error::other(format!("closed: {payload:?}"))),
                    9 => self.stream.write_all(&frame(10, &payload))?,
                    _ => {}
                }
            }
            self.fill()?;
        }
    }

    fn read_head(&mut self) -> io::Result<()> {
        loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..at + 4).collect();
                if head.starts_with(b"HTTP/1.1 101 ") {
                    return Ok(());
                }
                return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk)?;
        self.unread.extend_from_slice(&chunk[..read]);
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// A server's frames are whole and not masked.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (start, length) = match self.unread.get(..2)? {
            [_, 126] => (4, u16::from_be_bytes(self.unread.get(2..4)?.try_into().ok()?).into()),
            [_, 127] => (10, u64::from_be_bytes(self.unread.get(2..10)?.try_into().ok()?)),
            [_, length] => (2, u64::from(*length)),
            _ => return None,
        };
        let end = start + usize::try_from(length).ok()?;
        let payload = self.unread.get(start..end)?.to_vec();
        let opcode = self.unread[0] & 0x0f;
        self.unread.drain(..end);
        Some((opcode, payload))
    }
}

/// A connection from an address of the loopback range, that waits no longer than [`PATIENCE`].
pub fn connect(server: SocketAddr, from: Ipv4Addr, width: Width) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    if width == Width::Narrow {
        socket.set_recv_buffer_size(NARROW_BYTES)?;
    }
    if from != Ipv4Addr::LOCALHOST {
        socket.bind(&SockAddr::from(SocketAddrV4::new(from, 0)))?;
    }
    socket.connect_timeout(&SockAddr::from(server), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// A whole text frame.
pub fn text(text: &str) -> Vec<u8> {
    frame(1, text.as_bytes())
}

/// A whole frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&head(0x80 | opcode, payload.len()), payload].concat()
}

/// The first part of a text message that goes on.
pub fn first_part(payload: &[u8]) -> Vec<u8> {
    [&head(1, payload.len()), payload].concat()
}

/// A part of a message that goes on.
pub fn next_part(payload: &[u8]) -> Vec<u8> {
    [&head(0, payload.len()), payload].concat()
}

pub fn auth(token: &str) -> Vec<u8> {
    text(&format!(r#"{{"type":"auth","token":"{token}"}}"#))
}

pub fn subscribe(channel: &str) -> Vec<u8> {
    text(&format!(r#"{{"type":"subscribe","channel":"presence:{channel}"}}"#))
}

pub fn track(channel: &str, state: &str) -> Vec<u8> {
    let message =
        format!(r#"{{"type":"presence_join","channel":"presence:{channel}","state":{state}}}"#);
    text(&message)
}

pub fn sync(channel: &str) -> Vec<u8> {
    text(&format!(r#"{{"type":"presence_sync","channel":"presence:{channel}"}}"#))
}

/// First byte, length, and a mask of zeros.
fn head(first: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first];
    match u16::try_from(length).expect("a client's frame is small") {
        short @ 0..=125 => head.push(0x80 | short as u8),
        long => {
            head.push(0x80 | 126);
            head.extend_from_slice(&long.to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}
