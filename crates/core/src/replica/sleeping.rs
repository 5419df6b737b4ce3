//! Channels that hibernate on several nodes. The home decides that one falls asleep, tells every node,
//! and tells every node again when it wakes: a socket that only named the channel is to hear of that too.
//!
//! A node remembers which of its connections tracked in a channel that sleeps, without what they showed.
//! That is in its reports, so a channel sleeps on under another home. What wakes it is a message at any
//! node: a put, a request for the list, a member that leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herenow_wire::link::{self, Attachment, Interest, Item, Position, Presence, Reported, Shown};
use herenow_wire::{ChannelName, ConnectionId};

use super::reporting::Channels;
use super::{Outgoing, Replica, Role, To, own};
use crate::change::Owner;
use crate::channel::ListPosition;
use crate::command::{Effect, Peer};
use crate::decision::is_up_to;
use crate::shard::{Contents, Need};
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Sleep {
    /// How often the home hears that a channel is used here.
    hear_every: Duration,
    /// The members of this node in channels that sleep.
    asleep: BTreeMap<ChannelName, BTreeMap<ConnectionId, Presence>>,
}

/// A copy tells its home so often within `hibernateAfterMs` that a channel is used.
const PARTS: u32 = 4;

impl Replica {
    /// Channels that have no message for so long hibernate.
    pub fn hibernate_after(&mut self, time: Duration) {
        let (hear_every, asleep) = (time / PARTS, BTreeMap::new());
        self.sleep = Some(Box::new(Sleep { hear_every, asleep }));
    }

    /// Notes who is in the channels that are about to fall asleep.
    pub(super) fn note_sleepers(&mut self, now: Instant, hibernate_after: Duration) {
        let Some(sleep) = &mut self.sleep else { return };
        for channel in self.shard.silent(now, hibernate_after) {
            let Some(list) = self.shard.list(&channel) else { continue };
            for (member, _) in list.members().filter(|(member, _)| member.owner == self.me) {
                let attachment = own::attachment(list.connectivity(member.connection));
                sleep.note(&channel, Presence { attachment, ..own::presence(member) });
            }
        }
    }

    /// Tells every node which channels have fallen asleep or woken since `from`.
    pub(super) fn tell_sleep(&mut self, from: usize, out: &[Effect]) {
        if self.sleep.is_none() {
            return;
        }
        for effect in &out[from..] {
            let item = match effect {
                Effect::Resync { channel, .. } => {
                    if let Some(sleep) = &mut self.sleep {
                        sleep.asleep.remove(channel);
                    }
                    Item::Woke { channel: channel.clone() }
                }
                Effect::Hibernated { channel, .. } => self.hibernated(channel),
                _ => continue,
            };
            self.outgoing.push(Outgoing { to: To::All, item });
        }
    }

    /// That a channel hibernates, for a node that copies it.
    pub(super) fn hibernated(&self, channel: &ChannelName) -> Item {
        let position = match self.shard.contents(channel) {
            Contents::Freed { position, .. } => position,
            Contents::Live(_) | Contents::Nothing => None,
        };
        let position = position.map(|ListPosition { epoch, seq, .. }| Position { epoch, seq });
        Item::Hibernated { channel: channel.clone(), position }
    }

    /// The home has let a channel fall asleep. A copy that is not as far as the list was misses something: it
    /// asks for the list, which wakes the channel.
    pub(super) fn copy_asleep(
        &mut self,
        channel: &ChannelName,
        position: Option<Position>,
        out: &mut Vec<Effect>,
    ) {
        let (Role::Copy(own), Some(sleep)) = (&mut self.role, &mut self.sleep) else { return };
        own.take_shown(channel).for_each(|presence| sleep.note(channel, presence));
        if self.shard.free_asleep((channel, position), out) == Need::List {
            self.want(channel.clone());
        }
    }

    /// A channel is being rebuilt: its sockets here are asked for their states.
    pub(super) fn copy_woke(&mut self, channel: ChannelName, out: &mut Vec<Effect>) {
        let (Role::Copy(_), Some(sleep)) = (&self.role, &mut self.sleep) else { return };
        sleep.asleep.remove(&channel);
        if self.shard.expect_anew(&channel) == Need::List {
            self.want(channel.clone());
        }
        out.push(Effect::Resync { channel, peers: Vec::new() });
    }

