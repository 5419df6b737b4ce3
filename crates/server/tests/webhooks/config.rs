//! What a configuration may say of webhooks.

use std::collections::BTreeMap;

use herenow_server::config::{self, Unknown};
use herenow_server::webhooks::EventKind;
use herenow_testing::Folder;
use serde_json::{Value, json};

fn load(webhooks: &Value) -> Result<config::Loaded, String> {
    let folder = Folder::new();
    folder.write("edgebase.config.json", &json!({"realtime": {"webhooks": webhooks}}).to_string());
    let path = folder.path().join("edgebase.config.json");
    config::load(Some(&path), &BTreeMap::new(), Unknown::Refused).map_err(|error| error.to_string())
}

#[test]
fn a_webhook_has_all_events_but_updates_unless_it_names_them() {
    let all = json!([
        {"url": "https://example.com/a", "channels": ["presence:*"]},
        {"url": "http://10.0.0.7:8080/", "channels": ["presence:a", "presence:b-*"],
         "events": ["member_updated"], "allowPrivateNetworks": true},
    ]);
    let webhooks = load(&all).expect("it is right").settings.webhooks;
    let has = |at: usize| EventKind::ALL.map(|kind| webhooks[at].events.has(kind));
    assert_eq!(has(0), [true, true, false, true, true, true, true]);
    assert_eq!(has(1), [false, false, true, false, false, false, false]);
    assert_eq!(webhooks[1].channels.len(), 2);
}

#[test]
fn what_a_webhook_cannot_be_stops_the_start_and_says_what_would_be_right() {
    let good = json!({"url": "https://example.com/", "channels": ["presence:*"]});
    let with = |key: &str, value: Value| {
        let mut webhook = good.clone();
        webhook[key] = value;
        json!([webhook])
    };
    for (wrong, says) in [
        (json!({}), "a list of at most 16 webhooks"),
        (json!([1]), "an object, as in"),
        (json!([{"channels": ["presence:*"]}]), "an https URL such as"),
        (with("url", json!("ftp://example.com")), "an https URL such as"),
        (with("url", json!("http://example.com/")), "in the clear"),
        (with("url", json!("https://user:pass@example.com/")), "without a user"),
        (with("url", json!("https://127.0.0.1/")), "allowPrivateNetworks"),
        (with("url", json!("https://[::1]/")), "allowPrivateNetworks"),
        (with("url", json!("https://169.254.169.254/")), "allowPrivateNetworks"),
        (with("url", json!("https://localhost/")), "allowPrivateNetworks"),
        (with("channels", json!([])), "a list of 1 to 64 patterns"),
        (with("channels", json!("presence:*")), "a list of 1 to 64 patterns"),
        (with("channels", json!(["game-*"])), "presence:"),
        (with("channels", json!(["presence:room-?"])), "`*` alone is special"),
        (with("events", json!([])), "a list of events"),
        (with("events", json!(["member_aded"])), "`member_added`"),
        (with("events", json!(["gap"])), "sent to every webhook"),
        (with("allowPrivateNetworks", json!("yes")), "true or false"),
        (with("channel", json!(["presence:*"])), "channels"),
        (with("secret", json!("x")), "secret"),
        (json!([good, good]), "the same webhook"),
    ] {
        let error = load(&wrong).expect_err(&wrong.to_string());
        assert!(error.contains(says), "{wrong}: {error}");
        assert!(!error.contains("pass@"), "{error}");
    }
}
