//! A new token on the same socket: all that was granted is asked again, for the new claims.

use serde_json::json;

use crate::support::{Server, fence, subscribe, token, track};

const NAMESPACES: &str = "{
    'presence:staff': { access: { subscribe: (auth) => auth.role === 'staff' } },
    'presence:stage': { access: { subscribe: () => true, track: (auth) => auth.role === 'staff' } },
    'presence:lobby': { access: { subscribe: (auth) => auth !== null } } }";

#[tokio::test]
async fn what_the_new_claims_do_not_allow_is_lost_and_named() {
    let server = Server::start(NAMESPACES);
    let mut jane = server.sign_in(json!({"sub": "jane", "role": "staff"})).await;
    let mut bob = server.sign_in(json!({"sub": "bob", "role": "staff"})).await;
    for channel in ["presence:staff", "presence:stage", "presence:lobby"] {
        assert_eq!(track(&mut jane, channel).await, None);
        assert_eq!(jane.next_of_type("presence_sync").await["channel"], channel);
    }
    for channel in ["presence:staff", "presence:stage"] {
        assert_eq!(subscribe(&mut bob, channel).await, None);
        assert_eq!(bob.next_message().await["presences"][0]["userId"], "jane");
    }
    jane.send(json!({"type": "auth", "token": token(json!({"sub": "jane"}))})).await;
    let mut told = [jane.next_message().await, jane.next_message().await];
    // The leave comes from the channel, the reply from the session: either may be first.
    told.sort_by_key(|message| message["type"] == "presence_leave");
    let [refreshed, own_leave] = told;
    assert_eq!(refreshed["type"], "auth_refreshed");
    assert_eq!(refreshed["revokedChannels"], json!(["presence:staff"]));
    // The subscription to the stage stays, and she is told that she is seen no more.
    assert_eq!(own_leave["channel"], "presence:stage");
    let mut left = Vec::new();
    for _ in 0..2 {
        let message = bob.next_message().await;
        assert_eq!(
            (&message["type"], &message["reason"]),
            (&json!("presence_leave"), &json!("kicked"))
        );
        left.push(message["channel"].as_str().expect("it names one").to_owned());
    }
    left.sort();
    assert_eq!(left, ["presence:staff", "presence:stage"]);
    fence(&mut jane).await;
    assert_eq!(track(&mut jane, "presence:lobby").await, None);
    assert_eq!(track(&mut jane, "presence:stage").await.as_deref(), Some("CHANNEL_ACCESS_DENIED"));
}
