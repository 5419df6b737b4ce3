//! The server as a process whose log is read to the last line: it follows its keys, and what it
//! writes at its most talkative shows no secret, no private key and no part of a token.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use herenow_client::raw::RawConnection;
use herenow_server::auth::{Secret, mint};
use herenow_testing::{Folder, Process, herenow};
use serde_json::{Value, json};

const SECRET: &str = "correct horse battery staple, and more";

const PRIVATE: &str = "cHJpdmF0ZSBwYXJ0IG9mIGEga2V5";

struct Server {
    process: Process,
    folder: Folder,
}

impl Server {
    fn start(jwks: &Value) -> Self {
        let folder = Folder::new();
        folder.write("keys.json", &jwks.to_string());
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--log-level", "trace"];
        let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &arguments);
        command.args(["--log-format", "json", "--jwks", "keys.json"]);
        command.current_dir(folder.path()).env("JWT_USER_SECRET", SECRET);
        Self { process: Process::spawn(&mut command), folder }
    }

    /// Reads on to the line that says `text`.
    fn wait_for(&self, text: &str) -> Value {
        serde_json::from_str(&self.process.wait_for(text)).expect("each line is JSON")
    }

    /// Ends it, and gives everything it said.
    fn stop(mut self) -> String {
        self.process.signal("TERM");
        self.process.whole_log()
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
    let server = Server::start(&json!({ "keys": [key] }));
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

    server.folder.write("keys.json", &public.to_string());
    let again = server.wait_for("token keys read again");
    assert_eq!(again["keys"], 4);
    refusals.push(sign_in(addr, &tokens[2]).await.to_string());
    assert!(refusals[4].contains("expired"), "{refusals:?}");
    server.folder.write("keys.json", &format!("{{\"keys\":[\"{PRIVATE}\"]}}"));
    server.wait_for("the token keys stay as they were");
    refusals.push(sign_in(addr, &tokens[2]).await.to_string());
    assert!(refusals[5].contains("expired"), "{refusals:?}");

    let said = server.stop() + &refusals[1..].join("\n");
    let parts = tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 1);
    for hidden in parts.chain([SECRET, PRIVATE, "another secret"]) {
        assert!(!said.contains(hidden), "{hidden}\n{said}");
    }
}
