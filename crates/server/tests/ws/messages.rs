//! What each message does and how it is answered.

use serde_json::{Value, json};

use crate::support::{GAME, Server, View, ask, expect_error, fence, subscribe, track};

#[tokio::test]
async fn subscribe_is_answered_and_then_comes_the_snapshot() {
    let server = Server::start();
    let mut peer = server.sign_in("jane").await;
    let reply = ask(&mut peer, json!({"type": "subscribe", "channel": GAME})).await;
    assert_eq!(reply, json!({"type": "subscribed", "channel": GAME}));
    let sync = peer.next_message().await;
    let mut fields: Vec<_> = sync.as_object().expect("an object").keys().collect();
    fields.sort_unstable();
    assert_eq!(fields, ["channel", "epoch", "presences", "seq", "type"]);
    assert_eq!(sync["presences"], json!([]));
    assert!(sync["epoch"].as_u64().is_some_and(|epoch| epoch < 1 << 53));
}

#[tokio::test]
async fn a_track_is_told_to_all_with_the_servers_own_ids() {
    let server = Server::start();
    let (mut watcher, _) = server.watch("watcher").await;
    let mut jane = server.connect().await;
    let auth = json!({"type": "auth", "token": crate::support::token("jane")});
    let connection = ask(&mut jane, auth).await["connectionId"].clone();
    jane.send(json!({
        "type": "presence_join", "channel": GAME, "state": {"status": "online"},
        "userId": "somebody-else", "connectionId": "conn-abc", "unknown": [1, 2],
    }))
    .await;
    let join = watcher.next_message().await;
    let expected = json!({
        "type": "presence_join", "channel": GAME, "seq": join["seq"], "userId": "jane",
        "connectionId": connection, "state": {"status": "online"},
    });
    assert_eq!(join, expected);
    track(&mut jane, json!({"status": "away"})).await;
    let update = watcher.next_message().await;
    let expected = json!({
        "type": "presence_update", "channel": GAME, "seq": update["seq"], "userId": "jane",
        "connectionId": connection, "state": {"status": "away"},
    });
    assert_eq!(update, expected);
    jane.send(json!({"type": "presence_leave", "channel": GAME})).await;
    let leave = watcher.next_message().await;
    let expected = json!({
        "type": "presence_leave", "channel": GAME, "seq": leave["seq"], "userId": "jane",
        "connectionId": connection, "reason": "leave",
    });
    assert_eq!(leave, expected);
}

#[tokio::test]
async fn a_track_subscribes_where_that_was_not_done() {
    let server = Server::start();
    let mut jane = server.sign_in("jane").await;
    let message = json!({"type": "presence_join", "channel": GAME, "state": {"n": 1}, "ref": 9});
    jane.send(message).await;
    let (mut replies, mut view) = (Vec::new(), View::new(GAME));
    for _ in 0..2 {
        let message = jane.next_message().await;
        if message["type"] == "presence_sync" {
            view.apply(&message);
        } else {
            replies.push(message);
        }
    }
    assert_eq!(replies, [json!({"type": "ack", "ref": 9})], "no `subscribed`, but an ack");
    assert_eq!(view.users(), ["jane"], "it finds itself in its first snapshot");
    let mut bob = server.sign_in("bob").await;
    track(&mut bob, json!({})).await;
    view.apply(&jane.next_message().await);
    assert_eq!(view.users(), ["bob", "jane"], "and gets no join of itself");
}

#[tokio::test]
async fn a_subscriber_gets_its_own_events_too() {
    let server = Server::start();
    let (mut jane, mut view) = server.watch("jane").await;
    for state in [json!({"n": 1}), json!({"n": 2})] {
        track(&mut jane, state.clone()).await;
        view.apply(&jane.next_message().await);
        assert_eq!(view.state_of("jane"), Some(&state));
    }
    jane.send(json!({"type": "presence_leave", "channel": GAME})).await;
    view.apply(&jane.next_message().await);
    assert!(view.users().is_empty());
}

#[tokio::test]
async fn every_alias_means_what_it_stands_for() {
    let server = Server::start();
    let (mut jane, mut view) = server.watch("jane").await;
    for (index, kind) in ["presence_track", "presence_update", "presence_join"].iter().enumerate() {
        let state = json!({"n": index});
        jane.send(json!({"type": kind, "channel": GAME, "state": state})).await;
        view.apply(&jane.next_message().await);
        assert_eq!(view.state_of("jane"), Some(&state), "{kind}");
    }
    jane.send(json!({"type": "presence_untrack", "channel": GAME})).await;
    view.apply(&jane.next_message().await);
    assert!(view.users().is_empty());
}

#[tokio::test]
async fn an_update_may_be_the_first_word() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    let message = json!({"type": "presence_update", "channel": GAME, "state": {"n": 1}});
    assert_eq!(ask(&mut jane, message).await["type"], "presence_join");
}

