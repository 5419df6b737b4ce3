//! Keys from the environment, from flags, or from files that these name. Errors name variables and
//! files, and never what they hold.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use super::key_table::{
    AUDIENCE, ISSUER, JWKS_FILE, METRICS_TOKEN, METRICS_TOKEN_FILE, SECRET, SECRET_FILE,
    SERVICE_KEY, SERVICE_KEY_FILE, WEBHOOK_SECRET, WEBHOOK_SECRET_FILE,
};
use crate::auth::{
    JwksAddress, JwksFile, JwksFileError, JwksSource, JwksUrl, JwksUrlError, Keys, Secret,
    ServiceKeys, ServiceKeysError,
};
use crate::files::{self, FileError};
use crate::webhooks::{WebhookSecretError, WebhookSecrets};

/// Why keys could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysError {
    /// A secret is given twice.
    Twice {
        /// The variable that may hold it.
        name: &'static str,
        /// The variable that may name its file.
        file: &'static str,
    },
    /// `JWT_USER_SECRET`, or the file that `JWT_USER_SECRET_FILE` names, is empty.
    Empty,
    /// `METRICS_TOKEN`, or the file that `METRICS_TOKEN_FILE` names, can be guessed or cannot be
    /// sent.
    MetricsToken,
    /// A key in `SERVICE_KEY`, or in the file that `SERVICE_KEY_FILE` names, cannot be used.
    ServiceKey {
        /// The variable.
        name: &'static str,
        /// Why not.
        error: ServiceKeysError,
    },
    /// `WEBHOOK_SECRET`, or the file that `WEBHOOK_SECRET_FILE` names, cannot be used.
    WebhookSecret(WebhookSecretError),
    /// A file that holds a secret cannot be read.
    Unreadable {
        /// The variable that names it.
        name: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: FileError,
    },
    /// The file that `JWT_JWKS_FILE` names cannot be used.
    Jwks(JwksFileError),
    /// The key set at the URL that `JWT_JWKS_FILE` is cannot be used.
    JwksUrl(JwksUrlError),
    /// A variable that is text elsewhere is not UTF-8.
    NotText {
        /// Which variable.
        name: &'static str,
    },
    /// A name with whitespace around it or control characters in it: no token has such a claim.
    Unmatchable {
        /// Which variable.
        name: &'static str,
        /// The name without them.
        right: String,
    },
}

/// Reads everything that [`super::KEY_SETTINGS`] names. `given` knows the flags and the environment.
pub fn load_keys(given: impl Fn(&str) -> Option<OsString>) -> Result<Keys, KeysError> {
    let mut keys = load_signing_keys(&given)?;
    if let Some(path) = given(JWKS_FILE).filter(|path| !path.is_empty()) {
        keys.jwks = Some(jwks(&path)?);
    }
    keys.metrics_token = metrics_token(&given)?;
    keys.service = load_service_keys(&given)?;
    keys.webhook = load_webhook_secrets(&given)?;
    Ok(keys)
}

fn jwks(place: &OsStr) -> Result<JwksSource, KeysError> {
    match place.to_str().filter(|text| JwksAddress::is_meant_by(text)) {
        Some(url) => JwksUrl::open(url).map(JwksSource::Url).map_err(KeysError::JwksUrl),
        None => JwksFile::open(Path::new(place)).map(JwksSource::File).map_err(KeysError::Jwks),
    }
}

/// Reads the keys of backends alone.
pub fn load_service_keys(
    given: impl Fn(&str) -> Option<OsString>,
) -> Result<ServiceKeys, KeysError> {
    let (name, keys) = match (given(SERVICE_KEY), given(SERVICE_KEY_FILE)) {
        (None, None) => return Ok(ServiceKeys::default()),
        (Some(_), Some(_)) => {
            return Err(KeysError::Twice { name: SERVICE_KEY, file: SERVICE_KEY_FILE });
        }
        (Some(key), None) => (SERVICE_KEY, ServiceKeys::parse(key.as_encoded_bytes())),
        (None, Some(path)) => (SERVICE_KEY_FILE, ServiceKeys::open(Path::new(&path))),
    };
    keys.map_err(|error| KeysError::ServiceKey { name, error })
}

/// Reads what webhooks are signed with alone.
pub fn load_webhook_secrets(
    given: impl Fn(&str) -> Option<OsString>,
) -> Result<WebhookSecrets, KeysError> {
    let bytes = secret_bytes(given, WEBHOOK_SECRET, WEBHOOK_SECRET_FILE)?;
    let parse = |bytes: Vec<u8>| WebhookSecrets::parse(&bytes).map_err(KeysError::WebhookSecret);
    Ok(bytes.map(parse).transpose()?.unwrap_or_default())
}

