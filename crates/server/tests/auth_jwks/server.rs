//! A server that verifies tokens beside its loops: order, floods, and connections that go meanwhile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use herenow_client::raw::{RawConnection, text_frame};
use herenow_server::auth::{JwksFile, Keys};
use herenow_testing::Setup;
use serde_json::{Value, json};

use crate::keys::{algorithm, signed};

/// A server of [`herenow_testing`] with all four public keys. Dropping it stops it.
struct Server(herenow_testing::Server);

impl Server {
    fn start() -> Self {
        let path: PathBuf =
            [env!("CARGO_MANIFEST_DIR"), "tests/auth_jwks/keys/public.json"].iter().collect();
        let jwks = Some(JwksFile::open(&path).expect("the set is right").into());
        let keys = Keys { jwks, ..Keys::default() };
        Self(herenow_testing::Server::start(Setup { keys, ..Setup::default() }))
    }

    async fn connect(&self) -> RawConnection {
        self.0.connect().await
    }

    async fn sign_in(&self, key: &str, user: &str) -> RawConnection {
        let mut peer = self.connect().await;
        peer.send(json!({"type": "auth", "token": token_of(key, user)})).await;
        let reply = peer.next_message().await;
        assert_eq!((&reply["type"], &reply["userId"]), (&json!("auth_success"), &json!(user)));
        peer
    }
}

/// A token of `user`, good for an hour by the clock of this machine.
fn token_of(key: &str, user: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let payload = json!({ "sub": user, "exp": now.as_secs() + 3600 });
    signed(key, &json!({ "alg": algorithm(key), "kid": key }), &payload.to_string())
}

/// The same with a signature that does not fit.
fn forged(key: &str) -> String {
    let (good, other) = (token_of(key, "jane"), token_of(key, "joe"));
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    let (_, signature) = other.rsplit_once('.').expect("three parts");
    format!("{signed}.{signature}")
}

fn packet(messages: impl IntoIterator<Item = Value>) -> Vec<u8> {
    messages.into_iter().flat_map(|message| text_frame(&message.to_string())).collect()
}

// P2.6, P4.16
#[tokio::test]
async fn messages_in_the_packet_of_a_token_wait_for_its_verdict_and_take_effect_in_order() {
    let server = Server::start();
    for key in ["rsa", "ec", "ed"] {
        let mut peer = server.connect().await;
        let channel = format!("presence:{key}");
        peer.send_bytes(&packet([
            json!({"type": "auth", "token": token_of(key, "jane"), "ref": 1}),
            json!({"type": "ping", "ref": 2}),
            json!({"type": "subscribe", "channel": channel, "ref": 3}),
            json!({"type": "unsubscribe", "channel": channel, "ref": 4}),
            json!({"type": "auth", "token": forged(key), "ref": 5}),
            json!({"type": "ping", "ref": 6}),
        ]))
        .await;
        let mut answers = Vec::new();
        while answers.len() < 6 {
            let message = peer.next_message().await;
            if !message["ref"].is_null() {
                answers.push(message["type"].as_str().expect("a type").to_owned());
            }
        }
        let expected = ["auth_success", "pong", "subscribed", "unsubscribed", "error", "pong"];
        assert_eq!(answers, expected, "{key}");
    }
}

// P1.4, P3.1
#[tokio::test]
async fn of_many_who_sign_in_at_once_each_is_told_its_own_user() {
    let server = Server::start();
    let mut peers = Vec::new();
    for number in 0..100 {
        let key = ["rsa", "ec", "ed"][number % 3];
        let mut peer = server.connect().await;
        let user = format!("user-{number}");
        peer.send(json!({"type": "auth", "token": token_of(key, &user)})).await;
        peers.push((user, peer));
    }
    for (user, peer) in &mut peers {
        let reply = peer.next_message().await;
        assert_eq!((&reply["type"], &reply["userId"]), (&json!("auth_success"), &json!(*user)));
    }
}

