//! What the driver says to a server: tokens, states and the messages around them.
//!
//! Knows the protocol's client side and makes each message without allocating once its
//! buffer has grown. Refuses to know what a server answers.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::frames;

/// The secret that servers are started with and tokens are signed with.
pub const TOKEN_SECRET: &str = "a secret of the bench, known to everybody who reads this";
/// Long enough for any run.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A token for the user that stands for `member`.
pub fn token(member: usize) -> String {
    let key = EncodingKey::from_secret(TOKEN_SECRET.as_bytes());
    signed(&Header::default(), &key, member)
}

fn signed(header: &Header, key: &EncodingKey, member: usize) -> String {
    let expires = (SystemTime::now() + TOKEN_LIFE)
        .duration_since(UNIX_EPOCH)
        .expect("no clock that runs the bench stands before 1970")
        .as_secs();
    let claims = json!({ "sub": format!("u{member:06}"), "exp": expires });
    jsonwebtoken::encode(header, &claims, key).expect("the key fits the algorithm")
}

/// How a token is signed that a server checks with a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    Rs256,
    Es256,
}

/// The public halves of the keys that [`signed_token`] signs with.
pub const PUBLIC_KEYS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../server/tests/auth_jwks/keys/public.json");

/// A token for the user that stands for `member`, signed with a private key.
pub fn signed_token(signature: Signature, member: usize) -> String {
    let mut header = Header::new(signature.algorithm());
    header.kid = Some(signature.key_id().to_owned());
    signed(&header, &signature.key(), member)
}

impl Signature {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    fn key_id(self) -> &'static str {
        match self {
            Self::Rs256 => "rsa",
            Self::Es256 => "ec",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
        }
    }

    /// The keys of the server's own tests.
    fn key(self) -> EncodingKey {
        match self {
            Self::Rs256 => EncodingKey::from_rsa_der(&der(include_str!(
                "../../server/tests/auth_jwks/keys/rsa.pem"
            ))),
            Self::Es256 => EncodingKey::from_ec_der(&der(include_str!(
                "../../server/tests/auth_jwks/keys/ec.pem"
            ))),
        }
    }
}

/// What stands between the lines that begin and end a PEM file.
fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).expect("PEM is base64")
}

/// The wire name of the channel with this number.
pub fn channel_name(channel: usize) -> String {
    format!("presence:bench-{channel:04}")
}

/// The state number `number` of `member`: 120 bytes that end with the mark which the
/// reading side looks for.
pub fn push_state(out: &mut Vec<u8>, member: usize, number: u32) {
    let (x, y) = (number * 7 % 10_000, number * 13 % 10_000);
    put(
        out,
        format_args!(
            r#"{{"name":"Member {member:06}","status":"online","cursor":{{"x":"{x:04}","y":"{y:04}"}},"mode":"drawing","m":"{member:06}","n":"{number:08}"}}"#
        ),
    );
}

/// Makes frames; the buffer for the text of one is kept between two.
#[derive(Default)]
pub struct Writer {
    text: Vec<u8>,
}

impl Writer {
    pub fn auth(&mut self, out: &mut Vec<u8>, token: &str) {
        self.frame(out, format_args!(r#"{{"type":"auth","token":"{token}"}}"#));
    }

    pub fn subscribe(&mut self, out: &mut Vec<u8>, channel: &str) {
        self.frame(out, format_args!(r#"{{"type":"subscribe","channel":"{channel}"}}"#));
    }

    /// Subscribes to nothing but how many are in the channel.
    pub fn subscribe_to_count(&mut self, out: &mut Vec<u8>, channel: &str) {
        self.frame(
            out,
            format_args!(r#"{{"type":"subscribe","channel":"{channel}","mode":"count"}}"#),
        );
    }

    /// Subscribes to several channels with one message.
    pub fn subscribe_to_all<'a>(
        &mut self,
        out: &mut Vec<u8>,
        channels: impl Iterator<Item = &'a str>,
    ) {
        self.text.clear();
        put(&mut self.text, format_args!(r#"{{"type":"subscribe","channels":["#));
        for (at, channel) in channels.enumerate() {
            let comma = if at > 0 { "," } else { "" };
            put(&mut self.text, format_args!(r#"{comma}"{channel}""#));
        }
        put(&mut self.text, format_args!("]}}"));
        frames::push_masked(out, frames::TEXT, &self.text);
    }

    pub fn untrack(&mut self, out: &mut Vec<u8>, channel: &str) {
        self.frame(out, format_args!(r#"{{"type":"presence_leave","channel":"{channel}"}}"#));
    }

    pub fn ping(&mut self, out: &mut Vec<u8>) {
        self.frame(out, format_args!(r#"{{"type":"ping"}}"#));
    }

    /// Tracks the state with this number.
    pub fn track(&mut self, out: &mut Vec<u8>, channel: &str, (member, number): (usize, u32)) {
        self.text.clear();
        put(
            &mut self.text,
            format_args!(r#"{{"type":"presence_join","channel":"{channel}","state":"#),
        );
        push_state(&mut self.text, member, number);
        self.text.push(b'}');
        frames::push_masked(out, frames::TEXT, &self.text);
    }

    fn frame(&mut self, out: &mut Vec<u8>, text: std::fmt::Arguments) {
        self.text.clear();
        put(&mut self.text, text);
        frames::push_masked(out, frames::TEXT, &self.text);
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use serde_json::Value;

    use super::*;

    const STATE_BYTES: usize = 120;

    #[test]
    fn every_state_has_the_stated_size_and_is_json() {
        for number in [0, 1, 99_999_999] {
            let mut state = Vec::new();
            push_state(&mut state, 123_456, number);
            assert_eq!(state.len(), STATE_BYTES);
            let value: serde_json::Value = serde_json::from_slice(&state).expect("it is JSON");
            assert_eq!(value["m"], "123456");
            assert_eq!(value["n"], format!("{number:08}"));
        }
    }

    #[test]
    fn a_token_is_signed_and_names_its_user() {
        let key = DecodingKey::from_secret(TOKEN_SECRET.as_bytes());
        let read = decode::<Value>(&token(7), &key, &Validation::new(Algorithm::HS256));
        assert_eq!(read.expect("it is signed and lasts").claims["sub"], "u000007");
    }
}
