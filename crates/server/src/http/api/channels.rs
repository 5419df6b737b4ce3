//! How many use which channels.

use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use herenow_wire::ChannelName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Answered;
use super::body::Body;
use super::cursor::{self, List};
use super::document::require_all;
use super::names::{self, Channel, ChannelText};
use super::problem::Problem;
use super::query::{Limit, NoParameters, Query};
use crate::backend::{Backend, ChannelUse, Members, Page};

/// Which channels are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct Listing {
    /// Only channels whose names begin with this text, with or without `presence:`.
    #[serde(default)]
    prefix: String,
    /// The maximum number of items on a page.
    #[serde(default)]
    limit: Limit,
    /// `next` of the previous page; without it, the first page.
    #[schemars(with = "String")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Some channels in use.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = require_all)]
pub(super) struct ChannelList {
    /// In the order of the names.
    channels: Vec<ChannelNumbers>,
    /// The `cursor` of the next page; null on the last page.
    next: Option<String>,
}

/// How many use a channel at one moment.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = require_all)]
pub(super) struct ChannelNumbers {
    /// The name of the channel, with `presence:`.
    channel: String,
    /// As on a WebSocket; null if the channel is unused, or while its list is rebuilt.
    epoch: Option<u64>,
    /// As on a WebSocket; null if the channel is unused, or while its list is rebuilt.
    seq: Option<u64>,
    /// Joins, updates and leaves in this epoch; null if the channel is unused, or while its list is
    /// rebuilt. The difference of two answers is the number of changes between them.
    changes: Option<u64>,
    /// The number of different users who are members.
    users: usize,
    /// The number of members.
    connections: usize,
    /// The number of connections that subscribe.
    subscribers: usize,
}

/// Which channels are asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelsQuery {
    /// At most 1000.
    #[schemars(length(max = MAX_NAMES))]
    channels: Vec<ChannelText>,
}

/// The channels that were asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Channels {
    /// In the order of the request.
    channels: Vec<ChannelNumbers>,
}

/// Names that one request may hold.
pub(super) const MAX_NAMES: usize = 1000;

pub(super) async fn list(
    State(backend): State<Backend>,
    Query(Listing { prefix, limit, cursor }): Query<Listing>,
) -> Answered<ChannelList> {
    let prefix = names::bare(&prefix);
    let list = List { kind: "channels", of: prefix };
    let after = cursor.map(|cursor| channel_at(list, &cursor)).transpose()?;
    let Page { items, has_more } = backend.channels(prefix, after, limit.0).await?;
    let last = items.last().filter(|_| has_more);
    let next = last.map(|last| list.cursor(last.channel.as_str().as_bytes()));
    let channels = items.into_iter().map(ChannelNumbers::from).collect();
    Ok(Json(ChannelList { channels, next }))
}

pub(super) fn about_list(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation.id("listChannels").tag("Channels").summary("List the channels in use, by name.")
}

pub(super) async fn read(
    State(backend): State<Backend>,
    Channel(channel): Channel,
    Query(NoParameters {}): Query<NoParameters>,
) -> Answered<ChannelNumbers> {
    let members = backend.members(channel.clone(), None, 0).await?;
    let subscribers = backend.subscribers(channel.clone()).await?;
    let Members { position, users, connections, .. } = members;
    let read = ChannelUse { channel, position, users, connections, subscribers };
    Ok(Json(ChannelNumbers::from(read)))
}

pub(super) fn about_read(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("readChannel")
        .tag("Channels")
        .summary("Read how many users, members and subscribers a channel has.")
        .description("An unused channel has zeros; that is not an error.")
}

pub(super) async fn query(
    State(backend): State<Backend>,
    Query(NoParameters {}): Query<NoParameters>,
    Body(ChannelsQuery { channels }): Body<ChannelsQuery>,
) -> Answered<Channels> {
    check_count("channels", channels.len())?;
    let channels: Result<_, _> = channels.iter().map(|name| name.parse(&backend)).collect();
    let uses = backend.count_channels(channels?).await?;
    Ok(Json(Channels { channels: uses.into_iter().map(ChannelNumbers::from).collect() }))
}

pub(super) fn about_query(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("queryChannels")
        .tag("Channels")
        .summary("Read these numbers for several channels, in the order of the request.")
}

/// Refuses more names than one request may hold.
pub(super) fn check_count(field: &str, count: usize) -> Result<(), Problem> {
    match count {
        0..=MAX_NAMES => Ok(()),
        _ => {
            let detail = format!("`{field}` has at most {MAX_NAMES} items. Send several requests.");
            Err(Problem::parameter(detail))
        }
    }
}

/// The channel that a cursor stands for.
pub(super) fn channel_at(list: List<'_>, cursor: &str) -> Result<ChannelName, Problem> {
    let place = String::from_utf8(list.place(cursor)?).map_err(|_| cursor::wrong())?;
    ChannelName::parse(&format!("presence:{place}")).map_err(|_| cursor::wrong())
}

impl From<ChannelUse> for ChannelNumbers {
    fn from(of: ChannelUse) -> Self {
        let ChannelUse { channel, position, users, connections, subscribers } = of;
        let (epoch, seq) = position.map(|at| (at.epoch, at.seq)).unzip();
        let (channel, changes) = (channel.to_string(), position.map(|at| at.changes));
        Self { channel, epoch, seq, changes, users, connections, subscribers }
    }
}
