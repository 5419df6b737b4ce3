//! Webhooks over real sockets: what an endpoint is told, and what becomes of one that does not take it.
//! The published libraries that verify signatures are asked in e2e/webhooks.

mod config;
mod receiver;

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_server::access::Pattern;
use herenow_server::config::Settings;
use herenow_server::webhooks::{EventKind, EventKinds, Webhook, WebhookSecrets};
use herenow_testing::{Server, Setup, token, unix_seconds};
use serde_json::{Value, json};

use crate::receiver::Receiver;

const SECRET: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn webhook(receiver: &Receiver) -> Webhook {
    Webhook {
        url: format!("http://{}/hook?of=tests", receiver.addr).parse().expect("a URL"),
        channels: vec![Pattern::parse("presence:game-*").expect("a pattern")],
        events: EventKinds::default(),
        allow_private_networks: true,
    }
}

fn server(webhooks: Vec<Webhook>) -> Server {
    server_with(webhooks, |_| {})
}

fn server_with(webhooks: Vec<Webhook>, change: impl FnOnce(&mut Settings)) -> Server {
    let mut setup = Setup::default();
    change(&mut setup.settings);
    setup.settings.webhooks = webhooks.into();
    setup.keys.webhook = WebhookSecrets::parse(SECRET).expect("a good secret");
    Server::start(setup)
}

async fn join(server: &Server, user: &str, channel: &str) -> RawConnection {
    let mut peer = server.connect().await;
    let token = token(&json!({"sub": user, "exp": unix_seconds() + 3600.0}));
    peer.send(json!({"type": "auth", "token": token})).await;
    peer.next_of_type("auth_success").await;
    let channel = format!("presence:{channel}");
    let state = json!({"user": user});
    peer.send(json!({"type": "presence_join", "channel": channel, "state": state})).await;
    peer.next_of_type("presence_sync").await;
    peer
}

/// What an event is about.
fn gist(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
    let counts = &event["counts"];
    format!("{} {} {}/{}", text("type"), text("userId"), counts["users"], counts["connections"])
}

#[tokio::test]
async fn an_endpoint_is_told_who_comes_and_goes_and_folds_it_to_the_list() {
    let mut receiver = Receiver::start(|_| "204 No Content");
    let server = server(vec![webhook(&receiver)]);
    assert_eq!(receiver.next_event()["type"], "server_started");
    let mut jane = join(&server, "jane", "game-1").await;
    let other = join(&server, "jane", "game-1").await;
    let joe = join(&server, "joe", "game-1").await;
    let unfollowed = join(&server, "joe", "lobby").await;
    jane.send(json!({"type": "presence_update", "channel": "presence:game-1", "state": {}})).await;
    jane.next_of_type("presence_update").await;
    drop(unfollowed);
    let mut events = Vec::new();
    for wanted in [
        "member_added jane 1/1",
        "user_joined jane 1/1",
        "channel_occupied - 1/1",
        "member_added jane 1/2",
        "member_added joe 2/3",
        "user_joined joe 2/3",
    ] {
        events.push(receiver.next_event());
        assert_eq!(gist(events.last().expect("one")), wanted);
    }
    let added = &events[0];
    assert_eq!(
        (&added["channel"], &added["state"]),
        (&json!("presence:game-1"), &json!({"user": "jane"}))
    );
    assert!(added["atMs"].as_u64() > Some(1_700_000_000_000) && added["id"].is_string(), "{added}");
    let mut members = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "member_added") {
        members.insert(event["connectionId"].clone().to_string(), event["userId"].clone());
    }
    // What a socket is told at that position.
    jane.send(json!({"type": "presence_sync", "channel": "presence:game-1"})).await;
    let list = jane.next_of_type("presence_sync").await;
    let rows = list["presences"].as_array().expect("a list").iter();
    let listed: BTreeMap<String, Value> =
        rows.map(|row| (row["connectionId"].to_string(), row["userId"].clone())).collect();
    assert_eq!((&members, &events[5]["epoch"]), (&listed, &list["epoch"]));
    drop((other, joe));
    jane.send(json!({"type": "presence_leave", "channel": "presence:game-1"})).await;
    let mut left: Vec<String> = Vec::new();
    while left.last().is_none_or(|last| !last.starts_with("channel_vacated")) {
        let event = receiver.next_event();
        if event["type"] == "member_removed" {
            assert!(["disconnect", "leave"].contains(&event["reason"].as_str().expect("a reason")));
            assert_eq!(event.get("state"), None, "{event}");
            members.remove(&event["connectionId"].to_string());
        }
        left.push(gist(&event));
    }
    assert!(members.is_empty());
    assert_eq!(left.iter().filter(|event| event.starts_with("user_left")).count(), 2, "{left:?}");
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn updates_are_told_to_those_alone_who_ask_for_them() {
    let mut with = Receiver::start(|_| "200 OK");
    let mut without = Receiver::start(|_| "200 OK");
    let updates = EventKinds::NONE.with(EventKind::MemberUpdated);
    let webhooks = vec![Webhook { events: updates, ..webhook(&with) }, webhook(&without)];
    let server = server(webhooks);
    let mut peer = join(&server, "jane", "game-1").await;
    peer.send(json!({"type": "presence_update", "channel": "presence:game-1", "state": {"n": 1}}))
        .await;
    peer.next_of_type("presence_update").await;
    drop(peer);
    assert_eq!(with.next_event()["type"], "server_started");
    let update = with.next_event();
    assert_eq!(
        (gist(&update), &update["state"]),
        ("member_updated jane 1/1".into(), &json!({"n": 1}))
    );
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "channel_vacated") {
        kinds.push(without.next_event()["type"].as_str().expect("a type").to_owned());
    }
    assert!(!kinds.iter().any(|kind| kind == "member_updated"), "{kinds:?}");
}

