//! Losing a channel's map, by long silence or by a fault, and rebuilding it from what the clients
//! send again.

use std::time::Duration;

use herenow_wire::{ChannelName, ConnectionId};

use super::{Hibernating, Map, NextFlush, PeerSubscription, Shard, Slot};
use crate::change::Owner;
use crate::channel::Channel;
use crate::collecting::{Collecting, Tracker, trackers_in};
use crate::command::{Connectivity, Effect};
use crate::since::Since;
use crate::time::Instant;

impl Shard {
    /// When [`Shard::handle_timeout`] is next worth a call. `hibernate_after` is `None` where
    /// channels never hibernate.
    pub fn has_deadlines(&self, hibernate_after: Option<Duration>) -> bool {
        self.collecting > 0 || (hibernate_after.is_some() && !self.channels.is_empty())
    }

    /// Ends collections whose time is over and lets silent channels hibernate.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        hibernate_after: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        let silent = hibernate_after.map_or_else(Vec::new, |after| self.silent(now, after));
        let is_over = |slot: &Slot| match &slot.map {
            Map::Collecting(collecting) => collecting.is_over(now),
            Map::Live(_) | Map::Hibernating(_) => false,
        };
        let over = self.channels.iter().filter(|(_, slot)| is_over(slot));
        let over: Vec<ChannelName> = over.map(|(name, _)| name.clone()).collect();
        for name in over {
            self.rebuild(&name, now, out);
        }
        for name in silent {
            self.hibernate(&name);
            if let Some(slot) = self.channels.get(&name) {
                out.push(Effect::Hibernated { channel: name, peers: slot.peers() });
            }
        }
    }

    /// Loses every map of the shard, as after a fault in the code that owns it, and starts to
    /// rebuild them. The subscribers stay.
    pub fn lose_all(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let names: Vec<ChannelName> = self.channels.keys().cloned().collect();
        for name in names {
            self.hibernate(&name);
            self.wake(&name, now, out);
        }
    }

    /// Another process has handed over, and its clients come back until then. A channel that is first
    /// used before has no snapshot until that time: an earlier one would lack those who are on their
    /// way.
    pub fn gather_until(&mut self, until: Instant) {
        self.gathers_until = Some(until);
    }

    /// After a fault, and where there are more peers than one: no channel counts as complete before
    /// [`Shard::all_have_reported`], though its time to be rebuilt is bounded as ever.
    pub fn await_reports(&mut self) {
        self.awaits_reports = true;
    }

    /// Every peer has said what it knows. Channels that wait for nobody are rebuilt.
    pub fn all_have_reported(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.awaits_reports = false;
        let names: Vec<ChannelName> = self.channels.keys().cloned().collect();
        for name in names {
            self.rebuild_if_complete(&name, now, out);
        }
    }

    /// Takes in what a peer knows of a channel whose map was lost by a fault. The first such report
    /// starts the rebuilding; the others add to whom it waits for.
    pub(super) fn recover(
        &mut self,
        name: &ChannelName,
        subscription: PeerSubscription,
        trackers: Vec<(ConnectionId, Owner)>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        Self::slot(&mut self.channels, name, (self.epoch, self.seq), now).note(subscription);
        self.hibernate_with_trackers(name, trackers);
        self.wake(name, now, out);
    }

    /// Frees a map, whatever it has become since the fault, and adds to who was in it.
    fn hibernate_with_trackers(&mut self, name: &ChannelName, more: Vec<(ConnectionId, Owner)>) {
        let Some(slot) = self.channels.get_mut(name) else { return };
        if let Map::Collecting(collecting) = &mut slot.map {
            return collecting.await_also(more);
        }
        self.hibernate(name);
        if let Some(slot) = self.channels.get_mut(name)
            && let Map::Hibernating(hibernating) = &mut slot.map
        {
            let since = Since::default();
            let more = more.into_iter().map(|(id, owner)| (id, Tracker { owner, since }));
            hibernating.trackers.extend(more);
        }
    }

    /// Frees a channel's map. Who is subscribed and who tracked stays known.
    pub(super) fn hibernate(&mut self, name: &ChannelName) {
        let Some(slot) = self.channels.get_mut(name) else { return };
        let hibernating = match &slot.map {
            Map::Live(channel) => {
                self.members -= channel.len();
                Hibernating {
                    trackers: trackers_in(channel),
                    users: channel.users(),
                    position: Some(channel.position()),
                }
            }
            Map::Hibernating(_) => return,
            Map::Collecting(collecting) => {
                self.collecting -= 1;
                let (trackers, users) = (collecting.trackers(), collecting.users());
                Hibernating { trackers, users, position: None }
            }
        };
        slot.map = Map::Hibernating(hibernating);
        slot.announced = false;
        self.free_if_unused(name);
    }

    /// Starts to rebuild the map of a channel that hibernates.
    pub(super) fn wake(&mut self, name: &ChannelName, now: Instant, out: &mut Vec<Effect>) {
        if self.awaits_reports && !self.channels.contains_key(name) {
            // It may have been full before the fault: to begin it empty would be a lie.
            let slot = Self::slot(&mut self.channels, name, (self.epoch, self.seq), now);
            slot.map = Map::Hibernating(Hibernating::default());
        }
        self.gather(name, now);
        let Some(slot) = self.channels.get_mut(name) else { return };
        slot.heard_at = Since::not_before(now);
        let Map::Hibernating(Hibernating { trackers, users, .. }) = &mut slot.map else { return };
        // A new life begins: no pair of the old one is ever repeated.
        self.epoch += 1;
        let collecting = Collecting::new(std::mem::take(trackers), *users, now);
        slot.map = Map::Collecting(Box::new(collecting));
        self.collecting += 1;
        for subscription in &mut slot.peers {
            subscription.next_flush = NextFlush::SnapshotForAll;
        }
        out.push(Effect::Resync { channel: name.clone(), peers: slot.peers() });
        self.rebuild_if_complete(name, now, out);
    }

    /// Begins a channel that is first used while clients come back. Nobody is asked for a state: they
    /// send it when they have reconnected.
    fn gather(&mut self, name: &ChannelName, now: Instant) {
        let until = self.gathers_until.filter(|until| now < *until);
        if let Some(until) = until
            && !self.channels.contains_key(name)
        {
            let slot = Self::slot(&mut self.channels, name, (self.epoch, self.seq), now);
            slot.map = Map::Collecting(Box::new(Collecting::of_anybody(until)));
            self.collecting += 1;
        }
    }

    pub(super) fn rebuild_if_complete(
        &mut self,
        name: &ChannelName,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if !self.awaits_reports
            && let Some(slot) = self.channels.get(name)
            && let Map::Collecting(collecting) = &slot.map
            && collecting.is_complete()
        {
            self.rebuild(name, now, out);
        }
    }

    /// Ends a collection: those who answered are the map, and every subscriber gets the snapshot.
    fn rebuild(&mut self, name: &ChannelName, now: Instant, out: &mut Vec<Effect>) {
        let Some(slot) = self.channels.get_mut(name) else { return };
        let Map::Collecting(collecting) = &mut slot.map else { return };
        let detached = collecting.detached();
        let (snapshot, since) = collecting.finish();
        self.collecting -= 1;
        let mut channel = Channel::new(self.epoch, self.seq);
        let seq = &mut self.seq;
        channel.replace(snapshot, || {
            *seq += 1;
            *seq
        });
        let unknown = Since::default();
        for (connection, since) in since {
            let since = if since == unknown { Since::at(now) } else { since };
            channel.note_since(connection, since);
        }
        for (connection, owner) in detached {
            channel.set_connectivity(connection, owner, Connectivity::Detached);
        }
        // Everybody gets the snapshot: the joins that led to it are nobody's deltas.
        channel.take_pending(&mut Vec::new());
        channel.index_users(self.user_index);
        self.members += channel.len();
        slot.map = Map::Live(channel);
        slot.heard_at = Since::not_before(now);
        slot.announce(name, out);
        self.free_if_unused(name);
    }
}
