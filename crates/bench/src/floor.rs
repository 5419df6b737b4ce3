//! The floor: what the kernel asks for the writes alone.
//!
//! A bare epoll loop that copies each state into a frame that is laid out ahead and
//! writes it to all sockets of the channel. It knows just enough of the protocol for
//! the driver to connect. It refuses to know presence: no roster, no snapshot, no leave.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::net::{self, sockopt};

use crate::frames::{self, Head};

/// How the floor writes what it has for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writing {
    /// One write for each frame.
    Each,
    /// One write for all frames of a turn of the loop.
    Turn,
    /// One write for all frames of so many milliseconds.
    Delay { ms: u32 },
}

const LISTENER: u64 = u64::MAX;
const READ_BYTES: usize = 256 * 1024;
const EVENTS_PER_POLL: usize = 1024;
/// Frames of a real server name seq, user and connection; the floor's weigh the same.
const FRAME_BEGINS: &str = r#"{"type":"presence_update","channel":"presence:bench-0000","seq":10000000,"userId":"u000000","connectionId":"AAAAAAAAAAAAAAAAAAAAAA","state":"#;

/// See the module.
pub struct Floor {
    writing: Writing,
    epoll: OwnedFd,
    listener: TcpListener,
    sockets: Vec<Socket>,
    channels: Vec<Channel>,
    scratch: Box<[u8]>,
    text: Vec<u8>,
}

struct Socket {
    stream: Option<OwnedFd>,
    is_upgraded: bool,
    tracks: bool,
    carry: Vec<u8>,
    backlog: Vec<u8>,
}

struct Channel {
    name: Vec<u8>,
    subscribers: Vec<usize>,
    waiting: Vec<u8>,
    flushed: Instant,
}

