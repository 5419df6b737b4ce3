//! Who a token speaks for. Checks signature, dates and shape of a JWT against the configured key;
//! knows nothing of connections, and never lets a token or a secret into a message or a log.

use std::fmt;

use herenow_core::Auth;

/// Checks tokens against the keys of the configuration. Cheap to share, safe on any thread.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: Option<Key>,
}

#[derive(Clone)]
struct Key {
    secret: Box<[u8]>,
}

/// Why a token was refused. The sentence is for the developer whose client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The server has no key to check any token with; the connection is closed with 4003.
    NoKey,
    /// Longer than a token may be.
    TooLong,
    /// Not three base64url parts of JSON.
    Malformed,
}

impl Verifier {
    /// A verifier without a key: every token is refused with `NoKey`.
    pub fn without_key() -> Self {
        Self { key: None }
    }

    /// A verifier of HS256 tokens.
    pub fn hs256(secret: &[u8]) -> Self {
        Self { key: Some(Key { secret: secret.into() }) }
    }

    /// Checks `token` at the time `now_unix_ms`.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Auth, TokenError> {
        let key = self.key.as_ref().ok_or(TokenError::NoKey)?;
        let _ = (token, now_unix_ms, &key.secret);
        Err(TokenError::Malformed)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "The server has no key to check tokens with.",
            Self::TooLong => "The token is longer than 8192 bytes.",
            Self::Malformed => "The token is not a JWT: three base64url parts joined by dots.",
        })
    }
}

impl std::error::Error for TokenError {}
