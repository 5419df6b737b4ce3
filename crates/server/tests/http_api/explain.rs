//! `GET /explain`: each cause of a join, a leave and a refusal, and the sentence that tells it.
//! What takes time is in crates/hub/tests/causes.rs, where time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use herenow_client::raw::{Control, OpCode, RawConnection, frame};
use herenow_server::config::{self, Settings, Unknown};
use herenow_testing::{token, unix_seconds};
use serde_json::{Value, json};

use crate::server::{KEY, Server, ask, track};

const PATIENCE: Duration = Duration::from_secs(20);
/// A public channel, one that nobody may track in, and one whose rule fails.
const RULES: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:stage-*': { access: { subscribe: () => true, track: () => false } },
    'presence:shut': { access: { subscribe: () => false } },
    'presence:broken': { access: { subscribe: () => { throw new Error('x') } } },
    'presence:game-*': { access: { subscribe: () => true, track: () => true } },
    'presence:single': { maxMembers: 1 },
    'presence:grace': { disconnectGraceMs: 600000 },
} } });";

fn start() -> Server {
    let folder = herenow_testing::Folder::new();
    folder.write("edgebase.config.ts", RULES);
    let path = folder.path().join("edgebase.config.ts");
    let loaded = config::load(Some(&path), &BTreeMap::new(), Unknown::Refused);
    let rules = loaded.expect("a good configuration").settings.rules;
    Server::with(|settings: &mut Settings| settings.rules = rules)
}

fn explain(server: &Server, channel: &str, user: &str) -> Value {
    server.get(&format!("/explain?channel={channel}&userId={user}")).json()
}

/// The newest event of a kind, when there is one.
fn event(server: &Server, (channel, user): (&str, &str), kind: &str) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = explain(server, channel, user);
        let events = answer["events"].as_array().expect("events");
        if let Some(found) = events.iter().rev().find(|event| event["kind"] == kind) {
            return found.clone();
        }
        assert!(Instant::now() < end, "no {kind} in {answer:#}");
    }
}

/// A sentence with T for each moment, and N for each address with its port.
fn told(event: &Value) -> String {
    let sentence = event["sentence"].as_str().expect("a sentence");
    let mut words: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        let core = word.trim_end_matches(['.', ',', ':', ';', ')']);
        let is_moment = core.ends_with('Z') && core.contains(':') && core.contains('.');
        let tail = &word[core.len()..];
        words.push(if is_moment { format!("T{tail}") } else { word.to_owned() });
    }
    words.join(" ")
}

#[track_caller]
fn tells(server: &Server, place: (&str, &str), (kind, sentence): (&str, &str)) -> Value {
    let event = event(server, place, kind);
    assert_eq!(told(&event), sentence, "{event:#}");
    event
}

async fn refused(peer: &mut RawConnection, message: Value) -> Value {
    peer.send(message).await;
    peer.next_of_type("error").await
}

fn join(channel: &str) -> Value {
    json!({"type": "presence_join", "channel": channel, "state": {}, "ref": 5})
}

#[tokio::test]
async fn who_is_here_is_told_with_the_connection_and_the_rule_that_granted_it() {
    let server = start();
    let (_jane, id) = server.join("jane", "presence:game-1", json!({})).await;
    let answer = explain(&server, "game-1", "jane");
    assert_eq!((&answer["isHere"], &answer["members"]), (&json!(true), &json!(1)), "{answer:#}");
    assert!(answer["summary"].as_str().unwrap().starts_with("jane is in presence:game-1."));
    let member = tells(
        &server,
        ("game-1", "jane"),
        (
            "member",
            "A connection of jane is a member of presence:game-1 since T: opened at T from 127.0.0.1, \
         authenticated at T with a token of JWT_USER_SECRET; the track rule of \
         `presence:game-*` granted it; last a message at T.",
        ),
    );
    assert_eq!(member["connectionId"], json!(id));
    assert_eq!(member["connection"]["address"], "127.0.0.1");
    assert_eq!(member["pattern"], "presence:game-*");
    let (_joe, _) = server.join("joe", "presence:lobby", json!({})).await;
    let event = event(&server, ("lobby", "joe"), "member");
    assert!(told(&event).contains("no rule limits who may track there"), "{event:#}");
}

