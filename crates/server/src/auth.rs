//! Who a token speaks for. Checks signature, dates and shape of a JWT against the configured keys;
//! knows nothing of connections, and never lets a token or a secret into a message or a log.
//!
//! The header says which key and algorithm the client used; what is allowed is pinned by the key,
//! so a header can only be refused, never obeyed.

mod claims;
mod error;
mod facts;
mod following;
mod header;
mod jwks;
mod jwks_file;
mod jwks_renewal;
mod jwks_schedule;
mod jwks_source;
mod jwks_url;
mod key;
mod large_numbers;
mod mint;
mod object;
mod resume_key;
mod service_keys;

pub use error::TokenError;
pub use following::Following;
pub use jwks::{
    Jwks, JwksError, KeyName, MAX_JWKS_BYTES, MAX_RSA_BITS, MIN_RSA_BITS, Unused, UnusedKey,
};
pub use jwks_file::{JwksFile, JwksFileError};
pub use jwks_renewal::RenewalMetrics;
pub(crate) use jwks_renewal::{Renewal, Unknown};
pub use jwks_source::JwksSource;
pub use jwks_url::{FETCH_TIMEOUT, FetchError, JwksAddress, JwksUrl, JwksUrlError};
pub use large_numbers::quote_large_numbers;
pub use mint::{Minter, mint};
pub(crate) use resume_key::{KeyBytes, MAX_RESUME_TOKEN_BYTES, ResumeKey};
pub(crate) use service_keys::KeysInForce;
pub use service_keys::{
    MAX_SERVICE_KEYS, MIN_SERVICE_KEY_BYTES, RunKey, ServiceKeys, ServiceKeysError,
};

use crate::webhooks::WebhookSecrets;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use herenow_core::Auth;
use jsonwebtoken::{Algorithm, DecodingKey};
use subtle::ConstantTimeEq as _;

use header::Header;
use key::Key;

/// A secret shared with the backend that makes the tokens. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// What tokens are checked against, as the operator gave it.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Of HS256 tokens. Without it and a JWKS file every token is refused with `NoKey`.
    pub secret: Option<Secret>,
    /// Public keys of RS256, ES256 and EdDSA tokens.
    pub jwks: Option<JwksSource>,
    /// What `iss` has to be; `None`: it is not looked at.
    pub issuer: Option<String>,
    /// What `aud` has to be, or to name among others; `None`: it is not looked at.
    pub audience: Option<String>,
    /// What opens `/metrics`, as a bearer token. Signs nothing.
    pub metrics_token: Option<Secret>,
    /// What backends show to `/api/presence`.
    pub service: ServiceKeys,
    /// One of these, if it was made for a run of `dev`: the console gets it.
    pub run_key: Option<RunKey>,
    /// What webhooks are signed with.
    pub webhook: WebhookSecrets,
}

/// Checks tokens against the keys of the configuration. Safe on any thread.
#[derive(Debug)]
pub struct Verifier {
    secret: Option<Key>,
    /// Taken for as long as a pointer is copied, once per token: what is checked with a key holds
    /// no lock. `None`: they could not be fetched yet.
    published: RwLock<Option<Arc<[Key]>>>,
    /// Of keys that are fetched from a URL.
    renewal: Option<Arc<Renewal>>,
    issuer: Option<String>,
    audience: Option<String>,
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

    /// Whether a guess is right. Takes as long for a guess that is nearly right as for any other.
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.ct_eq(shown).into()
    }

    /// What is signed with.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is long enough not to be guessed.
    pub fn is_safe(&self) -> bool {
        self.0.len() >= MIN_SAFE_SECRET_BYTES
    }
}

impl Keys {
    /// Whether any token can be accepted.
    pub fn is_empty(&self) -> bool {
        self.secret.is_none() && self.jwks.is_none()
    }
}

impl Verifier {
    /// Pins each key to its algorithm.
    pub fn new(keys: &Keys) -> Self {
        let published = match &keys.jwks {
            Some(source) => source.jwks().map(Jwks::keys),
            None => Some(Arc::default()),
        };
        let renewal = match &keys.jwks {
            Some(JwksSource::Url(url)) => Some(Arc::new(Renewal::new(url))),
            _ => None,
        };
        Self {
            secret: keys.secret.as_ref().map(|secret| Key {
                id: None,
                algorithm: Algorithm::HS256,
                decoding: DecodingKey::from_secret(&secret.0),
            }),
            published: RwLock::new(published),
            renewal,
            issuer: keys.issuer.clone(),
            audience: keys.audience.clone(),
        }
    }

    /// Puts other public keys in force. A connection that has authenticated stays until its token expires.
    pub fn replace(&self, jwks: &Jwks) {
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Some(jwks.keys());
    }

    /// Whether tokens may be signed with a private key.
    pub fn has_public_keys(&self) -> bool {
        self.published().is_none_or(|published| !published.is_empty())
    }

    /// Whether checking `token` needs a public key, which takes far longer than all else does, or may have
    /// to wait until one is fetched.
    pub fn is_costly(&self, token: &str) -> bool {
        let published = self.published();
        if published.as_ref().is_some_and(|keys| keys.is_empty()) || token.len() > MAX_TOKEN_BYTES {
            return false;
        }
        let Some((header, _)) = token.split_once('.') else { return false };
        let Ok(header) = part(header).and_then(|header| Header::read(&header)) else {
            return false;
        };
        match self.choose(published.as_deref(), &header) {
            Ok(key) => key.algorithm != Algorithm::HS256,
            Err(error) => self.renewal.is_some() && error.is_of_missing_key(),
        }
    }

    /// What fetches the keys, if they are fetched.
    pub(crate) fn renewal(&self) -> Option<&Arc<Renewal>> {
        self.renewal.as_ref()
    }

    fn published(&self) -> Option<Arc<[Key]>> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that a token with this header has to be checked with.
    fn choose<'a>(
        &'a self,
        published: Option<&'a [Key]>,
        header: &Header,
    ) -> Result<&'a Key, TokenError> {
        let is_signed_privately = header.algorithm.is_some_and(|named| named != Algorithm::HS256);
        if published.is_none() && is_signed_privately {
            return Err(TokenError::KeysNotFetched);
        }
        key::choose(self.secret.as_ref(), published.unwrap_or_default(), header)
    }

    /// Checks `token` at the time `now_unix_ms`.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Auth, TokenError> {
        let published = self.published();
        let has_none = published.as_ref().is_some_and(|keys| keys.is_empty());
        if self.secret.is_none() && has_none {
            return Err(TokenError::NoKey);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::NotThreeParts)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::NotThreeParts)?;
        let header = Header::read(&part(header)?)?;
        let key = self.choose(published.as_deref(), &header)?;
        header.check_critical()?;
        part(signature)?;
        // Nothing of the payload is looked at before the signature holds.
        if !key.holds(signed, signature.trim_end_matches('=')) {
            return Err(TokenError::BadSignature);
        }
        let claims = claims::read_payload(&part(payload)?)?;
        claims::check_parties(&claims, self.issuer.as_deref(), self.audience.as_deref())?;
        claims::check_person_and_dates(&claims, now_unix_ms)
    }
}

fn part(text: &str) -> Result<Vec<u8>, TokenError> {
    base64url(text).ok_or(TokenError::NotThreeParts)
}

/// Reads base64url, with padding or without: RFC 7515 has none, and some issuers write it.
fn base64url(text: &str) -> Option<Vec<u8>> {
    const INDIFFERENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    INDIFFERENT.decode(text).ok()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
