//! A connection that breaks and comes back: its rights are asked again before anything is sent.

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};

use crate::support::{Server, ask, fence, token, track};

const NAMESPACES: &str = "{
    'presence:staff': {
        disconnectGraceMs: 60000,
        access: { subscribe: (auth) => auth.role === 'staff' },
    } }";
/// A list that is sent too early is not sent too early each time.
const TRIES: usize = 40;

/// Breaks the connection and comes back on a new one with these claims.
async fn come_back(
    server: &Server,
    peer: RawConnection,
    resume: Value,
    claims: Value,
) -> RawConnection {
    peer.reset();
    let mut back = server.anonymous().await;
    back.send(json!({"type": "auth", "token": token(claims), "resume": resume})).await;
    back
}

async fn sign_in(server: &Server, claims: Value) -> (RawConnection, Value) {
    let mut peer = server.anonymous().await;
    let reply = ask(&mut peer, json!({"type": "auth", "token": token(claims)})).await;
    assert_eq!(reply["type"], "auth_success", "{reply}");
    (peer, reply)
}

// P7.9
#[tokio::test]
async fn a_connection_that_comes_back_without_the_right_is_sent_nothing_of_the_channel() {
    let server = Server::start(NAMESPACES);
    let mut bob = server.sign_in(json!({"sub": "bob", "role": "staff"})).await;
    assert_eq!(track(&mut bob, "presence:staff").await, None);
    let staff = json!({"sub": "jane", "role": "staff"});
    for attempt in 0..TRIES {
        let (mut jane, before) = sign_in(&server, staff.clone()).await;
        assert_eq!(track(&mut jane, "presence:staff").await, None);
        let guest = json!({"sub": "jane"});
        let mut jane = come_back(&server, jane, before["resume"].clone(), guest).await;
        let reply = jane.next_message().await;
        assert_eq!(reply["connectionId"], before["connectionId"], "attempt {attempt}: {reply}");
        let told = jane.next_message().await;
        let code = "CHANNEL_ACCESS_DENIED";
        let lost = json!({"type": "unsubscribed", "channel": "presence:staff", "code": code});
        assert_eq!(told, lost, "attempt {attempt}");
        fence(&mut jane).await;
        while bob.next_of_type("presence_leave").await["reason"] != "kicked" {}
    }
}

// P7.9
#[tokio::test]
async fn a_connection_that_comes_back_with_the_right_is_sent_the_channel_and_nobody_saw_it_go() {
    let server = Server::start(NAMESPACES);
    let mut bob = server.sign_in(json!({"sub": "bob", "role": "staff"})).await;
    assert_eq!(track(&mut bob, "presence:staff").await, None);
    bob.next_of_type("presence_sync").await;
    let staff = json!({"sub": "jane", "role": "staff"});
    let (mut jane, mut reply) = sign_in(&server, staff.clone()).await;
    let id = reply["connectionId"].clone();
    assert_eq!(track(&mut jane, "presence:staff").await, None);
    assert_eq!(bob.next_message().await["type"], "presence_join");
    for attempt in 0..TRIES {
        jane = come_back(&server, jane, reply["resume"].clone(), staff.clone()).await;
        reply = jane.next_message().await;
        assert_eq!(reply["connectionId"], id, "attempt {attempt}: {reply}");
        let sync = jane.next_message().await;
        assert_eq!(sync["type"], "presence_sync", "attempt {attempt}: {sync}");
        assert_eq!(sync["presences"][1]["connectionId"], id, "attempt {attempt}: {sync}");
    }
    fence(&mut bob).await;
}