#[tokio::test]
async fn who_is_connected_and_not_a_member_is_told_what_the_connection_does() {
    let server = start();
    let mut jane = server.sign_in("jane").await;
    let event = tells(
        &server,
        ("lobby", "jane"),
        (
            "connected",
            "A connection of jane does not subscribe to presence:lobby: opened at T from 127.0.0.1, \
         authenticated at T with a token of JWT_USER_SECRET; last a message at T.",
        ),
    );
    assert_eq!(event["connection"]["lastHeard"], "message");
    jane.send(json!({"type": "subscribe", "channel": "presence:lobby"})).await;
    jane.next_of_type("presence_sync").await;
    let answer = explain(&server, "lobby", "jane");
    let summary = answer["summary"].as_str().unwrap();
    assert!(
        summary.contains("subscribes to presence:lobby and tracks no state there"),
        "{summary}"
    );
}

#[tokio::test]
async fn each_way_in_which_a_client_leaves_has_its_sentence() {
    let server = start();
    let place = ("lobby", "jane");
    let (mut jane, _) = server.join("jane", "presence:lobby", json!({})).await;
    jane.send(json!({"type": "presence_leave", "channel": "presence:lobby"})).await;
    let sentence = "jane left presence:lobby at T: the client sent presence_leave.";
    tells(&server, place, ("untracked", sentence));
    track(&mut jane, "presence:lobby", json!({})).await;
    jane.send(json!({"type": "unsubscribe", "channel": "presence:lobby"})).await;
    let sentence = "jane left presence:lobby at T: the client unsubscribed.";
    tells(&server, place, ("unsubscribed", sentence));

    for (user, how, sentence, code) in [
        ("a", Ends::Code(1000), "the client closed the connection with 1000", json!(1000)),
        ("b", Ends::NoCode, "the client closed the connection without a code", json!(1005)),
        ("c", Ends::Fin, "the client's socket ended without a close frame", Value::Null),
        ("d", Ends::Reset, "the connection was reset or broke", Value::Null),
    ] {
        let (peer, _) = server.join(user, "presence:lobby", json!({})).await;
        how.end(peer).await;
        let sentence = format!("{user} left presence:lobby at T: {sentence}.");
        let event = tells(&server, ("lobby", user), ("connection_closed", &sentence));
        assert_eq!(event["closeCode"], code, "{event:#}");
        let ended = self::event(&server, ("elsewhere", user), "connection_ended");
        assert!(told(&ended).starts_with(&format!("A connection of {user} ended at T: ")));
    }
}

enum Ends {
    Code(u16),
    NoCode,
    Fin,
    Reset,
}

impl Ends {
    async fn end(self, mut peer: RawConnection) {
        let close = |payload: &[u8]| frame(OpCode::Control(Control::Close), payload);
        match self {
            Self::Code(code) => peer.send_bytes(&close(&code.to_be_bytes())).await,
            Self::NoCode => peer.send_bytes(&close(&[])).await,
            Self::Fin => peer.half_close().await,
            Self::Reset => peer.reset(),
        }
    }
}

#[tokio::test]
async fn each_way_in_which_a_backend_or_the_rules_end_it_has_its_sentence() {
    let server = start();
    let (_jane, _) = server.join("jane", "presence:lobby", json!({})).await;
    server.post("/channels/lobby/kick", json!({"userId": "jane", "forMs": 60_000})).json();
    let sentence = "jane left presence:lobby at T: a backend kicked it from the channel, and keeps \
                    the user out for 60.0 s.";
    tells(&server, ("lobby", "jane"), ("kicked", sentence));
    event(&server, ("lobby", "jane"), "kept_out_of_channel");
    let mut again = server.sign_in("jane").await;
    assert_eq!(refused(&mut again, join("presence:lobby")).await["code"], "KICKED");
    tells(
        &server,
        ("lobby", "jane"),
        (
            "request_refused",
            "A request of jane in presence:lobby was refused at T with KICKED: a backend keeps the user \
         or the connection out.",
        ),
    );
    let (_joe, _) = server.join("joe", "presence:lobby", json!({})).await;
    server.post("/users/joe/disconnect", json!({"forMs": 0})).json();
    let sentence = "joe left presence:lobby at T: a backend disconnected the user.";
    tells(&server, ("lobby", "joe"), ("disconnected", sentence));
}

