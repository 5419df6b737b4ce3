//! A JSON Web Key Set (RFC 7517): which of its keys tokens may be checked with. Each key is pinned
//! to one algorithm by what it is. Keys for something else are passed over with a warning, since
//! issuers publish them side by side; a key that is meant for us and is weak or broken refuses the
//! whole set, so that nobody finds out by their users.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::key::Key;
use super::object::Object;

/// Public keys that tokens may be checked with.
#[derive(Clone, Debug)]
pub struct Jwks {
    keys: Arc<[Key]>,
    warnings: Vec<String>,
}

/// Why a set was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksError {
    /// Longer than [`MAX_JWKS_BYTES`].
    TooLong,
    /// Not `{"keys": [{…}, …]}`, or a name stands twice in an object.
    NotASet,
    /// There is no key in it that this server can use.
    NoUsableKey,
    /// Two keys for tokens have the same `kid`.
    SameName(KeyName),
    /// A member of a key is missing or does not hold what its kind of key needs.
    Malformed {
        /// Which key.
        key: KeyName,
        /// Which member.
        member: &'static str,
    },
    /// An RSA key that is too short to trust or too long to check.
    RsaBits {
        /// Which key.
        key: KeyName,
        /// How long its modulus is.
        bits: usize,
    },
    /// A key that anybody can sign for.
    Weak(KeyName),
}

/// How to find a key in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyName {
    /// By its `kid`.
    Id(String),
    /// By its place, from 1: it has no `kid`.
    Place(usize),
}

/// A longer file is no key set.
pub const MAX_JWKS_BYTES: usize = 1024 * 1024;

/// A shorter RSA key can be broken by those with means.
pub const MIN_RSA_BITS: usize = 2048;

/// A longer RSA key makes every token costly to check.
pub const MAX_RSA_BITS: usize = 4096;

impl Jwks {
    /// Reads a set as it is published.
    pub fn parse(text: &[u8]) -> Result<Self, JwksError> {
        if text.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLong);
        }
        let set: Set = serde_json::from_slice(text).map_err(|_| JwksError::NotASet)?;
        let mut keys: Vec<Key> = Vec::new();
        let mut warnings = Vec::new();
        for (place, jwk) in (1..).zip(&set.keys) {
            let id = match jwk.0.get("kid") {
                None => None,
                Some(Value::String(id)) => Some(id.as_str()),
                Some(_) => {
                    return Err(JwksError::Malformed { key: KeyName::Place(place), member: "kid" });
                }
            };
            let name = id.map_or(KeyName::Place(place), |id| KeyName::Id(id.to_owned()));
            let kind = match Kind::of(jwk) {
                Ok(kind) => kind,
                Err(reason) => {
                    warnings.push(format!("{name} is not used: {reason}"));
                    continue;
                }
            };
            if PRIVATE_MEMBERS.iter().any(|member| jwk.0.contains_key(*member)) {
                warnings.push(format!(
                    "{name} holds its private part: anyone who can read the file can sign tokens. Only \
                     the public part is used; remove the private one."
                ));
            }
            let key = read_key(jwk, kind, &name)?;
            if id.is_some() && keys.iter().any(|other| other.id.as_deref() == id) {
                return Err(JwksError::SameName(name));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(JwksError::NoUsableKey);
        }
        Ok(Self { keys: keys.into(), warnings })
    }

    /// What the operator should hear about it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many keys tokens may be checked with.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn keys(&self) -> Arc<[Key]> {
        Arc::clone(&self.keys)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Object>,
}

/// What tokens can be signed with here.
#[derive(Clone, Copy)]
enum Kind {
    Rsa,
    P256,
    Ed25519,
}

/// Members of RFC 7518 and RFC 8037 that only the signer may have.
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth"];

impl Kind {
    /// Or why the key is not one for tokens.
    fn of(jwk: &Object) -> Result<Self, &'static str> {
        let (kind, algorithm) = match (jwk.text("kty"), jwk.text("crv")) {
            (Some("RSA"), _) => (Self::Rsa, "RS256"),
            (Some("EC"), Some("P-256")) => (Self::P256, "ES256"),
            (Some("OKP"), Some("Ed25519")) => (Self::Ed25519, "EdDSA"),
            (Some("oct"), _) => return Err("it is a secret, and belongs in JWT_USER_SECRET_FILE"),
            _ => return Err(OTHER_KIND),
        };
        let is_absent_or = |member: &str, wanted: &str| {
            jwk.0.get(member).is_none_or(|found| found.as_str() == Some(wanted))
        };
        if !is_absent_or("use", "sig") {
            return Err("its `use` is not `sig`");
        }
        let operations = jwk.0.get("key_ops");
        let names_verify =
            |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|op| op == "verify"));
        if !operations.is_none_or(names_verify) {
            return Err("its `key_ops` do not name `verify`");
        }
        if !is_absent_or("alg", algorithm) {
            return Err(OTHER_KIND);
        }
        Ok(kind)
    }
}

