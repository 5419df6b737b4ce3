//! A shard whose home is here: what other nodes ask, and what they are answered.

use std::collections::BTreeSet;

use herenow_wire::link::{
    Attachment, Channel, Interest, Item, Put as LinkPut, Refused, RefusedWhy, Report, Shown,
};
use herenow_wire::{ChannelName, ConnectionId, LeaveReason};

use super::{From, Outgoing, Replica, Role, To, ticket_of};
use crate::change::{Owner, Taken};
use crate::command::{Asker, Command, Effect, Expire, Peer, PutResult, RequestId};
use crate::decision::Put;
use crate::time::Instant;

/// In place of the limit of members where another home has admitted one already.
const ADMITTED: u32 = u32::MAX;

impl Replica {
    /// Decides. Answers to other nodes become items.
    #[inline]
    pub(super) fn decide(&mut self, command: Command, now: Instant, out: &mut Vec<Effect>) {
        let before = out.len();
        self.shard.handle(command, now, out);
        if self.shard.has_taken() {
            let taken = self.shard.take_taken();
            self.tell_taken(taken);
        }
        if out[before..].iter().any(is_for_a_node) {
            self.tell_sleep(before, out);
            self.tell_nodes(before, out);
        }
    }

    /// The answers to other nodes, from `at` on, become items.
    #[cold]
    fn tell_nodes(&mut self, mut at: usize, out: &mut Vec<Effect>) {
        while at < out.len() {
            if !is_answer_to_a_node(&out[at]) {
                at += 1;
            } else if let Effect::Answer { asker, channel, result, .. } = out.remove(at) {
                self.outgoing.extend(refusal(&asker, channel, result));
            }
        }
    }

    /// Takes in what is asked before this home knows everything. A subscription changes nothing that has
    /// to be decided.
    pub(super) fn wait_to_open(&mut self, command: Command, now: Instant, out: &mut Vec<Effect>) {
        match command {
            Command::Subscribe { channel, peer, request_id } => {
                self.request(&channel, (peer, request_id), now, out);
            }
            Command::Unsubscribe { channel, peer } => {
                if let Role::Opening(opening) = &mut self.role {
                    opening.held.forget(&channel, peer);
                }
                self.shard.unsubscribe_from_copy(&channel, peer);
            }
            command => {
                if let Role::Opening(opening) = &mut self.role {
                    opening.wait(self.me, command);
                }
            }
        }
    }

    /// Tells owners which of their connections have come back at another node.
    pub(super) fn tell_taken(&mut self, taken: Vec<Taken>) {
        self.outgoing.extend(taken.into_iter().map(|taken| {
            let Taken { by, connection, generation } = taken;
            Outgoing { to: To::Owner(by), item: Item::Taken { connection, generation } }
        }));
    }

    /// Something for a home, from another node.
    pub(super) fn receive_at_home(
        &mut self,
        from: From,
        item: Item,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        match (&mut self.role, item) {
            (Role::Copy(_), Item::Put(put)) => {
                self.outgoing.extend(not_home(from.peer, put));
            }
            (Role::Copy(_), _) => {}
            (Role::Opening(opening), Item::Report(report)) => {
                opening.report(from.owner, Some(from.peer), report);
            }
            (Role::Opening(opening), Item::Interest { channel, interest }) => {
                opening.interest(from.peer, channel, interest);
            }
            (Role::Opening(opening), item) => {
                if let Some(command) = command(from, item) {
                    opening.wait(from.owner, command);
                }
            }
            (Role::Home, Item::Heard { channel }) => self.wake_to_look(&channel, now, out),
            (Role::Home, Item::Report(report)) => self.report_again(from, report, now, out),
            (Role::Home, item) => {
                if let Some(command) = command(from, item) {
                    self.decide(command, now, out);
                }
            }
        }
    }

    /// A node has left the view: its members leave when the grace of their channels has ended.
    pub fn gone(&mut self, node: From, now: Instant, out: &mut Vec<Effect>) {
        match &mut self.role {
            Role::Copy(_) => {}
            Role::Opening(opening) => opening.lose(node, now),
            Role::Home => {
                self.begin_graces((node.owner, now), now, out);
                for channel in self.wanted_by(node.peer) {
                    self.decide(Command::Unsubscribe { channel, peer: node.peer }, now, out);
                }
            }
        }
    }