#[tokio::test]
async fn each_refusal_of_a_request_has_its_sentence() {
    let server = start();
    let mut bob = server.sign_in("bob").await;
    let (_first, _) = server.join("jane", "presence:single", json!({})).await;
    for (channel, code, why) in [
        (
            "stage-1",
            "CHANNEL_ACCESS_DENIED",
            "bob may subscribe, but the track rule of `presence:stage-*` returned false",
        ),
        ("shut", "CHANNEL_ACCESS_DENIED", "the subscribe rule of `presence:shut` returned false"),
        (
            "broken",
            "CHANNEL_ACCESS_DENIED",
            "the subscribe rule of `presence:broken` failed, which denies; the log says how",
        ),
        ("single", "MEMBER_LIMIT", "the channel has as many members as allowed (maxMembers)"),
    ] {
        let refusal = refused(&mut bob, join(&format!("presence:{channel}"))).await;
        assert_eq!(refusal["code"], code, "{refusal}");
        let sentence =
            format!("A request of bob in presence:{channel} was refused at T with {code}: {why}.");
        let event = tells(&server, (channel, "bob"), ("request_refused", &sentence));
        assert_eq!(event["code"], code);
    }
    refused(&mut bob, join("presence:shut")).await;
    let twice = event(&server, ("shut", "bob"), "request_refused");
    assert_eq!(twice["count"], 2);
    assert!(told(&twice).contains("with CHANNEL_ACCESS_DENIED (2 times since T): "), "{twice:#}");
}

#[tokio::test]
async fn a_refused_token_is_told_as_one_that_names_the_user() {
    let server = start();
    let expired = token(&json!({"sub": "bob", "exp": unix_seconds() - 300.0}));
    let forged = expired.rsplit_once('.').map(|(signed, _)| format!("{signed}.AAAA")).unwrap();
    for (token, why) in [
        (expired, "expired 5 min before (from 127.0.0.1, key JWT_USER_SECRET)"),
        (
            forged,
            "The token's signature is wrong: the token was signed with another key, or altered (from \
             127.0.0.1, key JWT_USER_SECRET)",
        ),
    ] {
        let mut peer = server.0.connect().await;
        peer.send(json!({"type": "auth", "token": token})).await;
        peer.next_of_type("auth_error").await;
        let sentence = format!(
            "A token that names bob was refused at T: {why}. A refused token proves nothing of its \
             user."
        );
        tells(&server, ("lobby", "bob"), ("token_refused", &sentence));
    }
    let summary = explain(&server, "lobby", "bob")["summary"].as_str().unwrap().to_owned();
    assert!(
        summary.starts_with("bob is not in presence:lobby. A token that names bob"),
        "{summary}"
    );
}

#[tokio::test]
async fn members_of_a_backend_are_told_with_their_key() {
    let server = start();
    let body = json!({"userId": "bot", "state": {}, "ttlMs": 86_400_000});
    server.put("/channels/lobby/presence/bot-7", body).json();
    let event = event(&server, ("lobby", "bot"), "keyed_member");
    assert!(
        told(&event).starts_with(
            "A backend shows bot in presence:lobby since T under the key bot-7, until T"
        )
    );
    server.send("DELETE", "/channels/lobby/presence/bot-7", None);
    let sentence = "bot left presence:lobby at T: a backend removed the member that it had added \
                    under the key bot-7.";
    tells(&server, ("lobby", "bot"), ("key_removed", sentence));
}

#[tokio::test]
async fn a_member_whose_connection_broke_is_told_to_wait_for_its_return() {
    let server = start();
    let (jane, _) = server.join("jane", "presence:grace", json!({})).await;
    jane.reset();
    let event = event(&server, ("grace", "jane"), "awaits_return");
    assert!(
        told(&event).ends_with(
            "at T the connection was reset or broke, and the member stays for disconnectGraceMs."
        ),
        "{event:#}"
    );
}

#[test]
fn of_a_user_of_whom_nothing_is_known_that_is_said() {
    let server = start();
    let answer = explain(&server, "lobby", "nobody");
    let summary = answer["summary"].as_str().unwrap();
    assert!(summary.starts_with("nobody is not in presence:lobby. Since "), "{summary}");
    assert!(summary.contains("no connection of nobody has been here"), "{summary}");
    assert_eq!(answer["events"], json!([]));
}

#[test]
fn it_needs_a_key_and_both_names_and_takes_nothing_else() {
    let server = start();
    for query in ["", "?channel=a", "?userId=a", "?channel=a&userId=b&user=c", "?channel=a&userId="]
    {
        server.get(&format!("/explain{query}")).is_refused(400, "INVALID_PARAMETER");
    }
    server.get("/explain?channel=&userId=a").is_refused(400, "INVALID_CHANNEL");
    let path = "/explain?channel=a&userId=b";
    ask(server.0.addr, ("GET", path), "Bearer x", None).is_refused(401, "UNAUTHORIZED");
    let key = format!("Bearer {KEY}");
    ask(server.0.addr, ("POST", path), &key, None).is_refused(405, "METHOD_NOT_ALLOWED");
}
