//! The members of a channel, and members that a backend shows without a connection.

use std::time::Duration;

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as Described};
use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use herenow_hub::{ListedMember, PutMember};
use herenow_wire::{ConnectionId, Info, State as MemberState, StateError};
use hyper::StatusCode;
use jiff::Timestamp;
use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Answered;
use super::body::{self, Body};
use super::cursor::{self, List};
use super::document::{inline_schema, require_all};
use super::names::{Channel, Key, UserText};
use super::problem::{Code, Problem};
use super::query::{NoParameters, Paging, Query};
use crate::backend::{Backend, DatedMember, Members, Shown};

/// Some members of a channel at one moment.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = require_all)]
pub(super) struct MemberList {
    /// The name of the channel, with `presence:`.
    channel: String,
    /// As on a WebSocket; null if the channel is unused.
    epoch: Option<u64>,
    /// As on a WebSocket; null if the channel is unused.
    seq: Option<u64>,
    /// In the order of `presence_sync`.
    presences: Vec<Presence>,
    /// The `cursor` of the next page; null on the last page.
    next: Option<String>,
}

/// A member.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Presence {
    /// The user id.
    user_id: String,
    #[serde(flatten)]
    shown: ShownPresence,
}

/// What a member shows.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownPresence {
    /// As on a WebSocket.
    connection_id: String,
    /// The state.
    state: StateJson,
    /// The claim `presence.info` of its token, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<InfoJson>,
    /// When it joined the channel, in UTC.
    since: Iso8601,
}

/// The JSON object of a member.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct StateJson(Box<RawValue>);

/// What a token says of its user.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct InfoJson(Box<RawValue>);

/// A moment, as `2026-01-31T12:00:00.000Z`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Iso8601(String);

/// A member without a connection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Wanted {
    /// The user id.
    user_id: UserText,
    /// The state.
    state: StateJson,
    /// How long the member stays without another PUT, in milliseconds.
    #[serde(deserialize_with = "body::whole")]
    #[schemars(range(min = MIN_TTL_MS, max = MAX_TTL_MS))]
    ttl_ms: u64,
}

/// What has become of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Put {
    /// Its id on WebSockets. It stays the same for the same key.
    connection_id: String,
    /// Whether the member is new.
    created: bool,
}

/// The member has left.
pub(super) struct Removed;

const MIN_TTL_MS: u64 = 1_000;
const MAX_TTL_MS: u64 = 86_400_000;

pub(super) async fn list(
    State(backend): State<Backend>,
    Channel(channel): Channel,
    Query(Paging { limit, cursor }): Query<Paging>,
) -> Answered<MemberList> {
    let list = List { kind: "members", of: channel.as_str() };
    let after = cursor.map(|cursor| Place::parse(list, &cursor)).transpose()?;
    let seq = after.as_ref().map(|place| place.seq);
    let Members { position, page, .. } = backend.members(channel.clone(), seq, limit.0).await?;
    if let (Some(after), Some(position)) = (&after, position)
        && after.epoch != position.epoch
    {
        return Err(cursor::wrong());
    }
    let (epoch, seq) = position.map(|at| (at.epoch, at.seq)).unzip();
    let last = page.items.last().filter(|_| page.has_more);
    let next =
        last.zip(epoch).map(|(last, epoch)| Place { epoch, seq: last.member.seq }.cursor(list));
    let presences = page.items.into_iter().map(|dated| {
        let user_id = dated.member.user.id().to_string();
        Presence { user_id, shown: ShownPresence::of(dated) }
    });
    let (channel, presences) = (channel.to_string(), presences.collect());
    Ok(Json(MemberList { channel, epoch, seq, presences, next }))
}

pub(super) fn about_list(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation.id("listMembers").tag("Members").summary("List the members of a channel.").description(
        "A member that changes while the pages are read may be on two of them; one that stays is \
         on at least one.",
    )
}

pub(super) async fn put(
    State(backend): State<Backend>,
    (Channel(channel), Key(key)): (Channel, Key),
    Query(NoParameters {}): Query<NoParameters>,
    Body(Wanted { user_id, state, ttl_ms }): Body<Wanted>,
) -> Result<Put, Problem> {
    if !(MIN_TTL_MS..=MAX_TTL_MS).contains(&ttl_ms) {
        let detail = format!("`ttlMs` should be a whole number from {MIN_TTL_MS} to {MAX_TTL_MS}.");
        return Err(Problem::parameter(detail));
    }
    let user = user_id.parse()?;
    let state = state.parse()?;
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|_| Problem::new(Code::Unavailable, "The system gave no random bytes."))?;
    let (connection, ttl) = (ConnectionId::from_bytes(id), Duration::from_millis(ttl_ms));
    let member = PutMember { channel, key, user, state, ttl, connection };
    match backend.put_member(member).await? {
        Shown::Yes { connection, is_new } => {
            Ok(Put { connection_id: connection.to_string(), created: is_new })
        }
        Shown::Full => Err(Problem::new(Code::MemberLimit, FULL)),
    }
}

