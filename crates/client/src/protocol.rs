//! The messages as a client sees them: text to value for what the server says, value to text for
//! what a client says. Knows shapes, not what follows from them.
//!
//! A server newer than this client may send types, codes and reasons that are not known here: they
//! are kept as text or come out as [`ServerMessage::Unknown`], and are never an error.

use std::sync::Arc;
use std::time::Duration;

use herenow_wire::{ChannelName, State};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a server said in one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// The token was good.
    AuthSuccess {
        /// The user that the token names.
        user_id: Arc<str>,
        /// This connection's id: an earlier one's, where its `resume` was taken.
        connection_id: Arc<str>,
        /// What takes this connection over on another socket, where the server allows that.
        resume: Option<Box<str>>,
    },
    /// The token was refused; a close follows.
    AuthError(Failure),
    /// A second token was taken on the same socket.
    AuthRefreshed {
        /// The channels that the new token may no longer see.
        revoked: Vec<ChannelName>,
    },
    /// This connection now receives the channel's events.
    Subscribed {
        /// Which channel.
        channel: ChannelName,
    },
    /// This connection no longer receives the channel's events.
    Unsubscribed {
        /// Which channel.
        channel: ChannelName,
        /// Why, where the server did it unasked.
        code: Option<Box<str>>,
        /// How long a kick lasts.
        retry_after: Option<Duration>,
    },
    /// The complete set.
    Sync(Snapshot),
    /// A new member.
    Join(Delta),
    /// A member's state was replaced.
    Update(Delta),
    /// A member left.
    Leave(Departure),
    /// How many are in a channel.
    Count(Counts),
    /// The server lost the channel's map: who tracks sends its state again.
    Resync {
        /// Which channel.
        channel: ChannelName,
    },
    /// A request failed.
    Error(Failure),
    /// A ping was answered.
    Pong,
    /// A request that has no other reply was done.
    Ack,
    /// A type that this client does not know, or a shape that it does not.
    Unknown,
}

/// One life of a channel's map, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The life; it differs after every loss and every restart.
    pub epoch: u64,
    /// Grows with the channel's changes within one life.
    pub seq: u64,
}

/// A tracked state, or the information of a user, as the compact JSON text that the server sent.
pub type StateText = Arc<str>;

/// One member of a snapshot, or the member that a delta is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The user of the member.
    pub user_id: Arc<str>,
    /// Of which of the user's connections.
    pub connection_id: Arc<str>,
    /// What it tracked.
    pub state: StateText,
    /// What the user's token says of the user.
    pub info: Option<StateText>,
}

/// `presence_sync`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Which channel.
    pub channel: ChannelName,
    /// What the snapshot covers.
    pub position: Position,
    /// The members in the order in which they were last tracked.
    pub rows: Vec<Row>,
}

/// `presence_join` and `presence_update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Which channel.
    pub channel: ChannelName,
    /// Named only where the channel's map began a new life.
    pub epoch: Option<u64>,
    /// The change's number.
    pub seq: u64,
    /// The member as it is now.
    pub row: Row,
}

/// `presence_leave`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Which channel.
    pub channel: ChannelName,
    /// Named only where the channel's map began a new life.
    pub epoch: Option<u64>,
    /// The change's number.
    pub seq: u64,
    /// The user of the member that left.
    pub user_id: Arc<str>,
    /// Which of the user's connections it was of.
    pub connection_id: Arc<str>,
    /// `disconnect`, `timeout`, `leave` or `kicked`.
    pub reason: Box<str>,
}

/// `presence_count`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Which channel.
    pub channel: ChannelName,
    /// Where its list stood.
    pub position: Position,
    /// The users in it.
    pub users: u64,
    /// Their connections.
    pub connections: u64,
}

/// `error` and `auth_error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code of the protocol's table.
    pub code: Box<str>,
    /// A sentence for the developer.
    pub message: Box<str>,
    /// The channel that the request spoke of.
    pub channel: Option<ChannelName>,
    /// How long a kick lasts.
    pub retry_after: Option<Duration>,
}

impl ServerMessage {
    /// Reads one text frame. What is not understood is [`ServerMessage::Unknown`].
    pub fn parse(text: &str) -> Self {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else { return Self::Unknown };
        frame.into_message().unwrap_or(Self::Unknown)
    }
}

