//! The load: one thread, one epoll set, all connections.
//!
//! Knows sockets and when their bytes came. Refuses to know channels and members: each
//! event goes to a [`Sink`], which may answer on the same connection. Nothing is
//! allocated per frame, so that the driver stays far cheaper than the server it drives.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::frames;
use crate::inbound::{Event, Inbound};

/// Nanoseconds since the driver began.
pub type Nanos = u64;

/// One read takes at most this much.
const READ_BYTES: usize = 256 * 1024;
/// An unfinished frame that is kept between two reads; only snapshots are longer, and
/// those are read row by row.
const CARRY_BYTES: usize = 64 * 1024;
const EVENTS_PER_POLL: usize = 1024;

/// Something arrived on a connection.
pub struct Arrival<'a> {
    pub connection: usize,
    pub at: Nanos,
    pub event: Event<'a>,
}

/// Who is told of arrivals. What it puts into `reply` is sent on the same connection.
pub trait Sink {
    fn arrived(&mut self, arrival: Arrival<'_>, reply: &mut Vec<u8>);
}

/// What passed through the driver since it began.
#[derive(Clone, Copy, Default)]
pub struct Traffic {
    pub reads: u64,
    pub read_bytes: u64,
    pub frames: u64,
    /// Writes that the kernel did not take at once.
    pub blocked_writes: u64,
}

/// Where a server is connected to.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Over loopback.
    Tcp(SocketAddrV4),
    /// Over a Unix socket.
    Unix(PathBuf),
}

/// All connections to one server.
pub struct Driver {
    server: Endpoint,
    epoll: OwnedFd,
    began: Instant,
    connections: Vec<Connection>,
    scratch: Box<[u8]>,
    reply: Vec<u8>,
    ready: Vec<epoll::Event>,
    traffic: Traffic,
}

#[derive(Default)]
struct Connection {
    socket: Option<OwnedFd>,
    is_connected: bool,
    is_paused: bool,
    inbound: Inbound,
    carry: Vec<u8>,
    backlog: Vec<u8>,
}

impl Driver {
    pub fn new(server: Endpoint) -> std::io::Result<Self> {
        Ok(Self {
            server,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            began: Instant::now(),
            connections: Vec::new(),
            scratch: vec![0; CARRY_BYTES + READ_BYTES].into(),
            reply: Vec::new(),
            ready: Vec::with_capacity(EVENTS_PER_POLL),
            traffic: Traffic::default(),
        })
    }

