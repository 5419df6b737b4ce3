//! What a configuration says under `realtime.namespaces`, checked. Knows which keys exist there;
//! what the rules say is not its business.

use serde_json::Value;

use super::error::ConfigError;
use super::file::{Reading, Wrong, number, of, shown};
use super::nearest::nearest;
use crate::access::{Namespace, Pattern, Scope};

/// Keys of a namespace.
const KEYS: [&str; 4] = ["access", "presenceTTL", "maxMembers", "disconnectGraceMs"];
/// Keys of its `access`.
const RULES: [&str; 2] = ["subscribe", "track"];
/// How a function is described.
const FUNCTION: &str = "\0function";

/// Reads them all. What concerns other things than presence is named as ignored.
pub(super) fn parse(
    namespaces: &Value,
    reading: &mut Reading,
) -> Result<Vec<(Pattern, Namespace)>, Wrong> {
    let path = ["realtime", "namespaces"];
    let Value::Object(namespaces) = namespaces else {
        return Err(Wrong::value(&path, namespaces, "an object of patterns such as 'presence:*'"));
    };
    let mut rows = Vec::new();
    let mut others = Vec::new();
    for (key, value) in namespaces {
        match Pattern::parse(key) {
            Scope::Presence(pattern) => rows.push((pattern, parse_one(key, value, reading)?)),
            Scope::Other => others.push(format!("`{}`", shown(key))),
        }
    }
    if !others.is_empty() {
        let names = others.join(", ");
        reading.warnings.push(format!(
            "ignored namespaces, since no channel `presence:…` can match them: {names}"
        ));
    }
    Ok(rows)
}

fn parse_one(key: &str, value: &Value, reading: &mut Reading) -> Result<Namespace, Wrong> {
    let path = ["realtime", "namespaces", key];
    let Value::Object(settings) = value else {
        let right = "an object, as in { access: { subscribe(auth, channel) { … } } }";
        return Err(Wrong::value(&path, value, right));
    };
    let mut namespace = Namespace { key: key.into(), ..Namespace::default() };
    for (name, value) in settings {
        let path = ["realtime", "namespaces", key, name];
        match name.as_str() {
            "access" => parse_access(key, value, &mut namespace, reading)?,
            "presenceTTL" => {
                let ttl = number(&path, value)?;
                reading.warn_of_ttl(&of(&path), ttl);
                namespace.presence_ttl_ms = Some(ttl);
            }
            "maxMembers" => {
                namespace.max_members =
                    Some(u32::try_from(number(&path, value)?).unwrap_or(u32::MAX));
            }
            "disconnectGraceMs" => namespace.disconnect_grace_ms = Some(number(&path, value)?),
            _ => {
                let error = ConfigError::UnknownKey {
                    key: shown(name),
                    under: of(&path[..3]),
                    nearest: nearest(name, KEYS),
                };
                return Err(Wrong::new(&path, error));
            }
        }
    }
    Ok(namespace)
}

/// A misspelt rule would leave a channel open to all who sign in, so it is never passed over.
fn parse_access(
    key: &str,
    value: &Value,
    namespace: &mut Namespace,
    reading: &mut Reading,
) -> Result<(), Wrong> {
    let path = ["realtime", "namespaces", key, "access"];
    let Value::Object(access) = value else {
        return Err(Wrong::value(&path, value, "an object of rules: `subscribe`, `track`"));
    };
    let mut others = Vec::new();
    for (name, value) in access {
        let path = ["realtime", "namespaces", key, "access", name];
        match name.as_str() {
            "subscribe" => namespace.has_subscribe = is_rule(&path, value)?,
            "track" => namespace.has_track = is_rule(&path, value)?,
            other => match nearest(other, RULES) {
                None => others.push(format!("`{}`", shown(other))),
                nearest => {
                    let (key, under) = (shown(other), of(&path[..4]));
                    return Err(Wrong::new(&path, ConfigError::UnknownKey { key, under, nearest }));
                }
            },
        }
    }
    if !others.is_empty() {
        let names = others.join(", ");
        let pattern = shown(key);
        reading.warnings.push(format!(
            "ignored rules of `{pattern}`, since presence asks `subscribe` and `track` alone: {names}"
        ));
    }
    Ok(())
}

fn is_rule(path: &[&str], value: &Value) -> Result<bool, Wrong> {
    let right = "a function (auth, channel) that returns true or false; a JSON file can hold none";
    match value {
        Value::String(text) if text == FUNCTION => Ok(true),
        _ => Err(Wrong::value(path, value, right)),
    }
}