/// `auth`.
pub fn auth(token: &str) -> String {
    format!(r#"{{"type":"auth","token":{}}}"#, quoted(token))
}

/// `auth` that asks for an earlier connection's place.
pub fn auth_resuming(token: &str, resume: &str) -> String {
    format!(r#"{{"type":"auth","token":{},"resume":{}}}"#, quoted(token), quoted(resume))
}

/// `subscribe`.
pub fn subscribe(channel: &ChannelName) -> String {
    of_channel("subscribe", channel)
}

/// `subscribe` to nothing but how many are in the channel.
pub fn subscribe_to_count(channel: &ChannelName) -> String {
    let channel = quoted(&channel.to_string());
    format!(r#"{{"type":"subscribe","channel":{channel},"mode":"count"}}"#)
}

/// `subscribe` to up to 100 channels.
pub fn subscribe_to_all(channels: &[ChannelName]) -> String {
    let channels: Vec<String> = channels.iter().map(|one| quoted(&one.to_string())).collect();
    format!(r#"{{"type":"subscribe","channels":[{}]}}"#, channels.join(","))
}

/// `unsubscribe`.
pub fn unsubscribe(channel: &ChannelName) -> String {
    of_channel("unsubscribe", channel)
}

/// `presence_join`: make this connection a member, or replace its state.
pub fn track(channel: &ChannelName, state: &State) -> String {
    let channel = quoted(&channel.to_string());
    format!(r#"{{"type":"presence_join","channel":{channel},"state":{}}}"#, state.as_str())
}

/// The same with fields that end by themselves, each after so many milliseconds.
pub fn track_expiring(channel: &ChannelName, state: &State, expire: &[(&str, u32)]) -> String {
    let fields = expire.iter().map(|(name, ms)| format!("{}:{ms}", quoted(name)));
    let fields: Vec<String> = fields.collect();
    let (channel, state) = (quoted(&channel.to_string()), state.as_str());
    let expire = fields.join(",");
    format!(
        r#"{{"type":"presence_join","channel":{channel},"state":{state},"expire":{{{expire}}}}}"#
    )
}

/// `presence_leave`: end this connection's membership.
pub fn untrack(channel: &ChannelName) -> String {
    of_channel("presence_leave", channel)
}

/// `ping`.
pub fn ping() -> String {
    r#"{"type":"ping"}"#.to_owned()
}

fn of_channel(kind: &str, channel: &ChannelName) -> String {
    format!(r#"{{"type":"{kind}","channel":{}}}"#, quoted(&channel.to_string()))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string always has a JSON form")
}

/// Every field that any message of the server may carry. It never leaves this file: which of them
/// a type needs is decided in `into_message`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: Box<str>,
    channel: Option<Box<str>>,
    epoch: Option<u64>,
    seq: Option<u64>,
    user_id: Option<Arc<str>>,
    connection_id: Option<Arc<str>>,
    resume: Option<Box<str>>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    reason: Option<Box<str>>,
    #[serde(borrow)]
    presences: Option<Vec<FrameRow<'a>>>,
    users: Option<u64>,
    connections: Option<u64>,
    code: Option<Box<str>>,
    message: Option<Box<str>>,
    revoked_channels: Option<Vec<Box<str>>>,
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrameRow<'a> {
    user_id: Arc<str>,
    connection_id: Arc<str>,
    #[serde(borrow)]
    state: &'a RawValue,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
}

impl Frame<'_> {
    fn into_message(self) -> Option<ServerMessage> {
        Some(match &*self.kind {
            "auth_success" => ServerMessage::AuthSuccess {
                user_id: self.user_id?,
                connection_id: self.connection_id?,
                resume: self.resume,
            },
            "auth_error" => ServerMessage::AuthError(self.into_failure()?),
            "auth_refreshed" => {
                let revoked = self.revoked_channels.unwrap_or_default();
                let revoked = revoked.iter().filter_map(|name| ChannelName::parse(name).ok());
                ServerMessage::AuthRefreshed { revoked: revoked.collect() }
            }
            "subscribed" => ServerMessage::Subscribed { channel: self.channel_name()? },
            "unsubscribed" => ServerMessage::Unsubscribed {
                channel: self.channel_name()?,
                retry_after: self.retry_after(),
                code: self.code,
            },
            "presence_sync" => ServerMessage::Sync(self.into_snapshot()?),
            "presence_join" => ServerMessage::Join(self.into_delta()?),
            "presence_update" => ServerMessage::Update(self.into_delta()?),
            "presence_leave" => ServerMessage::Leave(self.into_departure()?),
            "presence_count" => ServerMessage::Count(self.into_counts()?),
            "PRESENCE_RESYNC" => ServerMessage::Resync { channel: self.channel_name()? },
            "error" => ServerMessage::Error(self.into_failure()?),
            "pong" => ServerMessage::Pong,
            "ack" => ServerMessage::Ack,
            _ => return None,
        })
    }

    fn channel_name(&self) -> Option<ChannelName> {
        ChannelName::parse(self.channel.as_deref()?).ok()
    }

    fn into_snapshot(self) -> Option<Snapshot> {
        let rows = self.presences.as_ref()?.iter().map(|row| Row {
            user_id: row.user_id.clone(),
            connection_id: row.connection_id.clone(),
            state: row.state.get().into(),
            info: row.info.map(|info| info.get().into()),
        });
        Some(Snapshot {
            channel: self.channel_name()?,
            position: Position { epoch: self.epoch?, seq: self.seq? },
            rows: rows.collect(),
        })
    }

    fn into_delta(self) -> Option<Delta> {
        Some(Delta {
            channel: self.channel_name()?,
            epoch: self.epoch,
            seq: self.seq?,
            row: Row {
                user_id: self.user_id?,
                connection_id: self.connection_id?,
                state: self.state?.get().into(),
                info: self.info.map(|info| info.get().into()),
            },
        })
    }

    fn into_departure(self) -> Option<Departure> {
        Some(Departure {
            channel: self.channel_name()?,
            epoch: self.epoch,
            seq: self.seq?,
            user_id: self.user_id?,
            connection_id: self.connection_id?,
            reason: self.reason.unwrap_or_default(),
        })
    }

    fn into_counts(self) -> Option<Counts> {
        Some(Counts {
            channel: self.channel_name()?,
            position: Position { epoch: self.epoch?, seq: self.seq? },
            users: self.users?,
            connections: self.connections?,
        })
    }

    fn into_failure(self) -> Option<Failure> {
        let (channel, retry_after) = (self.channel_name(), self.retry_after());
        let message = self.message.unwrap_or_default();
        Some(Failure { code: self.code?, message, channel, retry_after })
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}