    pub fn now(&self) -> Nanos {
        self.began.elapsed().as_nanos() as Nanos
    }

    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Begins to connect. What follows the upgrade is for the sink to say.
    pub fn open(&mut self, connection: usize) -> std::io::Result<()> {
        if self.connections.len() <= connection {
            self.connections.resize_with(connection + 1, Connection::default);
        }
        let socket = self.server.connect()?;
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(connection as u64), interest)?;
        self.connections[connection] = Connection { socket: Some(socket), ..Connection::default() };
        Ok(())
    }

    /// Ends the connection without a word, as a broken network would.
    pub fn reset(&mut self, connection: usize) {
        self.connections[connection].socket = None;
    }

    /// Sends frames that are encoded already.
    pub fn send(&mut self, connection: usize, bytes: &[u8]) {
        let Driver { epoll, connections, traffic, .. } = self;
        connections[connection].send(bytes, (epoll, connection), traffic);
    }

    /// Stops reading from a connection; the kernel's buffers fill up.
    pub fn pause(&mut self, connection: usize) -> std::io::Result<()> {
        self.connections[connection].is_paused = true;
        self.rearm(connection)
    }

    /// Reads again from a paused connection.
    pub fn resume(&mut self, connection: usize) -> std::io::Result<()> {
        self.connections[connection].is_paused = false;
        self.rearm(connection)
    }

    /// The local port, by which the kernel's tables name a connection.
    pub fn local_port(&self, connection: usize) -> Option<u16> {
        let address = net::getsockname(self.connections[connection].socket.as_ref()?).ok()?;
        SocketAddrV4::try_from(address).ok().map(|address| address.port())
    }

    /// Waits at most `patience` and hands over what arrived.
    pub fn poll(&mut self, patience: Duration, sink: &mut impl Sink) -> std::io::Result<()> {
        let timeout = Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        self.ready.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.ready);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for at in 0..self.ready.len() {
            let (flags, connection) = (self.ready[at].flags, self.ready[at].data.u64() as usize);
            if flags.contains(epoll::EventFlags::OUT) {
                self.write(connection)?;
            }
            if flags
                .intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
            {
                self.read(connection, sink);
            }
        }
        Ok(())
    }

    fn write(&mut self, connection: usize) -> std::io::Result<()> {
        let Driver { epoll, connections, traffic, .. } = self;
        let this = &mut connections[connection];
        if !this.is_connected {
            this.is_connected = true;
            let request = frames::upgrade_request();
            this.send(request.as_bytes(), (epoll, connection), traffic);
        } else {
            let waiting = std::mem::take(&mut this.backlog);
            this.send(&waiting, (epoll, connection), traffic);
        }
        self.rearm(connection)
    }

    fn read(&mut self, connection: usize, sink: &mut impl Sink) {
        let now = self.now();
        let Driver { epoll, connections, scratch, reply, traffic, .. } = self;
        let this = &mut connections[connection];
        let Some(socket) = &this.socket else { return };
        let carried = this.carry.len();
        scratch[..carried].copy_from_slice(&this.carry);
        let outcome = rustix::io::read(socket, &mut scratch[carried..carried + READ_BYTES]);
        let mut tell = |event: Event<'_>| {
            let is_part_of_frame =
                matches!(event, Event::Opened | Event::Row(_) | Event::SnapshotEnds);
            traffic.frames += u64::from(!is_part_of_frame);
            sink.arrived(Arrival { connection, at: now, event }, reply);
        };
        let read_bytes = match outcome {
            Ok(0) => None,
            Ok(read_bytes) => Some(read_bytes),
            Err(Errno::AGAIN | Errno::INTR) => return,
            // Whatever else it is, the connection is gone.
            Err(_) => None,
        };
        let Some(read_bytes) = read_bytes else {
            this.socket = None;
            return tell(Event::Closed);
        };
        let arrived = &scratch[..carried + read_bytes];
        let consumed = this.inbound.read(arrived, &mut tell).unwrap_or_else(|_| {
            this.socket = None;
            tell(Event::Error(b"not this protocol"));
            arrived.len()
        });
        this.carry.clear();
        this.carry.extend_from_slice(&arrived[consumed..]);
        traffic.reads += 1;
        traffic.read_bytes += read_bytes as u64;
        if !reply.is_empty() {
            this.send(reply, (epoll, connection), traffic);
            reply.clear();
        }
    }

    fn rearm(&mut self, connection: usize) -> std::io::Result<()> {
        let this = &self.connections[connection];
        let Some(socket) = &this.socket else { return Ok(()) };
        let data = epoll::EventData::new_u64(connection as u64);
        Ok(epoll::modify(&self.epoll, socket, data, this.interest())?)
    }
}

impl Endpoint {
    /// Begins to connect.
    fn connect(&self) -> std::io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = |family| net::socket_with(family, SocketType::STREAM, flags, None);
        let (socket, connected) = match self {
            Self::Tcp(address) => {
                let socket = socket(AddressFamily::INET)?;
                sockopt::set_tcp_nodelay(&socket, true)?;
                // Connections end by a reset: nothing stays behind in TIME_WAIT to run out of ports.
                sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
                let connected = net::connect(&socket, address);
                (socket, connected)
            }
            Self::Unix(path) => {
                let socket = socket(AddressFamily::UNIX)?;
                let connected = net::connect(&socket, &SocketAddrUnix::new(path)?);
                (socket, connected)
            }
        };
        match connected {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }
}

impl Connection {
    fn interest(&self) -> epoll::EventFlags {
        let mut interest = epoll::EventFlags::empty();
        if !self.is_paused {
            interest |= epoll::EventFlags::IN;
        }
        if !self.is_connected || !self.backlog.is_empty() {
            interest |= epoll::EventFlags::OUT;
        }
        interest
    }

    /// Writes at once what the kernel takes and keeps the rest for when it takes more.
    fn send(&mut self, bytes: &[u8], (epoll, id): (&OwnedFd, usize), traffic: &mut Traffic) {
        let Some(socket) = &self.socket else { return };
        if !self.backlog.is_empty() {
            self.backlog.extend_from_slice(bytes);
            return;
        }
        let sent = net::send(socket, bytes, net::SendFlags::NOSIGNAL).unwrap_or(0);
        if sent < bytes.len() {
            // A dead socket also ends here; its next read says so.
            self.backlog.extend_from_slice(&bytes[sent..]);
            traffic.blocked_writes += 1;
            let data = epoll::EventData::new_u64(id as u64);
            // It can fail for a dead socket only, which the next read finds out.
            let _ = epoll::modify(epoll, socket, data, self.interest());
        }
    }
}
