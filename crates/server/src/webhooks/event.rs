//! Events, and what is written of them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use herenow_cluster::NodeName;
use herenow_hub::{Announcement, ChangeKind, MemberChange};

use crate::clock::unix_ms;

/// What an endpoint may be told. `gap` and `server_started` are told to every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A connection is a member.
    MemberAdded,
    /// It is no member any more.
    MemberRemoved,
    /// It shows something else.
    MemberUpdated,
    /// The first member of a user.
    UserJoined,
    /// The last one has left.
    UserLeft,
    /// The first member of a channel.
    ChannelOccupied,
    /// The last one has left.
    ChannelVacated,
}

/// Some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKinds(u8);

/// One event as JSON. Shared by the queues of all endpoints that are told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event(Arc<str>);

/// Numbers events, so that a receiver can tell one that it gets twice.
#[derive(Debug)]
pub(super) struct Numbering {
    /// When the server was started, and its name if it is one of several.
    origin: String,
    next: AtomicU64,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::MemberUpdated,
        Self::UserJoined,
        Self::UserLeft,
        Self::ChannelOccupied,
        Self::ChannelVacated,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::MemberUpdated => "member_updated",
            Self::UserJoined => "user_joined",
            Self::UserLeft => "user_left",
            Self::ChannelOccupied => "channel_occupied",
            Self::ChannelVacated => "channel_vacated",
        }
    }
}

impl EventKinds {
    /// None yet.
    pub const NONE: Self = Self(0);

    /// These and one more.
    pub fn with(self, kind: EventKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Whether this is one of them.
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

/// All but updates, which may be very many.
impl Default for EventKinds {
    fn default() -> Self {
        let kinds = EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::MemberUpdated);
        kinds.fold(Self::NONE, Self::with)
    }
}

impl Event {
    pub(super) fn json(&self) -> &str {
        &self.0
    }
}

impl Numbering {
    pub(super) fn new(started_at_unix_ms: u64, node: Option<&NodeName>) -> Self {
        // Two nodes may be started in one millisecond.
        let origin = match node {
            Some(node) => format!("{started_at_unix_ms}_{node}"),
            None => started_at_unix_ms.to_string(),
        };
        Self { origin, next: AtomicU64::new(0) }
    }

    /// A receiver drops what it believed.
    pub(super) fn server_started(&self) -> Event {
        self.plain("server_started", "")
    }

    /// So many events are missing here, or an unknown number, and a receiver reads its lists.
    pub(super) fn gap(&self, dropped: u64) -> Event {
        self.plain("gap", &format!(r#","dropped":{dropped}"#))
    }

    /// What a change means, to those who are told of it.
    pub(super) fn events(
        &self,
        announcement: &Announcement,
        change: &MemberChange,
    ) -> Vec<(EventKind, Event)> {
        let kinds: &[(EventKind, bool)] = match change.kind {
            ChangeKind::Added => &[
                (EventKind::MemberAdded, true),
                (EventKind::UserJoined, change.is_users_only),
                (EventKind::ChannelOccupied, change.connections == 1),
            ],
            ChangeKind::Updated => &[(EventKind::MemberUpdated, true)],
            ChangeKind::Removed(_) => &[
                (EventKind::MemberRemoved, true),
                (EventKind::UserLeft, change.is_users_only),
                (EventKind::ChannelVacated, change.connections == 0),
            ],
        };
        let told = kinds.iter().filter(|(_, is_so)| *is_so);
        told.map(|(kind, _)| (*kind, self.event(*kind, announcement, change))).collect()
    }

    fn event(
        &self,
        kind: EventKind,
        Announcement { channel, epoch, .. }: &Announcement,
        change: &MemberChange,
    ) -> Event {
        let mut out = self.begin(kind.as_str());
        let channel = quoted(&channel.to_string());
        let _ = write!(out, r#","channel":{channel},"epoch":{epoch},"seq":{}"#, change.seq);
        let is_member = matches!(
            kind,
            EventKind::MemberAdded | EventKind::MemberUpdated | EventKind::MemberRemoved
        );
        if is_member || matches!(kind, EventKind::UserJoined | EventKind::UserLeft) {
            let _ = write!(out, r#","userId":{}"#, quoted(change.user.as_str()));
        }
        if is_member {
            let _ = write!(out, r#","connectionId":"{}""#, change.connection);
        }
        if let (true, Some(state)) = (is_member, &change.state) {
            let _ = write!(out, r#","state":{}"#, state.as_str());
            if let Some(info) = change.user.info() {
                let _ = write!(out, r#","info":{}"#, info.as_str());
            }
        }
        if let (true, ChangeKind::Removed(reason)) = (is_member, change.kind) {
            let _ = write!(out, r#","reason":"{}""#, reason.as_str());
        }
        let (users, connections) = (change.users, change.connections);
        let _ = write!(out, r#","counts":{{"users":{users},"connections":{connections}}}}}"#);
        Event(out.into())
    }

    fn plain(&self, kind: &str, more: &str) -> Event {
        let mut out = self.begin(kind);
        out.push_str(more);
        out.push('}');
        Event(out.into())
    }

    fn begin(&self, kind: &str) -> String {
        let (origin, now) = (&self.origin, unix_ms());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!(r#"{{"id":"evt_{origin}_{number}","type":"{kind}","atMs":{now}"#)
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
