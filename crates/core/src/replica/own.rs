//! What the connections of this node show in a shard whose home is another node, and what they have
//! asked that was not answered.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::link::{
    self, Attachment, Interest, Item, Position, Presence, Put as LinkPut, Refused, RefusedWhy,
    Reported, Shown, Ticket,
};
use herenow_wire::{ChannelName, ConnectionId, LeaveReason, State};

use super::held::{Held, Released};
use super::queues::Queues;
use super::reporting::Channels;
use super::waiting::{Cause, Waiting};
use super::{Outgoing, To, ticket_of};
use crate::change::{Member, Op};
use crate::command::{Command, Connectivity, Effect, Peer, PutResult};
use crate::decision::Put;
use crate::shard::Shard;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// What the home has agreed to.
    shown: BTreeMap<ChannelName, BTreeMap<ConnectionId, Mine>>,
    /// By ticket, and so in the order in which they were asked.
    waiting: BTreeMap<u32, Waiting>,
    queues: Queues,
    last_ticket: u32,
    pub(super) held: Held,
}

#[derive(Debug)]
struct Mine {
    put: Put,
    attachment: Attachment,
    /// Where an earlier home had put it; the copy of the list knows better if there is one.
    seen: Option<Position>,
}

/// A member of this node that a home has agreed to.
pub(super) struct Seen {
    pub(super) channel: ChannelName,
    pub(super) put: Put,
    pub(super) attachment: Attachment,
    /// Where a home has told of it.
    pub(super) position: Option<Position>,
}

impl Own {
    /// With these members, which a home has agreed to.
    pub(super) fn of(members: impl IntoIterator<Item = Seen>) -> Self {
        let mut own = Self::default();
        for Seen { channel, put, attachment, position: seen } in members {
            let mine = Mine { put, attachment, seen };
            own.shown.entry(channel).or_default().insert(mine.put.connection, mine);
        }
        own
    }

    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A member is about to put. If as many of its puts wait as may, the next takes the place of the last,
    /// which is acknowledged.
    fn make_room(
        &mut self,
        channel: &ChannelName,
        connection: ConnectionId,
        out: &mut Vec<Effect>,
    ) {
        if let Some(ticket) = self.queues.replaced_by_next(connection, channel)
            && let Some(replaced) = self.take(ticket_of(ticket))
        {
            replaced.answer(PutResult::Done, out);
        }
    }

    /// Takes a put up, which goes to the home.
    pub(super) fn put(
        &mut self,
        channel: ChannelName,
        (put, max_members): (Put, u32),
        cause: Cause,
        out: &mut Vec<Effect>,
    ) -> Outgoing {
        self.make_room(&channel, put.connection, out);
        let attachment = match &cause {
            Cause::Kept => Attachment::Detached,
            Cause::Asked(..) | Cause::Restated => Attachment::Socket,
        };
        self.send(Waiting { channel, put, max_members, attachment, cause, is_over: false })
    }

    /// Fields of a member's state have ended.
    pub(super) fn restated(
        &mut self,
        channel: &ChannelName,
        connection: ConnectionId,
        state: State,
        out: &mut Vec<Effect>,
    ) -> Option<Outgoing> {
        let (put, attachment) = self.latest(channel, connection)?;
        let put = Put { state, ..put.clone() };
        // If it is not agreed to, this must not bring it in.
        let waits = self.waiting.values().find(|waiting| waiting.is_about(channel, connection));
        let max_members = waits.map_or(u32::MAX, |waiting| waiting.max_members);
        // Only now, as the put that gives way is the one that this is about.
        self.make_room(channel, connection, out);
        let (channel, cause) = (channel.clone(), Cause::Restated);
        Some(self.send(Waiting { channel, put, max_members, attachment, cause, is_over: false }))
    }

