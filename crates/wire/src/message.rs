//! What a client says: from the text of a frame to a message whose parts are all valid, or to a
//! refusal that says what would be right.
//!
//! Decides about size and shape alone. Whether a message is allowed, and what it causes, is not
//! known here. The order of the checks is fixed: JSON, object, `ref`, `type`, channel, mode, state, expire.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::canonical::{push_number, push_text};
use crate::code::ErrorCode;
use crate::expire::{ExpireError, ExpiringField, ExpiringFields, read_expire};
use crate::ids::{ChannelError, ChannelName, Ref};
use crate::json::{JsonError, Reader, Skip, Value};
use crate::state::{State, StateError, compact_object};
use crate::text::{Piece, Text};

/// A valid message and the token by which its sender knows the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// What is asked.
    pub message: ClientMessage,
    /// To be repeated in the reply or the error.
    pub reference: Option<Ref>,
}

/// What a client may ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientMessage {
    /// Sign in, or refresh.
    Auth {
        /// `None` where it is missing or no text, which counts as a bad token.
        token: Option<Box<str>>,
        /// The `resume` of an earlier `auth_success`; `None` where it is missing or no text.
        resume: Option<Box<str>>,
    },
    /// Receive the channel's events, or how many are in it.
    Subscribe {
        /// Of which channel.
        channel: ChannelName,
        /// What of it.
        mode: Mode,
    },
    /// The same of each of these channels, one after the other.
    SubscribeAll {
        /// Of which.
        channels: VecDeque<ChannelName>,
        /// What of them.
        mode: Mode,
    },
    /// Receive them no longer; a member leaves.
    Unsubscribe {
        /// Of which channel.
        channel: ChannelName,
    },
    /// Create or replace the connection's member.
    Track {
        /// In which channel.
        channel: ChannelName,
        /// The whole new state.
        state: State,
        /// Which fields of it end by themselves, if any do.
        expire: Option<Box<ExpiringFields>>,
    },
    /// Remove the connection's member.
    Untrack {
        /// In which channel.
        channel: ChannelName,
    },
    /// Send a fresh snapshot.
    Sync {
        /// Of which channel.
        channel: ChannelName,
    },
    /// Answer `pong`.
    Ping,
}

/// What a subscriber receives of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// The list of its members, and what changes in it.
    #[default]
    List,
    /// How many users and connections are in it.
    Count,
}

/// Why a frame holds no valid message: what goes back to its sender as an `error`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The kind of fault.
    pub code: ErrorCode,
    /// A sentence that says what would be right.
    pub message: Cow<'static, str>,
    /// Where the message got far enough to name one.
    pub channel: Option<ChannelName>,
    /// Where the message carried a valid one.
    pub reference: Option<Ref>,
}

/// The channel of those messages that name none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DefaultChannel {
    /// The connection was opened without one.
    None,
    /// The connection was opened with one.
    Named(ChannelName),
    /// The connection was opened with an invalid one: a message that relies on it is refused.
    Invalid(ChannelError),
}

impl DefaultChannel {
    /// From the raw query of the upgrade request, decoded once as `URLSearchParams` does it.
    pub fn from_query(query: Option<&str>) -> Self {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        match pairs.find(|(name, _)| name == "channel") {
            None => Self::None,
            Some((_, empty)) if empty.is_empty() => Self::None,
            Some((_, wire)) => ChannelName::parse(&wire).map_or_else(Self::Invalid, Self::Named),
        }
    }

    fn to_channel(&self) -> Result<ChannelName, ChannelError> {
        match self {
            Self::None => Err(ChannelError::Missing),
            Self::Named(channel) => Ok(channel.clone()),
            Self::Invalid(error) => Err(*error),
        }
    }
}

/// Reads the text of one frame and appends what it holds, in order. Today that is exactly one
/// message or refusal; the frame of another ecosystem's protocol may hold several.
pub fn decode(
    text: &str,
    default_channel: &DefaultChannel,
    out: &mut Vec<Result<Incoming, Refusal>>,
) {
    out.push(decode_one(text, default_channel));
}

fn decode_one(text: &str, default_channel: &DefaultChannel) -> Result<Incoming, Refusal> {
    let fields = Fields::read(text)
        .map_err(|error| Refusal::new(ErrorCode::InvalidJson, error.sentence()))?
        .ok_or_else(|| Refusal::new(ErrorCode::InvalidMessage, "a message is a JSON object"))?;
    let reference = fields.to_reference()?;
    match fields.into_message(default_channel) {
        Ok(message) => Ok(Incoming { message, reference }),
        Err(refusal) => Err(Refusal { reference, ..refusal }),
    }
}

