//! The binary with key sets and tokens as people have them.

use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_testing::{Folder, Process, herenow, unix_seconds};
use serde_json::{Value, json};

use crate::keys::{jwk, set, signed};

/// A server with these files in its folder, the key set `keys.json` among them.
struct Running {
    process: Process,
    folder: Folder,
    addr: std::net::SocketAddr,
}

impl Running {
    fn start(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = Folder::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        let serve = ["serve", "--listen", "127.0.0.1:0", "--jwks", "keys.json"];
        let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &[&serve[..], arguments].concat());
        let process = Process::spawn(command.current_dir(folder.path()));
        let addr = process.wait_for_address();
        Self { process, folder, addr }
    }

    async fn authenticate(&self, header: Value, claims: Value) -> (RawConnection, Value) {
        let mut peer = RawConnection::connect(self.addr, "").await;
        let token = signed("ed", &header, &claims.to_string());
        peer.send(json!({"type": "auth", "token": token})).await;
        let reply = peer.next_message().await;
        (peer, reply)
    }
}

fn claims() -> Value {
    json!({ "sub": "jane", "exp": unix_seconds() + 3600.0 })
}

// P3.13
#[tokio::test]
async fn a_set_with_odd_keys_in_a_file_from_windows_serves_the_tokens_of_its_good_key() {
    let mut for_encryption = jwk("rsa");
    for_encryption["use"] = "enc".into();
    for_encryption["kid"] = 7.into();
    let mut broken = jwk("ec");
    broken["x"] = "?".into();
    let mut good = jwk("ed");
    good["alg"] = "Ed25519".into();
    good["x"] = format!("{}=", good["x"].as_str().expect("text")).into();
    let keys = String::from_utf8(set(&[for_encryption, broken, good])).expect("JSON is UTF-8");
    let config = "\u{feff}{ \"realtime\": { \"maxMembers\": 5 } }";
    let files = [("keys.json", &*format!("\u{feff}{keys}")), ("edgebase.config.json", config)];
    let mut server = Running::start(&files, &[]);
    let header = json!({ "alg": "Ed25519", "kid": "ed" });
    let (_, reply) = server.authenticate(header, claims()).await;
    assert_eq!((&reply["type"], &reply["userId"]), (&json!("auth_success"), &json!("jane")));
    server.process.signal("TERM");
    let ended = server.process.ended_within(Duration::from_secs(60)).expect("it stops");
    assert_eq!(ended.code(), Some(0));
    let log = server.process.whole_log();
    assert!(log.contains("key 1 of the set is not used: its `use` is not `sig`"), "{log}");
    assert!(log.contains("key \"ec\" is not used: it has no `x`"), "{log}");
    drop(server.folder);
}