    /// What a connection shows, or wants to: whether the home has agreed to it or not.
    pub(super) fn latest(
        &self,
        channel: &ChannelName,
        connection: ConnectionId,
    ) -> Option<(&Put, Attachment)> {
        let mut newest_first = self.waiting.values().rev();
        if let Some(waiting) = newest_first.find(|waiting| waiting.is_about(channel, connection)) {
            return Some((&waiting.put, waiting.attachment));
        }
        let mine = self.shown.get(channel)?.get(&connection)?;
        Some((&mine.put, mine.attachment))
    }

    /// A member goes, in whatever way it is here.
    pub(super) fn remove(
        &mut self,
        channel: ChannelName,
        (connection, generation): (ConnectionId, u32),
        reason: LeaveReason,
    ) -> Outgoing {
        let is_meant = |put: &Put| put.connection == connection && put.is_up_to(generation);
        if let Some(shown) = self.shown.get_mut(&channel) {
            if shown.get(&connection).is_some_and(|mine| is_meant(&mine.put)) {
                shown.remove(&connection);
            }
            if shown.is_empty() {
                self.shown.remove(&channel);
            }
        }
        for waiting in self.waiting.values_mut() {
            if waiting.channel == channel && is_meant(&waiting.put) {
                waiting.is_over = true;
            }
        }
        Outgoing { to: To::Home, item: Item::Remove { channel, connection, generation, reason } }
    }

    /// Whether a connection shows what it showed with this generation, and wants nothing else.
    pub(super) fn has_shown(
        &self,
        channel: &ChannelName,
        (connection, generation): (ConnectionId, u32),
    ) -> bool {
        let mine = self.shown.get(channel).and_then(|shown| shown.get(&connection));
        mine.is_some_and(|mine| mine.put.generation == generation)
            && !self.queues.has(connection, channel)
    }

    /// A channel has fallen asleep: who is in it, and none of what they show.
    pub(super) fn take_shown(
        &mut self,
        channel: &ChannelName,
    ) -> impl Iterator<Item = Presence> + use<> {
        let shown = self.shown.remove(channel).unwrap_or_default();
        shown.into_values().map(|mine| presence_of(&mine.put, mine.attachment))
    }

    /// A member is not reported any more, if it has this generation.
    pub(super) fn forget(
        &mut self,
        channel: &ChannelName,
        (connection, generation): (ConnectionId, u32),
    ) {
        if let Some(shown) = self.shown.get_mut(channel) {
            shown.retain(|id, mine| *id != connection || mine.put.generation != generation);
            if shown.is_empty() {
                self.shown.remove(channel);
            }
        }
    }

    /// The connection of a member has lost its socket.
    pub(super) fn detach(
        &mut self,
        channel: ChannelName,
        (connection, generation): (ConnectionId, u32),
    ) -> Outgoing {
        let is_meant = |put: &Put| put.connection == connection && put.is_up_to(generation);
        let shown = self.shown.get_mut(&channel).and_then(|shown| shown.get_mut(&connection));
        if let Some(mine) = shown.filter(|mine| is_meant(&mine.put)) {
            mine.attachment = Attachment::Detached;
        }
        for waiting in self.waiting.values_mut() {
            if waiting.channel == channel && is_meant(&waiting.put) {
                waiting.attachment = Attachment::Detached;
            }
        }
        Outgoing { to: To::Home, item: Item::Detach { channel, connection, generation } }
    }

    /// The home has applied a put and told of it.
    pub(super) fn done(&mut self, ticket: Ticket, out: &mut Vec<Effect>) {
        let Some(waiting) = self.take(ticket) else { return };
        if !waiting.is_over {
            let (connection, attachment) = (waiting.put.connection, waiting.attachment);
            let mine = Mine { put: waiting.put.clone(), attachment, seen: None };
            self.shown.entry(waiting.channel.clone()).or_default().insert(connection, mine);
        }
        waiting.answer(PutResult::Done, out);
    }

