//! `GET /channels/{channel}/presence`.

use serde_json::{Value, json};

use crate::server::{Server, track};

#[tokio::test]
async fn members_are_listed_as_a_snapshot_has_them_with_the_time_they_joined() {
    let server = Server::start();
    let before = herenow_testing::unix_seconds();
    let (_jane, jane_id) = server.join("jane", "presence:a", json!({"n": 1.0, "k": [{}]})).await;
    let (_joe, joe_id) = server.join("joe", "presence:a", json!({})).await;
    let after = herenow_testing::unix_seconds();
    let mut observer = server.sign_in("ann").await;
    observer.send(json!({"type": "subscribe", "channel": "presence:a"})).await;
    let snapshot = observer.next_of_type("presence_sync").await;
    let mut list = server.get("/channels/a/presence").json();
    for presence in list["presences"].as_array_mut().expect("a list") {
        let since = presence.as_object_mut().expect("an object").remove("since").expect("a time");
        let since: jiff::Timestamp = since.as_str().expect("text").parse().expect("ISO 8601");
        let since = since.as_millisecond() as f64 / 1000.0;
        // The clock of the loops counts from the start, and the wall clock may be set meanwhile.
        assert!((before - 1.0..after + 1.0).contains(&since), "{before} {since} {after}");
    }
    let wanted = json!({
        "channel": "presence:a", "epoch": snapshot["epoch"], "seq": snapshot["seq"],
        "presences": snapshot["presences"], "next": null,
    });
    assert_eq!(list, wanted);
    let ids: Vec<&Value> =
        list["presences"].as_array().unwrap().iter().map(|p| &p["connectionId"]).collect();
    assert_eq!(ids, [&jane_id, &joe_id]);
    assert_eq!(list["presences"][0]["state"], json!({"n": 1, "k": [{}]}));
    let raw = server.get("/channels/a/presence").body;
    let since = raw.split("\"since\":\"").nth(1).expect("a time");
    assert_eq!((since.len() > 24, &since[23..25]), (true, "Z\""), "milliseconds in UTC: {since}");
}

#[tokio::test]
async fn pages_of_members_hold_each_once() {
    let server = Server::start();
    let mut peers = Vec::new();
    for n in 0..23 {
        peers.push(server.join(&format!("user-{n}"), "presence:a", json!({"n": n})).await);
    }
    let mut listed = Vec::new();
    let mut path = "/channels/a/presence?limit=10".to_owned();
    loop {
        let page = server.get(&path).json();
        let presences = page["presences"].as_array().expect("a list").clone();
        assert!(presences.len() <= 10);
        listed.extend(presences);
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/channels/a/presence?limit=10&cursor={next}");
    }
    let ids: Vec<_> = listed.iter().map(|p| p["connectionId"].as_str().unwrap()).collect();
    let wanted: Vec<_> = peers.iter().map(|(_, id)| &**id).collect();
    assert_eq!(ids, wanted, "in the order of a snapshot");
}

#[tokio::test]
async fn a_member_that_changes_between_two_pages_is_not_missed() {
    let server = Server::start();
    let mut peers = Vec::new();
    for n in 0..4 {
        peers.push(server.join(&format!("user-{n}"), "presence:a", json!({})).await);
    }
    let first = server.get("/channels/a/presence?limit=2").json();
    track(&mut peers[3].0, "presence:a", json!({"changed": true})).await;
    track(&mut peers[0].0, "presence:a", json!({"changed": true})).await;
    let next = first["next"].as_str().expect("there are more");
    let rest = server.get(&format!("/channels/a/presence?cursor={next}")).json();
    let users: Vec<_> = rest["presences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["userId"].as_str().unwrap())
        .collect();
    assert_eq!(users, ["user-2", "user-3", "user-0"]);
}

#[tokio::test]
async fn a_cursor_of_another_epoch_is_refused() {
    let mut next = None;
    for _ in 0..2 {
        // A channel of a server that starts again has another epoch.
        let server = Server::start();
        let _jane = server.join("jane", "presence:a", json!({})).await;
        let _joe = server.join("joe", "presence:a", json!({})).await;
        if let Some(next) = next {
            let again = server.get(&format!("/channels/a/presence?cursor={next}"));
            again.is_refused(400, "INVALID_CURSOR");
        }
        let first = server.get("/channels/a/presence?limit=1").json();
        next = first["next"].as_str().map(str::to_owned);
        assert!(next.is_some(), "{first}");
    }
}

#[test]
fn a_channel_that_nobody_uses_has_no_members() {
    let server = Server::start();
    let empty =
        json!({"channel": "presence:x", "epoch": null, "seq": null, "presences": [], "next": null});
    assert_eq!(server.get("/channels/x/presence").json(), empty);
}
