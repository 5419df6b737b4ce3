//! A server with rules for one test, and people who speak to it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use herenow_client::raw::RawConnection;
use herenow_server::access::Rules;
use herenow_server::config::{self, Unknown};
use herenow_testing::{Setup, unix_seconds};
use serde_json::{Value, json};

/// A server of [`herenow_testing`]. Dropping it stops it.
pub struct Server(herenow_testing::Server);

impl Server {
    /// With these `namespaces`, as TypeScript.
    pub fn start(namespaces: &str) -> Self {
        let mut setup = Setup::default();
        setup.settings.rules = rules(namespaces);
        Self(herenow_testing::Server::start(setup))
    }

    /// With all that is set up.
    pub fn with(setup: Setup) -> Self {
        Self(herenow_testing::Server::start(setup))
    }

    /// Puts these `namespaces` in force instead.
    pub async fn reload(&self, namespaces: &str) {
        self.0.reload(rules(namespaces)).await;
    }

    pub async fn anonymous(&self) -> RawConnection {
        self.0.connect().await
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

impl Deref for Server {
    type Target = herenow_testing::Server;

    fn deref(&self) -> &Self::Target {
        &self.0
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
    claims["exp"] = json!(unix_seconds() + 3600.0);
    herenow_testing::token(&claims)
}
