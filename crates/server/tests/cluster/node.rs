//! A `herenow serve` with `--cluster`.

use std::net::SocketAddr;
use std::process::Command;

use herenow_client::raw::RawConnection;
use herenow_testing::{Process, SECRET, herenow, token, unix_seconds, until};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::nats::Nats;

pub const CHANNEL: &str = "presence:lobby";
pub const SERVICE_KEY: &str = "0123456789abcdef0123456789abcdef";
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub struct Node {
    pub process: Process,
    pub address: SocketAddr,
}

pub fn serve(cluster: &str, node: &str, arguments: &[&str]) -> Command {
    let own = ["serve", "--listen", "127.0.0.1:0", "--cluster", cluster, "--node", node];
    let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &[&own, arguments].concat());
    command.env("JWT_USER_SECRET", SECRET).env("SERVICE_KEY", SERVICE_KEY);
    command.env("WEBHOOK_SECRET", WEBHOOK_SECRET).env("HERENOW_METRICS_FROM", "127.0.0.1");
    command.env("HERENOW_LOOPS", "2");
    command
}

impl Node {
    pub fn start(cluster: &str, node: &str, arguments: &[&str]) -> Self {
        Self::spawn(serve(cluster, node, arguments))
    }

    pub fn spawn(mut command: Command) -> Self {
        let process = Process::spawn(&mut command);
        let address = process.wait_for_address();
        Self { process, address }
    }

    /// One that has joined.
    pub fn join(nats: &Nats, node: &str) -> Self {
        let node = Self::start(&nats.url(), node, &["--drain-ms", "300"]);
        node.until_ready();
        node
    }

    pub fn until_ready(&self) {
        let is_ready = until(PATIENCE, || self.status("/health/ready") == 200);
        assert!(is_ready, "it joins: {}", self.process.log());
    }

    /// A gauge or counter of `/metrics`, if it is there.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let page = self.get("/metrics", &[]).1;
        let prefix = format!("herenow_{name} ");
        page.lines().find_map(|line| line.strip_prefix(&prefix))?.parse().ok()
    }

    pub fn status(&self, path: &str) -> u16 {
        self.get(path, &[]).0
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String, Option<String>) {
        let url = format!("http://{}{path}", self.address);
        let mut request = agent().get(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(mut answer) = request.call() else { return (0, String::new(), None) };
        let retry = answer.headers().get("retry-after");
        let retry = retry.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let text = answer.body_mut().read_to_string().expect("it is text");
        (answer.status().as_u16(), text, retry)
    }

    /// Shows a member without a connection in a channel, or renews it.
    pub fn put_member(&self, channel: usize) -> (u16, Value) {
        let body = json!({ "userId": "bot", "state": {}, "ttlMs": 600_000 }).to_string();
        let request = agent().put(self.member_url(channel)).header("Authorization", bearer());
        let mut answer = request.send(body).expect("it answers");
        let text = answer.body_mut().read_to_string().expect("it is text");
        (answer.status().as_u16(), serde_json::from_str(&text).expect("JSON"))
    }

    pub fn remove_member(&self, channel: usize) -> u16 {
        let request = agent().delete(self.member_url(channel)).header("Authorization", bearer());
        request.call().expect("it answers").status().as_u16()
    }

    fn member_url(&self, channel: usize) -> String {
        format!("http://{}/api/presence/channels/c{channel}/presence/bot", self.address)
    }

    /// Keeps a user out of the channel for ten minutes.
    pub fn kick(&self, user: &str) -> u16 {
        let url = format!("http://{}/api/presence/channels/lobby/kick", self.address);
        let body = json!({ "userId": user, "forMs": 600_000 }).to_string();
        let request = agent().post(url).header("Authorization", bearer());
        request.send(body).expect("it answers").status().as_u16()
    }

    /// A connection of `user` that subscribes, and has not been answered.
    pub async fn subscribe(&self, user: &str) -> RawConnection {
        let mut connection = RawConnection::connect(self.address, "").await;
        let token = token(&json!({"sub": user, "exp": unix_seconds() as u64 + 600}));
        connection.send(json!({"type": "auth", "token": token})).await;
        connection.send(json!({"type": "subscribe", "channel": CHANNEL})).await;
        connection
    }

    /// A connection of `user` that shows itself, once it has seen itself.
    pub async fn track(&self, user: &str) -> RawConnection {
        let mut connection = self.subscribe(user).await;
        connection.next_of_type("subscribed").await;
        let join = json!({"type": "presence_join", "channel": CHANNEL, "state": {}, "ref": 1});
        connection.send(join).await;
        connection.next_of_type("ack").await;
        connection
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn bearer() -> String {
    format!("Bearer {SERVICE_KEY}")
}
