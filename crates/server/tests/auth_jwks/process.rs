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

#[tokio::test]
async fn a_date_in_milliseconds_is_named_and_a_large_claim_reaches_a_rule_exactly() {
    let rules = "export default defineConfig({ realtime: { namespaces: { 'presence:*': { access: {
        subscribe: (auth) => auth.claims.org === '9007199254740993' } } } } });";
    let keys = String::from_utf8(set(&[jwk("ed")])).expect("JSON is UTF-8");
    let server = Running::start(&[("keys.json", &*keys), ("edgebase.config.ts", rules)], &[]);
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let mut in_milliseconds = claims();
    in_milliseconds["exp"] = ((unix_seconds() * 1000.0) as u64).into();
    let (_, reply) = server.authenticate(header.clone(), in_milliseconds).await;
    let said = reply["message"].as_str().expect("a sentence");
    assert!(said.contains("exp is in milliseconds"), "{reply}");
    for (org, answer) in
        [(9_007_199_254_740_993_u64, "subscribed"), (9_007_199_254_740_992, "error")]
    {
        let mut claims = claims();
        claims["org"] = org.into();
        let (mut peer, reply) = server.authenticate(header.clone(), claims).await;
        assert_eq!(reply["type"], "auth_success");
        peer.send(json!({"type": "subscribe", "channel": "presence:lobby"})).await;
        assert_eq!(peer.next_message().await["type"], answer, "{org}");
    }
}

#[test]
fn check_shows_a_rule_large_numbers_as_a_token_does() {
    let folder = Folder::new();
    let rules = "export default defineConfig({ realtime: { namespaces: { 'presence:*': { access: {
        subscribe: (auth) => auth.claims.org === '9007199254740993' } } } } });";
    folder.write("edgebase.config.ts", rules);
    let auth = r#"{"id": "jane", "claims": {"org": 9007199254740993}}"#;
    let arguments = ["check", "--as", auth, "presence:lobby"];
    let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &arguments);
    let said = command.current_dir(folder.path()).output().expect("the binary runs").stdout;
    let said = String::from_utf8(said).expect("it writes UTF-8");
    assert!(said.contains("subscribe  yes"), "{said}");
}