#[tokio::test]
async fn a_message_that_is_not_taken_is_sent_again_with_its_id_and_before_all_others() {
    // A redirect is not followed either.
    let answers = ["500 Oops", "302 Found\r\nLocation: /elsewhere", "200 OK"];
    let receiver = Receiver::start(move |n| answers[n.min(2)]);
    let server = server(vec![webhook(&receiver)]);
    let first = receiver.next_message();
    assert_eq!(first.events()[0]["type"], "server_started");
    let _jane = join(&server, "jane", "game-1").await;
    for _ in 0..2 {
        let again = receiver.next_message();
        assert_eq!((&again.path, &again.body), (&first.path, &first.body));
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    }
    let next = receiver.next_message();
    assert_eq!(next.events()[0]["type"], "member_added");
    assert_ne!(next.header("webhook-id"), first.header("webhook-id"));
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert!(!next.header(name).is_empty(), "{name}: {next:?}");
    }
    assert_eq!(next.path, "/hook?of=tests");
    assert_eq!(next.header("content-type"), "application/json");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_told_nothing_more() {
    let receiver = Receiver::start(|_| "410 Gone");
    let mut other = Receiver::start(|_| "200 OK");
    let server = server(vec![webhook(&receiver), webhook(&other)]);
    receiver.next_message();
    let _jane = join(&server, "jane", "game-1").await;
    while other.next_event()["type"] != "channel_occupied" {}
    assert!(receiver.is_silent(), "it has answered 410");
}

#[tokio::test]
async fn a_name_that_stands_for_this_machine_is_not_reached_unless_that_is_meant() {
    let receiver = Receiver::start(|_| "200 OK");
    let mut other = Receiver::start(|_| "200 OK");
    let mut private = webhook(&receiver);
    private.url.set_host(Some("localhost")).expect("a host");
    private.allow_private_networks = false;
    let mut literal = private.clone();
    literal.url.set_host(Some("127.0.0.1")).expect("a host");
    let server = server(vec![private, literal, webhook(&other)]);
    let _jane = join(&server, "jane", "game-1").await;
    while other.next_event()["type"] != "channel_occupied" {}
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn a_dead_endpoint_delays_neither_the_channel_nor_the_stop() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let receiver = Receiver::start(|_| "200 OK");
    let mut webhook = webhook(&receiver);
    // It accepts connections and says nothing.
    webhook.url.set_port(Some(dead.local_addr().expect("it is bound").port())).expect("a port");
    let mut server = server(vec![webhook]);
    let mut jane = join(&server, "jane", "game-1").await;
    for _ in 0..50 {
        drop(join(&server, "joe", "game-1").await);
        jane.next_of_type("presence_leave").await;
    }
    let started = std::time::Instant::now();
    server.stop();
    drop(server);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_endpoint_is_told_nothing_of_the_channel_of_the_probe() {
    let mut receiver = Receiver::start(|_| "204 No Content");
    let channels = vec![Pattern::parse("presence:*").expect("a pattern")];
    let webhooks = vec![Webhook { channels, ..webhook(&receiver) }];
    let server = server_with(webhooks, |settings| settings.truth_probe_ms = 10);
    assert_eq!(receiver.next_event()["type"], "server_started");
    // The probe joins and leaves all the while, and another connection is in its channel.
    let probed = join(&server, "jane", "herenow-probe").await;
    for user in ["ann", "bob", "cid"] {
        drop(join(&server, user, "game-1").await);
        let mut gists = Vec::new();
        while gists.last().is_none_or(|last| last != "channel_vacated - 0/0") {
            let event = receiver.next_event();
            assert_eq!(event["channel"], "presence:game-1", "{event}");
            gists.push(gist(&event));
        }
        assert_eq!(gists[0], format!("member_added {user} 1/1"));
    }
    drop(probed);
}