/// Reads what tokens are made from: all but the public keys.
pub fn load_signing_keys(given: impl Fn(&str) -> Option<OsString>) -> Result<Keys, KeysError> {
    let text = |name: &'static str| {
        let value = given(name).filter(|value| !value.is_empty());
        let text = value.map(OsString::into_string).transpose();
        text.map_err(|_| KeysError::NotText { name })
    };
    let secret = secret_bytes(&given, SECRET, SECRET_FILE)?;
    let secret = secret.map(|bytes| Secret::new(&bytes).ok_or(KeysError::Empty));
    let (issuer, audience) = (claim(ISSUER, text)?, claim(AUDIENCE, text)?);
    Ok(Keys { secret: secret.transpose()?, issuer, audience, ..Keys::default() })
}

/// One that cannot stand in a header would open nothing.
fn metrics_token(given: impl Fn(&str) -> Option<OsString>) -> Result<Option<Secret>, KeysError> {
    let bytes = secret_bytes(given, METRICS_TOKEN, METRICS_TOKEN_FILE)?;
    let is_good = |bytes: &Vec<u8>| {
        bytes.len() >= MIN_METRICS_TOKEN_BYTES && bytes.iter().all(u8::is_ascii_graphic)
    };
    let token = |bytes: Vec<u8>| {
        Some(bytes)
            .filter(is_good)
            .and_then(|bytes| Secret::new(&bytes))
            .ok_or(KeysError::MetricsToken)
    };
    bytes.map(token).transpose()
}

/// From a variable, or from the file that another names.
fn secret_bytes(
    given: impl Fn(&str) -> Option<OsString>,
    name: &'static str,
    file: &'static str,
) -> Result<Option<Vec<u8>>, KeysError> {
    match (given(name), given(file)) {
        (Some(_), Some(_)) => Err(KeysError::Twice { name, file }),
        (Some(secret), None) => Ok(Some(secret.into_encoded_bytes())),
        (None, Some(path)) => read(path.into(), file).map(Some),
        (None, None) => Ok(None),
    }
}

/// What a token's claim is compared with.
fn claim(
    name: &'static str,
    text: impl Fn(&'static str) -> Result<Option<String>, KeysError>,
) -> Result<Option<String>, KeysError> {
    let Some(value) = text(name)? else { return Ok(None) };
    let right: String = value.trim().chars().filter(|c| !c.is_control()).collect();
    if right == value { Ok(Some(value)) } else { Err(KeysError::Unmatchable { name, right }) }
}

/// Editors and `echo` end a file with a newline, which is not part of the secret.
fn read(path: PathBuf, name: &'static str) -> Result<Vec<u8>, KeysError> {
    let mut bytes = files::read(&path, MAX_SECRET_FILE_BYTES)
        .map_err(|reason| KeysError::Unreadable { name, path, reason })?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// A longer file holds something else.
const MAX_SECRET_FILE_BYTES: usize = 64 * 1024;

/// A shorter token could be guessed by asking.
const MIN_METRICS_TOKEN_BYTES: usize = 16;

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { name, file } => {
                write!(f, "{name} and {file} are both set; set one of them")
            }
            Self::MetricsToken => write!(
                f,
                "the token in {METRICS_TOKEN} or {METRICS_TOKEN_FILE} should be \
                 {MIN_METRICS_TOKEN_BYTES} or more visible ASCII characters; \
                 `openssl rand -base64 32` makes one"
            ),
            Self::Empty => write!(
                f,
                "the secret is empty, so anyone could sign tokens; {SECRET} should hold 32 bytes \
                 or more"
            ),
            Self::ServiceKey { name, error } => write!(f, "{name} cannot be used: {error}"),
            Self::WebhookSecret(error) => {
                write!(f, "{WEBHOOK_SECRET} or {WEBHOOK_SECRET_FILE} cannot be used: {error}")
            }
            Self::Unreadable { name, path, reason } => {
                let path = path.display();
                write!(f, "{path}, which {name} names, cannot be read: {reason}")
            }
            Self::Jwks(error) => error.fmt(f),
            Self::JwksUrl(error) => error.fmt(f),
            Self::NotText { name } => write!(f, "{name} is not UTF-8"),
            Self::Unmatchable { name, right } => write!(
                f,
                "{name} has surrounding whitespace or control characters, so no claim of a token \
                 matches it; write {right:?}"
            ),
        }
    }
}

