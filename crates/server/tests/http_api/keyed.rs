//! `PUT` and `DELETE /channels/{channel}/presence/{key}`: members that have no connection.

use serde_json::{Value, json};

use crate::server::Server;

fn bot(n: u64) -> Value {
    json!({"userId": "bot", "state": {"n": n}, "ttlMs": 60_000})
}

#[tokio::test]
async fn a_member_without_a_connection_is_shown_renewed_and_removed() {
    let server = Server::start();
    let mut observer = server.sign_in("ann").await;
    observer.send(json!({"type": "subscribe", "channel": "presence:a"})).await;
    observer.next_of_type("presence_sync").await;
    let new = server.put("/channels/a/presence/bot-1", bot(1));
    assert_eq!((new.status, &new.json()["created"]), (201, &json!(true)));
    let join = observer.next_of_type("presence_join").await;
    assert_eq!((&join["userId"], &join["state"]), (&json!("bot"), &json!({"n": 1})));
    assert_eq!(join["connectionId"], new.json()["connectionId"]);
    let renewed = server.put("/channels/presence:a/presence/bot-1", bot(2));
    assert_eq!((renewed.status, &renewed.json()["created"]), (200, &json!(false)));
    assert_eq!(renewed.json()["connectionId"], new.json()["connectionId"]);
    assert_eq!(observer.next_of_type("presence_update").await["state"], json!({"n": 2}));
    let other = server.put("/channels/a/presence/bot-2", bot(3)).json();
    assert_ne!(other["connectionId"], new.json()["connectionId"]);
    let counts = server.get("/channels/a").json();
    assert_eq!((&counts["users"], &counts["connections"]), (&json!(1), &json!(2)));
    let removed = server.send("DELETE", "/channels/a/presence/bot-1", None);
    assert_eq!((removed.status, &*removed.body), (204, ""));
    let leave = observer.next_of_type("presence_leave").await;
    assert_eq!((&leave["reason"], &leave["userId"]), (&json!("leave"), &json!("bot")));
    let again = server.send("DELETE", "/channels/a/presence/bot-1", None);
    again.is_refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_member_that_is_not_renewed_leaves_with_timeout() {
    let server = Server::start();
    let mut observer = server.sign_in("ann").await;
    observer.send(json!({"type": "subscribe", "channel": "presence:a"})).await;
    observer.next_of_type("presence_sync").await;
    let short = json!({"userId": "bot", "state": {}, "ttlMs": 1_000});
    assert_eq!(server.put("/channels/a/presence/bot", short).status, 201);
    let leave = observer.next_of_type("presence_leave").await;
    assert_eq!(leave["reason"], "timeout");
}

#[test]
fn a_full_channel_takes_no_new_member_and_renews_those_it_has() {
    let server = Server::with(|settings| settings.max_members = 1);
    assert_eq!(server.put("/channels/a/presence/one", bot(1)).status, 201);
    server.put("/channels/a/presence/two", bot(1)).is_refused(409, "MEMBER_LIMIT");
    assert_eq!(server.put("/channels/a/presence/one", bot(2)).status, 200);
}

#[test]
fn a_key_a_state_or_a_time_that_is_wrong_is_refused_with_its_own_code() {
    let server = Server::start();
    let path = "/channels/a/presence/bot";
    let with = |field: &str, value: Value| {
        let mut body = bot(1);
        body[field] = value;
        body
    };
    for ttl in [json!(999), json!(86_400_001), json!(-1), json!(1.5), json!("60000"), Value::Null] {
        server.put(path, with("ttlMs", ttl)).is_refused(400, "INVALID_PARAMETER");
    }
    assert_eq!(
        server.put(path, with("ttlMs", json!(60_000.0))).status,
        201,
        "it is the same number"
    );
    for state in [json!(null), json!([]), json!("x"), json!(1)] {
        server.put(path, with("state", state)).is_refused(400, "INVALID_STATE");
    }
    let large = with("state", json!({"x": "x".repeat(1024)}));
    server.put(path, large).is_refused(413, "STATE_TOO_LARGE");
    let largest = with("state", json!({"x": "x".repeat(1024 - r#"{"x":""}"#.len())}));
    assert_eq!(server.put(path, largest).status, 200);
    for user in [json!(""), json!("x".repeat(257)), json!(1), Value::Null] {
        server.put(path, with("userId", user)).is_refused(400, "INVALID_PARAMETER");
    }
    for key in ["a%20b", "a%2Fb", "%C3%A9", &"k".repeat(65)] {
        let path = format!("/channels/a/presence/{key}");
        server.put(&path, bot(1)).is_refused(400, "INVALID_PARAMETER");
        server.send("DELETE", &path, None).is_refused(400, "INVALID_PARAMETER");
    }
    server.put("/channels/presence:/presence/bot", bot(1)).is_refused(400, "INVALID_CHANNEL");
    for field in ["userId", "state", "ttlMs"] {
        let mut body = bot(1);
        body.as_object_mut().expect("an object").remove(field);
        let refused = server.put(path, body);
        refused.is_refused(400, "INVALID_PARAMETER");
        assert!(refused.detail().contains(field), "{refused:?}");
    }
}
