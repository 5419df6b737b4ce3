//! The header of a token: which key it asks for. Keys and addresses of keys that travel in it
//! (`jwk`, `jku`, `x5c`) are never looked at: a forger would bring their own.

use jsonwebtoken::Algorithm;

use super::TokenError;
use super::key::algorithm_of;
use super::object::Object;

/// What of a header may count.
pub(super) struct Header {
    /// `alg`; `None` where it is missing or no algorithm that signs, such as `none`.
    pub(super) algorithm: Option<Algorithm>,
    /// `kid`.
    pub(super) key_id: Option<String>,
    is_critical: bool,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, TokenError> {
        let header: Object = serde_json::from_slice(bytes).map_err(|_| TokenError::BadHeader)?;
        let key_id = header.text("kid").map(str::to_owned);
        if key_id.is_none() && header.0.contains_key("kid") {
            return Err(TokenError::BadHeader);
        }
        Ok(Self {
            algorithm: header.text("alg").and_then(algorithm_of),
            key_id,
            is_critical: header.0.contains_key("crit"),
        })
    }

    /// No extension is known here, so whatever stands in `crit` is unknown.
    pub(super) fn check_critical(&self) -> Result<(), TokenError> {
        if self.is_critical { Err(TokenError::UnknownCritical) } else { Ok(()) }
    }
}
