//! Members that have no connection: a backend shows them under keys of its own, each for a time. They
//! live on the hub of their channel's shard, which alone knows them.
//!
//! Of several nodes that one holds such a member which was the home of its channel when it was put. If
//! another node is the home when it is put again or removed, that one takes it over, as the node
//! does to which a connection comes back: backends give a key the same id on all nodes, so that it never
//! has two members.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use herenow_core::{
    Asker, Command, Contents, Effect, Expire, Instant, Member, Put, PutResult, is_up_to,
};
use herenow_wire::{ChannelName, ConnectionId, LeaveReason, State, UserId};
use serde::{Deserialize, Serialize};

use crate::api::Io;
use crate::requests::{PutMember, Response};
use crate::sessions::{NO_SLOT, OWNER};
use crate::work::Work;

/// A backend's name for a member: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "Box<str>")]
pub struct MemberKey(Box<str>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct KeyedMembers {
    members: BTreeMap<(ChannelName, MemberKey), KeyedMember>,
    by_end: BTreeSet<(Instant, ChannelName, MemberKey)>,
    by_connection: BTreeMap<ConnectionId, (ChannelName, MemberKey)>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct KeyedMember {
    pub(crate) connection: ConnectionId,
    /// How often another node has taken it over.
    generation: u32,
    pub(crate) user: UserId,
    state: State,
    pub(crate) until: Instant,
}

/// Such members of one hub: some 60 MB at most.
const MAX_KEYED_MEMBERS: usize = 100_000;

impl MemberKey {
    /// The most bytes that a key may have.
    pub const MAX_BYTES: usize = 64;

    /// `None` where the text is no key.
    pub fn parse(text: &str) -> Option<Self> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let has_length = (1..=Self::MAX_BYTES).contains(&text.len());
        (has_length && text.bytes().all(is_valid)).then(|| Self(text.into()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Box<str>> for MemberKey {
    type Error = &'static str;

    fn try_from(text: Box<str>) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a key has 1 to 64 of `A-Z a-z 0-9 . _ -`")
    }
}

impl KeyedMembers {
    /// The first one after this one.
    pub(crate) fn next_after(
        &self,
        after: Option<&(ChannelName, MemberKey)>,
    ) -> Option<(&(ChannelName, MemberKey), &KeyedMember)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.members.range((from, Bound::Unbounded)).next()
    }

    /// The place before the first one of a channel.
    pub(crate) fn before(&self, channel: &ChannelName) -> Option<(ChannelName, MemberKey)> {
        Some((channel.clone(), MemberKey("".into())))
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// What they show in a channel.
    pub(crate) fn in_channel(&self, channel: &ChannelName) -> impl Iterator<Item = Put> {
        self.here(channel).map(|(_, member)| member.put())
    }

    fn here(
        &self,
        channel: &ChannelName,
    ) -> impl Iterator<Item = (&(ChannelName, MemberKey), &KeyedMember)> {
        let from = (channel.clone(), MemberKey("".into()));
        self.members.range(from..).take_while(move |((at, _), _)| at == channel)
    }

    /// The channels in which they are, each once for every member.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.members.keys().map(|(channel, _)| channel)
    }

    fn insert(&mut self, at: (ChannelName, MemberKey), member: KeyedMember) {
        self.remove(&at);
        self.by_end.insert((member.until, at.0.clone(), at.1.clone()));
        self.by_connection.insert(member.connection, at.clone());
        self.members.insert(at, member);
    }

    fn remove(&mut self, at: &(ChannelName, MemberKey)) -> Option<KeyedMember> {
        let member = self.members.remove(at)?;
        self.by_end.remove(&(member.until, at.0.clone(), at.1.clone()));
        self.by_connection.remove(&member.connection);
        Some(member)
    }

    /// Another node has taken a member over that had this generation here.
    pub(crate) fn lose(&mut self, connection: ConnectionId, generation: u32) {
        let Some(at) = self.by_connection.get(&connection).cloned() else { return };
        if self.members.get(&at).is_some_and(|known| is_up_to(known.generation, generation)) {
            self.remove(&at);
        }
    }

    fn next_over(&self, now: Instant) -> Option<(ChannelName, MemberKey)> {
        let (_, channel, key) = self.by_end.first().filter(|(until, ..)| *until <= now)?;
        Some((channel.clone(), key.clone()))
    }

    /// Nobody could renew them while the process stood still.
    pub(crate) fn extend(&mut self, pause: Duration) {
        self.by_end.clear();
        for ((channel, key), member) in &mut self.members {
            member.until = member.until + pause;
            self.by_end.insert((member.until, channel.clone(), key.clone()));
        }
    }
}

impl KeyedMember {
    fn put(&self) -> Put {
        let (user, state) = (self.user.clone().into(), self.state.clone());
        let Self { connection, generation, .. } = *self;
        Put { connection, owner: OWNER, generation, user, state }
    }
}

impl<I: Io> Work<'_, I> {
    /// Shows a member, or renews it. What it was before stays if there is no room.
    pub(crate) fn put_member(&mut self, wanted: PutMember) -> Response {
        let PutMember { channel, key, user, state, ttl, connection } = wanted;
        let at = (channel, key);
        let keyed = &self.hub.keyed_members;
        let known = keyed.members.get(&at).map(|member| (member.connection, member.generation));
        if known.is_none() && keyed.len() >= MAX_KEYED_MEMBERS {
            return Response::Full;
        }
        let shown = self.held_elsewhere(&at.0, connection).map(|member| member.generation);
        let is_new = known.is_none() && shown.is_none();
        let taken_over = (connection, shown.map_or(0, |before| before.wrapping_add(1)));
        let (connection, generation) = known.unwrap_or(taken_over);
        let until = self.now + ttl;
        let member = KeyedMember { connection, generation, user, state, until };
        if self.show_keyed(&at.0, member.put()) == PutResult::Full {
            self.hub.keyed_members.remove(&at);
            return Response::Full;
        }
        self.hub.keyed_members.insert(at, member);
        self.apply_shard_effects();
        Response::Put { connection, is_new }
    }

    /// Takes a member away. One that another node holds has this id.
    pub(crate) fn remove_member(
        &mut self,
        at: (ChannelName, MemberKey),
        connection: ConnectionId,
    ) -> Response {
        let is_held = self.hub.keyed_members.members.contains_key(&at);
        let elsewhere = self.held_elsewhere(&at.0, connection).filter(|_| !is_held);
        if let Some(member) = elsewhere {
            let Member { generation, user, state, .. } = member.clone();
            let (user, generation) = (user.id().clone(), generation.wrapping_add(1));
            let member = KeyedMember { connection, generation, user, state, until: self.now };
            self.show_keyed(&at.0, member.put());
            self.hub.keyed_members.insert(at.clone(), member);
            self.apply_shard_effects();
        }
        match self.end_keyed(&at, LeaveReason::Leave) {
            true => Response::Removed,
            false => Response::NotFound,
        }
    }

    /// A member of a key that this hub does not hold: another node does, or has until it ended.
    fn held_elsewhere(&self, channel: &ChannelName, connection: ConnectionId) -> Option<&Member> {
        match self.hub.shards.contents(channel) {
            Contents::Live(live) => live.member(connection).map(|(member, _)| member),
            Contents::Nothing | Contents::Freed { .. } => None,
        }
    }

    /// Removes a member that a backend kicks.
    pub(crate) fn kick_keyed(&mut self, at: &(ChannelName, MemberKey)) {
        self.end_keyed(at, LeaveReason::Kicked);
    }

    /// Lets the members go whose time is over.
    pub(crate) fn end_keyed_members(&mut self) {
        while let Some(at) = self.hub.keyed_members.next_over(self.now) {
            self.end_keyed(&at, LeaveReason::Timeout);
        }
    }

    fn end_keyed(&mut self, at: &(ChannelName, MemberKey), reason: LeaveReason) -> bool {
        let Some(member) = self.hub.keyed_members.remove(at) else { return false };
        let (channel, connection) = (at.0.clone(), member.connection);
        self.note_keyed_left(at, (connection, member.user), reason);
        let (owner, generation) = (OWNER, member.generation);
        self.command(Command::Remove { channel, connection, owner, generation, reason });
        self.apply_shard_effects();
        true
    }

    /// The channel is on this hub, so the answer is there at once.
    fn show_keyed(&mut self, channel: &ChannelName, put: Put) -> PutResult {
        self.apply_shard_effects();
        let max_members = self.hub.policy.settings_for(channel).max_members;
        let (peer, connection) = (self.hub.config.me, put.connection);
        let generation = put.generation;
        let asker = Asker { peer, slot: NO_SLOT, connection, generation };
        let channel = channel.clone();
        self.command(Command::Put {
            channel,
            put,
            expire: Expire::Never,
            max_members,
            asker,
            reference: None,
        });
        // A put without a `ref` is answered only where it was refused.
        let answers = self.hub.shard_effects.iter();
        let mut results = answers.filter_map(|effect| match effect {
            Effect::Answer { asker: to, result, .. } if *to == asker => Some(*result),
            _ => None,
        });
        results.next().unwrap_or(PutResult::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_up_to_64_letters_digits_dots_underscores_and_dashes() {
        let longest = "k".repeat(MemberKey::MAX_BYTES);
        for key in ["a", "Bot-7", "device_1.a", &longest] {
            assert!(MemberKey::parse(key).is_some(), "{key}");
        }
        for text in ["", "a b", "a/b", "\u{e9}", "a\n", &format!("{longest}k")] {
            assert!(MemberKey::parse(text).is_none(), "{text}");
        }
    }
}
