//! What the server says: each function appends one whole WebSocket text frame to a buffer.
//!
//! Nothing is allocated besides the buffer's own growth, so that a flush encodes a channel's
//! changes once and everybody is sent the same bytes. It knows no socket and no subscriber.

use std::borrow::Cow;

use crate::canonical::push_escaped;
use crate::code::{ErrorCode, LeaveReason};
use crate::frame::{Opcode, header};
use crate::ids::{CHANNEL_PREFIX, ChannelName, ConnectionId, Ref, UserId};
use crate::state::State;
use crate::user::User;

/// What is said to one connection about its own requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The first token is good.
    AuthSuccess {
        /// Its user.
        user: UserId,
        /// The server's name of this connection.
        connection: ConnectionId,
        /// What to show when authenticating after the socket broke, in order to keep the members.
        resume: Option<Box<str>>,
    },
    /// The first token is bad.
    AuthError {
        /// A sentence that says why.
        message: Cow<'static, str>,
    },
    /// A later token is good.
    AuthRefreshed {
        /// Its user, the same as before.
        user: UserId,
        /// The channels that the user may no longer subscribe to.
        revoked: Vec<ChannelName>,
    },
    /// A subscription stands.
    Subscribed {
        /// To which channel.
        channel: ChannelName,
    },
    /// A subscription ended.
    Unsubscribed {
        /// To which channel.
        channel: ChannelName,
        /// Why, where it was the server that ended it.
        code: Option<ErrorCode>,
        /// How long a kick lasts from now. Always there with [`ErrorCode::Kicked`], else never.
        retry_after_ms: Option<u32>,
    },
    /// Answers a `ping` message.
    Pong,
    /// Answers a message that carried a `ref` and has no other reply.
    Ack,
    /// A request failed.
    Error {
        /// The kind of fault.
        code: ErrorCode,
        /// A sentence that says what would be right.
        message: Cow<'static, str>,
        /// The channel it is about.
        channel: Option<ChannelName>,
        /// How long a kick lasts from now. Always there with [`ErrorCode::Kicked`], else never.
        retry_after_ms: Option<u32>,
    },
    /// The server lost the channel's map: every client that tracks sends its state again.
    Resync {
        /// Which channel's.
        channel: ChannelName,
    },
}

/// One member, as a snapshot, a join or an update names it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Whose it is, with the information of the token.
    pub user: &'a User,
    /// Of which connection.
    pub connection: ConnectionId,
    /// The whole state.
    pub state: &'a State,
}

/// A member that is no more.
#[derive(Clone, Copy, Debug)]
pub struct Departure<'a> {
    /// Whose it was.
    pub user: &'a UserId,
    /// Of which connection.
    pub connection: ConnectionId,
    /// Why it is gone.
    pub reason: LeaveReason,
}

/// How many are in a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Users.
    pub users: usize,
    /// Their connections: the members.
    pub connections: usize,
}

/// A point in a channel's history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// Names one life of the channel's map.
    pub epoch: u64,
    /// Counts the changes.
    pub seq: u64,
}

/// What a delta says of its place in a channel's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeltaPosition {
    /// The life of the channel's map, on the first delta after a change of it.
    pub epoch: Option<u64>,
    /// The change.
    pub seq: u64,
}

impl DeltaPosition {
    /// In the life that the receiver knows.
    pub fn of_seq(seq: u64) -> Self {
        Self { epoch: None, seq }
    }
}

