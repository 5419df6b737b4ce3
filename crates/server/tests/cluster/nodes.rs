//! Servers that are one presence over a real NATS server: who sees whom, and what becomes of the members of a
//! node that ends.

use herenow_client::raw::RawConnection;
use herenow_testing::{Folder, herenow, until};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::nats::Nats;
use crate::node::{CHANNEL, Node, SERVICE_KEY};
use crate::receiver::Receiver;

async fn next_about(connection: &mut RawConnection, kind: &str, user: &str) -> Value {
    loop {
        let message = connection.next_of_type(kind).await;
        if message["userId"] == user {
            return message;
        }
    }
}

/// Asks for the list of members until it holds these.
async fn until_members_are(connection: &mut RawConnection, wanted: &[&str]) {
    let asking = async {
        loop {
            connection.send(json!({"type": "presence_sync", "channel": CHANNEL})).await;
            let list = connection.next_of_type("presence_sync").await;
            let rows = list["presences"].as_array().expect("it is a list");
            if rows.iter().map(|row| &row["userId"]).eq(wanted) {
                return;
            }
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| panic!("the members are never {wanted:?}"));
}

#[tokio::test]
async fn a_member_on_one_node_is_seen_on_another_until_its_node_is_killed() {
    let nats = Nats::start();
    let (one, mut two) = (Node::join(&nats, "one"), Node::join(&nats, "two"));
    let mut jane = one.track("jane").await;
    let mut bob = two.track("bob").await;
    next_about(&mut jane, "presence_join", "bob").await;
    until_members_are(&mut bob, &["jane", "bob"]).await;
    two.process.kill();
    let leave = next_about(&mut jane, "presence_leave", "bob").await;
    assert_eq!(leave["reason"], "disconnect");
    until_members_are(&mut jane, &["jane"]).await;
}

#[tokio::test]
async fn a_node_that_is_stopped_sends_its_clients_away_and_its_members_leave() {
    let nats = Nats::start();
    let (one, mut two) = (Node::join(&nats, "one"), Node::join(&nats, "two"));
    let mut jane = one.track("jane").await;
    let mut bob = two.track("bob").await;
    next_about(&mut jane, "presence_join", "bob").await;
    two.process.signal("TERM");
    next_about(&mut jane, "presence_leave", "bob").await;
    let (code, reason) = loop {
        match bob.next().await {
            herenow_client::raw::Received::Close(code, reason) => break (code, reason),
            herenow_client::raw::Received::End => panic!("it is closed with a reason"),
            _ => {}
        }
    };
    assert_eq!(code, 1012);
    assert!(reason.contains("retryAfterMs"), "{reason}");
    let status = two.process.ended_within(PATIENCE).expect("it ends");
    assert!(status.success(), "{}", two.process.log());
    until_members_are(&mut jane, &["jane"]).await;
    // All shards are here now, which a member of any channel shows.
    jane.send(json!({"type": "subscribe", "channel": "presence:other"})).await;
    jane.next_of_type("subscribed").await;
}

#[test]
fn a_node_that_has_not_joined_is_not_ready_and_refuses_websockets() {
    let mut node = Node::start("nats://127.0.0.1:1", "one", &[]);
    assert_eq!(node.status("/health/live"), 200);
    assert_eq!(node.status("/health/ready"), 503);
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let (status, said, retry_after) = node.get("/api/realtime", &upgrade);
    assert_eq!((status, retry_after.as_deref()), (503, Some("5")), "{said}");
    node.process.signal("TERM");
    assert!(node.process.ended_within(PATIENCE).is_some_and(|status| status.success()));
    let log = node.process.whole_log();
    assert_eq!(log.matches("no NATS server is connected").count(), 1, "{log}");
}

#[tokio::test]
async fn the_http_api_of_each_node_answers_for_all_of_them() {
    let nats = Nats::start();
    let (one, two) = (Node::join(&nats, "one"), Node::join(&nats, "two"));
    let _jane = one.track("jane").await;
    let _bob = two.track("bob").await;
    let key = format!("Bearer {SERVICE_KEY}");
    for node in [&one, &two] {
        let mut said = String::new();
        let is_whole = until(PATIENCE, || {
            let answer = node.get("/api/presence/channels", &[("Authorization", &key)]);
            said = answer.1;
            said.contains("\"connections\":2")
        });
        assert!(is_whole, "{said}");
    }
}

#[tokio::test]
async fn a_kick_holds_on_a_node_that_starts_after_it() {
    let nats = Nats::start();
    let one = Node::join(&nats, "one");
    let mut jane = one.track("jane").await;
    assert_eq!(one.kick("jane"), 200);
    jane.next_of_type("unsubscribed").await;
    let two = Node::join(&nats, "two");
    // The node may take connections a moment before it has been told: then it ends the subscription.
    let mut again = two.subscribe("jane").await;
    while again.next_message().await["code"] != "KICKED" {}
}

#[test]
fn a_key_has_one_member_on_whichever_node_it_is_put_and_removed() {
    const CHANNELS: usize = 8;
    let nats = Nats::start();
    let (one, two) = (Node::join(&nats, "one"), Node::join(&nats, "two"));
    let first: Vec<_> = (0..CHANNELS).map(|channel| one.put_member(channel)).collect();
    assert!(first.iter().all(|(status, _)| *status == 201), "{first:?}");
    // A third of the channels move to it.
    let three = Node::join(&nats, "three");
    for (channel, (_, before)) in first.iter().enumerate() {
        let mut again = (0, Value::Null);
        let is_renewed = until(PATIENCE, || {
            again = two.put_member(channel);
            again.0 == 200
        });
        assert!(is_renewed, "{again:?}");
        assert_eq!(again.1["connectionId"], before["connectionId"]);
    }
    for channel in 0..CHANNELS {
        assert_eq!(three.remove_member(channel), 204, "{channel}");
        assert_eq!(one.remove_member(channel), 404, "{channel}");
    }
}

#[tokio::test]
async fn webhooks_are_told_of_each_join_once_and_of_a_gap_when_a_home_moves() {
    let nats = Nats::start();
    let mut receiver = Receiver::start(|_| "204 No Content");
    let folder = Folder::new();
    let webhook = json!({
        "url": format!("http://{}/hook", receiver.addr),
        "channels": [CHANNEL],
        "events": ["member_added", "member_removed"],
        "allowPrivateNetworks": true,
    });
    let config = json!({ "realtime": { "webhooks": [webhook] } });
    folder.write("edgebase.config.json", &config.to_string());
    let config = folder.path().join("edgebase.config.json");
    let arguments = ["--config", config.to_str().expect("a path in UTF-8"), "--drain-ms", "300"];
    let join = |name| {
        let node = Node::start(&nats.url(), name, &arguments);
        assert!(until(PATIENCE, || node.status("/health/ready") == 200), "it joins");
        node
    };
    let (one, two) = (join("one"), join("two"));
    let _jane = one.track("jane").await;
    let _bob = two.track("bob").await;
    let mut seen = Vec::new();
    let mut until_told = |kind: &str, user: &str| loop {
        let event = receiver.next_event();
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let (of, who) = (text("type"), text("userId"));
        let is_it = of == kind && who == user;
        seen.push((of, who));
        if is_it {
            return;
        }
    };
    until_told("member_added", "jane");
    until_told("member_added", "bob");
    drop(two);
    let _eve = one.track("eve").await;
    until_told("member_added", "eve");
    let count = |kind: &str, user: &str| {
        seen.iter().filter(|(of, who)| (of.as_str(), who.as_str()) == (kind, user)).count()
    };
    // If the node that was killed was the home of the channel too, nobody saw him leave.
    let joined = seen.iter().position(|(_, who)| who == "bob").expect("he has joined");
    let after = &seen[joined + 1..];
    let is_known_gone =
        |(of, who): &(String, String)| of == "gap" || (of == "member_removed" && who == "bob");
    assert!(after.iter().any(is_known_gone), "{seen:?}");
    assert_eq!(count("server_started", ""), 0, "{seen:?}");
    assert_eq!(count("member_added", "jane"), 1, "a home has told of her: {seen:?}");
}

#[test]
fn the_nodes_of_a_cluster_are_listed() {
    let nats = Nats::start();
    let (_one, _two) = (Node::join(&nats, "one"), Node::join(&nats, "two"));
    let url = nats.url();
    let arguments = ["cluster", "status", "--json", "--cluster", &url];
    let mut rows: Vec<Value> = Vec::new();
    // On a busy machine a heartbeat may be late, which is what the exit code says.
    let are_listed = until(PATIENCE, || {
        let output = herenow(env!("CARGO_BIN_EXE_herenow"), &arguments).output();
        let output = output.expect("the binary runs");
        let lines = String::from_utf8(output.stdout).expect("it writes UTF-8");
        rows = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        rows.len() == 2 && output.status.success()
    });
    assert!(are_listed, "{rows:?}");
    let shards: u64 = rows.iter().map(|row| row["shards"].as_u64().expect("a number")).sum();
    assert_eq!(shards, 1024);
}