// P3.2
#[tokio::test]
async fn a_forged_first_token_is_refused_and_the_socket_closed_with_4002() {
    let server = Server::start();
    for key in ["rsa", "ec", "ed"] {
        let mut peer = server.connect().await;
        peer.send(json!({"type": "auth", "token": forged(key)})).await;
        assert_eq!(peer.next_message().await["type"], "auth_error");
        assert_eq!(peer.expect_close().await.0, 4002, "{key}");
    }
}

// P8.7
#[tokio::test]
async fn of_a_flood_of_forged_refreshes_few_are_verified_and_each_is_answered_once() {
    const FLOOD: usize = 1_000;
    let server = Server::start();
    let mut peer = server.sign_in("ec", "mallory").await;
    let token = forged("ec");
    let began = std::time::Instant::now();
    let flood = (0..FLOOD).map(|n| json!({"type": "auth", "token": token, "ref": n}));
    for part in flood.collect::<Vec<_>>().chunks(50) {
        peer.send_bytes(&packet(part.iter().cloned())).await;
    }
    let mut answers: BTreeMap<u64, String> = BTreeMap::new();
    while answers.len() < FLOOD {
        let message = peer.next_message().await;
        assert_eq!(message["code"], "AUTH_REFRESH_FAILED");
        let number = message["ref"].as_u64().expect("its ref");
        let sentence = message["message"].as_str().expect("a sentence").to_owned();
        assert_eq!(answers.insert(number, sentence), None, "{number} is answered once");
    }
    let verified = answers.values().filter(|sentence| sentence.contains("signature")).count();
    let allowed = 5 + began.elapsed().as_secs() as usize + 1;
    assert!((1..=allowed).contains(&verified), "{verified} were verified");
    // It is as it was, and so is everybody else.
    peer.send(json!({"type": "ping"})).await;
    assert_eq!(peer.next_message().await["type"], "pong");
    server.sign_in("ec", "jane").await;
}

// P8.7, P8.8
#[tokio::test]
async fn padded_refreshes_behind_a_token_do_not_pile_up() {
    const REFRESHES: usize = 400;
    let server = Server::start();
    let mut peer = server.sign_in("rsa", "jane").await;
    // One that is verified slowly, and good ones of 8 KB behind it, in a few packets.
    let padding = "p".repeat(5_000);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let payload = json!({ "sub": "jane", "exp": now.as_secs() + 3600, "padding": padding });
    let header = json!({ "alg": "RS256", "kid": "rsa" });
    let token = signed("rsa", &header, &payload.to_string());
    for number in 0..REFRESHES {
        peer.send(json!({"type": "auth", "token": token, "ref": number})).await;
    }
    let (mut refreshed, mut refused) = (0, 0);
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < REFRESHES {
        let message = peer.next_message().await;
        numbers.push(message["ref"].as_u64().expect("its ref"));
        match message["type"].as_str() {
            Some("auth_refreshed") => refreshed += 1,
            _ => {
                assert_eq!(message["code"], "AUTH_REFRESH_FAILED");
                refused += 1;
            }
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), REFRESHES, "each is answered once");
    assert!(refreshed >= 1 && refused >= REFRESHES / 2, "{refreshed} taken, {refused} refused");
}

// P4.16
#[tokio::test]
async fn a_verdict_for_a_connection_that_is_gone_is_not_told_to_the_next_in_its_place() {
    let server = Server::start();
    for _ in 0..50 {
        let mut gone = server.connect().await;
        gone.send(json!({"type": "auth", "token": token_of("rsa", "jane")})).await;
        gone.reset();
        let mut next = server.connect().await;
        for number in 0..3 {
            next.send(json!({"type": "ping", "ref": number})).await;
            let reply = next.next_message().await;
            assert_eq!((&reply["type"], &reply["ref"]), (&json!("pong"), &json!(number)));
        }
        next.reset();
    }
}
