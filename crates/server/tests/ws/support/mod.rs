//! A server for one test, tokens for it, and the exchanges that every test begins with.

mod seat;
mod user;
mod view;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use herenow_client::raw::{PATIENCE, RawConnection};
use herenow_server::auth::Keys;
use herenow_server::config::{Network, Settings};
use herenow_testing::{Setup, any_port};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use herenow_testing::Proxy;
pub use herenow_testing::unix_seconds;
pub use seat::{Seat, next_close};
pub use user::{User, game, names, state};
pub use view::View;

/// The channel of tests that need only one.
pub const GAME: &str = "presence:game";

/// A server of [`herenow_testing`]. Dropping it stops it.
pub struct Server(herenow_testing::Server);

impl Server {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(any_port(), change)
    }

    /// At an address that another server may just have left.
    pub fn on(addr: SocketAddr, change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_setup(Setup { addr, ..Setup::default() }, change)
    }

    /// A server that can check no token.
    pub fn without_key() -> Self {
        Self::with_setup(Setup { keys: Keys::default(), ..Setup::default() }, |_| {})
    }

    fn with_setup(mut setup: Setup, change: impl FnOnce(&mut Settings)) -> Self {
        setup.settings.metrics_from = vec![Network::parse("127.0.0.1").expect("an address")];
        change(&mut setup.settings);
        Self(herenow_testing::Server::start(setup))
    }

    /// Shuts down and waits until the server has returned.
    pub fn join(self) {
        self.0.join();
    }

    /// A connection that has signed in as `user`.
    pub async fn sign_in(&self, user: &str) -> RawConnection {
        sign_in(self.connect().await, user).await
    }

    /// Signed in and subscribed to [`GAME`], whose snapshot it has read.
    pub async fn watch(&self, user: &str) -> (RawConnection, View) {
        let mut peer = self.sign_in(user).await;
        let view = subscribe(&mut peer, GAME).await;
        (peer, view)
    }

    /// Waits until a gauge of `/metrics` shows this.
    pub async fn until_gauge(&self, name: &str, value: u64) {
        let wanted = format!("\nherenow_{name} {value}\n");
        let asking = async { while !self.metrics().await.contains(&wanted) {} };
        let waited = tokio::time::timeout(PATIENCE, asking).await;
        assert!(waited.is_ok(), "{name} did not become {value}");
    }

    /// What a counter of `/metrics` shows.
    pub async fn counter(&self, name: &str) -> u64 {
        let page = self.metrics().await;
        let sample = format!("herenow_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&sample));
        value.and_then(|value| value.parse().ok()).expect("the counter is on the page")
    }

    async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.addr).await.expect("the server listens");
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("the page is text");
        page
    }
}

impl Deref for Server {
    type Target = herenow_testing::Server;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

pub async fn sign_in(mut peer: RawConnection, user: &str) -> RawConnection {
    let reply = ask(&mut peer, json!({"type": "auth", "token": token(user)})).await;
    assert_eq!((&reply["type"], &reply["userId"]), (&json!("auth_success"), &json!(user)));
    peer
}

/// Subscribes and reads the answer and the snapshot.
pub async fn subscribe(peer: &mut RawConnection, channel: &str) -> View {
    let reply = ask(peer, json!({"type": "subscribe", "channel": channel})).await;
    assert_eq!(reply, json!({"type": "subscribed", "channel": channel}));
    let mut view = View::new(channel);
    view.apply(&peer.next_message().await);
    view
}

/// Sends and gives the next message.
pub async fn ask(peer: &mut RawConnection, message: Value) -> Value {
    peer.send(message).await;
    peer.next_message().await
}

/// Tracks in [`GAME`].
pub async fn track(peer: &mut RawConnection, state: Value) {
    peer.send(json!({"type": "presence_join", "channel": GAME, "state": state})).await;
}

/// The server has nothing more for this connection than what was read: the answer to a ping is
/// the next thing in line.
pub async fn fence(peer: &mut RawConnection) {
    let reply = ask(peer, json!({"type": "ping", "ref": "fence"})).await;
    assert_eq!(reply, json!({"type": "pong", "ref": "fence"}), "nothing comes before the fence");
}

/// The next message refuses with this code.
pub async fn expect_error(peer: &mut RawConnection, code: &str) -> Value {
    let message = peer.next_message().await;
    assert_eq!((&message["type"], &message["code"]), (&json!("error"), &json!(code)), "{message}");
    let sentence = message["message"].as_str().expect("an error says why");
    assert!(!sentence.is_empty());
    message
}

/// A token for `user` that lasts an hour.
pub fn token(user: &str) -> String {
    token_with(json!({"sub": user, "exp": unix_seconds() + 3600.0}))
}

/// A token with these claims.
pub fn token_with(claims: Value) -> String {
    herenow_testing::token(&claims)
}
