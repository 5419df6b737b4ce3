//! When a channel's map is lost: telling the sockets that use it, and saying what a loop knows.

use herenow_core::{Command, Put, Ticket};
use herenow_wire::ChannelName;
use herenow_wire::encode::{self, Reply};

use super::event_loop::{Loop, Mail};
use super::sessions::OWNER;
use super::shards::Loss;
use crate::stage::{Bug, Stage};

/// No slot: an answer to it finds nobody.
const NO_SLOT: u32 = u32::MAX;

impl Loop {
    /// A fault has cost shards of this loop their maps: every loop says what it knows of them.
    pub(super) fn recover_lost(&mut self, stage: &mut Stage) {
        for loss in self.shards.take_lost() {
            let shard = loss.shard;
            stage.tally.faults += 1;
            stage.history.forget(|channel| channel.shard() == shard);
            for (index, batch) in self.outgoing.iter_mut().enumerate() {
                if index != usize::from(self.me.0) {
                    batch.push(Mail::ShardLost(loss));
                }
            }
            self.report(shard, stage);
        }
    }

    /// Another loop's shard is lost: what is known of it here goes there, and that this is all.
    pub(super) fn report_to_home(&mut self, loss: Loss, stage: &mut Stage) {
        self.report(loss.shard, stage);
        self.settle(stage);
        let home = usize::from(loss.shard) % self.outgoing.len();
        self.outgoing[home].push(Mail::Reported(loss));
    }

    /// Tells a shard that has lost its maps who here subscribes to its channels and who tracked.
    fn report(&mut self, shard: u16, stage: &mut Stage) {
        for channel in self.audience.channels_of(shard) {
            let subscribers = self.audience.subscribers(&channel).iter();
            let sessions = subscribers
                .filter_map(|one| self.connections.get(one.slot as usize)?.as_ref())
                .map(|connection| &connection.session);
            let trackers =
                sessions.filter(|session| session.tracked().any(|name| *name == channel));
            let trackers = trackers.map(|session| (session.connection(), OWNER)).collect();
            let ask = self.audience.ask_for_all(&channel);
            self.command(Command::Recover { channel, peer: self.me, ask, trackers }, stage);
        }
        let connected = self.connections.iter().flatten().map(|one| &one.session);
        let sessions = self.detached.values().chain(connected);
        let channels = sessions.flat_map(|session| session.answered_for().map(|(name, _)| name));
        let lost: Vec<ChannelName> =
            channels.filter(|name| name.shard() == shard).cloned().collect();
        for channel in lost {
            self.answer_for_detached(&channel, stage);
        }
    }

    /// Tells every socket that uses the channel that its map is lost, and answers for the sessions
    /// that have no socket.
    pub(super) fn tell_resync(&mut self, channel: &ChannelName, stage: &mut Stage) {
        stage.tally.resyncs += 1;
        let slots: Vec<u32> =
            self.audience.subscribers(channel).iter().map(|subscriber| subscriber.slot).collect();
        for slot in slots {
            if let Some(connection) = self.connection(slot)
                && connection.is_open()
                && stage.bug != Some(Bug::ResyncUntold)
            {
                let reply = Reply::Resync { channel: channel.clone() };
                encode::reply(&mut connection.replies, &reply, None);
            }
        }
        self.answer_for_detached(channel, stage);
    }

    /// The channel hibernates: without a grace nobody needs the states of its subscribers.
    pub(super) fn forget_states(&mut self, channel: &ChannelName, stage: &Stage) {
        if !stage.plan.grace.is_zero() {
            return;
        }
        for subscriber in self.audience.subscribers(channel) {
            let connection = self.connections.get_mut(subscriber.slot as usize);
            if let Some(connection) = connection.and_then(Option::as_mut) {
                connection.session.forget_state(channel);
            }
        }
    }

    fn answer_for_detached(&mut self, channel: &ChannelName, stage: &mut Stage) {
        let connected = self.connections.iter().flatten().map(|one| &one.session);
        let shown = self.detached.values().chain(connected).filter_map(|session| {
            let user = session.auth()?.user.clone();
            let (_, state) = session.answered_for().find(|(name, _)| *name == channel)?;
            let connection = session.connection();
            Some(Put { connection, owner: OWNER, user, state: state.clone() })
        });
        for put in shown.collect::<Vec<_>>() {
            let Put { connection, .. } = put;
            let ticket =
                Ticket { peer: self.me, slot: NO_SLOT, connection, generation: 0, reference: None };
            let (channel, max_members) = (channel.clone(), stage.plan.max_members);
            self.command(Command::Put { channel, put, max_members, ticket }, stage);
        }
    }
}
