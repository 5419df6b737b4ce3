//! `POST /channels/{channel}/kick` and `POST /users/{userId}/disconnect`.

use serde_json::{Value, json};

use crate::server::Server;

#[tokio::test]
async fn a_user_is_kicked_from_a_channel_and_kept_out_for_a_time() {
    let server = Server::start();
    let (mut tab, _) = server.join("jane", "presence:a", json!({})).await;
    let (_other, _) = server.join("jane", "presence:a", json!({})).await;
    let (_joe, _) = server.join("joe", "presence:a", json!({})).await;
    let kicked = server.post("/channels/a/kick", json!({"userId": "jane", "forMs": 86_400_000}));
    assert_eq!(kicked.json(), json!({"connections": 2}));
    let ended = tab.next_of_type("unsubscribed").await;
    assert_eq!((&ended["channel"], &ended["code"]), (&json!("presence:a"), &json!("KICKED")));
    tab.send(json!({"type": "presence_join", "channel": "presence:a", "state": {}, "ref": 9}))
        .await;
    assert_eq!(tab.next_of_type("error").await["code"], "KICKED");
    let left = server.get("/channels/a/presence").json();
    assert_eq!(left["presences"].as_array().map(Vec::len), Some(1), "{left}");
    let (_elsewhere, _) = server.join("jane", "presence:b", json!({})).await;
    let again = server.post("/channels/presence:a/kick", json!({"userId": "jane"}));
    assert_eq!(again.json(), json!({"connections": 0}), "nobody is left to kick");
}

#[tokio::test]
async fn one_connection_is_kicked_by_its_id() {
    let server = Server::start();
    let (mut tab, id) = server.join("jane", "presence:a", json!({})).await;
    let (_other, other) = server.join("jane", "presence:a", json!({})).await;
    let kicked = server.post("/channels/a/kick", json!({"connectionId": id, "forMs": 0}));
    assert_eq!(kicked.json(), json!({"connections": 1}));
    assert_eq!(tab.next_of_type("unsubscribed").await["code"], "KICKED");
    let left = server.get("/channels/a/presence").json();
    assert_eq!(left["presences"][0]["connectionId"], json!(other));
}

#[tokio::test]
async fn a_disconnected_user_is_closed_with_4005_everywhere() {
    let server = Server::start();
    let (mut tab, _) = server.join("jane", "presence:a", json!({})).await;
    let mut other = server.sign_in("jane").await;
    let (_joe, _) = server.join("joe", "presence:a", json!({})).await;
    let gone = server.post("/users/jane/disconnect", json!({}));
    assert_eq!(gone.json(), json!({"connections": 2}));
    for peer in [&mut tab, &mut other] {
        assert_eq!(peer.next_of_type("error").await["code"], "KICKED");
        assert_eq!(peer.expect_close().await.0, 4005);
    }
    let left = server.get("/channels/a").json();
    assert_eq!((&left["users"], &left["connections"]), (&json!(1), &json!(1)));
}

#[test]
fn who_or_how_long_may_not_be_left_in_doubt() {
    let server = Server::start();
    let id = "AAAAAAAAAAAAAAAAAAAAAA";
    for wrong in [
        json!({}),
        json!({"userId": "jane", "connectionId": id}),
        json!({"userId": null, "connectionId": id}),
        json!({"connectionId": "short"}),
        json!({"userId": ""}),
        json!({"userId": "jane", "forMs": -1}),
        json!({"userId": "jane", "forMs": 86_400_001}),
        json!({"userId": "jane", "forMs": Value::Null}),
        json!({"userId": "jane", "for": 1}),
    ] {
        server.post("/channels/a/kick", wrong).is_refused(400, "INVALID_PARAMETER");
    }
    let kick = json!({"userId": "jane"});
    server.post("/channels/presence:/kick", kick).is_refused(400, "INVALID_CHANNEL");
    for wrong in [json!({"forMs": 86_400_001}), json!({"userId": "jane"}), json!([])] {
        server.post("/users/jane/disconnect", wrong).is_refused(400, "INVALID_PARAMETER");
    }
    assert_eq!(
        server.post("/channels/a/kick", json!({"connectionId": id})).json()["connections"],
        0
    );
}
