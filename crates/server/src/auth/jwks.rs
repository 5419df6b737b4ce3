//! A JSON Web Key Set (RFC 7517): which of its keys tokens may be checked with. Each key is pinned
//! to one algorithm by what it is. A key that cannot be used is passed over with a warning that says
//! why: issuers publish keys for other purposes side by side, and one of them must not keep the
//! others from being used. A set without a key that can be used is refused.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use ed25519_dalek::VerifyingKey;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::base64url;
use super::key::{Key, algorithm_of};
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
    /// A map of certificates, as Firebase publishes beside its key set.
    Certificates,
    /// An OpenID configuration: where its key set is.
    OpenIdConfiguration(String),
    /// There is no key in it that this server can use: why, for each of its keys.
    NoUsableKey(Vec<UnusedKey>),
}

/// A key of a set that no token is checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedKey {
    /// Which key.
    pub key: KeyName,
    /// Why not.
    pub reason: Unused,
}

/// Why no token is checked with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unused {
    /// Its `kty`, `crv` or `alg` is of no algorithm that tokens may have here.
    OtherKind,
    /// It is a shared secret.
    Secret,
    /// Its `use` is not `sig`.
    OtherUse,
    /// Its `key_ops` do not name `verify`.
    OtherOperations,
    /// Its `kid` is not a string, so no token can name it.
    NoText,
    /// A key of its algorithm before it has the same `kid`.
    SameName,
    /// A member is missing or does not hold what its kind of key needs.
    Malformed(&'static str),
    /// An RSA key with a modulus of this many bits: too short to trust or too long to check.
    RsaBits(usize),
    /// Anybody can sign for it.
    Weak,
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
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let set: Set = serde_json::from_slice(text).map_err(|_| JwksError::for_other(text))?;
        let mut keys: Vec<Key> = Vec::new();
        let mut unused = Vec::new();
        let mut warnings = Vec::new();
        for (place, jwk) in (1..).zip(&set.keys) {
            let name = KeyName::of(jwk, place);
            match read_key(jwk, &keys) {
                Ok(key) => keys.push(key),
                Err(reason) => {
                    let key = UnusedKey { key: name, reason };
                    warnings.push(key.to_string());
                    unused.push(key);
                    continue;
                }
            }
            if PRIVATE_MEMBERS.iter().any(|member| jwk.0.contains_key(*member)) {
                warnings.push(format!(
                    "{name} holds its private part: anyone who can read the file can sign tokens. Only \
                     the public part is used; remove the private one."
                ));
            }
        }
        if keys.is_empty() {
            return Err(JwksError::NoUsableKey(unused));
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
    fn of(jwk: &Object) -> Result<Self, Unused> {
        let (kind, algorithm) = match (jwk.text("kty"), jwk.text("crv")) {
            (Some("RSA"), _) => (Self::Rsa, Algorithm::RS256),
            (Some("EC"), Some("P-256")) => (Self::P256, Algorithm::ES256),
            (Some("OKP"), Some("Ed25519")) => (Self::Ed25519, Algorithm::EdDSA),
            (Some("oct"), _) => return Err(Unused::Secret),
            _ => return Err(Unused::OtherKind),
        };
        if jwk.0.get("use").is_some_and(|purpose| purpose != "sig") {
            return Err(Unused::OtherUse);
        }
        let operations = jwk.0.get("key_ops");
        let names_verify =
            |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|op| op == "verify"));
        if !operations.is_none_or(names_verify) {
            return Err(Unused::OtherOperations);
        }
        let is_other = |named: &Value| named.as_str().and_then(algorithm_of) != Some(algorithm);
        if jwk.0.get("alg").is_some_and(is_other) {
            return Err(Unused::OtherKind);
        }
        Ok(kind)
    }
}

/// What Windows writes before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The key, unless it cannot be used or tokens cannot tell it from one of `before`.
fn read_key(jwk: &Object, before: &[Key]) -> Result<Key, Unused> {
    let kind = Kind::of(jwk)?;
    let id = match jwk.0.get("kid") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(Box::from(id.as_str())),
        Some(_) => return Err(Unused::NoText),
    };
    let (algorithm, decoding) = read_material(jwk, kind)?;
    let key = Key { id, algorithm, decoding };
    if before.iter().any(|other| key.has_name_of(other)) {
        return Err(Unused::SameName);
    }
    Ok(key)
}

fn read_material(jwk: &Object, kind: Kind) -> Result<(Algorithm, DecodingKey), Unused> {
    let bytes = |member: &'static str| {
        let text = jwk.text(member).ok_or(Unused::Malformed(member))?;
        base64url(text).ok_or(Unused::Malformed(member))
    };
    let coordinate = |member: &'static str| {
        let bytes = bytes(member)?;
        <[u8; COORDINATE_BYTES]>::try_from(bytes).map_err(|_| Unused::Malformed(member))
    };
    Ok(match kind {
        Kind::Rsa => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            check_rsa(&modulus, &exponent)?;
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
        }
        Kind::P256 => {
            let mut point = vec![SEC1_UNCOMPRESSED];
            point.extend(coordinate("x")?);
            point.extend(coordinate("y")?);
            // A point that is not on the curve would be found out by the first token.
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
                .map_err(|_| Unused::Malformed("x"))?;
            (Algorithm::ES256, DecodingKey::from_ec_der(&point))
        }
        Kind::Ed25519 => {
            let point = coordinate("x")?;
            let key = VerifyingKey::from_bytes(&point).map_err(|_| Unused::Malformed("x"))?;
            // A point of small order, such as all zeros, fits signatures that nobody made.
            if key.is_weak() {
                return Err(Unused::Weak);
            }
            (Algorithm::EdDSA, DecodingKey::from_ed_der(&point))
        }
    })
}

