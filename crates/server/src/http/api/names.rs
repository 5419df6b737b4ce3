//! The names in paths and bodies: channels, users, and the keys of members without a connection.
//! Each can only be built valid, and says in the document what is valid.

use std::borrow::Cow;

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use aide::operation::{ParamLocation, add_parameters, parameters_from_schema};
use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use herenow_hub::MemberKey;
use herenow_wire::{ChannelName, UserId};
use hyper::http::request::Parts;
use schemars::{Schema, json_schema};
use serde::Deserialize;

use super::document::inline_schema;
use super::problem::{Code, Problem};
use crate::backend::Backend;

/// The channel of a path.
#[derive(Debug)]
pub(super) struct Channel(pub(super) ChannelName);

/// The user of a path.
#[derive(Debug)]
pub(super) struct User(pub(super) UserId);

/// The key of a path.
#[derive(Debug)]
pub(super) struct Key(pub(super) MemberKey);

/// A channel in a body, not checked yet.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct ChannelText(String);

/// A user in a body, not checked yet.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct UserText(String);

/// A connection in a body, not checked yet.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct ConnectionText(String);

impl ConnectionText {
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl ChannelText {
    pub(super) fn parse(&self, backend: &Backend) -> Result<ChannelName, Problem> {
        shown_channel(&self.0, backend)
    }
}

impl UserText {
    pub(super) fn parse(&self) -> Result<UserId, Problem> {
        user(&self.0)
    }
}

/// A channel that backends are shown.
fn shown_channel(text: &str, backend: &Backend) -> Result<ChannelName, Problem> {
    let channel = channel(text)?;
    match backend.hides(&channel) {
        true => Err(Problem::new(Code::InvalidChannel, OWN_CHANNEL)),
        false => Ok(channel),
    }
}

/// With or without what stands before every name on the wire.
fn channel(text: &str) -> Result<ChannelName, Problem> {
    let has_prefix = bare(text).len() < text.len();
    let wire: Cow<'_, str> =
        if has_prefix { text.into() } else { format!("{CHANNEL_PREFIX}{text}").into() };
    ChannelName::parse(&wire).map_err(|error| {
        Problem::new(Code::InvalidChannel, format!("In a channel's name: {error}."))
    })
}

/// A name, or the beginning of one, without its prefix.
pub(super) fn bare(text: &str) -> &str {
    let canonical = text.strip_prefix(REALTIME_PREFIX).unwrap_or(text);
    canonical.strip_prefix(CHANNEL_PREFIX).unwrap_or(text)
}

fn user(text: &str) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|error| Problem::parameter(format!("In a user's id: {error}.")))
}

fn key(text: &str) -> Result<MemberKey, Problem> {
    MemberKey::parse(text).ok_or_else(|| {
        Problem::parameter("A key has 1 to 64 letters, digits, dots, underscores and dashes.")
    })
}

/// A type that is read from the parameter of this name in a path, for a backend.
macro_rules! path_parameter {
    ($part:ident, $name:literal, $parse:expr, $schema:path) => {
        impl<S: Send + Sync> FromRequestParts<S> for $part
        where
            Backend: FromRef<S>,
        {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                let parameters = RawPathParams::from_request_parts(parts, state).await;
                let parameters = parameters.expect("the target was checked to be text");
                let mut named = parameters.iter().filter(|(name, _)| *name == $name);
                let (_, text) = named.next().expect("the path of this handler has the parameter");
                $parse(text, &Backend::from_ref(state)).map(Self)
            }
        }

        impl OperationInput for $part {
            fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
                let schema = json_schema!({
                    "properties": { $name: $schema() },
                    "required": [$name],
                });
                let parameters = parameters_from_schema(ctx, schema, ParamLocation::Path);
                add_parameters(ctx, operation, parameters);
            }
        }
    };
}

path_parameter!(Channel, "channel", shown_channel, channel_schema);
path_parameter!(User, "userId", |text, _: &Backend| user(text), user_schema);
path_parameter!(Key, "key", |text, _: &Backend| key(text), key_schema);

inline_schema!(ChannelText, channel_schema());
inline_schema!(UserText, user_schema());
inline_schema!(ConnectionText, connection_schema());

fn channel_schema() -> Schema {
    json_schema!({
        "type": "string",
        "description": "A channel's name, with or without `presence:` before it: 1 to 200 bytes of \
                        UTF-8 without control characters.",
        "pattern": CHANNEL_PATTERN,
    })
}

fn user_schema() -> Schema {
    json_schema!({
        "type": "string",
        "description": "A user's id, the `sub` of a token: 1 to 256 bytes of UTF-8.",
        "minLength": 1,
        "maxLength": UserId::MAX_BYTES,
    })
}

fn connection_schema() -> Schema {
    json_schema!({
        "type": "string",
        "description": "A connection's id, as on a WebSocket.",
        "pattern": "^[A-Za-z0-9_-]{21}[AQgw]$",
    })
}

fn key_schema() -> Schema {
    json_schema!({
        "type": "string",
        "description": "Your own name of the member.",
        "pattern": "^[A-Za-z0-9._-]{1,64}$",
    })
}

const OWN_CHANNEL: &str = "This channel belongs to the probe of the server (truthProbeMs), which \
                           backends are not shown.";
const CHANNEL_PREFIX: &str = "presence:";
const REALTIME_PREFIX: &str = "realtime:";
const CHANNEL_PATTERN: &str = "^(?!(realtime:)?presence:$)((realtime:)?presence:)?\
                               [^\\u0000-\\u001f\\u007f-\\u009f]{1,200}$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_may_be_written_with_its_prefix_or_without() {
        for (text, name) in [
            ("lobby", "lobby"),
            ("presence:lobby", "lobby"),
            ("realtime:presence:lobby", "lobby"),
            ("presence:presence:", "presence:"),
            ("realtime:lobby", "realtime:lobby"),
            ("a/b", "a/b"),
        ] {
            assert_eq!(channel(text).expect(text).as_str(), name, "{text}");
        }
        for wrong in ["", "presence:", "realtime:presence:", "a\nb", &"x".repeat(201)] {
            assert!(channel(wrong).is_err(), "{wrong}");
        }
    }
}
