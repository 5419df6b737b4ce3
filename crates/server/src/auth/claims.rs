//! Header and payload of a token, read strictly: one JSON object each, no key twice, dates as
//! numbers. Knows no signatures.

use std::collections::BTreeMap;
use std::fmt;

use herenow_core::Auth;
use herenow_wire::UserId;
use jsonwebtoken::Algorithm;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::{LEEWAY_MS, TokenError};

/// Whether the header agrees with what the key was pinned to.
pub(super) fn check_header(header: &[u8], pinned: Algorithm) -> Result<(), TokenError> {
    let Object(header) = serde_json::from_slice(header).map_err(|_| TokenError::BadHeader)?;
    let named = header.get("alg").and_then(Value::as_str);
    if named.and_then(|name| name.parse::<Algorithm>().ok()) != Some(pinned) {
        return Err(TokenError::WrongAlgorithm);
    }
    // No extension is known here, so whatever stands in `crit` is unknown.
    if header.contains_key("crit") {
        return Err(TokenError::UnknownCritical);
    }
    Ok(())
}

/// The claims, nothing of them checked.
pub(super) fn read_payload(payload: &[u8]) -> Result<Object, TokenError> {
    serde_json::from_slice(payload).map_err(|_| TokenError::BadPayload)
}

/// Who made the token and for whom, where the operator asks for it.
pub(super) fn check_parties(
    Object(claims): &Object,
    issuer: Option<&str>,
    audience: Option<&str>,
) -> Result<(), TokenError> {
    let named = claims.get("iss").and_then(Value::as_str);
    if issuer.is_some() && named != issuer {
        return Err(TokenError::WrongIssuer);
    }
    let is_named = |wanted: &str| match claims.get("aud") {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(several)) => several.iter().any(|one| one == wanted),
        _ => false,
    };
    if audience.is_some_and(|wanted| !is_named(wanted)) {
        return Err(TokenError::WrongAudience);
    }
    Ok(())
}

/// Whom the token speaks for, if it may at `now_unix_ms`.
pub(super) fn check_person_and_dates(
    Object(claims): &Object,
    now_unix_ms: u64,
) -> Result<Auth, TokenError> {
    let user = claims
        .get("sub")
        .and_then(Value::as_str)
        .and_then(|sub| UserId::parse(sub).ok())
        .ok_or(TokenError::BadSubject)?;
    let expires_at_unix_ms = claims.get("exp").and_then(unix_ms).ok_or(TokenError::BadExpiry)?;
    if now_unix_ms >= expires_at_unix_ms.saturating_add(LEEWAY_MS) {
        return Err(TokenError::Expired);
    }
    if let Some(not_before) = claims.get("nbf") {
        let not_before_unix_ms = unix_ms(not_before).ok_or(TokenError::BadNotBefore)?;
        if now_unix_ms.saturating_add(LEEWAY_MS) < not_before_unix_ms {
            return Err(TokenError::NotYetValid);
        }
    }
    let claims = serde_json::to_string(claims).expect("JSON values can be written as JSON");
    Ok(Auth { user, expires_at_unix_ms, claims: claims.into() })
}

/// A date in seconds, fractions allowed, as milliseconds. A date before 1970 is 1970, one far
/// ahead is for ever: the cast saturates at both ends.
fn unix_ms(date: &Value) -> Option<u64> {
    date.as_f64().map(|seconds| (seconds * 1000.0) as u64)
}

/// A JSON object in which no key stands twice: two parsers that disagree on which one counts would
/// see two different tokens.
pub(super) struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object in which no key stands twice")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = members.next_entry::<String, Value>()? {
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands twice"));
            }
        }
        Ok(Object(object))
    }
}