/// Appends what answers a request; `reference` is the request's own.
pub fn reply(out: &mut Vec<u8>, reply: &Reply, reference: Option<&Ref>) {
    text_frame(out, SHORT_HEADER_BYTES, |out| {
        match reply {
            Reply::AuthSuccess { user, connection, resume } => {
                push_type(out, "auth_success");
                push_user(out, user);
                push_connection(out, *connection);
                if let Some(resume) = resume {
                    out.extend_from_slice(b",\"resume\":\"");
                    push_escaped(out, resume);
                    out.push(b'"');
                }
            }
            Reply::AuthError { message } => {
                push_type(out, "auth_error");
                push_failure(out, ErrorCode::AuthFailed, message);
            }
            Reply::AuthRefreshed { user, revoked } => {
                push_type(out, "auth_refreshed");
                push_user(out, user);
                push_revoked(out, revoked);
            }
            Reply::Subscribed { channel } => {
                push_type(out, "subscribed");
                push_channel(out, channel);
            }
            Reply::Unsubscribed { channel, code, retry_after_ms } => {
                push_type(out, "unsubscribed");
                push_channel(out, channel);
                if let Some(code) = code {
                    push_code(out, *code);
                }
                push_retry_after(out, *retry_after_ms);
            }
            Reply::Pong => push_type(out, "pong"),
            Reply::Ack => push_type(out, "ack"),
            Reply::Error { code, message, channel, retry_after_ms } => {
                push_type(out, "error");
                push_failure(out, *code, message);
                if let Some(channel) = channel {
                    push_channel(out, channel);
                }
                push_retry_after(out, *retry_after_ms);
            }
            Reply::Resync { channel } => {
                push_type(out, "PRESENCE_RESYNC");
                push_channel(out, channel);
            }
        }
        if let Some(reference) = reference {
            out.extend_from_slice(b",\"ref\":");
            out.extend_from_slice(reference.as_json().as_bytes());
        }
        out.push(b'}');
    });
}

/// Appends that a member came.
pub fn join(out: &mut Vec<u8>, channel: &ChannelName, at: DeltaPosition, member: Member<'_>) {
    text_frame(out, MEDIUM_HEADER_BYTES, |out| {
        push_type(out, "presence_join");
        push_member(out, channel, at, member);
    });
}

/// Appends that a member's state was replaced.
pub fn update(out: &mut Vec<u8>, channel: &ChannelName, at: DeltaPosition, member: Member<'_>) {
    text_frame(out, MEDIUM_HEADER_BYTES, |out| {
        push_type(out, "presence_update");
        push_member(out, channel, at, member);
    });
}

/// Appends that a member is gone.
pub fn leave(
    out: &mut Vec<u8>,
    channel: &ChannelName,
    at: DeltaPosition,
    departure: Departure<'_>,
) {
    text_frame(out, MEDIUM_HEADER_BYTES, |out| {
        push_type(out, "presence_leave");
        push_channel(out, channel);
        push_delta_position(out, at);
        push_user(out, departure.user);
        push_connection(out, departure.connection);
        out.extend_from_slice(b",\"reason\":\"");
        out.extend_from_slice(departure.reason.as_str().as_bytes());
        out.extend_from_slice(b"\"}");
    });
}

/// Appends a snapshot: the complete set, in the order in which the rows come.
pub fn sync<'a>(
    out: &mut Vec<u8>,
    channel: &ChannelName,
    position: Position,
    rows: impl Iterator<Item = Member<'a>>,
) {
    // So many rows are long for certain; a wrong guess would move the whole snapshot.
    let is_long = rows.size_hint().0 > MEDIUM_PAYLOAD_BYTES / MIN_ROW_BYTES;
    let guess = if is_long { LONG_HEADER_BYTES } else { MEDIUM_HEADER_BYTES };
    text_frame(out, guess, |out| {
        push_type(out, "presence_sync");
        push_channel(out, channel);
        push_epoch(out, position.epoch);
        push_seq(out, position.seq);
        out.extend_from_slice(b",\"presences\":[");
        let first = out.len();
        for member in rows {
            let opening: &[u8] =
                if out.len() == first { b"{\"userId\":\"" } else { b",{\"userId\":\"" };
            out.extend_from_slice(opening);
            push_escaped(out, member.user.as_str());
            out.push(b'"');
            push_connection(out, member.connection);
            push_shown(out, member);
        }
        out.extend_from_slice(b"]}");
    });
}

/// Appends how many are in a channel.
pub fn count(out: &mut Vec<u8>, channel: &ChannelName, position: Position, counts: Counts) {
    text_frame(out, MEDIUM_HEADER_BYTES, |out| {
        push_type(out, "presence_count");
        push_channel(out, channel);
        push_epoch(out, position.epoch);
        push_seq(out, position.seq);
        out.extend_from_slice(b",\"users\":");
        push_integer(out, counts.users as u64);
        out.extend_from_slice(b",\"connections\":");
        push_integer(out, counts.connections as u64);
        out.push(b'}');
    });
}

