//! `GET /users/{userId}` and `POST /users/query`.

use serde_json::{Value, json};

use crate::server::{Server, track};

#[tokio::test]
async fn a_user_is_in_the_channels_where_a_connection_is_a_member() {
    let server = Server::start();
    let (mut tab, tab_id) = server.join("jane/x", "presence:b", json!({"tab": 1})).await;
    track(&mut tab, "presence:a", json!({"tab": 1})).await;
    let (_other, other_id) = server.join("jane/x", "presence:b", json!({"tab": 2})).await;
    let _joe = server.join("joe", "presence:b", json!({})).await;
    let mut observing = server.sign_in("jane/x").await;
    observing.send(json!({"type": "subscribe", "channel": "presence:c"})).await;
    assert_eq!(observing.next_message().await["type"], "subscribed");
    let user = server.get("/users/jane%2Fx").json();
    let shown = |presence: &Value| {
        assert!(presence["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{presence}");
        (presence["connectionId"].as_str().unwrap().to_owned(), presence["state"].clone())
    };
    let channels: Vec<_> = user["channels"].as_array().unwrap().iter().collect();
    let names: Vec<_> = channels.iter().map(|row| &row["channel"]).collect();
    assert_eq!(names, ["presence:a", "presence:b"]);
    let a: Vec<_> = channels[0]["presences"].as_array().unwrap().iter().map(shown).collect();
    let b: Vec<_> = channels[1]["presences"].as_array().unwrap().iter().map(shown).collect();
    assert_eq!(a, [(tab_id.clone(), json!({"tab": 1}))]);
    assert_eq!(b, [(tab_id, json!({"tab": 1})), (other_id, json!({"tab": 2}))]);
    assert_eq!((&user["userId"], &user["next"]), (&json!("jane/x"), &Value::Null));
    let first = server.get("/users/jane%2Fx?limit=1").json();
    assert_eq!(first["channels"][0]["channel"], "presence:a");
    let next = first["next"].as_str().expect("there is another");
    let second = server.get(&format!("/users/jane%2Fx?limit=1&cursor={next}")).json();
    assert_eq!(
        (&second["channels"][0]["channel"], &second["next"]),
        (&json!("presence:b"), &Value::Null)
    );
}

#[test]
fn a_user_who_is_nowhere_has_no_channels_whatever_the_id_is() {
    let server = Server::start();
    for (path, id) in
        [("nobody", "nobody"), ("query", "query"), ("a%20%F0%9F%98%80", "a \u{1f600}")]
    {
        let wanted = json!({"userId": id, "channels": [], "next": null});
        assert_eq!(server.get(&format!("/users/{path}")).json(), wanted);
    }
    server.get(&format!("/users/{}", "x".repeat(257))).is_refused(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn of_many_users_those_who_are_here_are_told_with_their_connections() {
    let server = Server::start();
    let (_tab, _) = server.join("jane", "presence:a", json!({})).await;
    let (_other, _) = server.join("jane", "presence:b", json!({})).await;
    let (_joe, _) = server.join("joe", "presence:b", json!({})).await;
    let _idle = server.sign_in("idle").await;
    let asked = ["joe", "nobody", "idle", "jane"];
    let anywhere = server.post("/users/query", json!({"userIds": asked})).json();
    let wanted = json!({"users": [
        {"userId": "joe", "connections": 1}, {"userId": "jane", "connections": 2},
    ]});
    assert_eq!(anywhere, wanted);
    for channel in ["a", "presence:a"] {
        let there =
            server.post("/users/query", json!({"userIds": asked, "channel": channel})).json();
        assert_eq!(there, json!({"users": [{"userId": "jane", "connections": 1}]}));
    }
    let nobody = server.post("/users/query", json!({"userIds": asked, "channel": "c"})).json();
    assert_eq!(nobody, json!({"users": []}));
}

#[test]
fn what_is_no_user_no_channel_or_too_many_is_refused() {
    let server = Server::start();
    let most: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(server.post("/users/query", json!({"userIds": most})).json(), json!({"users": []}));
    let more: Vec<_> = (0..1001).map(|n| n.to_string()).collect();
    for wrong in
        [json!({"userIds": more}), json!({"userIds": [""]}), json!({"userIds": ["x".repeat(257)]})]
    {
        server.post("/users/query", wrong).is_refused(400, "INVALID_PARAMETER");
    }
    let wrong = json!({"userIds": ["jane"], "channel": "presence:"});
    server.post("/users/query", wrong).is_refused(400, "INVALID_CHANNEL");
}