/// The fields that mean something, as they were read; of equal ones the last.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<Value<'a>>,
    reference: Option<Value<'a>>,
    channel: Option<Value<'a>>,
    token: Option<Value<'a>>,
    resume: Option<Value<'a>>,
    /// The compact form, where it is an object.
    state: Option<String>,
    /// Boxed, since most messages have none of it.
    rare: Option<Box<RareFields<'a>>>,
}

/// Fields that few messages have.
#[derive(Default)]
struct RareFields<'a> {
    channels: Option<Result<VecDeque<ChannelName>, ChannelsError>>,
    mode: Option<Value<'a>>,
    expire: Option<Result<Vec<ExpiringField>, ExpireError>>,
}

impl<'a> Fields<'a> {
    /// `None` where the text is JSON and no object.
    fn read(text: &'a str) -> Result<Option<Self>, JsonError> {
        let mut reader = Reader::new(text);
        if !reader.is_at_object() {
            reader.value(&mut Skip)?;
            reader.end()?;
            return Ok(None);
        }
        let mut fields = Self::default();
        reader.members(|reader, key| {
            let field = match key.decode().as_deref() {
                Some("type") => &mut fields.kind,
                Some("ref") => &mut fields.reference,
                Some("channel") => &mut fields.channel,
                Some("token") => &mut fields.token,
                Some("resume") => &mut fields.resume,
                Some("mode") => &mut fields.rare.get_or_insert_default().mode,
                Some("state") => {
                    fields.state = compact_object(reader)?;
                    return Ok(());
                }
                Some("channels") => {
                    fields.rare.get_or_insert_default().channels = Some(read_channels(reader)?);
                    return Ok(());
                }
                Some("expire") => {
                    fields.rare.get_or_insert_default().expire = Some(read_expire(reader)?);
                    return Ok(());
                }
                _ => {
                    reader.value(&mut Skip)?;
                    return Ok(());
                }
            };
            *field = Some(reader.value(&mut Skip)?);
            Ok(())
        })?;
        reader.end()?;
        Ok(Some(fields))
    }

    fn to_reference(&self) -> Result<Option<Ref>, Refusal> {
        let mut json = String::new();
        match self.reference {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => push_number(&mut json, number),
            Some(Value::Text(text)) if utf8_bytes(text) <= Ref::MAX_BYTES => {
                json.reserve_exact(text.raw.len() + 2);
                push_text(&mut json, text);
            }
            Some(_) => {
                let expected = "ref must be a number or a string of at most 256 bytes";
                return Err(Refusal::new(ErrorCode::InvalidMessage, expected));
            }
        }
        Ok(Some(Ref::from_checked_json(json)))
    }

    fn into_message(self, default_channel: &DefaultChannel) -> Result<ClientMessage, Refusal> {
        let Some(Value::Text(kind)) = self.kind else {
            return Err(Refusal::new(ErrorCode::InvalidMessage, "a message needs a string type"));
        };
        let kind = kind.decode();
        let on_channel = match kind.as_deref() {
            Some("auth") => {
                let (token, resume) = (owned(self.token), owned(self.resume));
                return Ok(ClientMessage::Auth { token, resume });
            }
            Some("ping") => return Ok(ClientMessage::Ping),
            Some("subscribe") if self.has_channels() => return self.into_subscribe_all(),
            Some("subscribe") => {
                let channel = self.to_channel(default_channel)?;
                return match self.to_mode() {
                    Ok(mode) => Ok(ClientMessage::Subscribe { channel, mode }),
                    Err(refusal) => Err(Refusal { channel: Some(channel), ..refusal }),
                };
            }
            Some("unsubscribe") => |channel| ClientMessage::Unsubscribe { channel },
            Some("presence_leave" | "presence_untrack") => {
                |channel| ClientMessage::Untrack { channel }
            }
            Some("presence_sync") => |channel| ClientMessage::Sync { channel },
            Some("presence_join" | "presence_track" | "presence_update") => {
                let channel = self.to_channel(default_channel)?;
                return match self.into_state() {
                    Ok((state, expire)) => Ok(ClientMessage::Track { channel, state, expire }),
                    Err(refusal) => Err(Refusal { channel: Some(channel), ..refusal }),
                };
            }
            _ => {
                let unknown = "the type is not one that a client sends";
                return Err(Refusal::new(ErrorCode::UnknownType, unknown));
            }
        };
        self.to_channel(default_channel).map(on_channel)
    }

    fn to_channel(&self, default_channel: &DefaultChannel) -> Result<ChannelName, Refusal> {
        let channel = match self.channel {
            None => default_channel.to_channel(),
            Some(value) => channel_of(value),
        };
        channel.map_err(|error| Refusal::new(ErrorCode::InvalidChannel, error.sentence()))
    }