    /// The home has refused a put. Whether it is to be sent once more, to another home.
    pub(super) fn refused(&mut self, refused: &Refused, out: &mut Vec<Effect>) {
        let Some(ticket) = refused.ticket else { return };
        let result = match refused.why {
            RefusedWhy::Full => PutResult::Full,
            RefusedWhy::OlderGeneration => {
                self.lose(refused.connection, refused.generation);
                PutResult::Superseded
            }
            RefusedWhy::Fault | RefusedWhy::NotHome => {
                return self.undecided(ticket, out);
            }
        };
        if let Some(waiting) = self.take(ticket) {
            waiting.answer(result, out);
        }
    }

    /// A put was not decided. It waits for the home that asks for a report next, under another ticket: the
    /// batch that carried it is acknowledged all the same. A later put of the connection takes its place.
    fn undecided(&mut self, ticket: Ticket, out: &mut Vec<Effect>) {
        let Some(waiting) = self.take(ticket) else { return };
        let (channel, connection) = (&waiting.channel, waiting.put.connection);
        let later = self.waiting.range(number_of(ticket).unwrap_or(0)..);
        if later.into_iter().any(|(_, later)| later.is_about(channel, connection)) {
            // A request that waits for this one waits for that.
            self.held.wait_for(self.last_ticket);
            return waiting.answer(PutResult::Done, out);
        }
        self.last_ticket = self.last_ticket.wrapping_add(1);
        self.insert(waiting);
        self.held.wait_for(self.last_ticket);
    }

    /// Another node vouches for a connection, from a later generation on than this.
    pub(super) fn lose(&mut self, connection: ConnectionId, generation: u32) {
        let is_lost = |put: &Put| put.connection == connection && put.is_up_to(generation);
        for shown in self.shown.values_mut() {
            shown.retain(|_, mine| !is_lost(&mine.put));
        }
        self.shown.retain(|_, shown| !shown.is_empty());
        for waiting in self.waiting.values_mut().filter(|waiting| is_lost(&waiting.put)) {
            waiting.is_over = true;
        }
    }

    /// The ticket of the last put of a loop that waits in a channel.
    pub(super) fn last_ticket(&self, channel: &ChannelName, peer: Peer) -> Option<u32> {
        let mut waiting = self.waiting.iter().rev();
        waiting.find(|(_, waiting)| waiting.is_of(channel, peer)).map(|(ticket, _)| *ticket)
    }

    /// The requests for snapshots that wait for no put any more.
    pub(super) fn take_answered_requests(&mut self) -> Vec<Released> {
        let waiting = &self.waiting;
        self.held.take_answered(|channel, peer| {
            let mut waiting = waiting.iter();
            waiting.find(|(_, waiting)| waiting.is_of(channel, peer)).map(|(ticket, _)| *ticket)
        })
    }

    /// Requests that another role of this node has held wait for all that waits now.
    pub(super) fn hold(&mut self, mut held: Held) {
        held.wait_for(self.last_ticket);
        self.held = held;
    }

