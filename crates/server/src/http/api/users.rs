//! Where users are, and which of some are here.

use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Answered;
use super::body::Body;
use super::channels::{self, MAX_NAMES};
use super::cursor::List;
use super::document::require_all;
use super::members::ShownPresence;
use super::names::{ChannelText, User, UserText};
use super::query::{NoParameters, Paging, Query};
use crate::backend::{Backend, Page};

/// Where a user is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = require_all_but_unanswered)]
#[serde(rename_all = "camelCase")]
pub(super) struct Whereabouts {
    user_id: String,
    /// In the order of the names.
    channels: Vec<UserChannel>,
    /// The `cursor` of the next page; null on the last page.
    next: Option<String>,
    /// Nodes of a cluster that did not answer within 2 s. The user may be in more channels than these.
    /// Absent if every node has answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unanswered: Vec<String>,
}

/// Nodes that did not answer are named only if there are any.
fn require_all_but_unanswered(schema: &mut schemars::Schema) {
    require_all(schema);
    if let Some(serde_json::Value::Array(required)) = schema.ensure_object().get_mut("required") {
        required.retain(|name| name != "unanswered");
    }
}

/// What a user shows in a channel.
#[derive(Debug, Serialize, JsonSchema)]
struct UserChannel {
    /// The name of the channel, with `presence:`.
    channel: String,
    /// One for each connection of the user that is a member.
    presences: Vec<ShownPresence>,
}

/// Which users are asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UsersQuery {
    /// At most 1000.
    #[schemars(length(max = MAX_NAMES))]
    user_ids: Vec<UserText>,
    /// The channel; without it, any channel.
    channel: Option<ChannelText>,
}

/// Those who are here.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Users {
    /// The users who are members, in the order of the request.
    users: Vec<UserConnections>,
}

/// A user who is here.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UserConnections {
    user_id: String,
    /// How many of the user's connections are members.
    connections: usize,
}

pub(super) async fn read(
    State(backend): State<Backend>,
    User(user): User,
    Query(Paging { limit, cursor }): Query<Paging>,
) -> Answered<Whereabouts> {
    let list = List { kind: "user", of: user.as_str() };
    let after = cursor.map(|cursor| channels::channel_at(list, &cursor)).transpose()?;
    let found = backend.user(user.clone(), after, limit.0).await?;
    let Page { items, has_more } = found.page;
    let last = items.last().filter(|_| has_more);
    let next = last.map(|(channel, _)| list.cursor(channel.as_str().as_bytes()));
    let channels = items.into_iter().map(|(channel, members)| UserChannel {
        channel: channel.to_string(),
        presences: members.into_iter().map(ShownPresence::of).collect(),
    });
    let channels = channels.collect();
    let unanswered = found.silent.iter().map(ToString::to_string).collect();
    Ok(Json(Whereabouts { user_id: user.to_string(), channels, next, unanswered }))
}

pub(super) fn about_read(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("readUser")
        .tag("Users")
        .summary("List the channels of which a user is a member.")
        .description(
            "A user who is a member of no channel has an empty list; that is not an error.",
        )
}

pub(super) async fn query(
    State(backend): State<Backend>,
    Query(NoParameters {}): Query<NoParameters>,
    Body(UsersQuery { user_ids, channel }): Body<UsersQuery>,
) -> Answered<Users> {
    channels::check_count("userIds", user_ids.len())?;
    let users: Vec<_> = user_ids.iter().map(UserText::parse).collect::<Result<_, _>>()?;
    let channel = channel.as_ref().map(|name| name.parse(&backend)).transpose()?;
    let counts = backend.count_users(users.clone(), channel).await?;
    let here = users.into_iter().zip(counts).filter(|(_, connections)| *connections > 0);
    let users = here.map(|(user, connections)| {
        let user_id = user.to_string();
        UserConnections { user_id, connections }
    });
    Ok(Json(Users { users: users.collect() }))
}

pub(super) fn about_query(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("queryUsers")
        .tag("Users")
        .summary("Read which of several users are members of a channel, or of any channel.")
}