/// Of both curves.
const COORDINATE_BYTES: usize = 32;

/// The first byte of a point whose two coordinates follow.
const SEC1_UNCOMPRESSED: u8 = 4;

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), Unused> {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let digits = &modulus[zeros..];
    let bits = digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(Unused::RsaBits(bits));
    }
    if digits.last().is_none_or(|last| last % 2 == 0) {
        return Err(Unused::Malformed("n"));
    }
    let exponent = exponent.iter().try_fold(0_u64, |value, byte| {
        value.checked_mul(256).map(|value| value | u64::from(*byte))
    });
    match exponent {
        Some(1) => Err(Unused::Weak),
        Some(value) if value % 2 == 1 && value <= MAX_RSA_EXPONENT => Ok(()),
        _ => Err(Unused::Malformed("e")),
    }
}

/// A larger one makes every token costly to check; 65537 is what everybody uses.
const MAX_RSA_EXPONENT: u64 = (1 << 33) - 1;

impl KeyName {
    fn of(jwk: &Object, place: usize) -> Self {
        jwk.text("kid").map_or(Self::Place(place), |id| Self::Id(id.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => {
                let short: String = id.chars().take(SHOWN_CHARS).collect();
                write!(f, "key {short:?}")
            }
            Self::Place(place) => write!(f, "key {place} of the set"),
        }
    }
}

/// What of a `kid` is shown.
const SHOWN_CHARS: usize = 60;

impl JwksError {
    /// Of a text that is no set: documents that issuers publish beside one are told by name.
    fn for_other(text: &[u8]) -> Self {
        let Ok(Value::Object(document)) = serde_json::from_slice(text) else {
            return Self::NotASet;
        };
        if let Some(Value::String(address)) = document.get("jwks_uri") {
            let shown = address.chars().filter(|c| !c.is_control()).take(SHOWN_ADDRESS_CHARS);
            return Self::OpenIdConfiguration(shown.collect());
        }
        let is_certificate = |value: &Value| {
            value.as_str().is_some_and(|text| text.starts_with("-----BEGIN CERTIFICATE-----"))
        };
        match !document.is_empty() && document.values().all(is_certificate) {
            true => Self::Certificates,
            false => Self::NotASet,
        }
    }
}

/// What of an address in a document is shown.
const SHOWN_ADDRESS_CHARS: usize = 200;

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {MAX_JWKS_BYTES} bytes"),
            Self::NotASet => f.write_str(
                "it should be a JSON object {\"keys\": [{…}, …]} in which no name stands twice",
            ),
            Self::Certificates => f.write_str(
                "it is a map of X.509 certificates, which is not a key set; Firebase publishes its key set \
                 at https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
            ),
            Self::OpenIdConfiguration(address) => {
                write!(f, "it is an OpenID configuration; its key set (`jwks_uri`) is at {address}")
            }
            Self::NoUsableKey(unused) => {
                write!(f, "it has no key to check tokens with: {OTHER_KIND}")?;
                for key in unused.iter().take(SHOWN_KEYS) {
                    write!(f, "; {key}")?;
                }
                match unused.len().saturating_sub(SHOWN_KEYS) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more keys are not used"),
                }
            }
        }
    }
}

/// Of how many keys of a refused set the reason is shown.
const SHOWN_KEYS: usize = 4;

const OTHER_KIND: &str = "tokens are RS256, ES256 or EdDSA with Ed25519";

impl fmt::Display for UnusedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not used: {}", self.key, self.reason)
    }
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKind => f.write_str(OTHER_KIND),
            Self::Secret => f.write_str("it is a secret, and belongs in JWT_USER_SECRET_FILE"),
            Self::OtherUse => f.write_str("its `use` is not `sig`"),
            Self::OtherOperations => f.write_str("its `key_ops` do not name `verify`"),
            Self::NoText => f.write_str("its `kid` is not a string, so no token can name it"),
            Self::SameName => f.write_str(
                "a key before it has the same `kid` and algorithm; each key needs a `kid` of its own",
            ),
            Self::Malformed(member) => {
                write!(f, "it has no `{member}` that fits its kind of key")
            }
            Self::RsaBits(bits) => write!(
                f,
                "it is an RSA key of {bits} bits; it should have {MIN_RSA_BITS} to {MAX_RSA_BITS}"
            ),
            Self::Weak => f.write_str("anyone can sign tokens for it; generate a new key"),
        }
    }
}

impl std::error::Error for JwksError {}
