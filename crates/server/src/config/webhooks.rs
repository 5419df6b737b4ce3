//! What a configuration says under `realtime.webhooks`, checked.

use serde_json::Value;
use url::Url;

use super::file::{Reading, Wrong};
use super::namespaces::pattern;
use super::nearest::nearest;
use crate::access::Pattern;
use crate::outbound::{address_of, is_public};
use crate::webhooks::{EventKind, EventKinds, Webhook};

const KEYS: [&str; 4] = ["url", "channels", "events", "allowPrivateNetworks"];
/// Told to every endpoint, whether it asks or not.
const ALWAYS: [&str; 2] = ["gap", "server_started"];
/// Each change of a channel is compared with all patterns.
const MAX_WEBHOOKS: usize = 16;
const MAX_PATTERNS: usize = 64;

/// Reads them all.
pub(super) fn parse(webhooks: &Value, reading: &mut Reading) -> Result<Vec<Webhook>, Wrong> {
    let path = ["realtime", "webhooks"];
    let expected =
        format!("a list of at most {MAX_WEBHOOKS} webhooks, each with a `url` and `channels`");
    let Some(items) = webhooks.as_array().filter(|items| items.len() <= MAX_WEBHOOKS) else {
        return Err(Wrong::value(&path, webhooks, &expected));
    };
    let mut parsed: Vec<Webhook> = Vec::new();
    for (number, item) in items.iter().enumerate() {
        let webhook = parse_one(&number.to_string(), item, reading)?;
        if parsed.contains(&webhook) {
            let reason =
                "the same webhook stands before it; an endpoint would be told everything twice";
            reading
                .find_no_effect(&["realtime", "webhooks", &number.to_string()], reason.into())?;
        }
        parsed.push(webhook);
    }
    Ok(parsed)
}

fn parse_one(number: &str, item: &Value, reading: &mut Reading) -> Result<Webhook, Wrong> {
    let path = ["realtime", "webhooks", number];
    let Value::Object(fields) = item else {
        let right =
            "an object, as in { url: 'https://example.com/presence', channels: ['presence:*'] }";
        return Err(Wrong::value(&path, item, right));
    };
    let null = Value::Null;
    let allow_private_networks = match fields.get("allowPrivateNetworks") {
        None => false,
        Some(Value::Bool(allow)) => *allow,
        Some(other) => {
            let path = ["realtime", "webhooks", number, "allowPrivateNetworks"];
            return Err(Wrong::value(&path, other, "true or false"));
        }
    };
    let mut webhook = Webhook {
        url: url(number, fields.get("url").unwrap_or(&null), allow_private_networks)?,
        channels: Vec::new(),
        events: EventKinds::default(),
        allow_private_networks,
    };
    let channels = fields.get("channels").unwrap_or(&null);
    webhook.channels = patterns(number, channels, reading)?;
    for (name, value) in fields {
        match name.as_str() {
            "url" | "channels" | "allowPrivateNetworks" => {}
            "events" => webhook.events = events(number, value)?,
            _ => reading
                .find_unknown(&["realtime", "webhooks", number, name], nearest(name, KEYS))?,
        }
    }
    Ok(webhook)
}

fn url(number: &str, value: &Value, allow_private_networks: bool) -> Result<Url, Wrong> {
    let path = ["realtime", "webhooks", number, "url"];
    let right = "an https URL such as https://example.com/presence";
    let url = value.as_str().and_then(|text| Url::parse(text).ok());
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return Err(Wrong::value(&path, value, right));
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        let right = "a URL without a user, a password and a fragment: messages are signed instead";
        // What it holds may be a secret.
        let shown = format!("{}://…@{}", url.scheme(), url.host_str().unwrap_or_default());
        return Err(Wrong::value(&path, &shown.into(), right));
    }
    if allow_private_networks {
        return Ok(url);
    }
    let is_private = address_of(&url).is_some_and(|address| !is_public(address))
        || url.host_str() == Some("localhost");
    if is_private {
        let right = "a public address, or `allowPrivateNetworks: true` beside it";
        return Err(Wrong::value(&path, value, right));
    }
    if url.scheme() == "http" {
        let right = "an https URL, since states would cross the internet in the clear; or \
                     `allowPrivateNetworks: true` beside it";
        return Err(Wrong::value(&path, value, right));
    }
    Ok(url)
}

fn patterns(number: &str, value: &Value, reading: &mut Reading) -> Result<Vec<Pattern>, Wrong> {
    let path = ["realtime", "webhooks", number, "channels"];
    let right = format!("a list of 1 to {MAX_PATTERNS} patterns such as 'presence:game-*'");
    let wrong = || Wrong::value(&path, value, &right);
    let items = value.as_array().filter(|items| (1..=MAX_PATTERNS).contains(&items.len()));
    let mut patterns = Vec::new();
    for (place, item) in items.ok_or_else(wrong)?.iter().enumerate() {
        let place = place.to_string();
        let item_path = [&path[..], &[&place]].concat();
        let text = item.as_str();
        let text = text.ok_or_else(|| Wrong::value(&item_path, item, "a pattern, a string"))?;
        patterns.extend(pattern(&path, text, reading)?);
    }
    Ok(patterns)
}

fn events(number: &str, value: &Value) -> Result<EventKinds, Wrong> {
    let path = ["realtime", "webhooks", number, "events"];
    let known = EventKind::ALL.map(EventKind::as_str);
    let right = format!("a list of events: {}", known.join(", "));
    let items = value.as_array().filter(|items| !items.is_empty());
    let mut events = EventKinds::NONE;
    let items = items.ok_or_else(|| Wrong::value(&path, value, &right))?;
    for (place, item) in items.iter().enumerate() {
        let text = item.as_str().unwrap_or_default();
        let Some(kind) = EventKind::ALL.into_iter().find(|kind| kind.as_str() == text) else {
            let right = match nearest(text, known) {
                _ if ALWAYS.contains(&text) => {
                    format!(
                        "left out: `{text}` is sent to every webhook; the others are {}",
                        known.join(", ")
                    )
                }
                Some(meant) => format!("`{meant}`"),
                None => format!("one of {}", known.join(", ")),
            };
            let place = place.to_string();
            return Err(Wrong::value(&[&path[..], &[&place]].concat(), item, &right));
        };
        events = events.with(kind);
    }
    Ok(events)
}
