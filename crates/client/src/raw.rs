//! A connection for tests: it sends any bytes, at any moment, and shows every frame that comes. It
//! keeps no rule of the protocol by itself, except that it answers pings as browsers do while it
//! waits for a message.
//!
//! Everything here panics where a test would fail anyway: on a timeout, on bytes that are no valid
//! frame of a server. Frame headers are read and written by tungstenite.

use std::io::Cursor;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

pub use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// How long a test waits for what must come. Generous: it only costs time when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What came out of the socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// A text frame; every one of the server's is JSON.
    Message(Value),
    /// A WebSocket ping.
    Ping(Vec<u8>),
    /// A WebSocket pong.
    Pong(Vec<u8>),
    /// A close frame.
    Close(u16, String),
    /// The peer closed its side of the TCP connection, or reset it.
    End,
}

/// One WebSocket connection, bare.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl RawConnection {
    /// Upgrades at `/api/realtime` followed by `query`, which is empty or starts with `?`.
    pub async fn connect(addr: SocketAddr, query: &str) -> Self {
        Self::connect_with(addr, query, &[]).await
    }

    /// The same, with bytes that follow the head in the same write.
    pub async fn connect_with(addr: SocketAddr, query: &str, first: &[u8]) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        Self::upgrade(at_once(stream), query, first).await
    }

    /// The same over a socket that takes in few bytes unread, so that a reader that stops is
    /// noticed by the server soon.
    pub async fn connect_narrow(addr: SocketAddr, query: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.set_recv_buffer_size(4096).expect("a receive buffer can be small");
        let stream = socket.connect(addr).await.expect("the server listens");
        Self::upgrade(at_once(stream), query, &[]).await
    }

    /// The same over the Unix socket at `path`, with these lines of headers, each with its end.
    pub async fn connect_unix(path: &Path, headers: &str) -> Self {
        let stream = UnixStream::connect(path).await.expect("the server listens");
        let stream = stream.into_std().expect("an open socket can be had bare");
        // The system reads and writes both kinds by the same calls, so one type does for both.
        let stream = std::net::TcpStream::from(OwnedFd::from(stream));
        let stream = TcpStream::from_std(stream).expect("it is an open socket");
        Self::ask(stream, &upgrade_request_with("", headers), &[]).await
    }

    async fn upgrade(stream: TcpStream, query: &str, first: &[u8]) -> Self {
        Self::ask(stream, &upgrade_request(query), first).await
    }

    async fn ask(mut stream: TcpStream, head: &str, first: &[u8]) -> Self {
        let mut head = head.as_bytes().to_vec();
        head.extend_from_slice(first);
        stream.write_all(&head).await.expect("the server reads");
        let mut connection = Self { stream, unread: Vec::new() };
        let head = connection.read_head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "upgrade refused: {head}");
        let accept = format!("sec-websocket-accept: {}", derive_accept_key(KEY.as_bytes()));
        let has_accept = head.lines().any(|line| line.eq_ignore_ascii_case(&accept));
        assert!(has_accept, "accept key missing: {head}");
        connection
    }

    async fn read_head(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..at + 4).collect();
                return String::from_utf8(head).expect("a head is text");
            }
            assert!(self.fill().await, "the server closed during the upgrade");
        }
    }

    /// Sends one text frame.
    pub async fn send_text(&mut self, text: &str) {
        self.send_bytes(&text_frame(text)).await;
    }

    /// Sends a JSON value as one text frame.
    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends bytes as they are, in one write.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes))
            .await
            .expect("the server reads what is sent")
            .expect("the socket is open");
    }

    /// Sends bytes to a peer that may have closed already.
    pub async fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server reads or closes")
    }

    /// The next thing to come, whatever it is. Answers nothing.
    pub async fn next(&mut self) -> Received {
        loop {
            if let Some(received) = self.take_frame() {
                return received;
            }
            if !self.fill().await {
                return Received::End;
            }
        }
    }

    /// The next message. Pings before it are answered, pongs passed over.
    pub async fn next_message(&mut self) -> Value {
        loop {
            match self.next().await {
                Received::Message(message) => return message,
                Received::Ping(payload) => {
                    self.send_bytes(&frame(OpCode::Control(Control::Pong), &payload)).await;
                }
                Received::Pong(_) => {}
                other => panic!("waited for a message, got {other:?}"),
            }
        }
    }

    /// The next message of this type; those before it are dropped.
    pub async fn next_of_type(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next_message().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// A close must come next. It is not answered.
    pub async fn expect_close(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Received::Close(code, reason) => return (code, reason),
                Received::Ping(_) | Received::Pong(_) => {}
                other => panic!("waited for a close, got {other:?}"),
            }
        }
    }

    /// The end of the TCP connection must come next.
    pub async fn expect_end(&mut self) {
        assert_eq!(self.next().await, Received::End);
    }

    /// Closes the own side of the TCP connection (FIN) and goes on reading.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("the socket is open");
    }

    /// Ends the connection with a RST.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("an open socket takes the option");
    }

    /// Reads more bytes; false at the end.
    async fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut chunk));
        // A reset is an end as well: what matters to a test is that nothing more comes.
        let read = read.await.expect("something comes from the server in time").unwrap_or(0);
        self.unread.extend_from_slice(&chunk[..read]);
        read > 0
    }

    fn take_frame(&mut self) -> Option<Received> {
        let mut cursor = Cursor::new(&self.unread);
        let (header, length) = FrameHeader::parse(&mut cursor).expect("the header is valid")?;
        let start = cursor.position() as usize;
        let end = start + usize::try_from(length).expect("a frame fits into memory");
        if self.unread.len() < end {
            return None;
        }
        assert!(header.is_final, "the server does not fragment");
        assert!(!(header.rsv1 || header.rsv2 || header.rsv3), "reserved bits are unset");
        assert!(header.mask.is_none(), "a server does not mask");
        let payload = self.unread[start..end].to_vec();
        self.unread.drain(..end);
        Some(received(header.opcode, payload))
    }
}

