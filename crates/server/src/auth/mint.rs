//! Tokens made here, for `herenow token` and the development server. Checks that what it signs
//! would be accepted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value};

use super::{Keys, MAX_TOKEN_BYTES, Secret, TokenError, claims};

/// Signs tokens that a server with the same keys accepts.
#[derive(Clone, Debug)]
pub struct Minter {
    secret: Secret,
    parties: Vec<(&'static str, String)>,
}

impl Minter {
    /// `None` where there is no secret to sign with.
    pub fn new(keys: &Keys) -> Option<Self> {
        let parties = [("iss", &keys.issuer), ("aud", &keys.audience)];
        let named = parties.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        Some(Self { secret: keys.secret.clone()?, parties: named.collect() })
    }

    /// Signs `claims`, after adding whom the server wants to see named where they name nobody.
    pub fn mint(
        &self,
        mut claims: Map<String, Value>,
        now_unix_ms: u64,
    ) -> Result<String, TokenError> {
        for (name, value) in &self.parties {
            claims.entry(*name).or_insert_with(|| value.as_str().into());
        }
        mint(&self.secret, &claims, now_unix_ms)
    }
}

/// Signs `claims` with HS256. Fails where the token would be refused at once.
pub fn mint(
    secret: &Secret,
    claims: &Map<String, Value>,
    now_unix_ms: u64,
) -> Result<String, TokenError> {
    let payload = serde_json::to_vec(claims).expect("JSON values can be written as JSON");
    claims::check_person_and_dates(&claims::read_payload(&payload)?, now_unix_ms)?;
    let mut token = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
    let key = EncodingKey::from_secret(&secret.0);
    let signature = jsonwebtoken::crypto::sign(token.as_bytes(), &key, Algorithm::HS256)
        .expect("HMAC takes a key of any length");
    token.push('.');
    token.push_str(&signature);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    Ok(token)
}
