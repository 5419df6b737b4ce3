//! What is remembered of a token, for a backend that asks why a user is not here: which key, and
//! whom a refused one names. A refused token proves nothing, so its claims are only ever told as
//! such. Nothing else of a token leaves this file.

use herenow_core::Auth;
use herenow_hub::TokenFacts;
use jsonwebtoken::Algorithm;

use super::header::Header;
use super::key::Key;
use super::{MAX_TOKEN_BYTES, TokenError, Verifier, claims, part};

impl Verifier {
    /// What is remembered of a token that was verified at `now_unix_ms` with this result.
    pub fn facts(
        &self,
        token: &str,
        result: &Result<Auth, TokenError>,
        now_unix_ms: u64,
    ) -> TokenFacts {
        if token.len() > MAX_TOKEN_BYTES {
            return TokenFacts::default();
        }
        let mut parts = token.splitn(3, '.');
        let (header, payload) = (parts.next(), parts.next());
        let header = header.and_then(|header| Header::read(&part(header).ok()?).ok());
        let published = self.published();
        let key =
            header.and_then(|header| self.choose(published.as_deref(), &header).ok().map(name));
        if result.is_ok() {
            return TokenFacts { key, ..TokenFacts::default() };
        }
        let claims = payload.and_then(|payload| claims::read_payload(&part(payload).ok()?).ok());
        let Some(claims) = claims else { return TokenFacts { key, ..TokenFacts::default() } };
        let named = claims.named_user();
        let expired_for_ms = match result {
            Err(TokenError::Expired) => claims.expiry_unix_ms(),
            _ => None,
        };
        let expired_for_ms = expired_for_ms.map(|at| now_unix_ms.saturating_sub(at));
        TokenFacts { key, named, expired_for_ms }
    }
}

/// A key in words that hold nothing secret.
fn name(key: &Key) -> Box<str> {
    match (key.algorithm, &key.id) {
        (Algorithm::HS256, _) => "JWT_USER_SECRET".into(),
        (algorithm, Some(id)) => format!("{algorithm:?} key {id}").into(),
        (algorithm, None) => format!("{algorithm:?} key").into(),
    }
}