pub(super) fn about_put(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("putMember")
        .tag("Members")
        .summary("Add or renew a member that has no connection, such as a bot or a device.")
        .description(
            "The same key renews the time and replaces the state. After `ttlMs` without that the \
             member leaves with `timeout`.",
        )
}

pub(super) async fn remove(
    State(backend): State<Backend>,
    (Channel(channel), Key(key)): (Channel, Key),
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Removed, Problem> {
    match backend.remove_member(channel, key).await? {
        true => Ok(Removed),
        false => Err(Problem::new(Code::NotFound, NO_SUCH_MEMBER)),
    }
}

pub(super) fn about_remove(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("removeMember")
        .tag("Members")
        .summary("Remove a member that has no connection.")
        .description("The member leaves with `leave`.")
}

/// Where the next page of members begins.
struct Place {
    epoch: u64,
    seq: u64,
}

impl Place {
    fn parse(list: List<'_>, cursor: &str) -> Result<Self, Problem> {
        let place: Vec<u8> = list.place(cursor)?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let parsed = place
            .split_at_checked(8)
            .and_then(|(epoch, seq)| Some(Self { epoch: number(epoch)?, seq: number(seq)? }));
        parsed.ok_or_else(cursor::wrong)
    }

    fn cursor(&self, list: List<'_>) -> String {
        list.cursor(&[self.epoch.to_be_bytes(), self.seq.to_be_bytes()].concat())
    }
}

impl ShownPresence {
    pub(super) fn of(DatedMember { member, since_unix_ms }: DatedMember) -> Self {
        let ListedMember { user, connection, state, .. } = member;
        Self {
            connection_id: connection.to_string(),
            state: StateJson::of(&state),
            info: user.info().map(InfoJson::of),
            since: Iso8601::of(since_unix_ms),
        }
    }
}

impl StateJson {
    fn of(state: &MemberState) -> Self {
        let json = RawValue::from_string(state.as_str().into());
        Self(json.expect("a state is JSON"))
    }

    fn parse(&self) -> Result<MemberState, Problem> {
        MemberState::parse(self.0.get()).map_err(|error| {
            let code = match error {
                StateError::TooLarge { .. } => Code::StateTooLarge,
                StateError::NotJson(_) | StateError::NotAnObject => Code::InvalidState,
            };
            Problem::new(code, format!("In the state: {error}."))
        })
    }
}

impl InfoJson {
    fn of(info: &Info) -> Self {
        Self(RawValue::from_string(info.as_str().into()).expect("information is JSON"))
    }
}

impl Iso8601 {
    fn of(unix_ms: u64) -> Self {
        let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let moment = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
        Self(moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
    }
}

inline_schema!(
    StateJson,
    json_schema!({
        "type": "object",
        "description": "A JSON object of at most 1024 bytes.",
        "additionalProperties": true,
    })
);

inline_schema!(
    InfoJson,
    json_schema!({
        "type": "object",
        "description": "A JSON object of at most 256 bytes.",
        "additionalProperties": true,
    })
);
inline_schema!(Iso8601, json_schema!({ "type": "string", "format": "date-time" }));

impl IntoResponse for Put {
    fn into_response(self) -> Response {
        let status = if self.created { StatusCode::CREATED } else { StatusCode::OK };
        (status, Json(self)).into_response()
    }
}

impl OperationOutput for Put {
    type Inner = Self;

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, Described)> {
        let Some(answer) = Json::<Self>::operation_response(ctx, operation) else {
            return Vec::new();
        };
        let described =
            |description: &str| Described { description: description.into(), ..answer.clone() };
        let mut responses = vec![
            (Some(200), described("The member existed and was renewed.")),
            (Some(201), described("The member was added.")),
        ];
        responses.extend(Problem::described(ctx, &[409]));
        responses
    }
}

impl IntoResponse for Removed {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl OperationOutput for Removed {
    type Inner = Self;

    fn inferred_responses(
        ctx: &mut GenContext,
        _operation: &mut Operation,
    ) -> Vec<(Option<u16>, Described)> {
        let removed = Described { description: "It has left.".into(), ..Described::default() };
        let mut responses = vec![(Some(204), removed)];
        responses.extend(Problem::described(ctx, &[404]));
        responses
    }
}

const FULL: &str = "The channel has as many members as `maxMembers` allows, or this server holds as \
                    many members without a connection as it may. Remove some, or try later.";
const NO_SUCH_MEMBER: &str = "The channel has no member with this key. It may have left with \
                              `timeout`: a member stays for `ttlMs` unless it is put again.";
