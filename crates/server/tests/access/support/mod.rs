//! A server with rules for one test, and people who speak to it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use herenow_client::raw::RawConnection;
use herenow_server::access::Rules;
use herenow_server::auth::{Keys, Secret, mint};
use herenow_server::config::{self, Config, Pages, Settings, Unknown};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

const SECRET: &[u8] = b"a secret of the tests, long enough for HS256";

/// A server on a port of its own, on a thread of its own. Dropping it stops it.
pub struct Server {
    pub addr: SocketAddr,
    reloads: mpsc::Sender<Rules>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// With these `namespaces`, as TypeScript.
    pub fn start(namespaces: &str) -> Self {
        let settings = Settings { loops: 2, rules: rules(namespaces), ..Settings::default() };
        let secret = Some(Secret::new(SECRET).expect("the secret is not empty"));
        let keys = Keys { secret, ..Keys::default() };
        let config = Config { settings, keys, pages: Pages::Production };
        let (stop, stopped) = oneshot::channel();
        let (reloads, reloaded) = mpsc::channel(1);
        let (listening, listens) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(async {
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let listener = TcpListener::bind(addr).await.expect("a port is free");
                let addr = listener.local_addr().expect("a listener has an address");
                listening.send(addr).expect("the test waits for the address");
                let stop = async { drop(stopped.await) };
                let ran = herenow_server::run_reloading(config, listener, reloaded, stop).await;
                ran.expect("the server runs");
            });
        });
        let addr = listens.recv().expect("the server listens");
        Self { addr, reloads, stop: Some(stop), thread: Some(thread) }
    }

    /// Puts these `namespaces` in force instead.
    pub async fn reload(&self, namespaces: &str) {
        self.reloads.send(rules(namespaces)).await.expect("the server runs");
    }

    pub async fn anonymous(&self) -> RawConnection {
        RawConnection::connect(self.addr, "").await
    }

    /// Somebody with these claims.
    pub async fn sign_in(&self, claims: Value) -> RawConnection {
        let mut peer = self.anonymous().await;
        peer.send(json!({"type": "auth", "token": token(claims)})).await;
        let reply = peer.next_message().await;
        assert_eq!(reply["type"], "auth_success", "{reply}");
        peer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

/// A folder of its own for one configuration; gone with this.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("herenow-access-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The rules of a configuration file with these `namespaces`.
pub fn rules(namespaces: &str) -> Rules {
    let folder = Folder::new();
    let text =
        format!("export default defineConfig({{ realtime: {{ namespaces: {namespaces} }} }});");
    let path = folder.write("edgebase.config.ts", &text);
    match config::load(Some(&path), &BTreeMap::new(), Unknown::Refused) {
        Ok(loaded) => loaded.settings.rules,
        Err(error) => panic!("{error} in\n{text}"),
    }
}

/// Sends with a `ref` and gives what answers it, passing over what comes before.
pub async fn ask(peer: &mut RawConnection, mut message: Value) -> Value {
    message["ref"] = json!("asked");
    peer.send(message).await;
    loop {
        let reply = peer.next_message().await;
        if reply["ref"] == "asked" {
            return reply;
        }
    }
}

/// The code with which a subscription is refused; `None`: it is granted.
pub async fn subscribe(peer: &mut RawConnection, channel: &str) -> Option<String> {
    refusal(&ask(peer, json!({"type": "subscribe", "channel": channel})).await)
}

/// The code with which tracking is refused; `None`: it is granted.
pub async fn track(peer: &mut RawConnection, channel: &str) -> Option<String> {
    let message = json!({"type": "presence_join", "channel": channel, "state": {"at": channel}});
    refusal(&ask(peer, message).await)
}

/// The server has nothing more for this connection than what was read.
pub async fn fence(peer: &mut RawConnection) {
    peer.send(json!({"type": "ping", "ref": "fence"})).await;
    let reply = peer.next_message().await;
    assert_eq!(reply, json!({"type": "pong", "ref": "fence"}), "nothing comes before the fence");
}

fn refusal(reply: &Value) -> Option<String> {
    match reply["type"].as_str() {
        Some("subscribed" | "ack") => None,
        Some("error") => Some(reply["code"].as_str().expect("an error has a code").to_owned()),
        _ => panic!("neither granted nor refused: {reply}"),
    }
}

/// A token with these claims, good for an hour.
pub fn token(mut claims: Value) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    claims["exp"] = json!(since.unwrap_or(Duration::ZERO).as_secs() + 3600);
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let claims = claims.as_object().expect("claims are an object");
    mint(&secret, claims, 0).expect("the claims are good")
}
