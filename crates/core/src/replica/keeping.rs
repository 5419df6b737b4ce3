//! What the loop that holds a shard asks of it, whatever its role is.

use std::time::Duration;

use herenow_wire::{ChannelName, ConnectionId, State};

use super::{Replica, Role};
use crate::change::Owner;
use crate::command::Effect;
use crate::leaves::LeaveCounts;
use crate::shard::{Contents, Counted, Shard};
use crate::time::Instant;

/// What a connection shows, as far as its node knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Showing<'a> {
    /// Nothing.
    Nothing,
    /// This.
    State(&'a State),
    /// Its channel hibernates, so nobody knows but its client.
    Asleep,
    /// Nobody can say now: lists are being put together.
    Unknown,
}

impl Replica {
    /// A shard of a node that is alone: its home is here for good.
    pub fn alone(number: u16, shard: Shard, me: Owner) -> Self {
        let (outgoing, unannounced) = (Vec::new(), Vec::new());
        let (graces, sleep) = (None, None);
        Self { number, me, shard, role: Role::Home, outgoing, graces, unannounced, sleep }
    }

    /// What a connection of this node shows in a channel, or wants to.
    pub fn showing(&self, channel: &ChannelName, connection: ConnectionId) -> Showing<'_> {
        match &self.role {
            Role::Home => match self.shard.contents(channel) {
                Contents::Live(live) => match live.member(connection) {
                    Some((member, _)) => Showing::State(&member.state),
                    None => Showing::Nothing,
                },
                Contents::Freed { position: None, .. } => Showing::Unknown,
                Contents::Freed { .. } => Showing::Asleep,
                Contents::Nothing => Showing::Nothing,
            },
            Role::Opening(opening) => match opening.latest(self.me, channel, connection) {
                Some(state) => Showing::State(state),
                None => Showing::Nothing,
            },
            Role::Copy(own) => match own.latest(channel, connection) {
                Some((put, _)) => Showing::State(&put.state),
                None if self.is_asleep_here(channel, connection) => Showing::Asleep,
                None => Showing::Nothing,
            },
        }
    }

    /// Which of the sockets that have had its id shows what a connection of this node shows in a channel, or
    /// wants to.
    pub fn generation_of(&self, channel: &ChannelName, connection: ConnectionId) -> Option<u32> {
        match &self.role {
            Role::Home => {
                let (member, _) = self.shard.list(channel)?.member(connection)?;
                (member.owner == self.me).then_some(member.generation)
            }
            Role::Opening(opening) => opening.generation_of(self.me, channel, connection),
            Role::Copy(own) => own.latest(channel, connection).map(|(put, _)| put.generation),
        }
    }

    /// See [`Shard::counted`].
    pub fn counted(&mut self, channel: &ChannelName, now: Instant) -> Option<Counted> {
        self.shard.counted(channel, now)
    }

    /// See [`Shard::wake_to_look`].
    pub fn wake_to_look(&mut self, channel: &ChannelName, now: Instant, out: &mut Vec<Effect>) {
        match &self.role {
            Role::Home => {
                let from = out.len();
                self.shard.wake_to_look(channel, now, out);
                self.tell_sleep(from, out);
            }
            Role::Opening(_) => {}
            Role::Copy(_) => self.wake_copy(channel),
        }
    }

    /// See [`Shard::has_deadlines`]. There are some also while members of nodes that are gone have their
    /// grace, and while requests for snapshots wait for puts.
    pub fn has_deadlines(&self, hibernate_after: Option<Duration>) -> bool {
        match &self.role {
            Role::Home => self.has_graces() || self.shard.has_deadlines(hibernate_after),
            Role::Opening(_) => self.holds_requests(),
            Role::Copy(_) => self.has_graces() || self.holds_requests(),
        }
    }

    /// See [`Shard::handle_timeout`].
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        hibernate_after: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        match &self.role {
            Role::Home => {
                self.end_graces(now, out);
                let from = out.len();
                hibernate_after.into_iter().for_each(|after| self.note_sleepers(now, after));
                self.shard.handle_timeout(now, hibernate_after, out);
                self.tell_sleep(from, out);
            }
            Role::Opening(_) => self.answer_overdue(now, out),
            Role::Copy(_) => {
                self.end_graces(now, out);
                self.answer_overdue(now, out);
            }
        }
    }

    /// See [`Shard::take_leaves`].
    pub fn take_leaves(&mut self) -> LeaveCounts {
        self.shard.take_leaves()
    }

    /// A fault in the shard of a node that is alone: an empty one takes its place, which every loop is
    /// to tell what it knows.
    pub fn lose_maps(&mut self) {
        self.outgoing.clear();
        self.shard = self.shard.successor();
        self.shard.await_reports();
    }

    /// A fault has cost a shard of one of several nodes everything. If it was the home, it is that no more,
    /// until it is in another term; what its connections showed is said again.
    pub fn lose_everything(&mut self) {
        self.outgoing.clear();
        self.shard = self.shard.unknown();
        self.role = Role::copy();
        self.forget_graces();
    }

    /// See [`Shard::all_have_reported`].
    pub fn all_have_reported(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.shard.all_have_reported(now, out);
    }
}
