//! `GET /channels`, `GET /channels/{channel}` and `POST /channels/query`.

use serde_json::{Value, json};

use crate::server::{Server, track};

#[tokio::test]
async fn channels_in_use_are_listed_by_name_with_how_many_use_them() {
    let server = Server::start();
    assert_eq!(server.get("/channels").json(), json!({"channels": [], "next": null}));
    let _jane = server.join("jane", "presence:b", json!({})).await;
    let _jane_again = server.join("jane", "presence:b", json!({})).await;
    let (mut joe, _) = server.join("joe", "presence:b", json!({})).await;
    track(&mut joe, "presence:a/\u{e9}", json!({})).await;
    let mut observer = server.sign_in("ann").await;
    observer.send(json!({"type": "subscribe", "channel": "presence:c"})).await;
    assert_eq!(observer.next_message().await["type"], "subscribed");
    let listed = server.get("/channels").json();
    let numbers: Vec<_> =
        listed["channels"].as_array().expect("a list").iter().map(numbers).collect();
    let [a, b, c] = ["presence:a/\u{e9}", "presence:b", "presence:c"];
    assert_eq!(numbers, [json!([a, 1, 1, 1, 1]), json!([b, 3, 2, 3, 3]), json!([c, 0, 0, 0, 1])]);
    let [a, b, c] =
        ["a%2F\u{e9}", "b", "c"].map(|it| server.get(&format!("/channels/{it}")).json());
    assert_eq!(listed, json!({"channels": [a, b, c], "next": null}), "each at its own position");
    let asked = json!({"channels": ["c", "presence:nobody", "presence:b", "c"]});
    let nobody = server.get("/channels/nobody").json();
    let answer = server.post("/channels/query", asked).json();
    assert_eq!(answer, json!({"channels": [c, nobody, b, c]}), "in the order asked");
}

#[tokio::test]
async fn the_channel_of_the_probe_is_not_shown() {
    const PROBE: &str = "herenow-probe";
    let server = Server::with(|settings| settings.truth_probe_ms = 10);
    // Another connection keeps it in use between the rounds of the probe.
    let _jane = server.join("jane", "presence:herenow-probe", json!({})).await;
    let _joe = server.join("joe", "presence:herenow-zoo", json!({})).await;
    for limit in ["", "&limit=1"] {
        let listed = server.get(&format!("/channels?prefix=herenow{limit}")).json();
        let names: Vec<_> = listed["channels"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| &row["channel"])
            .collect();
        assert_eq!((names, &listed["next"]), (vec![&json!("presence:herenow-zoo")], &Value::Null));
    }
    for part in ["", "/events", "/presence"] {
        let answer = server.get(&format!("/channels/{PROBE}{part}"));
        assert_eq!(answer.code(), "INVALID_CHANNEL", "{part}");
    }
    let member = json!({"userId": "bot", "state": {}, "ttlMs": 60_000});
    let put = server.put(&format!("/channels/{PROBE}/presence/bot"), member);
    assert_eq!(put.code(), "INVALID_CHANNEL");
    let query = server.post("/channels/query", json!({"channels": ["zoo", PROBE]}));
    assert_eq!(query.code(), "INVALID_CHANNEL");
    let query = server.post("/users/query", json!({"userIds": ["jane"], "channel": PROBE}));
    assert_eq!(query.code(), "INVALID_CHANNEL");
    // Without a probe it is a channel like any other.
    let server = Server::start();
    let _jane = server.join("jane", "presence:herenow-probe", json!({})).await;
    assert_eq!(server.get(&format!("/channels/{PROBE}")).json()["users"], 1);
}

fn numbers(row: &Value) -> Value {
    let fields = ["channel", "changes", "users", "connections", "subscribers"];
    fields.map(|field| row[field].clone()).into_iter().collect()
}

