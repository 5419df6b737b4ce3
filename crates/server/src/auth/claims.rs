//! The payload of a token, read strictly: one JSON object, no key twice, dates as numbers. Knows no
//! signatures.

use herenow_core::Auth;
use herenow_wire::UserId;
use serde_json::Value;

use super::object::Object;
use super::{LEEWAY_MS, TokenError};

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