/// The request that upgrades at `/api/realtime` followed by `query`.
pub fn upgrade_request(query: &str) -> String {
    upgrade_request_with(query, "")
}

fn upgrade_request_with(query: &str, headers: &str) -> String {
    format!(
        "GET /api/realtime{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// Sends small frames at once, as browsers do.
fn at_once(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("an open socket takes the option");
    stream
}

/// A whole, masked text frame.
pub fn text_frame(text: &str) -> Vec<u8> {
    frame(OpCode::Data(Data::Text), text.as_bytes())
}

/// A whole, masked frame.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    fragment(opcode, Part::Last, payload)
}

/// Whether a message goes on in the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It goes on.
    More,
    /// It ends here.
    Last,
}

/// A masked frame that may be a part of a message.
pub fn fragment(opcode: OpCode, part: Part, payload: &[u8]) -> Vec<u8> {
    let is_final = part == Part::Last;
    let mask = Some([0x12, 0x9a, 0xbc, 0xf7]);
    let header = FrameHeader { is_final, opcode, mask, ..FrameHeader::default() };
    let frame = Frame::from_payload(header, payload.to_vec().into());
    let mut bytes = Vec::new();
    frame.format(&mut bytes).expect("a Vec takes everything");
    bytes
}

fn received(opcode: OpCode, payload: Vec<u8>) -> Received {
    match opcode {
        OpCode::Data(Data::Text) => {
            let message = serde_json::from_slice(&payload);
            Received::Message(message.expect("a text frame of the server is JSON"))
        }
        OpCode::Control(Control::Ping) => Received::Ping(payload),
        OpCode::Control(Control::Pong) => Received::Pong(payload),
        OpCode::Control(Control::Close) => {
            let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
            let reason = payload.get(2..).unwrap_or_default().to_vec();
            Received::Close(code, String::from_utf8(reason).expect("a close reason is text"))
        }
        other => panic!("the server sends no frame of kind {other:?}"),
    }
}
