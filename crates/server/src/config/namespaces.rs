//! What a configuration says under `realtime.namespaces`, checked. Knows which keys exist there,
//! and finds what looks like a rule or a pattern and would never be asked; what the rules say is
//! not its business.

use serde_json::Value;

use super::file::{Reading, Wrong, number, of};
use super::nearest::nearest;
use crate::access::{Namespace, Pattern, Patterns};

/// Keys of a namespace.
const KEYS: [&str; 4] = ["access", "presenceTTL", "maxMembers", "disconnectGraceMs"];
/// Keys of its `access`.
pub(super) const RULES: [&str; 2] = ["subscribe", "track"];
/// How a function is described.
const FUNCTION: &str = "\0a function";
/// Patterns that a configuration may have: each question compares its channel with all of them.
const MAX_PATTERNS: usize = 4096;

/// Reads them all.
pub(super) fn parse(
    namespaces: &Value,
    reading: &mut Reading,
) -> Result<Patterns<Namespace>, Wrong> {
    let path = ["realtime", "namespaces"];
    let Value::Object(members) = namespaces else {
        return Err(Wrong::value(&path, namespaces, "an object of patterns such as 'presence:*'"));
    };
    if members.len() > MAX_PATTERNS {
        let expected = format!("an object of at most {MAX_PATTERNS} patterns");
        return Err(Wrong::value(&path, namespaces, &expected));
    }
    let mut rows = Vec::new();
    for (key, value) in members {
        let path = ["realtime", "namespaces", key];
        if let Some(pattern) = pattern(&path, key, reading)? {
            rows.push((pattern, parse_one(key, value, reading)?));
        }
    }
    let patterns = Patterns::new(rows);
    if let Some((later, earlier)) = patterns.shadowed() {
        let key = |wanted: &Pattern| {
            let mut rows = patterns.rows().iter();
            rows.find(|(pattern, _)| std::ptr::eq(pattern, wanted)).map(|(_, row)| row.key.as_str())
        };
        let later = key(later).unwrap_or_default();
        let reason = format!(
            "`{earlier}` stands before it, is as specific, and matches all of its channels; write \
             the narrower pattern first"
        );
        reading.find_no_effect(&["realtime", "namespaces", later], reason)?;
    }
    Ok(patterns)
}

/// The pattern at `path`, unless no channel can match it and that is allowed.
pub(super) fn pattern(
    path: &[&str],
    text: &str,
    reading: &mut Reading,
) -> Result<Option<Pattern>, Wrong> {
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(unmatched) => {
            reading.find_no_effect(path, unmatched.to_string())?;
            return Ok(None);
        }
    };
    if let Some(sign) = pattern.foreign_sign() {
        let reason = format!(
            "in a pattern `*` alone is special, and `{sign}` stands for itself; write a pattern for \
             each kind of channel"
        );
        reading.find_no_effect(path, reason)?;
    }
    Ok(Some(pattern))
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
            rule if RULES.contains(&rule) => {
                return Err(Wrong::misplaced(&path, "under `access` of the pattern"));
            }
            _ => reading.find_unknown(&path, nearest(name, KEYS))?,
        }
    }
    Ok(namespace)
}

/// A misspelt rule would leave a channel open to every authenticated user, so it is never passed
/// over.
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
    if access.is_empty() {
        let reason = "it has no rule; write `subscribe` or `track`";
        reading.find_no_effect(&path, reason.into())?;
    }
    for (name, value) in access {
        let path = ["realtime", "namespaces", key, "access", name];
        match name.as_str() {
            "subscribe" => namespace.has_subscribe = is_rule(&path, value)?,
            "track" => namespace.has_track = is_rule(&path, value)?,
            other => match nearest(other, RULES) {
                None => {
                    let reason = "presence asks the rules `subscribe` and `track` alone";
                    reading.find_no_effect(&path, reason.into())?;
                }
                nearest => reading.find_unknown(&path, nearest)?,
            },
        }
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
