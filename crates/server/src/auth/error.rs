//! Why tokens are refused. Sentences name what is wrong with a token and never quote it.

use std::fmt;

/// Why a token was refused. The sentence is for the developer whose client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The server has no key to check any token with; the connection is closed with 4003.
    NoKey,
    /// Longer than [`super::MAX_TOKEN_BYTES`].
    TooLong,
    /// Not three base64url parts.
    NotThreeParts,
    /// The header is not one JSON object, names a key twice, or its `kid` is no text.
    BadHeader,
    /// The header names another algorithm than the key is for, or none that signs.
    WrongAlgorithm,
    /// The header demands an extension (`crit`) that nobody here knows.
    UnknownCritical,
    /// `kid` names a key that is not configured.
    UnknownKey,
    /// The key set could not be fetched yet; the token may be good.
    KeysNotFetched,
    /// There is no `kid`, and several keys could be meant.
    UnnamedKey,
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
    /// `presence.info` is no object, or too long.
    BadInfo,
    /// `exp` is missing or no number.
    BadExpiry,
    /// `exp` is in milliseconds.
    ExpiryInMilliseconds,
    /// `nbf` is no number.
    BadNotBefore,
    /// `nbf` is in milliseconds.
    NotBeforeInMilliseconds,
    /// `exp` has passed, leeway included.
    Expired,
    /// `nbf` has not come, leeway included.
    NotYetValid,
}

impl TokenError {
    /// Whether a newer key set may have the key that the token was signed with.
    pub(crate) fn is_of_missing_key(self) -> bool {
        matches!(self, Self::UnknownKey | Self::KeysNotFetched)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "The server has no key to verify tokens with.",
            Self::TooLong => "The token is longer than 8192 bytes.",
            Self::NotThreeParts => {
                "The token is not a JWT: it should be three base64url parts joined by dots."
            }
            Self::BadHeader => {
                "The token's header should be a JSON object without duplicate keys, and its kid a string."
            }
            Self::WrongAlgorithm => {
                "The token is signed with another algorithm than this server is configured for."
            }
            Self::UnknownCritical => {
                "The token's header demands extensions (crit) that this server does not know."
            }
            Self::UnknownKey => "The token's kid names a key that this server does not have.",
            Self::KeysNotFetched => {
                "The server could not fetch the keys yet that tokens are checked with."
            }
            Self::UnnamedKey => {
                "The token names no key (kid), and this server has several for its algorithm."
            }
            Self::BadSignature => {
                "The token's signature is wrong: the token was signed with another key, or altered."
            }
            Self::BadPayload => {
                "The token's payload should be a JSON object without duplicate keys."
            }
            Self::WrongIssuer => "The token's iss is not the one this server is configured for.",
            Self::WrongAudience => {
                "The token's aud does not include the audience that this server is configured for."
            }
            Self::BadSubject => "The token's sub should be a string of 1 to 256 bytes.",
            Self::BadInfo => {
                "The token's presence.info should be a JSON object of at most 256 bytes."
            }
            Self::BadExpiry => "The token needs an exp: a number of seconds since 1970.",
            Self::ExpiryInMilliseconds => {
                "The token's exp is in milliseconds; it should be in seconds since 1970."
            }
            Self::NotBeforeInMilliseconds => {
                "The token's nbf is in milliseconds; it should be in seconds since 1970."
            }
            Self::BadNotBefore => "The token's nbf should be a number of seconds since 1970.",
            Self::Expired => "The token has expired.",
            Self::NotYetValid => "The token is not valid yet: its nbf is in the future.",
        })
    }
}

impl std::error::Error for TokenError {}