    /// A node says once more what it has, since something of it was lost on the way.
    fn report_again(&mut self, from: From, report: Report, now: Instant, out: &mut Vec<Effect>) {
        let mut gone: BTreeSet<(ChannelName, ConnectionId)> = BTreeSet::new();
        for slot in self.shard.slots() {
            for connection in slot.shown_by(from.owner) {
                gone.insert((slot.name.clone(), connection));
            }
        }
        let mut unwanted: BTreeSet<ChannelName> = self.wanted_by(from.peer).into_iter().collect();
        for channel in report.channels {
            for connection in &channel.waiting {
                gone.remove(&(channel.name.clone(), *connection));
            }
            if self.shard.is_asleep(&channel.name) {
                for member in &channel.members {
                    gone.remove(&(channel.name.clone(), member.presence.connection));
                }
                if channel.interest != Interest::Nothing {
                    unwanted.remove(&channel.name);
                }
                self.report_asleep((from.peer, from.owner), &channel, now, out);
                continue;
            }
            let Channel { name, interest, members, waiting: _, copied: _ } = channel;
            if members.iter().any(|member| member.shown == Shown::Sleeping) {
                // It was not told.
                let item = Item::Woke { channel: name.clone() };
                self.outgoing.push(Outgoing { to: To::Node(from.peer), item });
            }
            for member in members {
                gone.remove(&(name.clone(), member.presence.connection));
                let Shown::State(state) = member.shown else { continue };
                let put = LinkPut {
                    channel: name.clone(),
                    presence: member.presence,
                    state,
                    max_members: ADMITTED,
                    ticket: None,
                };
                if let Some(put) = command(from, Item::Put(put)) {
                    self.decide(put, now, out);
                }
            }
            if interest != Interest::Nothing {
                unwanted.remove(&name);
                let (peer, request_id) = (from.peer, RequestId(0));
                self.decide(Command::Subscribe { channel: name, peer, request_id }, now, out);
            }
        }
        let (owner, reason) = (from.owner, LeaveReason::Disconnect);
        for (channel, connection) in gone {
            let generation = self.shard.generation_of(&channel, connection).unwrap_or_default();
            let remove = Command::Remove { channel, connection, owner, generation, reason };
            self.decide(remove, now, out);
        }
        for channel in unwanted {
            self.decide(Command::Unsubscribe { channel, peer: from.peer }, now, out);
        }
    }
}

fn is_for_a_node(effect: &Effect) -> bool {
    match effect {
        Effect::Resync { .. } => true,
        effect => is_answer_to_a_node(effect),
    }
}

fn is_answer_to_a_node(effect: &Effect) -> bool {
    matches!(effect, Effect::Answer { asker, .. } if asker.peer.as_node().is_some())
}

/// What another node asks of a home, as one of its own connections would.
fn command(from: From, item: Item) -> Option<Command> {
    let owner = from.owner;
    Some(match item {
        Item::Put(put) if put.presence.attachment == Attachment::Detached => keep(owner, put),
        Item::Put(put) => {
            let ticket = put.ticket.map_or(0, |ticket| ticket.0 as u32);
            let (channel, max_members) = (put.channel.clone(), put.max_members);
            let put = put_of(owner, put);
            let (connection, generation) = (put.connection, put.generation);
            let asker = Asker { peer: from.peer, slot: ticket, connection, generation };
            let expire = Expire::Never;
            Command::Put { channel, put, expire, max_members, asker, reference: None }
        }
        Item::Remove { channel, connection, generation, reason } => {
            Command::Remove { channel, connection, owner, generation, reason }
        }
        Item::Detach { channel, connection, generation } => {
            Command::Detach { channel, connection, owner, generation }
        }
        Item::Interest { channel, interest: Interest::Changes | Interest::Asleep } => {
            Command::Subscribe { channel, peer: from.peer, request_id: RequestId(0) }
        }
        Item::Interest { channel, interest: Interest::Nothing } => {
            Command::Unsubscribe { channel, peer: from.peer }
        }
        _ => return None,
    })
}

fn keep(owner: Owner, put: LinkPut) -> Command {
    let (channel, max_members) = (put.channel.clone(), put.max_members);
    Command::Keep { channel, put: put_of(owner, put), max_members }
}

fn put_of(owner: Owner, put: LinkPut) -> Put {
    let (connection, generation) = (put.presence.connection, put.presence.generation);
    Put { connection, owner, generation, user: put.presence.user, state: put.state }
}

fn refusal(asker: &Asker, channel: ChannelName, result: PutResult) -> Option<Outgoing> {
    let why = match result {
        // It follows from the acknowledgement of the batch.
        PutResult::Done => return None,
        PutResult::Full => RefusedWhy::Full,
        PutResult::Superseded => RefusedWhy::OlderGeneration,
    };
    Some(refused(asker, channel, why))
}

/// What the node that put is told.
pub(super) fn refused(asker: &Asker, channel: ChannelName, why: RefusedWhy) -> Outgoing {
    let (connection, generation) = (asker.connection, asker.generation);
    let ticket = Some(ticket_of(asker.slot));
    let refused = Refused { channel, connection, generation, ticket, why };
    Outgoing { to: To::Node(asker.peer), item: Item::Refused(refused) }
}

fn not_home(peer: Peer, put: LinkPut) -> Option<Outgoing> {
    let (connection, generation) = (put.presence.connection, put.presence.generation);
    let (channel, ticket, why) = (put.channel, put.ticket, RefusedWhy::NotHome);
    let refused = Refused { channel, connection, generation, ticket, why };
    Some(Outgoing { to: To::Node(peer), item: Item::Refused(refused) })
}