    fn has_channels(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.channels.is_some())
    }

    fn into_subscribe_all(self) -> Result<ClientMessage, Refusal> {
        let mode = self.to_mode()?;
        let is_alone = self.channel.is_none();
        let channels = self.rare.and_then(|rare| rare.channels);
        let channels = channels.unwrap_or(Err(ChannelsError::NotSoMany));
        match channels
            .and_then(|all| if is_alone { Ok(all) } else { Err(ChannelsError::NotSoMany) })
        {
            Ok(channels) => Ok(ClientMessage::SubscribeAll { channels, mode }),
            Err(ChannelsError::Name(error)) => {
                Err(Refusal::new(ErrorCode::InvalidChannel, error.sentence()))
            }
            Err(ChannelsError::NotSoMany) => {
                let expected =
                    "channels must be an array of 1 to 100 channels, without a channel beside it";
                Err(Refusal::new(ErrorCode::InvalidMessage, expected))
            }
        }
    }

    fn to_mode(&self) -> Result<Mode, Refusal> {
        match self.rare.as_ref().and_then(|rare| rare.mode) {
            None => Ok(Mode::List),
            Some(Value::Text(text)) if text.decode().as_deref() == Some("count") => Ok(Mode::Count),
            Some(_) => {
                let expected = "mode must be \"count\" or be left out";
                Err(Refusal::new(ErrorCode::InvalidMessage, expected))
            }
        }
    }

    fn into_state(self) -> Result<(State, Option<Box<ExpiringFields>>), Refusal> {
        let compact = self.state.ok_or(StateError::NotAnObject);
        let state = compact.and_then(|compact| State::from_compact(&compact)).map_err(|error| {
            let code = match error {
                StateError::NotJson(_) => ErrorCode::InvalidJson,
                StateError::NotAnObject => ErrorCode::InvalidState,
                StateError::TooLarge { .. } => ErrorCode::StateTooLarge,
            };
            Refusal::new(code, error.sentence())
        })?;
        let expire = match self.rare.and_then(|rare| rare.expire) {
            None => None,
            Some(Ok(named)) => ExpiringFields::of(named, &state),
            Some(Err(ExpireError)) => {
                return Err(Refusal::new(ErrorCode::InvalidMessage, ExpireError::SENTENCE));
            }
        };
        Ok((state, expire))
    }
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), channel: None, reference: None }
    }
}

/// Why a `channels` is refused.
enum ChannelsError {
    /// It is no array, or has none or too many.
    NotSoMany,
    /// One of them is no channel.
    Name(ChannelError),
}

/// The most channels that one message may subscribe to.
const MAX_CHANNELS: usize = 100;

/// Reads one `channels`. The first error in it is told.
fn read_channels(
    reader: &mut Reader<'_>,
) -> Result<Result<VecDeque<ChannelName>, ChannelsError>, JsonError> {
    if !reader.is_at_array() {
        reader.value(&mut Skip)?;
        return Ok(Err(ChannelsError::NotSoMany));
    }
    let mut channels = Ok(VecDeque::new());
    reader.elements(|reader| {
        let value = reader.value(&mut Skip)?;
        if let Ok(known) = &mut channels {
            match channel_of(value).map_err(ChannelsError::Name) {
                Ok(_) if known.len() == MAX_CHANNELS => channels = Err(ChannelsError::NotSoMany),
                Ok(channel) => known.push_back(channel),
                Err(error) => channels = Err(error),
            }
        }
        Ok(())
    })?;
    Ok(channels.and_then(|all| match all.is_empty() {
        true => Err(ChannelsError::NotSoMany),
        false => Ok(all),
    }))
}

fn channel_of(value: Value<'_>) -> Result<ChannelName, ChannelError> {
    let Value::Text(text) = value else { return Err(ChannelError::NotAString) };
    text.decode().map_or(Err(ChannelError::LoneSurrogate), |wire| ChannelName::parse(&wire))
}

/// A field that counts as absent where it is no text.
fn owned(value: Option<Value<'_>>) -> Option<Box<str>> {
    match value {
        Some(Value::Text(text)) => text.decode().map(Cow::into_owned).map(Into::into),
        _ => None,
    }
}

/// The length of a string's text. A lone surrogate counts as the three bytes of its code point.
fn utf8_bytes(text: Text<'_>) -> usize {
    let bytes = |piece| match piece {
        Piece::Plain(plain) => plain.len(),
        Piece::Character(character) => character.len_utf8(),
        Piece::LoneSurrogate(_) => 3,
    };
    text.pieces().map(bytes).sum()
}