#[tokio::test]
async fn the_same_state_again_is_acknowledged_and_told_to_nobody() {
    let server = Server::start();
    let (mut jane, mut view) = server.watch("jane").await;
    track(&mut jane, json!({"n": 1})).await;
    view.apply(&jane.next_message().await);
    for reference in 0..3 {
        let message =
            json!({"type": "presence_join", "channel": GAME, "state": {"n": 1}, "ref": reference});
        assert_eq!(ask(&mut jane, message).await, json!({"type": "ack", "ref": reference}));
    }
    track(&mut jane, json!({"n": 2})).await;
    let next = jane.next_message().await;
    assert_eq!((&next["type"], &next["state"]), (&json!("presence_update"), &json!({"n": 2})));
}

#[tokio::test]
async fn unsubscribe_ends_the_events_and_the_entry() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let (mut jane, _) = server.watch("jane").await;
    track(&mut jane, json!({})).await;
    assert_eq!(jane.next_message().await["type"], "presence_join");
    let reply = ask(&mut jane, json!({"type": "unsubscribe", "channel": GAME, "ref": 1})).await;
    assert_eq!(reply, json!({"type": "unsubscribed", "channel": GAME, "ref": 1}));
    view.apply(&watcher.next_message().await);
    let leave = watcher.next_message().await;
    assert_eq!((&leave["type"], &leave["reason"]), (&json!("presence_leave"), &json!("leave")));
    // Something that it would have been told, and that has reached another subscriber.
    track(&mut watcher, json!({})).await;
    assert_eq!(watcher.next_message().await["type"], "presence_join");
    fence(&mut jane).await;
    jane.send(json!({"type": "presence_sync", "channel": GAME})).await;
    expect_error(&mut jane, "NOT_SUBSCRIBED").await;
}

#[tokio::test]
async fn subscribing_twice_is_answered_told_once_and_ended_once() {
    let server = Server::start();
    let (mut jane, mut view) = server.watch("jane").await;
    let reply = ask(&mut jane, json!({"type": "subscribe", "channel": GAME, "ref": 2})).await;
    assert_eq!(reply, json!({"type": "subscribed", "channel": GAME, "ref": 2}));
    view.apply(&jane.next_message().await);
    track(&mut jane, json!({})).await;
    view.apply(&jane.next_message().await);
    fence(&mut jane).await;
    let reply = ask(&mut jane, json!({"type": "unsubscribe", "channel": GAME})).await;
    assert_eq!(reply["type"], "unsubscribed");
    jane.send(json!({"type": "unsubscribe", "channel": GAME})).await;
    expect_error(&mut jane, "NOT_SUBSCRIBED").await;
}

#[tokio::test]
async fn untrack_keeps_the_subscription_and_without_an_entry_does_nothing() {
    let server = Server::start();
    let (mut jane, mut view) = server.watch("jane").await;
    let leave = json!({"type": "presence_leave", "channel": GAME});
    jane.send(leave.clone()).await;
    fence(&mut jane).await;
    let reply =
        ask(&mut jane, json!({"type": "presence_leave", "channel": GAME, "ref": "x"})).await;
    assert_eq!(reply, json!({"type": "ack", "ref": "x"}));
    track(&mut jane, json!({})).await;
    view.apply(&jane.next_message().await);
    jane.send(leave).await;
    view.apply(&jane.next_message().await);
    track(&mut jane, json!({"again": true})).await;
    let join = jane.next_message().await;
    assert_eq!(join["type"], "presence_join", "a member that comes back joins");
    view.apply(&join);
    assert_eq!(view.users(), ["jane"]);
}

#[tokio::test]
async fn untrack_in_a_channel_that_is_not_subscribed_is_only_acknowledged() {
    let server = Server::start();
    let mut jane = server.sign_in("jane").await;
    let reply = ask(&mut jane, json!({"type": "presence_leave", "channel": GAME, "ref": 1})).await;
    assert_eq!(reply, json!({"type": "ack", "ref": 1}));
    fence(&mut jane).await;
}

#[tokio::test]
async fn sync_gives_a_fresh_snapshot_at_the_same_position() {
    let server = Server::start();
    let (mut jane, mut view) = server.watch("jane").await;
    track(&mut jane, json!({"n": 1})).await;
    view.apply(&jane.next_message().await);
    let before = view.clone();
    for _ in 0..3 {
        let sync = ask(&mut jane, json!({"type": "presence_sync", "channel": GAME})).await;
        assert_eq!(sync["type"], "presence_sync");
        view.apply(&sync);
        assert_eq!(view.position(), before.position(), "nothing changed");
        assert_eq!(view.members(), before.members());
    }
}

