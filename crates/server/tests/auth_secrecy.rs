//! The server as a process whose log is read to the last line: it follows its keys, and what it
//! writes at its most talkative shows no secret, no private key and no part of a token.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use herenow_client::raw::RawConnection;
use herenow_server::auth::{Secret, mint};
use serde_json::{Value, json};

const SECRET: &str = "correct horse battery staple, and more";

const PRIVATE: &str = "cHJpdmF0ZSBwYXJ0IG9mIGEga2V5";

/// Longer than the server takes to look at its keys again.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    process: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    keys: PathBuf,
}

impl Server {
    fn start(jwks: &Value) -> Self {
        let keys = std::env::temp_dir().join(format!("herenow-keys-{}.json", std::process::id()));
        fs::write(&keys, jwks.to_string()).expect("the temporary folder can be written");
        let mut process = Command::new(env!("CARGO_BIN_EXE_herenow"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "trace"])
            .args(["--log-format", "json", "--jwks"])
            .arg(&keys)
            .env("JWT_USER_SECRET", SECRET)
            .env_remove("JWT_USER_SECRET_FILE")
            .env_remove("HERENOW_CONFIG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stderr = BufReader::new(process.stderr.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { process, lines, said: Vec::new(), keys }
    }

    /// Reads on to the line that says `text`.
    fn wait_for(&mut self, text: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("nobody said {text}: {:?}", self.said));
            self.said.push(line.clone());
            if line.contains(text) {
                return serde_json::from_str(&line).expect("each line is JSON");
            }
        }
    }

    /// Ends it, and gives everything it said.
    fn stop(mut self) -> String {
        let id = self.process.id().to_string();
        let killed = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(killed.expect("kill runs").success());
        self.process.wait().expect("it ends");
        self.said.extend(self.lines.iter());
        self.said.join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.keys);
    }
}

fn token(secret: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let claims = json!({ "sub": "jane", "exp": now.as_secs() + 600, "email": "j@example.com" });
    let secret = Secret::new(secret.as_bytes()).expect("it is not empty");
    let claims = claims.as_object().expect("an object");
    mint(&secret, claims, now.as_millis() as u64).expect("good claims")
}

async fn sign_in(addr: SocketAddr, token: &str) -> Value {
    let mut connection = RawConnection::connect(addr, "").await;
    connection.send(json!({ "type": "auth", "token": token })).await;
    connection.next_message().await
}

#[tokio::test]
async fn no_log_line_shows_a_secret_a_private_key_or_a_token() {
    let public: Value =
        serde_json::from_str(include_str!("auth_jwks/keys/public.json")).expect("JSON");
    let mut key = public["keys"][3].clone();
    key["d"] = PRIVATE.into();
    let mut server = Server::start(&json!({ "keys": [key] }));
    server.wait_for("holds its private part");
    let listening = server.wait_for("listening");
    let addr = listening["address"].as_str().expect("it says where").parse().expect("an address");

    let by_openssl: Value =
        serde_json::from_str(include_str!("auth_jwks/keys/signed_by_openssl.json")).expect("JSON");
    let expired = by_openssl["ed"].as_str().expect("there is one").to_owned();
    let tokens = [token(SECRET), token("another secret"), expired, format!("{SECRET}.x.y")];
    let unknown = "names a key that this server does not have";
    let mut refusals = Vec::new();
    for token in &tokens {
        refusals.push(sign_in(addr, token).await.to_string());
    }
    assert!(refusals[0].contains("auth_success"), "{refusals:?}");
    assert!(refusals[2].contains(unknown), "{refusals:?}");

    fs::write(&server.keys, public.to_string()).expect("it was written before");
    let again = server.wait_for("token keys read again");
    assert_eq!(again["keys"], 4);
    refusals.push(sign_in(addr, &tokens[2]).await.to_string());
    assert!(refusals[4].contains("expired"), "{refusals:?}");
    fs::write(&server.keys, format!("{{\"keys\":[\"{PRIVATE}\"]}}"))
        .expect("it was written before");
    server.wait_for("the token keys stay as they were");
    refusals.push(sign_in(addr, &tokens[2]).await.to_string());
    assert!(refusals[5].contains("expired"), "{refusals:?}");

    let said = server.stop() + &refusals[1..].join("\n");
    let parts = tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 1);
    for hidden in parts.chain([SECRET, PRIVATE, "another secret"]) {
        assert!(!said.contains(hidden), "{hidden}\n{said}");
    }
}