const OTHER_KIND: &str = "tokens are RS256, ES256 or EdDSA with Ed25519";

fn read_key(jwk: &Object, kind: Kind, name: &KeyName) -> Result<Key, JwksError> {
    let malformed = |member| JwksError::Malformed { key: name.clone(), member };
    let bytes = |member: &'static str| {
        let text = jwk.text(member).ok_or_else(|| malformed(member))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed(member))
    };
    let coordinate = |member: &'static str| {
        let bytes = bytes(member)?;
        <[u8; COORDINATE_BYTES]>::try_from(bytes).map_err(|_| malformed(member))
    };
    let (algorithm, decoding) = match kind {
        Kind::Rsa => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            check_rsa(&modulus, &exponent, name)?;
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
        }
        Kind::P256 => {
            let mut point = vec![SEC1_UNCOMPRESSED];
            point.extend(coordinate("x")?);
            point.extend(coordinate("y")?);
            // A point that is not on the curve would be found out by the first token.
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| malformed("x"))?;
            (Algorithm::ES256, DecodingKey::from_ec_der(&point))
        }
        Kind::Ed25519 => {
            let point = coordinate("x")?;
            let key = VerifyingKey::from_bytes(&point).map_err(|_| malformed("x"))?;
            // A point of small order, such as all zeros, fits signatures that nobody made.
            if key.is_weak() {
                return Err(JwksError::Weak(name.clone()));
            }
            (Algorithm::EdDSA, DecodingKey::from_ed_der(&point))
        }
    };
    let id = jwk.text("kid").map(Box::from);
    Ok(Key { id, algorithm, decoding })
}

/// Of both curves.
const COORDINATE_BYTES: usize = 32;

/// The first byte of a point whose two coordinates follow.
const SEC1_UNCOMPRESSED: u8 = 4;

fn check_rsa(modulus: &[u8], exponent: &[u8], name: &KeyName) -> Result<(), JwksError> {
    let malformed = |member| Err(JwksError::Malformed { key: name.clone(), member });
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let digits = &modulus[zeros..];
    let bits = digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(JwksError::RsaBits { key: name.clone(), bits });
    }
    if digits.last().is_none_or(|last| last % 2 == 0) {
        return malformed("n");
    }
    let exponent = exponent.iter().try_fold(0_u64, |value, byte| {
        value.checked_mul(256).map(|value| value | u64::from(*byte))
    });
    match exponent {
        Some(1) => Err(JwksError::Weak(name.clone())),
        Some(value) if value % 2 == 1 && value <= MAX_RSA_EXPONENT => Ok(()),
        _ => malformed("e"),
    }
}

/// A larger one makes every token costly to check; 65537 is what everybody uses.
const MAX_RSA_EXPONENT: u64 = (1 << 33) - 1;

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => {
                let short: String = id.chars().take(SHOWN_CHARS).collect();
                write!(f, "key {short:?}")
            }
            Self::Place(place) => write!(f, "key {place} (it has no kid)"),
        }
    }
}

/// What of a `kid` is shown.
const SHOWN_CHARS: usize = 60;

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {MAX_JWKS_BYTES} bytes"),
            Self::NotASet => f.write_str(
                "it should be a JSON object {\"keys\": [{…}, …]} in which no name stands twice",
            ),
            Self::NoUsableKey => {
                write!(f, "it has no key to check tokens with: {OTHER_KIND}")
            }
            Self::SameName(key) => {
                write!(f, "it has {key} twice; each key needs a kid of its own")
            }
            Self::Malformed { key, member } => {
                write!(f, "{key} has no `{member}` that fits its kind of key")
            }
            Self::RsaBits { key, bits } => write!(
                f,
                "{key} is an RSA key of {bits} bits; it should have {MIN_RSA_BITS} to {MAX_RSA_BITS}"
            ),
            Self::Weak(key) => write!(f, "anyone can sign tokens for {key}; generate a new key"),
        }
    }
}

impl std::error::Error for JwksError {}
