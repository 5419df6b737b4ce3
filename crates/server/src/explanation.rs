//! Why a user is, or is not, in a channel, as data and as sentences: what the loops remember, put in
//! the order in which it happened. Pure: knows no HTTP, and is told when the clock of the loops began.

mod events;
mod moments;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use herenow_core::{Instant, Right};
use herenow_hub::{Life, MAX_EXPLAINED, MemberFacts, UserFacts};
use herenow_wire::{ChannelName, ConnectionId, ErrorCode, UserId};

pub(crate) use self::moments::Moments;

/// What is asked, and what the loops know of it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) channel: ChannelName,
    pub(crate) user: UserId,
    /// What the home of the channel knows.
    pub(crate) member: MemberFacts,
    /// What each loop knows of the user's connections.
    pub(crate) loops: Vec<UserFacts>,
    /// The rule that decides who may track in the channel; `None` if no rule does.
    pub(crate) rule: Option<(Right, Arc<str>)>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// Whether the user is in the list.
    pub(crate) is_here: bool,
    /// How many members the user has there.
    pub(crate) members: usize,
    /// The answer in a sentence or two.
    pub(crate) summary: String,
    /// What has led to it, the oldest first, and then how it is now.
    pub(crate) events: Vec<Event>,
    /// What happened before is not remembered.
    pub(crate) complete_since: Instant,
}

/// Something that has happened, or is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    /// When it happened, the last time if it was several times, or since when it is so.
    pub(crate) at: Instant,
    pub(crate) sentence: String,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) life: Option<Life>,
    /// The close code of the connection.
    pub(crate) close_code: Option<u16>,
    /// The code that the client was sent.
    pub(crate) error: Option<ErrorCode>,
    /// The pattern of the rules and settings.
    pub(crate) pattern: Option<Arc<str>>,
    /// How often it has happened.
    pub(crate) count: u32,
}

/// What has happened, or is so. Programs may rely on the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Member,
    KeyedMember,
    AwaitsReturn,
    Connected,
    Untracked,
    Unsubscribed,
    Left,
    ConnectionClosed,
    LeaseEnded,
    ChannelLeaseEnded,
    GraceEnded,
    GaveWay,
    Evicted,
    Kicked,
    Disconnected,
    RightLost,
    KeyRemoved,
    KeyEnded,
    KeyKicked,
    ConnectionEnded,
    RequestRefused,
    SubscriptionEnded,
    TokenRefused,
    KeptOutOfChannel,
    KeptOutOfServer,
}

impl Kind {
    pub(crate) const ALL: [Self; 25] = [
        Self::Member,
        Self::KeyedMember,
        Self::AwaitsReturn,
        Self::Connected,
        Self::Untracked,
        Self::Unsubscribed,
        Self::Left,
        Self::ConnectionClosed,
        Self::LeaseEnded,
        Self::ChannelLeaseEnded,
        Self::GraceEnded,
        Self::GaveWay,
        Self::Evicted,
        Self::Kicked,
        Self::Disconnected,
        Self::RightLost,
        Self::KeyRemoved,
        Self::KeyEnded,
        Self::KeyKicked,
        Self::ConnectionEnded,
        Self::RequestRefused,
        Self::SubscriptionEnded,
        Self::TokenRefused,
        Self::KeptOutOfChannel,
        Self::KeptOutOfServer,
    ];

    /// Its name in answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::KeyedMember => "keyed_member",
            Self::AwaitsReturn => "awaits_return",
            Self::Connected => "connected",
            Self::Untracked => "untracked",
            Self::Unsubscribed => "unsubscribed",
            Self::Left => "left",
            Self::ConnectionClosed => "connection_closed",
            Self::LeaseEnded => "lease_ended",
            Self::ChannelLeaseEnded => "channel_lease_ended",
            Self::GraceEnded => "grace_ended",
            Self::GaveWay => "gave_way",
            Self::Evicted => "evicted",
            Self::Kicked => "kicked",
            Self::Disconnected => "disconnected",
            Self::RightLost => "right_lost",
            Self::KeyRemoved => "key_removed",
            Self::KeyEnded => "key_ended",
            Self::KeyKicked => "key_kicked",
            Self::ConnectionEnded => "connection_ended",
            Self::RequestRefused => "request_refused",
            Self::SubscriptionEnded => "subscription_ended",
            Self::TokenRefused => "token_refused",
            Self::KeptOutOfChannel => "kept_out_of_channel",
            Self::KeptOutOfServer => "kept_out_of_server",
        }
    }
}

impl Explanation {
    /// Puts together what the loops know.
    pub(crate) fn of(asked: &Asked, moments: Moments) -> Self {
        let mut events = events::past(asked, moments);
        events.sort_by_key(|event| event.at);
        // What the summary says is the newest of what bears upon the answer.
        let last = events.iter().rev().find(|event| event.kind != Kind::ConnectionEnded);
        let last = last.or(events.last()).map(|event| event.sentence.clone());
        let present = events::present(asked, moments);
        let complete_since = asked.complete_since();
        let members = asked.member.count;
        let is_here = members > 0;
        let state = words::state(asked);
        let now = present.iter().map(|event| event.sentence.as_str()).next_back();
        let why = match (is_here, now, last) {
            (true, _, _) => present.first().map(|event| event.sentence.clone()),
            (false, Some(now), Some(last)) => Some(format!("{last} {now}")),
            (false, Some(now), None) => Some(now.to_owned()),
            (false, None, Some(last)) => Some(last),
            (false, None, None) => Some(words::nothing_known(asked, moments, complete_since)),
        };
        let summary = format!("{state} {}", why.unwrap_or_default()).trim_end().to_owned();
        events.extend(present);
        Self { is_here, members, summary, events, complete_since }
    }
}

impl Asked {
    /// From when on all that has happened is remembered.
    fn complete_since(&self) -> Instant {
        let loops = self.loops.iter().map(|facts| facts.complete_since);
        loops.fold(self.member.complete_since, Instant::max)
    }

    /// How many connections and members are not told one by one.
    fn left_out(&self) -> usize {
        let connections =
            self.loops.iter().map(|facts| facts.count.saturating_sub(facts.connections.len()));
        connections.sum::<usize>() + self.member.count.saturating_sub(MAX_EXPLAINED)
    }
}

/// An address of a client in text.
pub(crate) fn address_text(address: herenow_hub::Address) -> String {
    use herenow_hub::Address;
    let behind = |proxy: IpAddr| format!("unknown, behind the proxy {proxy}");
    match address {
        Address::Ip(address) => address.to_string(),
        Address::Behind(proxy) => behind(proxy),
        Address::Unix => "unknown, behind a Unix socket".into(),
        Address::Internal => "the server itself".into(),
    }
}