    /// Whether a put waits under this ticket.
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        number_of(ticket).is_some_and(|number| self.waiting.contains_key(&number))
    }

    pub(super) fn put_again(&mut self, out: &mut Vec<Effect>) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        self.queues.clear();
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            if waiting.is_over {
                waiting.answer(PutResult::Done, out);
            } else {
                outgoing.push(self.send(waiting));
            }
        }
        self.held.wait_for(self.last_ticket);
        outgoing
    }

    /// What waits, as it was asked. What is over needs no home any more.
    pub(super) fn into_commands(self, out: &mut Vec<Effect>) -> Vec<Command> {
        let mut commands = Vec::new();
        for waiting in self.waiting.into_values() {
            if waiting.is_over {
                waiting.answer(PutResult::Done, out);
            } else {
                commands.extend(waiting.into_commands());
            }
        }
        commands
    }

    /// For a report: every channel in which this node has members, or that it wants to hear of.
    pub(super) fn report(&self, shard: &Shard, channels: &mut Channels) {
        for slot in shard.slots().filter(|slot| slot.has_local_peer()) {
            let is_asleep = shard.is_asleep(slot.name);
            let interest = if is_asleep { Interest::Asleep } else { Interest::Changes };
            channels.of(slot.name).interest = interest;
        }
        for (name, shown) in &self.shown {
            let list = shard.list(name);
            channels.of(name).members.extend(shown.values().map(|mine| {
                let copied = list.and_then(|list| {
                    let (member, _) = list.member(mine.put.connection)?;
                    Some(Position { epoch: list.epoch(), seq: member.seq })
                });
                mine.reported(copied.max(mine.seen))
            }));
        }
        let waiting = self.waiting.values().filter(|waiting| !waiting.is_over);
        let waiting: BTreeSet<_> =
            waiting.map(|waiting| (&waiting.channel, waiting.put.connection)).collect();
        let is_shown = |name: &ChannelName, connection: &ConnectionId| {
            self.shown.get(name).is_some_and(|shown| shown.contains_key(connection))
        };
        for (name, connection) in waiting {
            if !is_shown(name, &connection) {
                channels.of(name).waiting.push(connection);
            }
        }
    }

    fn send(&mut self, waiting: Waiting) -> Outgoing {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let item = Item::Put(LinkPut {
            channel: waiting.channel.clone(),
            presence: presence_of(&waiting.put, waiting.attachment),
            state: waiting.put.state.clone(),
            max_members: waiting.max_members,
            ticket: Some(ticket_of(self.last_ticket)),
        });
        self.insert(waiting);
        Outgoing { to: To::Home, item }
    }

    /// Under the last ticket.
    fn insert(&mut self, waiting: Waiting) {
        self.queues.add(waiting.put.connection, &waiting.channel, self.last_ticket);
        self.waiting.insert(self.last_ticket, waiting);
    }

    fn take(&mut self, ticket: Ticket) -> Option<Waiting> {
        let taken = self.waiting.remove(&number_of(ticket)?)?;
        self.queues.remove(taken.put.connection, &taken.channel);
        Some(taken)
    }
}

impl Mine {
    fn reported(&self, seen: Option<Position>) -> Reported {
        Reported {
            presence: presence_of(&self.put, self.attachment),
            shown: Shown::State(self.put.state.clone()),
            seen,
        }
    }
}

/// What a connection shows with a member.
pub(super) fn put_of(member: Member) -> Put {
    let Member { connection, owner, generation, user, state, .. } = member;
    Put { connection, owner, generation, user, state }
}

pub(super) fn attachment(connectivity: Connectivity) -> Attachment {
    match connectivity {
        Connectivity::Connected => Attachment::Socket,
        Connectivity::Detached => Attachment::Detached,
    }
}

/// Whose a member is, as nodes tell each other.
pub(super) fn presence(member: &Member) -> Presence {
    Presence {
        connection: member.connection,
        generation: member.generation,
        user: member.user.clone(),
        attachment: Attachment::Socket,
        since_ms: 0,
    }
}

fn presence_of(put: &Put, attachment: Attachment) -> Presence {
    let Put { connection, generation, user, .. } = put;
    let (connection, generation, user) = (*connection, *generation, user.clone());
    Presence { connection, generation, user, attachment, since_ms: 0 }
}

/// A change, as a home tells it: what stood there before is known to each copy.
pub(super) fn link_op(op: &Op) -> link::Op {
    match op {
        Op::Put { new, .. } => link::Op::Put(super::row(new)),
        Op::Remove { old, reason, seq } => {
            link::Op::Remove { connection: old.connection, reason: *reason, seq: *seq }
        }
    }
}

fn number_of(ticket: Ticket) -> Option<u32> {
    u32::try_from(ticket.0).ok()
}