/// Writes the payload behind a gap for the header, then the header. Where the payload has another
/// length class than was guessed, it is moved.
fn text_frame(out: &mut Vec<u8>, guessed_header_bytes: usize, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let gap_end = start + guessed_header_bytes;
    out.resize(gap_end, 0);
    payload(out);
    let (bytes, used) = header(Opcode::Text, out.len() - gap_end);
    let header = &bytes[..used];
    if used == guessed_header_bytes {
        out[start..gap_end].copy_from_slice(header);
    } else {
        out.splice(start..gap_end, header.iter().copied());
    }
}

fn push_type(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

/// What a join and an update say after their type.
fn push_member(out: &mut Vec<u8>, channel: &ChannelName, at: DeltaPosition, member: Member<'_>) {
    push_channel(out, channel);
    push_delta_position(out, at);
    push_user(out, member.user);
    push_connection(out, member.connection);
    push_shown(out, member);
}

fn push_channel(out: &mut Vec<u8>, channel: &ChannelName) {
    out.extend_from_slice(b",\"channel\":");
    push_channel_name(out, channel);
}

fn push_channel_name(out: &mut Vec<u8>, channel: &ChannelName) {
    out.push(b'"');
    out.extend_from_slice(CHANNEL_PREFIX.as_bytes());
    push_escaped(out, channel.as_str());
    out.push(b'"');
}

fn push_revoked(out: &mut Vec<u8>, revoked: &[ChannelName]) {
    out.extend_from_slice(b",\"revokedChannels\":[");
    for (index, channel) in revoked.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_channel_name(out, channel);
    }
    out.push(b']');
}

fn push_delta_position(out: &mut Vec<u8>, at: DeltaPosition) {
    if let Some(epoch) = at.epoch {
        push_epoch(out, epoch);
    }
    push_seq(out, at.seq);
}

fn push_epoch(out: &mut Vec<u8>, epoch: u64) {
    out.extend_from_slice(b",\"epoch\":");
    push_integer(out, epoch);
}

fn push_seq(out: &mut Vec<u8>, seq: u64) {
    out.extend_from_slice(b",\"seq\":");
    push_integer(out, seq);
}

fn push_user(out: &mut Vec<u8>, user: &UserId) {
    out.extend_from_slice(b",\"userId\":\"");
    push_escaped(out, user.as_str());
    out.push(b'"');
}

fn push_connection(out: &mut Vec<u8>, connection: ConnectionId) {
    out.extend_from_slice(b",\"connectionId\":\"");
    out.extend_from_slice(&connection.wire_form());
    out.push(b'"');
}

/// The end of a member: its state, and the information of its user if there is any.
fn push_shown(out: &mut Vec<u8>, member: Member<'_>) {
    out.extend_from_slice(b",\"state\":");
    out.extend_from_slice(member.state.as_str().as_bytes());
    if let Some(info) = member.user.info() {
        out.extend_from_slice(b",\"info\":");
        out.extend_from_slice(info.as_str().as_bytes());
    }
    out.push(b'}');
}

fn push_code(out: &mut Vec<u8>, code: ErrorCode) {
    out.extend_from_slice(b",\"code\":\"");
    out.extend_from_slice(code.as_str().as_bytes());
    out.push(b'"');
}

fn push_failure(out: &mut Vec<u8>, code: ErrorCode, message: &str) {
    push_code(out, code);
    out.extend_from_slice(b",\"message\":\"");
    push_escaped(out, message);
    out.push(b'"');
}

fn push_retry_after(out: &mut Vec<u8>, retry_after_ms: Option<u32>) {
    if let Some(retry_after_ms) = retry_after_ms {
        out.extend_from_slice(b",\"retryAfterMs\":");
        push_integer(out, retry_after_ms.into());
    }
}

fn push_integer(out: &mut Vec<u8>, integer: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
}

const SHORT_HEADER_BYTES: usize = 2;
const MEDIUM_HEADER_BYTES: usize = 4;
const LONG_HEADER_BYTES: usize = 10;

/// The longest payload behind a header of four bytes.
const MEDIUM_PAYLOAD_BYTES: usize = 65_535;

/// `{"userId":"x","connectionId":"0123456789abcdefghijkl","state":{}}`: no member is shorter.
const MIN_ROW_BYTES: usize = 65;
