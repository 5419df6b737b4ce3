//! The secrets that messages are signed with, as the Standard Webhooks specification writes them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::auth::Secret;

/// Every message is signed with each of them, so that a receiver can be given another one before
/// the old one is taken away.
#[derive(Clone, Debug, Default)]
pub struct WebhookSecrets(Vec<Secret>);

/// Why a secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookSecretError {
    /// There is none.
    Empty,
    /// There are more than [`MAX_SECRETS`].
    TooMany,
    /// It is not `whsec_` and base64.
    NotASecret {
        /// Its line, from 1.
        line: usize,
    },
    /// It can be guessed, or is too long for libraries.
    Length {
        /// Its line, from 1.
        line: usize,
        /// How many bytes the base64 stands for.
        bytes: usize,
    },
}

/// Secrets at once.
const MAX_SECRETS: usize = 4;
/// What the specification asks for.
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;
const PREFIX: &str = "whsec_";

impl WebhookSecrets {
    /// One a line.
    pub fn parse(text: &[u8]) -> Result<Self, WebhookSecretError> {
        let mut secrets = Vec::new();
        for (line, secret) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let secret = secret.trim_ascii();
            if secret.is_empty() {
                continue;
            }
            let encoded = secret.strip_prefix(PREFIX.as_bytes());
            let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
            let bytes = decoded.ok_or(WebhookSecretError::NotASecret { line })?;
            if !(MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
                return Err(WebhookSecretError::Length { line, bytes: bytes.len() });
            }
            secrets.extend(Secret::new(&bytes));
        }
        match secrets.len() {
            0 => Err(WebhookSecretError::Empty),
            1..=MAX_SECRETS => Ok(Self(secrets)),
            _ => Err(WebhookSecretError::TooMany),
        }
    }

    /// Whether messages cannot be signed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let signatures = self.0.iter().map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("any length fits");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body.as_bytes());
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for WebhookSecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "it holds no secret; {MAKE_ONE}"),
            Self::TooMany => write!(f, "it holds more than {MAX_SECRETS} secrets"),
            Self::NotASecret { line } => {
                write!(f, "line {line} should be `{PREFIX}` and base64; {MAKE_ONE}")
            }
            Self::Length { line, bytes } => write!(
                f,
                "the base64 of line {line} stands for {bytes} bytes, and should for {MIN_BYTES} to \
                 {MAX_BYTES}; {MAKE_ONE}"
            ),
        }
    }
}

const MAKE_ONE: &str = "`echo whsec_$(openssl rand -base64 32)` makes one";

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with the published library for Python, standardwebhooks 1.0.1.
    #[test]
    fn a_message_has_the_signature_that_the_published_library_gives_it() {
        let secrets = WebhookSecrets::parse(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        let signature = secrets.expect("a good secret").sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_checked_and_the_error_shows_nothing_of_it() {
        let of = |text: &str| WebhookSecrets::parse(text.as_bytes()).map(|secrets| secrets.0.len());
        let good = format!("whsec_{}", STANDARD.encode([7; 32]));
        assert_eq!(of(&format!("{good}\n\n {good} \n")), Ok(2));
        assert_eq!(of("\n"), Err(WebhookSecretError::Empty));
        assert_eq!(of(&good[6..]), Err(WebhookSecretError::NotASecret { line: 1 }));
        assert_eq!(
            of(&format!("{good}\nwhsec_%")),
            Err(WebhookSecretError::NotASecret { line: 2 })
        );
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        assert_eq!(of(&short), Err(WebhookSecretError::Length { line: 1, bytes: 23 }));
        assert_eq!(of(&[&*good; 5].join("\n")), Err(WebhookSecretError::TooMany));
    }
}
