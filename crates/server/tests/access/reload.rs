//! New rules: for what is asked from then on, and for what was granted before.

use serde_json::json;

use crate::support::{Server, fence, subscribe, track};

const ALL: &str = "{ 'presence:*': { access: { subscribe: () => true, track: () => true } } }";

// P4.17
#[tokio::test]
async fn a_lost_channel_is_told_and_its_entry_leaves_and_the_others_stay() {
    let server = Server::start(ALL);
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    let mut bob = server.sign_in(json!({"sub": "bob"})).await;
    for channel in ["presence:kept", "presence:lost"] {
        assert_eq!(track(&mut jane, channel).await, None);
        assert_eq!(jane.next_of_type("presence_sync").await["channel"], channel);
    }
    assert_eq!(subscribe(&mut bob, "presence:lost").await, None);
    assert_eq!(bob.next_message().await["presences"][0]["userId"], "jane");
    server.reload("{ 'presence:*': {}, 'presence:lost': { access: { subscribe: (a) => a?.id === 'bob' } } }").await;
    let told = jane.next_message().await;
    assert_eq!(
        told,
        json!({"type": "unsubscribed", "channel": "presence:lost", "code": "CHANNEL_ACCESS_DENIED"})
    );
    let left = bob.next_message().await;
    assert_eq!((&left["type"], &left["reason"]), (&json!("presence_leave"), &json!("kicked")));
    // Nothing was said of the channel that stays, and nobody was kicked from it.
    fence(&mut jane).await;
    assert_eq!(track(&mut bob, "presence:kept").await, None);
    let joined = jane.next_message().await;
    assert_eq!((&joined["type"], &joined["userId"]), (&json!("presence_join"), &json!("bob")));
    let snapshot = bob.next_of_type("presence_sync").await;
    assert_eq!(snapshot["presences"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_lost_right_to_track_ends_the_entry_and_keeps_the_subscription() {
    let server = Server::start(ALL);
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    assert_eq!(track(&mut jane, "presence:stage").await, None);
    assert_eq!(jane.next_of_type("presence_sync").await["channel"], "presence:stage");
    server.reload("{ 'presence:*': { access: { subscribe: () => true, track: (a) => a.id !== 'jane' } } }").await;
    let left = jane.next_message().await;
    assert_eq!(
        (&left["type"], &left["userId"], &left["reason"]),
        (&json!("presence_leave"), &json!("jane"), &json!("kicked"))
    );
    assert_eq!(track(&mut jane, "presence:stage").await.as_deref(), Some("CHANNEL_ACCESS_DENIED"));
    let mut bob = server.sign_in(json!({"sub": "bob"})).await;
    assert_eq!(track(&mut bob, "presence:stage").await, None);
    assert_eq!(jane.next_message().await["userId"], "bob");
}

#[tokio::test]
async fn an_observer_who_has_not_signed_in_loses_what_is_no_longer_public() {
    let server = Server::start(ALL);
    let mut observer = server.anonymous().await;
    assert_eq!(subscribe(&mut observer, "presence:x").await, None);
    assert_eq!(observer.next_message().await["type"], "presence_sync");
    server.reload("{}").await;
    let told = observer.next_message().await;
    assert_eq!((&told["type"], &told["channel"]), (&json!("unsubscribed"), &json!("presence:x")));
    assert_eq!(subscribe(&mut observer, "presence:x").await.as_deref(), Some("NOT_AUTHENTICATED"));
}

#[tokio::test]
async fn rules_that_cannot_be_asked_take_nothing_away() {
    let server = Server::start(ALL);
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    assert_eq!(track(&mut jane, "presence:x").await, None);
    assert_eq!(jane.next_message().await["type"], "presence_sync");
    // Evaluated again, this has another key, so that no engine can find its rule.
    server
        .reload(
            "{ ['presence:' + '*'.repeat(1 + Math.floor(Math.random() * 100000))]:
                { access: { subscribe: () => false } } }",
        )
        .await;
    // The new rules are in force once a new request hears of it.
    let mut bob = server.sign_in(json!({"sub": "bob"})).await;
    while subscribe(&mut bob, "presence:x").await.is_none() {
        bob.send(json!({"type": "unsubscribe", "channel": "presence:x"})).await;
    }
    fence(&mut jane).await;
    // And it is tried again: rules that say no take it away at last.
    server.reload("{ 'presence:*': { access: { subscribe: () => false } } }").await;
    let told = jane.next_of_type("unsubscribed").await;
    assert_eq!(told["code"], "CHANNEL_ACCESS_DENIED");
}
