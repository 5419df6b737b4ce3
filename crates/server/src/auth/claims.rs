//! The payload of a token, read strictly: one JSON object, no key twice, dates as numbers. Knows no
//! signatures.

use std::borrow::Cow;
use std::collections::BTreeMap;

use herenow_core::Auth;
use herenow_wire::{Info, User, UserId};
use serde_json::Value;

use super::large_numbers::quote_large_numbers;
use super::object::Object;
use super::{LEEWAY_MS, TokenError};

/// The claims of a token, nothing of them checked.
pub(super) struct Claims {
    /// As the token has them: what is checked here.
    given: Object,
    /// As rules see them, if that differs.
    for_rules: Option<Object>,
}

/// Reads the claims.
pub(super) fn read_payload(payload: &[u8]) -> Result<Claims, TokenError> {
    let text = str::from_utf8(payload).map_err(|_| TokenError::BadPayload)?;
    let read = |text: &str| serde_json::from_str(text).map_err(|_| TokenError::BadPayload);
    let given = read(text)?;
    let for_rules = match quote_large_numbers(text) {
        Cow::Borrowed(_) => None,
        Cow::Owned(quoted) => Some(read(&quoted)?),
    };
    Ok(Claims { given, for_rules })
}

/// Who made the token and for whom, where the operator asks for it.
pub(super) fn check_parties(
    Claims { given: Object(claims), .. }: &Claims,
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
    Claims { given: Object(claims), for_rules }: &Claims,
    now_unix_ms: u64,
) -> Result<Auth, TokenError> {
    let user = claims
        .get("sub")
        .and_then(Value::as_str)
        .and_then(|sub| UserId::parse(sub).ok())
        .ok_or(TokenError::BadSubject)?;
    let expiry = claims.get("exp").ok_or(TokenError::BadExpiry)?;
    let expires_at_unix_ms = unix_ms(expiry).ok_or(TokenError::BadExpiry)?;
    if is_in_milliseconds(expiry) {
        return Err(TokenError::ExpiryInMilliseconds);
    }
    if now_unix_ms >= expires_at_unix_ms.saturating_add(LEEWAY_MS) {
        return Err(TokenError::Expired);
    }
    if let Some(not_before) = claims.get("nbf") {
        let not_before_unix_ms = unix_ms(not_before).ok_or(TokenError::BadNotBefore)?;
        if is_in_milliseconds(not_before) {
            return Err(TokenError::NotBeforeInMilliseconds);
        }
        if now_unix_ms.saturating_add(LEEWAY_MS) < not_before_unix_ms {
            return Err(TokenError::NotYetValid);
        }
    }
    let user = User::new(user, info(claims)?);
    let claims = for_rules.as_ref().map_or(claims, |Object(claims)| claims);
    let claims = serde_json::to_string(claims).expect("JSON values can be written as JSON");
    Ok(Auth { user, expires_at_unix_ms, claims: claims.into() })
}

/// What others are shown of the user: the field `info` of the claim `presence`. Other uses of a claim
/// of that name are none of the server's concern.
fn info(claims: &BTreeMap<String, Value>) -> Result<Option<Info>, TokenError> {
    let Some(info) = claims.get("presence").and_then(|presence| presence.get("info")) else {
        return Ok(None);
    };
    let json = serde_json::to_string(info).expect("JSON values can be written as JSON");
    Info::parse(&json).map(Some).map_err(|_| TokenError::BadInfo)
}

/// Whether a date is one of this age if it is read as milliseconds, which is what `Date.now()` gives:
/// as seconds it would be tens of thousands of years ahead, so the token would never expire.
fn is_in_milliseconds(date: &Value) -> bool {
    date.as_f64().is_some_and(|date| (MIN_IN_MILLISECONDS..MAX_IN_MILLISECONDS).contains(&date))
}

/// 2001 in milliseconds.
const MIN_IN_MILLISECONDS: f64 = 1e12;

/// 5138 in milliseconds. What is larger is meant to be for ever, such as 2^53 - 1.
const MAX_IN_MILLISECONDS: f64 = 1e14;

impl Claims {
    /// Whom the token names. Proves nothing.
    pub(super) fn named_user(&self) -> Option<UserId> {
        let sub = self.given.text("sub")?;
        UserId::parse(sub).ok()
    }

    /// When the token expires, if it says so.
    pub(super) fn expiry_unix_ms(&self) -> Option<u64> {
        let Object(claims) = &self.given;
        claims.get("exp").and_then(unix_ms)
    }
}

/// A date in seconds, fractions allowed, as milliseconds. A date before 1970 is 1970, one far
/// ahead is for ever: the cast saturates at both ends.
fn unix_ms(date: &Value) -> Option<u64> {
    date.as_f64().map(|seconds| (seconds * 1000.0) as u64)
}
