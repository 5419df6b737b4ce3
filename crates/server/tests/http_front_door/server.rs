//! A server for these tests, and HTTP spoken to it by hand.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use herenow_server::auth::{Keys, Secret};
use herenow_server::config::{Pages, Settings};
use herenow_testing::{Setup, any_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Far above what anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub address: SocketAddr,
    running: herenow_testing::Server,
}

impl Server {
    pub async fn start(pages: Pages, settings: Settings) -> Self {
        Self::run(Setup { pages, settings, ..Setup::default() })
    }

    /// With other keys than the tests' own secret.
    pub fn with_keys(pages: Pages, change: impl FnOnce(&mut Keys)) -> Self {
        let mut setup = Setup { pages, ..Setup::default() };
        change(&mut setup.keys);
        Self::run(setup)
    }

    /// With a port for metrics, and what opens them. Both addresses: the server's and that port's.
    pub async fn with_metrics(settings: Settings, token: Option<&str>) -> (Self, SocketAddr) {
        let mut setup = Setup { settings, metrics_addr: Some(any_port()), ..Setup::default() };
        setup.keys.metrics_token = token.and_then(|token| Secret::new(token.as_bytes()));
        let server = Self::run(setup);
        let address = server.running.metrics_addr.expect("one was asked for");
        (server, address)
    }

    fn run(setup: Setup) -> Self {
        let running = herenow_testing::Server::start(setup);
        Self { address: running.addr, running }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    /// From another address of this machine.
    pub async fn connect_from(&self, source: IpAddr) -> std::io::Result<TcpStream> {
        connect_from(self.address, source).await
    }

    /// Sends the bytes and reads one answer's head and as much of its body as it announces.
    pub async fn ask(&self, request: &str) -> Answer {
        ask(self.address, request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
    }

    /// Begins to shut down, and does not wait for it.
    pub fn begin_stop(&mut self) {
        self.running.stop();
    }

    pub async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(|| self.running.join());
        let stopped = timeout(PATIENCE, stopping).await;
        stopped.expect("it stops in time").expect("without a panic");
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub async fn ask(server: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(server).await.expect("the server listens");
    stream.write_all(request.as_bytes()).await.expect("sent");
    read_answer(&mut stream).await
}

pub async fn connect_from(server: SocketAddr, source: IpAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(server).await
}

pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        let read = read.expect("an answer in time").expect("a whole answer");
        assert_ne!(read, 0, "the connection ended after {:?}", String::from_utf8_lossy(&bytes));
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("heads are ASCII");
    let status = head[9..12].parse().expect("a status");
    let mut answer = Answer { status, head, body: String::new() };
    let length =
        answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        let read = timeout(PATIENCE, stream.read_buf(&mut body)).await;
        assert_ne!(read.expect("in time").expect("a whole body"), 0);
    }
    // Behind a 101 stand frames, which are no body.
    body.truncate(length);
    answer.body = String::from_utf8(body).expect("bodies are UTF-8");
    answer
}

pub fn upgrade(extra: &str) -> String {
    upgrade_to("/api/realtime", extra)
}

pub fn upgrade_to(target: &str, extra: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

pub async fn production() -> Server {
    Server::start(Pages::Production, Settings::default()).await
}

pub async fn development() -> Server {
    Server::start(Pages::Development, Settings::default()).await
}
