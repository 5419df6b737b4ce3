//! Who a token speaks for. Checks signature, dates and shape of a JWT against the configured key;
//! knows nothing of connections, and never lets a token or a secret into a message or a log.
//!
//! The header says which algorithm the client used; what is allowed is pinned by the key, so a
//! header can only be refused, never obeyed.

mod claims;
mod mint;

pub use mint::mint;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use herenow_core::Auth;
use jsonwebtoken::{Algorithm, DecodingKey};

/// A secret shared with whoever makes the tokens. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// What tokens are checked against, as the operator gave it.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Of HS256 tokens. Without it every token is refused with `NoKey`.
    pub secret: Option<Secret>,
    /// What `iss` has to be; `None`: it is not looked at.
    pub issuer: Option<String>,
    /// What `aud` has to be, or to name among others; `None`: it is not looked at.
    pub audience: Option<String>,
}

/// Checks tokens against the keys of the configuration. Safe on any thread.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: Option<Key>,
    issuer: Option<String>,
    audience: Option<String>,
}

/// A key and the one algorithm it may be used with. More keys, chosen by `kid`, would stand
/// beside it in `Verifier`.
#[derive(Clone)]
struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Why a token was refused. The sentence is for the developer whose client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The server has no key to check any token with; the connection is closed with 4003.
    NoKey,
    /// Longer than [`MAX_TOKEN_BYTES`].
    TooLong,
    /// Not three base64url parts.
    NotThreeParts,
    /// The header is not one JSON object, or names a key twice.
    BadHeader,
    /// The header names another algorithm than the configured one, `none` included.
    WrongAlgorithm,
    /// The header demands an extension (`crit`) that nobody here knows.
    UnknownCritical,
    /// Signed with another key, or altered since.
    BadSignature,
    /// The payload is not one JSON object, or names a key twice.
    BadPayload,
    /// `iss` is not the configured one.
    WrongIssuer,
    /// `aud` does not name the configured one.
    WrongAudience,
    /// `sub` is missing, no text, empty or too long.
    BadSubject,
    /// `exp` is missing or no number.
    BadExpiry,
    /// `nbf` is no number.
    BadNotBefore,
    /// `exp` has passed, leeway included.
    Expired,
    /// `nbf` has not come, leeway included.
    NotYetValid,
}

/// A token longer than this is refused unread.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far clocks may differ: added to `exp`, taken from `nbf`.
pub const LEEWAY_MS: u64 = 60_000;

/// A secret shorter than this can be guessed from one token, offline.
pub const MIN_SAFE_SECRET_BYTES: usize = 32;

impl Secret {
    /// `None` for an empty one, which would let everybody sign.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self(bytes.into()))
    }

    /// Whether it is long enough not to be guessed.
    pub fn is_safe(&self) -> bool {
        self.0.len() >= MIN_SAFE_SECRET_BYTES
    }
}

impl Verifier {
    /// Pins each key to its algorithm.
    pub fn new(keys: &Keys) -> Self {
        Self {
            key: keys.secret.as_ref().map(|secret| Key {
                algorithm: Algorithm::HS256,
                decoding: DecodingKey::from_secret(&secret.0),
            }),
            issuer: keys.issuer.clone(),
            audience: keys.audience.clone(),
        }
    }

    /// Checks `token` at the time `now_unix_ms`.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Auth, TokenError> {
        let key = self.key.as_ref().ok_or(TokenError::NoKey)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::NotThreeParts)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::NotThreeParts)?;
        claims::check_header(&part(header)?, key.algorithm)?;
        part(signature)?;
        // Nothing of the payload is looked at before the signature holds.
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.decoding, key.algorithm)
            .ok()
            .filter(|holds| *holds)
            .ok_or(TokenError::BadSignature)?;
        let claims = claims::read_payload(&part(payload)?)?;
        claims::check_parties(&claims, self.issuer.as_deref(), self.audience.as_deref())?;
        claims::check_person_and_dates(&claims, now_unix_ms)
    }
}

fn part(text: &str) -> Result<Vec<u8>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| TokenError::NotThreeParts)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, ..)", self.algorithm)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "The server has no key to check tokens with.",
            Self::TooLong => "The token is longer than 8192 bytes.",
            Self::NotThreeParts => {
                "The token is not a JWT: it should be three base64url parts joined by dots."
            }
            Self::BadHeader => {
                "The token's header should be one JSON object that names no key twice."
            }
            Self::WrongAlgorithm => {
                "The token is signed with another algorithm than this server is configured for."
            }
            Self::UnknownCritical => {
                "The token's header demands extensions (crit) that this server does not know."
            }
            Self::BadSignature => {
                "The token's signature does not fit: it was signed with another key, or altered."
            }
            Self::BadPayload => {
                "The token's payload should be one JSON object that names no key twice."
            }
            Self::WrongIssuer => "The token's iss is not the one this server is configured for.",
            Self::WrongAudience => {
                "The token's aud does not name what this server is configured for."
            }
            Self::BadSubject => "The token's sub should be a string of 1 to 256 bytes.",
            Self::BadExpiry => "The token needs an exp: a number of seconds since 1970.",
            Self::BadNotBefore => "The token's nbf should be a number of seconds since 1970.",
            Self::Expired => "The token has expired.",
            Self::NotYetValid => "The token is not valid yet: its nbf lies ahead.",
        })
    }
}

impl std::error::Error for TokenError {}
