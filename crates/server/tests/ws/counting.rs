//! Connections that are only told how many are in a channel.

use herenow_client::raw::RawConnection;
use herenow_wire::ChannelName;
use serde_json::{Value, json};

use crate::support::{GAME, Server, ask, fence, subscribe, track};

/// Subscribes to the count of a channel, and reads the answer.
async fn count(peer: &mut RawConnection, channel: &str) {
    let message = json!({"type": "subscribe", "channel": channel, "mode": "count"});
    let reply = ask(peer, message).await;
    assert_eq!(reply, json!({"type": "subscribed", "channel": channel}));
}

/// Reads counts until there are so many users and connections.
async fn until(peer: &mut RawConnection, users: u64, connections: u64) -> Value {
    loop {
        let message = peer.next_message().await;
        assert_eq!(message["type"], "presence_count", "{message}");
        if (&message["users"], &message["connections"]) == (&json!(users), &json!(connections)) {
            return message;
        }
    }
}

// P4.22, P5.8
#[tokio::test]
async fn a_connection_that_counts_hears_how_many_there_are_wherever_they_are() {
    let server = Server::start();
    let mut counting = Vec::new();
    for n in 0..4 {
        // They are on all loops, as those are who show something.
        let mut peer = server.sign_in(&format!("counting-{n}")).await;
        count(&mut peer, GAME).await;
        until(&mut peer, 0, 0).await;
        counting.push(peer);
    }
    let mut shown = Vec::new();
    for user in ["jane", "jane", "joe"] {
        let mut peer = server.sign_in(user).await;
        let view = subscribe(&mut peer, GAME).await;
        track(&mut peer, json!({})).await;
        shown.push((peer, view));
    }
    let (watcher, view) = &mut shown[2];
    view.read_until(watcher, |view| view.members().len() == 3).await;
    for peer in &mut counting {
        let told = until(peer, 2, 3).await;
        assert_eq!(told["epoch"], json!(view.position().0), "{told}");
    }
    shown.pop();
    for peer in &mut counting {
        until(peer, 1, 2).await;
        fence(peer).await;
    }
}

// P4.24
#[tokio::test]
async fn one_message_subscribes_to_many_channels_each_with_its_own_answer() {
    let server = Server::start();
    let mut joe = server.sign_in("joe").await;
    joe.send(json!({"type": "presence_join", "channel": "presence:user-joe", "state": {}})).await;
    assert_eq!(joe.next_message().await["type"], "presence_sync");
    let mut jane = server.sign_in("jane").await;
    let friends: Vec<String> = (0..99).map(|n| format!("presence:user-{n}")).collect();
    let channels: Vec<&str> =
        friends.iter().map(|name| &**name).chain(["presence:user-joe"]).collect();
    let message = json!({"type": "subscribe", "channels": channels, "mode": "count", "ref": 1});
    jane.send(message).await;
    let mut here = Vec::new();
    let mut answers = 0;
    while answers < 100 || here.len() < 100 {
        let message = jane.next_message().await;
        match message["type"].as_str() {
            Some("subscribed") => {
                assert_eq!(message["channel"], channels[answers], "in their order");
                assert_eq!(message["ref"], 1);
                answers += 1;
            }
            _ => here.push((message["channel"].clone(), message["users"].clone())),
        }
    }
    let joes = (json!("presence:user-joe"), json!(1));
    assert!(here.contains(&joes) && here.iter().filter(|(_, users)| *users == 1).count() == 1);
}

// P4.22, P9.6
#[tokio::test]
async fn a_member_that_counts_shows_itself_again_after_a_fault_and_the_count_is_true() {
    const FAULTY: &str = "presence:faulty";
    let faulty = ChannelName::parse(FAULTY).expect("a good name");
    let near = (0..)
        .map(|n| format!("presence:near-{n}"))
        .find(|name| ChannelName::parse(name).is_ok_and(|name| name.shard() == faulty.shard()));
    let near = near.expect("there are names without end");
    let server = Server::with(|settings| settings.fault_on_channel = Some(faulty));
    let mut members = Vec::new();
    for n in 0..3 {
        let mut peer = server.sign_in(&format!("user-{n}")).await;
        count(&mut peer, &near).await;
        let join = json!({"type": "presence_join", "channel": near, "state": {}});
        peer.send(join.clone()).await;
        members.push((peer, join));
    }
    for (peer, _) in &mut members {
        until(peer, 3, 3).await;
    }
    let mut breaker = server.sign_in("breaker").await;
    breaker.send(json!({"type": "presence_join", "channel": FAULTY, "state": {}})).await;
    for (peer, join) in &mut members {
        let resync = peer.next_message().await;
        assert_eq!(resync, json!({"type": "PRESENCE_RESYNC", "channel": near}));
        peer.send(join.clone()).await;
    }
    let mut late = server.sign_in("late").await;
    count(&mut late, &near).await;
    until(&mut late, 3, 3).await;
    for (peer, _) in &mut members {
        let told = until(peer, 3, 3).await;
        assert!(told["epoch"].as_u64() > Some(0), "{told}");
    }
}
