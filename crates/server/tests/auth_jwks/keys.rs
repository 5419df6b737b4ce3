//! Key pairs, and tokens signed with them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use herenow_server::auth::{Jwks, Keys, Secret, TokenError, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

pub const NOW_MS: u64 = 1_000_000_000;

/// Good for long.
pub const PAYLOAD: &str = r#"{"sub":"jane","exp":2000000}"#;

/// All four public keys: `rsa`, `ec`, `ed`, `ed-next`.
pub const PUBLIC: &str = include_str!("keys/public.json");

/// One key of the four, to be changed at will.
pub fn jwk(id: &str) -> Value {
    let set: Value = serde_json::from_str(PUBLIC).expect("the file is JSON");
    let keys = set["keys"].as_array().expect("it is a set");
    keys.iter().find(|key| key["kid"] == id).expect("it is one of the four").clone()
}

/// A set of these keys.
pub fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

/// Checks tokens with the keys of these names, and with no secret.
pub fn verifier(ids: &[&str]) -> Verifier {
    verifier_with(&ids.iter().map(|id| jwk(id)).collect::<Vec<_>>(), None)
}

pub fn verifier_with(jwks: &[Value], secret: Option<&[u8]>) -> Verifier {
    let secret = secret.and_then(Secret::new);
    let verifier = Verifier::new(&Keys { secret, ..Keys::default() });
    verifier.replace(&Jwks::parse(&set(jwks)).expect("the set is right"));
    verifier
}

pub fn judge(verifier: &Verifier, token: &str) -> Result<String, TokenError> {
    verifier.verify(token, NOW_MS).map(|auth| auth.user.as_str().to_owned())
}

/// The algorithm of a key pair.
pub fn algorithm(id: &str) -> &'static str {
    match id {
        "rsa" => "RS256",
        "ec" => "ES256",
        _ => "EdDSA",
    }
}

/// A token of `jane`'s whose header names the key.
pub fn token(id: &str) -> String {
    signed(id, &json!({ "alg": algorithm(id), "kid": id }), PAYLOAD)
}

/// Signed with the private key `id`, whatever the header says.
pub fn signed(id: &str, header: &Value, payload: &str) -> String {
    signed_text(id, &header.to_string(), payload)
}

pub fn signed_text(id: &str, header: &str, payload: &str) -> String {
    let parts = unsigned(header, payload);
    let (key, algorithm) = private(id);
    let signature = jsonwebtoken::crypto::sign(parts.as_bytes(), &key, algorithm);
    format!("{parts}.{}", signature.expect("the key is right"))
}

/// A signature of these parts as some issuers write it, with padding.
pub fn sign_padded(id: &str, parts: &str) -> String {
    let (key, algorithm) = private(id);
    let signature = jsonwebtoken::crypto::sign(parts.as_bytes(), &key, algorithm);
    let bytes = URL_SAFE_NO_PAD.decode(signature.expect("the key is right"));
    URL_SAFE.encode(bytes.expect("it is base64url"))
}

pub fn unsigned(header: &str, payload: &str) -> String {
    let (header, payload) = (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    format!("{header}.{payload}")
}

fn private(id: &str) -> (EncodingKey, Algorithm) {
    match id {
        "rsa" => {
            let der = der(include_str!("keys/rsa.pem"));
            (EncodingKey::from_rsa_der(&der), Algorithm::RS256)
        }
        "ec" => (EncodingKey::from_ec_der(&der(include_str!("keys/ec.pem"))), Algorithm::ES256),
        "ed" => (EncodingKey::from_ed_der(&der(include_str!("keys/ed.pem"))), Algorithm::EdDSA),
        "ed-next" => {
            let der = der(include_str!("keys/ed-next.pem"));
            (EncodingKey::from_ed_der(&der), Algorithm::EdDSA)
        }
        other => panic!("there is no key {other}"),
    }
}

/// What stands between the lines that begin and end a PEM file.
pub fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).expect("PEM is base64")
}

/// A member of a key, in bytes.
pub fn member(key: &Value, name: &str) -> Vec<u8> {
    let text = key[name].as_str().expect("it is text");
    URL_SAFE_NO_PAD.decode(text).expect("it is base64url")
}
