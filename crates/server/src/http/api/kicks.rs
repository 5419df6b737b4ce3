//! Users and connections that a backend removes from a channel, or from the server.

use std::time::Duration;

use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use herenow_hub::Target;
use herenow_wire::ConnectionId;
use schemars::{JsonSchema, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::Answered;
use super::body::{self, Body};
use super::document::inline_schema;
use super::names::{Channel, ConnectionText, User, UserText};
use super::problem::{Code, Problem};
use super::query::{NoParameters, Query};
use crate::backend::Backend;

/// Who is removed from a channel.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "it should have a `userId` or a `connectionId`, a `forMs` from 0 to 86400000 or \
                 none, and nothing else"
)]
pub(super) enum KickRequest {
    User(KickUser),
    Connection(KickConnection),
}

/// All connections of a user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct KickUser {
    user_id: UserText,
    /// How long the user is refused, in milliseconds.
    #[serde(default)]
    for_ms: ForMs,
}

/// One connection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct KickConnection {
    connection_id: ConnectionText,
    /// How long the connection is refused, in milliseconds.
    #[serde(default)]
    for_ms: ForMs,
}

/// How a user is disconnected.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DisconnectRequest {
    /// How long the user is refused, in milliseconds.
    #[serde(default)]
    for_ms: ForMs,
}

/// How many were removed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct KickResult {
    /// The number of connections that were removed.
    connections: usize,
}

/// For how long a user or a connection is kept out.
#[derive(Clone, Copy, Debug)]
struct ForMs(u64);

const DEFAULT_FOR_MS: u64 = 60_000;
const MAX_FOR_MS: u64 = 86_400_000;

pub(super) async fn kick(
    State(backend): State<Backend>,
    Channel(channel): Channel,
    Query(NoParameters {}): Query<NoParameters>,
    Body(request): Body<KickRequest>,
) -> Answered<KickResult> {
    let (target, for_ms) = match request {
        KickRequest::User(KickUser { user_id, for_ms }) => (Target::User(user_id.parse()?), for_ms),
        KickRequest::Connection(KickConnection { connection_id, for_ms }) => {
            (Target::Connection(connection_id.parse()?), for_ms)
        }
    };
    answer(backend.kick(channel, target, for_ms.time()).await?)
}

pub(super) fn about_kick(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("kickFromChannel")
        .tag("Kicks")
        .summary("Remove a user or a connection from a channel, and refuse it there for a time.")
        .description(
            "Its members leave with `kicked`, its subscriptions end with `KICKED`. Every event \
             loop has been told when the answer is sent. It is held in memory alone.",
        )
}

pub(super) async fn disconnect(
    State(backend): State<Backend>,
    User(user): User,
    Query(NoParameters {}): Query<NoParameters>,
    Body(DisconnectRequest { for_ms }): Body<DisconnectRequest>,
) -> Answered<KickResult> {
    answer(backend.disconnect(user, for_ms.time()).await?)
}

pub(super) fn about_disconnect(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("disconnectUser")
        .tag("Kicks")
        .summary("Close all connections of a user, and refuse the user for a time.")
        .description(
            "They close with 4005. Every event loop has been told when the answer is sent. It is \
             held in memory alone.",
        )
}

fn answer(connections: Option<usize>) -> Answered<KickResult> {
    match connections {
        Some(connections) => Ok(Json(KickResult { connections })),
        None => Err(Problem::new(Code::Unavailable, TOO_MANY)),
    }
}

impl ForMs {
    fn time(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Default for ForMs {
    fn default() -> Self {
        Self(DEFAULT_FOR_MS)
    }
}

impl<'de> Deserialize<'de> for ForMs {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        match body::whole(field)? {
            ms @ 0..=MAX_FOR_MS => Ok(Self(ms)),
            _ => Err(D::Error::custom(format!(
                "`forMs` should be a whole number from 0 to {MAX_FOR_MS}"
            ))),
        }
    }
}

inline_schema!(
    ForMs,
    json_schema!({
        "type": "integer", "minimum": 0, "maximum": MAX_FOR_MS, "default": DEFAULT_FOR_MS,
    })
);

impl ConnectionText {
    fn parse(&self) -> Result<ConnectionId, Problem> {
        ConnectionId::parse(self.text()).ok_or_else(|| {
            Problem::parameter("A connection's id has 22 characters, as on a WebSocket.")
        })
    }
}

const TOO_MANY: &str = "The server keeps out as many users and connections as it may. Try later, or \
                        use shorter times.";