#[tokio::test]
async fn pages_of_channels_hold_each_once_and_only_those_with_the_prefix() {
    let server = Server::start();
    let (mut peer, _) = server.join("jane", "presence:other", json!({})).await;
    let mut names: Vec<_> = (0..25).map(|n| format!("presence:game-{n}")).collect();
    for name in &names {
        track(&mut peer, name, json!({})).await;
    }
    names.sort_unstable();
    for prefix in ["game-", "presence:game-", "presence%3Agame-"] {
        let mut listed = Vec::new();
        let mut path = format!("/channels?prefix={prefix}&limit=10");
        let mut pages = 0;
        loop {
            let page = server.get(&path).json();
            pages += 1;
            let channels = page["channels"].as_array().expect("a list");
            listed.extend(channels.iter().map(|row| row["channel"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/channels?prefix={prefix}&limit=10&cursor={next}");
        }
        assert_eq!((listed, pages), (names.clone(), 3), "{prefix}");
    }
    assert_eq!(server.get("/channels?prefix=nobody").json()["channels"], json!([]));
}

#[tokio::test]
async fn a_channel_has_the_position_that_subscribers_know() {
    let server = Server::start();
    let (mut peer, _) = server.join("jane", "presence:a b", json!({})).await;
    let mut observer = server.sign_in("ann").await;
    observer.send(json!({"type": "subscribe", "channel": "presence:a b"})).await;
    let snapshot = observer.next_of_type("presence_sync").await;
    for path in ["/channels/presence:a%20b", "/channels/presence%3Aa%20b", "/channels/a%20b"] {
        let channel = server.get(path).json();
        let wanted = json!({
            "channel": "presence:a b", "epoch": snapshot["epoch"], "seq": snapshot["seq"], "changes": 1,
            "users": 1, "connections": 1, "subscribers": 2,
        });
        assert_eq!(channel, wanted, "{path}");
    }
    track(&mut peer, "presence:a b", json!({"n": 1})).await;
    let update = observer.next_of_type("presence_update").await;
    let channel = server.get("/channels/a%20b").json();
    assert_eq!((&channel["seq"], &channel["changes"]), (&update["seq"], &json!(2)));
}

#[test]
fn a_channel_that_nobody_uses_is_empty_and_no_error() {
    let server = Server::start();
    let empty = json!({
        "channel": "presence:nobody", "epoch": null, "seq": null, "changes": null,
        "users": 0, "connections": 0, "subscribers": 0,
    });
    assert_eq!(server.get("/channels/nobody").json(), empty);
    assert_eq!(server.get("/channels/nobody").json(), empty, "looking creates nothing");
    assert_eq!(server.get("/channels").json()["channels"], json!([]));
}

#[test]
fn a_channel_may_be_called_as_a_path_is() {
    let server = Server::start();
    for (path, name) in [("query", "query"), ("%71uery", "query"), ("channels", "channels")] {
        let channel = server.get(&format!("/channels/{path}")).json();
        assert_eq!(channel["channel"], format!("presence:{name}"), "{path}");
    }
}

#[test]
fn a_name_that_no_channel_has_is_refused() {
    let server = Server::start();
    let long = "x".repeat(201);
    for path in ["presence:", "presence%3A", "a%0Ab", "%C2%85", &long] {
        for rest in ["", "/presence"] {
            let path = format!("/channels/{path}{rest}");
            server.get(&path).is_refused(400, "INVALID_CHANNEL");
        }
    }
    for name in ["", "presence:", "a\nb", &long] {
        let asked = json!({"channels": ["good", name]});
        server.post("/channels/query", asked).is_refused(400, "INVALID_CHANNEL");
    }
    let longest = server.get(&format!("/channels/{}", &long[1..])).json();
    assert_eq!(longest["channel"].as_str().map(str::len), Some("presence:".len() + 200));
}

#[test]
fn one_request_asks_for_a_thousand_channels_at_most() {
    let server = Server::start();
    let names =
        |count: usize| -> Vec<Value> { (0..count).map(|n| json!(format!("{n}"))).collect() };
    let most = server.post("/channels/query", json!({"channels": names(1000)})).json();
    assert_eq!(most["channels"].as_array().map(Vec::len), Some(1000));
    let more = server.post("/channels/query", json!({"channels": names(1001)}));
    more.is_refused(400, "INVALID_PARAMETER");
    assert_eq!(
        server.post("/channels/query", json!({"channels": []})).json()["channels"],
        json!([])
    );
}
