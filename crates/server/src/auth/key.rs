//! A key with the one algorithm it may be used with, and which key a token is checked with. The
//! token's header picks among the keys; what it says of algorithms can only be refused.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};

use super::TokenError;
use super::header::Header;

/// A key and the one algorithm it may be used with.
#[derive(Clone)]
pub(super) struct Key {
    /// Its `kid`; the secret has none.
    pub(super) id: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// The algorithm that a header or a key set names. RFC 9864 calls EdDSA with Ed25519 by the name of
/// the curve, which is the only one that is used here.
pub(super) fn algorithm_of(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        other => other.parse().ok(),
    }
}

impl Key {
    /// Whether a token that names one of the two could mean the other.
    pub(super) fn has_name_of(&self, other: &Self) -> bool {
        self.id.is_some() && self.id == other.id && self.algorithm == other.algorithm
    }

    /// Whether `signature` (base64url without padding) of `signed` was made with the other half of this key.
    pub(super) fn holds(&self, signed: &str, signature: &str) -> bool {
        let judged = jsonwebtoken::crypto::verify(
            signature,
            signed.as_bytes(),
            &self.decoding,
            self.algorithm,
        );
        judged.unwrap_or(false)
    }
}

/// The key that a token with this header has to be checked with. A named key is the one of that
/// name; without a name only one key may fit, since trying several would let a forger pick the
/// weakest.
pub(super) fn choose<'a>(
    secret: Option<&'a Key>,
    published: &'a [Key],
    header: &Header,
) -> Result<&'a Key, TokenError> {
    let algorithm = header.algorithm.ok_or(TokenError::WrongAlgorithm)?;
    let is_fit = |key: &&Key| key.algorithm == algorithm;
    if let Some(id) = header.key_id.as_deref() {
        let mut named = published.iter().filter(|key| key.id.as_deref() == Some(id)).peekable();
        if named.peek().is_some() {
            return named.find(is_fit).ok_or(TokenError::WrongAlgorithm);
        }
        // There is one secret, so the names that backends give to theirs say nothing.
        return secret.filter(is_fit).ok_or(TokenError::UnknownKey);
    }
    let mut fit = secret.into_iter().chain(published).filter(is_fit);
    let only = fit.next().ok_or(TokenError::WrongAlgorithm)?;
    if fit.next().is_some() {
        return Err(TokenError::UnnamedKey);
    }
    Ok(only)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?}, ..)", self.id, self.algorithm)
    }
}
