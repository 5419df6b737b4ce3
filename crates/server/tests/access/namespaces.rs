//! What a namespace says beside its rules, over real sockets.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Server, fence, subscribe, track};

const SHORT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_namespaces_own_ttl_ends_its_entries_and_not_the_connection() {
    let server = Server::start("{ 'presence:short': { presenceTTL: 2000 } }");
    let mut bob = server.sign_in(json!({"sub": "bob"})).await;
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    for channel in ["presence:short", "presence:long"] {
        assert_eq!(track(&mut jane, channel).await, None);
        assert_eq!(jane.next_of_type("presence_sync").await["channel"], channel);
        assert_eq!(subscribe(&mut bob, channel).await, None);
        assert_eq!(bob.next_of_type("presence_sync").await["presences"][0]["userId"], "jane");
    }
    // Whoever is not read answers no ping either: from here on jane is silent.
    let silent = Instant::now();
    let left = bob.next_message().await;
    assert_eq!(
        (&left["type"], &left["channel"], &left["reason"]),
        (&json!("presence_leave"), &json!("presence:short"), &json!("timeout"))
    );
    // She was heard last some milliseconds before the clock here was read.
    assert!(silent.elapsed() + Duration::from_millis(500) >= SHORT, "{:?}", silent.elapsed());
    // The connection is still there, and so is what it shows elsewhere.
    assert_eq!(track(&mut jane, "presence:short").await, None);
    let joined = bob.next_message().await;
    assert_eq!(
        (&joined["type"], &joined["channel"]),
        (&json!("presence_join"), &json!("presence:short"))
    );
    fence(&mut bob).await;
}

// P7.13
#[tokio::test]
async fn a_ttl_that_a_reload_sets_ends_entries_that_were_there_before() {
    let server = Server::start("{ 'presence:*': {} }");
    let mut bob = server.sign_in(json!({"sub": "bob"})).await;
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    for channel in ["presence:short", "presence:long"] {
        assert_eq!(track(&mut jane, channel).await, None);
        assert_eq!(subscribe(&mut bob, channel).await, None);
        assert_eq!(bob.next_of_type("presence_sync").await["presences"][0]["userId"], "jane");
    }
    let reloaded = Instant::now();
    server.reload("{ 'presence:short': { presenceTTL: 2000 } }").await;
    let left = bob.next_message().await;
    assert_eq!(
        (&left["type"], &left["channel"], &left["reason"]),
        (&json!("presence_leave"), &json!("presence:short"), &json!("timeout"))
    );
    assert!(reloaded.elapsed() >= SHORT, "it is given the whole of it: {:?}", reloaded.elapsed());
    fence(&mut bob).await;
}

// P7.13
#[tokio::test]
async fn a_ttl_that_a_reload_takes_away_or_makes_longer_holds_for_entries_that_were_there_before() {
    let server = Server::start(
        "{ 'presence:short': { presenceTTL: 2000 }, 'presence:longer': { presenceTTL: 2000 } }",
    );
    let mut bob = server.sign_in(json!({"sub": "bob"})).await;
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    for channel in ["presence:short", "presence:longer"] {
        assert_eq!(track(&mut jane, channel).await, None);
        assert_eq!(subscribe(&mut bob, channel).await, None);
        assert_eq!(bob.next_of_type("presence_sync").await["presences"][0]["userId"], "jane");
    }
    server.reload("{ 'presence:longer': { presenceTTL: 5000 } }").await;
    let silent = Instant::now();
    let left = bob.next_message().await;
    assert_eq!(
        (&left["type"], &left["channel"], &left["reason"]),
        (&json!("presence_leave"), &json!("presence:longer"), &json!("timeout"))
    );
    assert!(silent.elapsed() > 2 * SHORT, "not by the old lease: {:?}", silent.elapsed());
    fence(&mut bob).await;
}

#[tokio::test]
async fn a_namespaces_own_grace_keeps_its_entries_and_no_others() {
    let server = Server::start("{ 'presence:patient': { disconnectGraceMs: 60000 } }");
    let mut bob = server.sign_in(json!({"sub": "bob"})).await;
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    for channel in ["presence:patient", "presence:plain"] {
        assert_eq!(track(&mut jane, channel).await, None);
        assert_eq!(subscribe(&mut bob, channel).await, None);
        assert_eq!(bob.next_of_type("presence_sync").await["presences"][0]["userId"], "jane");
    }
    jane.reset();
    let left = bob.next_message().await;
    assert_eq!(
        (&left["type"], &left["channel"], &left["reason"]),
        (&json!("presence_leave"), &json!("presence:plain"), &json!("disconnect"))
    );
    fence(&mut bob).await;
}