impl Floor {
    /// Listens at this loopback port; 0 is any free one.
    pub fn listen(port: u16, writing: Writing) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        // The standard library's backlog of 128 would drop the connections of a crowd.
        net::listen(&listener, 4096)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&epoll, &listener, data, epoll::EventFlags::IN)?;
        Ok(Self {
            writing,
            epoll,
            listener,
            sockets: Vec::new(),
            channels: Vec::new(),
            scratch: vec![0; 2 * READ_BYTES].into(),
            text: Vec::new(),
        })
    }

    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process is killed.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(EVENTS_PER_POLL);
        loop {
            ready.clear();
            let timeout = self.next_flush().map(|patience| Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(patience.subsec_nanos()),
            });
            let spare = rustix::buffer::spare_capacity(&mut ready);
            epoll::wait(&self.epoll, spare, timeout.as_ref())?;
            for event in &ready {
                let flags = event.flags;
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    socket if flags.contains(epoll::EventFlags::OUT) => {
                        let waiting = std::mem::take(&mut self.sockets[socket as usize].backlog);
                        self.write(socket as usize, &waiting);
                    }
                    socket => self.read(socket as usize),
                }
            }
            self.flush_due();
        }
    }

    fn accept(&mut self) -> std::io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            let stream = OwnedFd::from(stream);
            sockopt::set_tcp_nodelay(&stream, true)?;
            let data = epoll::EventData::new_u64(self.sockets.len() as u64);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
            self.sockets.push(Socket {
                stream: Some(stream),
                is_upgraded: false,
                tracks: false,
                carry: Vec::new(),
                backlog: Vec::new(),
            });
        }
        Ok(())
    }

    fn read(&mut self, socket: usize) {
        let this = &mut self.sockets[socket];
        let Some(stream) = &this.stream else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        let carried = this.carry.len();
        scratch[..carried].copy_from_slice(&this.carry);
        match rustix::io::read(stream, &mut scratch[carried..carried + READ_BYTES]) {
            Ok(0) => self.close(socket),
            Ok(read) => {
                let arrived = &mut scratch[..carried + read];
                let consumed = self.consume(socket, arrived);
                self.sockets[socket].carry.clear();
                self.sockets[socket].carry.extend_from_slice(&arrived[consumed..]);
            }
            Err(rustix::io::Errno::AGAIN) => {}
            Err(_) => self.close(socket),
        }
        self.scratch = scratch;
    }

    fn consume(&mut self, socket: usize, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        if !self.sockets[socket].is_upgraded {
            let Some(end) = frames::end_of_http_head(bytes) else { return 0 };
            self.sockets[socket].is_upgraded = true;
            self.write(socket, frames::upgrade_response().as_bytes());
            at = end;
        }
        loop {
            let (head_bytes, payload_bytes, mask) = match frames::head(&bytes[at..]) {
                Head::Frame { head_bytes, payload_bytes, mask: Some(mask), .. } => {
                    (head_bytes, payload_bytes, mask)
                }
                Head::Incomplete => return at,
                Head::Broken | Head::Frame { .. } => {
                    self.close(socket);
                    return bytes.len();
                }
            };
            let payload = at + head_bytes..at + head_bytes + payload_bytes;
            if payload.end > bytes.len() {
                return at;
            }
            at = payload.end;
            frames::apply_mask(&mut bytes[payload.clone()], mask);
            self.handle(socket, &bytes[payload]);
        }
    }

    fn handle(&mut self, socket: usize, text: &[u8]) {
        if text.starts_with(br#"{"type":"presence_join""#) {
            // The first state only says that the member is there.
            if !std::mem::replace(&mut self.sockets[socket].tracks, true) {
                return;
            }
            let channel = self.channel(text);
            let state = memchr::memmem::find(text, b"\"state\":").map_or(0, |at| at + 8);
            self.publish(channel, &text[state..text.len() - 1]);
        } else if text.starts_with(br#"{"type":"subscribe""#) {
            let channel = self.channel(text);
            self.channels[channel].subscribers.push(socket);
            self.reply(socket, r#"{"type":"presence_sync","presences":[]}"#);
        } else if text.starts_with(br#"{"type":"auth""#) {
            self.reply(socket, r#"{"type":"auth_success"}"#);
        } else {
            self.reply(socket, r#"{"type":"pong"}"#);
        }
    }

    fn publish(&mut self, channel: usize, state: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(FRAME_BEGINS.as_bytes());
        self.text.extend_from_slice(state);
        self.text.push(b'}');
        let mut waiting = std::mem::take(&mut self.channels[channel].waiting);
        frames::push_unmasked(&mut waiting, frames::TEXT, &self.text);
        self.channels[channel].waiting = waiting;
        if self.writing == Writing::Each {
            self.flush(channel);
        }
    }

    fn flush_due(&mut self) {
        for channel in 0..self.channels.len() {
            let this = &self.channels[channel];
            if !this.waiting.is_empty() && this.flushed.elapsed() >= self.writing.delay() {
                self.flush(channel);
            }
        }
    }

    fn next_flush(&self) -> Option<Duration> {
        let waiting = self.channels.iter().filter(|channel| !channel.waiting.is_empty());
        waiting.map(|channel| self.writing.delay().saturating_sub(channel.flushed.elapsed())).min()
    }

    fn flush(&mut self, channel: usize) {
        let this = &mut self.channels[channel];
        this.flushed = Instant::now();
        let (mut waiting, subscribers) =
            (std::mem::take(&mut this.waiting), std::mem::take(&mut this.subscribers));
        for subscriber in &subscribers {
            self.write(*subscriber, &waiting);
        }
        waiting.clear();
        let this = &mut self.channels[channel];
        (this.waiting, this.subscribers) = (waiting, subscribers);
    }

    fn channel(&mut self, text: &[u8]) -> usize {
        const FIELD: &[u8] = b"\"channel\":\"";
        let begin = memchr::memmem::find(text, FIELD).map_or(0, |at| at + FIELD.len());
        let end = memchr::memchr(b'"', &text[begin..]).map_or(text.len(), |at| begin + at);
        let name = &text[begin..end];
        self.channels.iter().position(|channel| channel.name == name).unwrap_or_else(|| {
            self.channels.push(Channel {
                name: name.to_vec(),
                subscribers: Vec::new(),
                waiting: Vec::new(),
                flushed: Instant::now(),
            });
            self.channels.len() - 1
        })
    }

    fn reply(&mut self, socket: usize, text: &str) {
        let mut frame = Vec::with_capacity(text.len() + 4);
        frames::push_unmasked(&mut frame, frames::TEXT, text.as_bytes());
        self.write(socket, &frame);
    }

    fn write(&mut self, socket: usize, bytes: &[u8]) {
        let this = &mut self.sockets[socket];
        let Some(stream) = &this.stream else { return };
        let sent = match this.backlog.is_empty() {
            true => net::send(stream, bytes, net::SendFlags::NOSIGNAL).unwrap_or(0),
            false => 0,
        };
        this.backlog.extend_from_slice(&bytes[sent..]);
        let mut interest = epoll::EventFlags::IN;
        if !this.backlog.is_empty() {
            interest |= epoll::EventFlags::OUT;
        } else if sent == bytes.len() && !bytes.is_empty() && this.backlog.capacity() == 0 {
            return;
        } else {
            this.backlog = Vec::new();
        }
        let data = epoll::EventData::new_u64(socket as u64);
        // It can fail for a dead socket only, which the next read finds out.
        let _ = epoll::modify(&self.epoll, stream, data, interest);
    }

    fn close(&mut self, socket: usize) {
        self.sockets[socket].stream = None;
        for channel in &mut self.channels {
            channel.subscribers.retain(|subscriber| *subscriber != socket);
        }
    }
}

impl Writing {
    fn delay(self) -> Duration {
        match self {
            Self::Each | Self::Turn => Duration::ZERO,
            Self::Delay { ms } => Duration::from_millis(ms.into()),
        }
    }
}

impl std::fmt::Display for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Each => write!(f, "each"),
            Self::Turn => write!(f, "turn"),
            Self::Delay { ms } => write!(f, "{ms}"),
        }
    }
}

impl FromStr for Writing {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "each" => Ok(Self::Each),
            "turn" => Ok(Self::Turn),
            ms => match ms.parse() {
                Ok(ms @ 1..1000) => Ok(Self::Delay { ms }),
                _ => Err(format!("{name} is none of each, turn, or 1 to 999 milliseconds")),
            },
        }
    }
}