    /// Somebody looks at the list of a channel that sleeps, at a copy.
    pub(super) fn wake_copy(&mut self, channel: &ChannelName) {
        let is_here = |sleep: &Sleep| sleep.asleep.contains_key(channel);
        if self.shard.is_asleep(channel) && self.shard.expect_anew(channel) == Need::List {
            self.want(channel.clone());
        } else if self.sleep.as_deref().is_some_and(is_here) {
            let channel = channel.clone();
            self.outgoing.push(Outgoing { to: To::Home, item: Item::Heard { channel } });
        }
    }

    /// Whether a connection of this node tracked in a channel that sleeps.
    pub(super) fn is_asleep_here(&self, channel: &ChannelName, connection: ConnectionId) -> bool {
        let of = self.sleep.as_ref().and_then(|sleep| sleep.asleep.get(channel));
        of.is_some_and(|of| of.contains_key(&connection))
    }

    /// A list is used here, of which the home hears nothing else.
    pub(super) fn tell_use(&mut self, channel: ChannelName, now: Instant) {
        let Some(sleep) = &self.sleep else { return };
        if self.shard.is_use_due(&channel, sleep.hear_every, now) {
            self.outgoing.push(Outgoing { to: To::Home, item: Item::Heard { channel } });
        }
    }

    /// A node has reported a channel that sleeps here. What nobody knew of wakes it: another member, or a
    /// node that does not know that it sleeps and so may have another list.
    pub(super) fn report_asleep(
        &mut self,
        (peer, owner): (Peer, Owner),
        channel: &link::Channel,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if channel.interest != Interest::Nothing {
            self.shard.note_node(&channel.name, peer);
        }
        let mut is_known = channel.interest != Interest::Changes;
        for Reported { presence, .. } in &channel.members {
            is_known &= self.shard.vouch_asleep(&channel.name, (presence.connection, owner));
        }
        if !is_known {
            let from = out.len();
            self.shard.wake_to_look(&channel.name, now, out);
            self.tell_sleep(from, out);
        }
    }

    /// This node was left out: whether the channels that it knows to sleep still do, it does not know.
    pub(super) fn forget_asleep(&mut self) {
        for channel in self.shard.names() {
            if self.shard.is_asleep(&channel) {
                self.shard.expect_anew(&channel);
            }
        }
    }

    /// Asks the home for a list, and for what changes in it.
    pub(super) fn want(&mut self, channel: ChannelName) {
        let interest = Interest::Changes;
        self.outgoing.push(Outgoing { to: To::Home, item: Item::Interest { channel, interest } });
    }
}

impl Sleep {
    fn note(&mut self, channel: &ChannelName, presence: Presence) {
        self.asleep.entry(channel.clone()).or_default().insert(presence.connection, presence);
    }

    /// A connection has lost its socket, in a channel that sleeps.
    pub(super) fn detach(
        &mut self,
        channel: &ChannelName,
        (connection, generation): (ConnectionId, u32),
    ) {
        let presence = self.asleep.get_mut(channel).and_then(|of| of.get_mut(&connection));
        if let Some(presence) = presence.filter(|one| is_up_to(one.generation, generation)) {
            presence.attachment = Attachment::Detached;
        }
    }

    /// A member is none any more, if it is of no later socket than this.
    pub(super) fn forget(
        &mut self,
        channel: &ChannelName,
        (connection, generation): (ConnectionId, u32),
    ) {
        if let Some(of) = self.asleep.get_mut(channel) {
            of.retain(|id, one| *id != connection || !is_up_to(one.generation, generation));
            if of.is_empty() {
                self.asleep.remove(channel);
            }
        }
    }

    /// Whether a connection was in a channel that sleeps with this generation.
    pub(super) fn has(
        &self,
        channel: &ChannelName,
        (connection, generation): (ConnectionId, u32),
    ) -> bool {
        let presence = self.asleep.get(channel).and_then(|of| of.get(&connection));
        presence.is_some_and(|presence| presence.generation == generation)
    }

    /// For a report: the members without what they show. What a connection shows since counts more.
    pub(super) fn report(&self, channels: &mut Channels) {
        for (name, members) in &self.asleep {
            let shown = &mut channels.of(name).members;
            let known: BTreeSet<ConnectionId> =
                shown.iter().map(|one| one.presence.connection).collect();
            let sleeping = members.values().filter(|one| !known.contains(&one.connection));
            shown.extend(sleeping.map(|presence| {
                let presence = presence.clone();
                Reported { presence, shown: Shown::Sleeping, seen: None }
            }));
        }
    }
}
