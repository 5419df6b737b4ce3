//! Why a user is, or is not, in a channel.

use std::borrow::Cow;

use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use herenow_core::Heard;
use herenow_hub::Life;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Answered;
use super::document::{inline_schema, require_all};
use super::names::{ChannelText, UserText};
use super::query::Query;
use crate::backend::Backend;
use crate::explanation::{Event, Explanation, Kind, Moments, address_text};

/// What is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(inline)]
pub(super) struct ExplainQuery {
    /// The channel, with or without `presence:`.
    channel: ChannelText,
    /// The user id.
    user_id: UserText,
}

/// Why a user is, or is not, in a channel.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplanationAnswer {
    /// The channel's name, with `presence:`.
    channel: String,
    user_id: String,
    /// Whether the user is in the list of the channel.
    is_here: bool,
    /// How many members the user has there.
    members: usize,
    /// The answer in a sentence or two, for people.
    summary: String,
    /// The events that led to it, the oldest first, and then the present.
    events: Vec<EventAnswer>,
    /// From when on the records are complete.
    complete_since: Moment,
}

/// Something that has happened, or is so.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = require_all)]
#[serde(rename_all = "camelCase")]
struct EventAnswer {
    kind: KindText,
    /// When it happened (the last time, if more than once), or since when it is so.
    at: Moment,
    /// The event as a sentence for people. The wording may change.
    sentence: String,
    /// The connection that it is about.
    connection_id: Option<String>,
    /// What the server knows about the socket of that connection.
    connection: Option<ConnectionAnswer>,
    /// The close code of the connection.
    close_code: Option<u16>,
    /// The error code that the client received.
    code: Option<&'static str>,
    /// The pattern of the configuration that applied to the channel.
    pattern: Option<String>,
    /// How often it has happened in a row.
    count: u32,
}

/// The life of a socket.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = require_all)]
#[serde(rename_all = "camelCase")]
struct ConnectionAnswer {
    opened_at: Moment,
    /// The address of the client, as trusted proxies state it.
    address: String,
    /// The beginning of the request's `User-Agent`.
    user_agent: Option<String>,
    authenticated_at: Option<Moment>,
    /// The key of its token.
    key: Option<String>,
    /// Whether it has taken over the session of a connection that broke.
    has_resumed: bool,
    last_heard_at: Moment,
    /// What the server received last: `opening`, `message`, `ping`, `pong` or `close`.
    last_heard: &'static str,
}

/// A moment, as `2026-01-31T12:00:00.000Z`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Moment(String);

inline_schema!(Moment, json_schema!({ "type": "string", "format": "date-time" }));

/// The name of a kind.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct KindText(&'static str);

impl JsonSchema for KindText {
    fn schema_name() -> Cow<'static, str> {
        "EventKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Kind::ALL.map(Kind::as_str);
        json_schema!({ "type": "string", "enum": names })
    }
}

pub(super) async fn explain(
    State(backend): State<Backend>,
    Query(ExplainQuery { channel, user_id }): Query<ExplainQuery>,
) -> Answered<ExplanationAnswer> {
    let (channel, user) = (channel.parse(&backend)?, user_id.parse()?);
    let (explanation, moments) = backend.explain(channel.clone(), user.clone()).await?;
    let Explanation { is_here, members, summary, events, complete_since } = explanation;
    Ok(Json(ExplanationAnswer {
        channel: channel.to_string(),
        user_id: user.to_string(),
        is_here,
        members,
        summary,
        events: events.into_iter().map(|event| EventAnswer::of(event, moments)).collect(),
        complete_since: Moment(moments.utc(complete_since)),
    }))
}

pub(super) fn about_explain(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("explain")
        .tag("Users")
        .summary("Read why a user is, or is not, in a channel.")
        .description(
            "What the server remembers of the user's connections and members: for as long as they \
             are here, and for ten minutes after that. It holds addresses and user agents, and no \
             states.",
        )
}

impl EventAnswer {
    fn of(event: Event, moments: Moments) -> Self {
        let Event { kind, at, sentence, connection, life, close_code, error, pattern, count } =
            event;
        Self {
            kind: KindText(kind.as_str()),
            at: Moment(moments.utc(at)),
            sentence,
            connection_id: connection.map(|id| id.to_string()),
            connection: life.map(|life| ConnectionAnswer::of(&life, moments)),
            close_code,
            code: error.map(|code| code.as_str()),
            pattern: pattern.map(|pattern| pattern.to_string()),
            count,
        }
    }
}

impl ConnectionAnswer {
    fn of(life: &Life, moments: Moments) -> Self {
        let moment = |at| Moment(moments.utc(at));
        Self {
            opened_at: moment(life.opened),
            address: address_text(life.address),
            user_agent: life.agent.as_ref().map(|agent| agent.to_string()),
            authenticated_at: life.signed_in.map(moment),
            key: life.key.as_ref().map(|key| key.to_string()),
            has_resumed: life.has_resumed,
            last_heard_at: moment(life.heard_at),
            last_heard: match life.heard {
                Heard::Opening => "opening",
                Heard::Message => "message",
                Heard::Ping => "ping",
                Heard::Pong => "pong",
                Heard::Close => "close",
            },
        }
    }
}