impl std::error::Error for KeysError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Keys, KeysError> {
        load_keys(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(*value))
        })
    }

    #[test]
    fn nothing_set_is_no_key_and_an_empty_secret_is_refused() {
        assert!(load(&[]).expect("nothing wrong").secret.is_none());
        assert_eq!(load(&[(SECRET, "")]).err(), Some(KeysError::Empty));
        let both = load(&[(SECRET, "a"), (SECRET_FILE, "b")]);
        assert_eq!(both.err(), Some(KeysError::Twice { name: SECRET, file: SECRET_FILE }));
    }

    #[test]
    fn a_secret_file_is_read_without_its_last_newline() {
        let path = std::env::temp_dir().join(format!("herenow-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\r\n").expect("the temporary folder can be written");
        let name = path.to_str().expect("the temporary folder's name is UTF-8");
        let keys = load(&[(SECRET_FILE, name), ("JWT_ISSUER", "me"), ("JWT_AUDIENCE", "")]);
        std::fs::remove_file(&path).expect("it was just written");
        let keys = keys.expect("all right");
        assert_eq!(keys.secret, Secret::new(b"s3cret"));
        assert_eq!((keys.issuer.as_deref(), keys.audience), (Some("me"), None));
        let missing = load(&[(SECRET_FILE, name)]).expect_err("gone");
        assert!(missing.to_string().contains("cannot be read"), "{missing}");
    }

    #[test]
    fn an_issuer_or_audience_that_no_token_can_have_is_refused() {
        for (name, value) in [(ISSUER, "me\n"), (AUDIENCE, " me"), (ISSUER, "m\u{1}e")] {
            let said = load(&[(name, value)]).expect_err("no token has it").to_string();
            assert!(said.starts_with(name) && said.ends_with("write \"me\""), "{said}");
        }
        let spaced = load(&[(ISSUER, "me and you")]).expect("a token may have it");
        assert_eq!(spaced.issuer.as_deref(), Some("me and you"));
    }

    #[test]
    fn a_jwks_file_that_is_missing_or_wrong_is_named_and_an_unset_one_is_not_read() {
        assert!(load(&[(JWKS_FILE, "")]).expect("nothing wrong").jwks.is_none());
        let missing = load(&[(JWKS_FILE, "/nowhere/keys.json")]).expect_err("it is not there");
        assert!(missing.to_string().contains("/nowhere/keys.json cannot be read"), "{missing}");
        // Whoever signs needs no public keys.
        let name = |name: &str| (name == JWKS_FILE).then(|| "/nowhere/keys.json".into());
        assert!(load_signing_keys(name).is_ok());
    }

    #[test]
    fn a_token_for_metrics_that_can_be_guessed_or_not_be_sent_is_refused() {
        let given = |token| load(&[(METRICS_TOKEN, token)]).map(|keys| keys.metrics_token);
        assert_eq!(load(&[]).expect("nothing wrong").metrics_token, None);
        let good = given("0123456789abcdef").expect("long enough").expect("it is set");
        assert!(good.is(b"0123456789abcdef"));
        assert!(!good.is(b"0123456789abcdeX") && !good.is(b"0123456789abcde") && !good.is(b""));
        for bad in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdefé"] {
            assert_eq!(given(bad).err(), Some(KeysError::MetricsToken), "{bad}");
        }
        let keys = load(&[(METRICS_TOKEN, "0123456789abcdef")]).expect("nothing wrong");
        assert!(keys.is_empty(), "it signs nobody in");
    }

    #[test]
    fn a_service_key_that_is_short_or_given_twice_is_refused() {
        let key = "k".repeat(32);
        assert!(load(&[]).expect("nothing wrong").service.is_empty());
        let good = load(&[(SERVICE_KEY, &key)]).expect("long enough");
        assert!(good.service.admit(key.as_bytes()) && good.is_empty(), "it signs no user in");
        let short = load(&[(SERVICE_KEY, &key[1..])]).expect_err("31 bytes").to_string();
        assert!(short.contains("SERVICE_KEY") && short.contains("has 31 bytes"), "{short}");
        let both = load(&[(SERVICE_KEY, &key), (SERVICE_KEY_FILE, "keys")]);
        let twice = KeysError::Twice { name: SERVICE_KEY, file: SERVICE_KEY_FILE };
        assert_eq!(both.err(), Some(twice));
        let missing = load(&[(SERVICE_KEY_FILE, "/nowhere/keys")]).expect_err("it is not there");
        let said = missing.to_string();
        assert!(said.starts_with("SERVICE_KEY_FILE cannot be used: /nowhere/keys"), "{said}");
    }
}