#[tokio::test]
async fn two_views_of_one_channel_can_be_compared_by_epoch_and_seq() {
    let server = Server::start();
    let (mut jane, mut hers) = server.watch("jane").await;
    for n in 0..5 {
        track(&mut jane, json!({"n": n})).await;
        hers.apply(&jane.next_message().await);
    }
    let (_bob, his) = server.watch("bob").await;
    assert_eq!(his.position(), hers.position());
    assert_eq!(his.members(), hers.members());
}

#[tokio::test]
async fn ping_is_answered_with_pong() {
    let server = Server::start();
    let mut peer = server.connect().await;
    assert_eq!(ask(&mut peer, json!({"type": "ping"})).await, json!({"type": "pong"}));
    let reply = ask(&mut peer, json!({"type": "ping", "channel": 7, "ref": "r"})).await;
    assert_eq!(reply, json!({"type": "pong", "ref": "r"}), "a channel is not looked at");
}

#[tokio::test]
async fn a_ref_comes_back_as_it_was_sent() {
    let server = Server::start();
    let mut peer = server.sign_in("jane").await;
    let longest = format!("\"{}\"", "x".repeat(256));
    let wide = format!("\"{}\"", "\u{e9}".repeat(128));
    let escaped = r#""\u0041\n\"\\ \ud83d\ude00""#;
    let refs = ["0", "-0.5", "1e21", "123456789012", r#""""#, r#""a b""#, escaped, &longest, &wide];
    for reference in refs {
        let sent: Value = serde_json::from_str(reference).expect("a ref is JSON");
        peer.send_text(&format!(r#"{{"type":"ping","ref":{reference}}}"#)).await;
        let reply = peer.next_message().await;
        assert_eq!(reply["type"], "pong");
        let is_same = reply["ref"] == sent || reply["ref"].as_f64() == sent.as_f64();
        assert!(is_same, "{reference}: {reply}");
    }
    peer.send_text(r#"{"type":"ping","ref":null}"#).await;
    assert_eq!(peer.next_message().await, json!({"type": "pong"}), "null is none");
}

#[tokio::test]
async fn a_ref_is_repeated_by_replies_acks_and_errors_alike() {
    let server = Server::start();
    let mut peer = server.sign_in("jane").await;
    let cases = [
        (json!({"type": "subscribe", "channel": GAME}), "subscribed"),
        (json!({"type": "presence_sync", "channel": GAME}), "ack"),
        (json!({"type": "presence_join", "channel": GAME, "state": {}}), "ack"),
        (json!({"type": "presence_join", "channel": GAME, "state": {"n": 1}}), "ack"),
        (json!({"type": "presence_join", "channel": GAME, "state": 7}), "error"),
        (json!({"type": "presence_leave", "channel": GAME}), "ack"),
        (json!({"type": "unsubscribe", "channel": GAME}), "unsubscribed"),
        (json!({"type": "unsubscribe", "channel": GAME}), "error"),
        (json!({"type": "subscribe", "channel": "game"}), "error"),
        (json!({"type": "no_such_type"}), "error"),
    ];
    for (index, (mut message, expected)) in cases.into_iter().enumerate() {
        message["ref"] = json!(index);
        peer.send(message.clone()).await;
        // Presence frames carry no ref; what does is the answer.
        let answer = loop {
            let answer = peer.next_message().await;
            if answer.get("ref").is_some() {
                break answer;
            }
            let kind = answer["type"].as_str().unwrap_or("none");
            assert!(kind.starts_with("presence_"), "{message}: {answer}");
        };
        assert_eq!(
            (&answer["type"], &answer["ref"]),
            (&json!(expected), &json!(index)),
            "{message}"
        );
    }
}

#[tokio::test]
async fn one_connection_may_use_many_channels() {
    let server = Server::start();
    let mut jane = server.sign_in("jane").await;
    let mut bob = server.sign_in("bob").await;
    let channels: Vec<_> = (0..100).map(|n| format!("presence:c{n}")).collect();
    for channel in &channels {
        subscribe(&mut jane, channel).await;
    }
    for channel in &channels {
        bob.send(json!({"type": "presence_join", "channel": channel, "state": {"in": channel}}))
            .await;
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < channels.len() {
        let join = jane.next_message().await;
        assert_eq!(join["type"], "presence_join");
        assert_eq!(join["state"]["in"], join["channel"]);
        assert!(seen.insert(join["channel"].to_string()), "told once: {join}");
    }
    bob.send_text("").await;
    expect_error_after_syncs(&mut bob).await;
}

/// Bob subscribed by tracking: his snapshots come before the answer to what he said last.
async fn expect_error_after_syncs(bob: &mut herenow_client::raw::RawConnection) {
    let error = bob.next_of_type("error").await;
    assert_eq!(error["code"], "INVALID_JSON");
}
