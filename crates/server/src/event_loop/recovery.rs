//! When a channel's map is lost: telling the sockets that use it, and saying what this loop knows.

use herenow_core::{Command, Instant, Put, Ticket};
use herenow_wire::ChannelName;
use herenow_wire::encode::Reply;

use super::EventLoop;
use super::mail::Mail;
use super::sessions::OWNER;
use super::shards::Loss;

/// No slot: an answer to it finds nobody.
const NO_SLOT: u32 = u32::MAX;

impl EventLoop {
    /// A fault has cost shards of this loop their maps: every loop says what it knows of them.
    pub(super) fn recover_lost(&mut self) {
        for loss in self.shards.take_lost() {
            // Reporting the fault may have taken long: the clients' time to answer begins now.
            self.now = Instant::from_micros(self.started.elapsed().as_micros() as u64);
            for (index, batch) in self.outgoing.iter_mut().enumerate() {
                if index != usize::from(self.me.0) {
                    batch.push(Mail::ShardLost(loss));
                }
            }
            self.report(loss.shard);
        }
    }

    /// Another loop's shard is lost: what is known of it here goes there, and that this is all.
    pub(super) fn report_to_home(&mut self, loss: Loss) {
        self.report(loss.shard);
        self.settle();
        let home = usize::from(loss.shard) % self.mailboxes.len();
        self.outgoing[home].push(Mail::Reported(loss));
    }

    /// Tells a shard that has lost its maps who here subscribes to its channels and who tracked.
    fn report(&mut self, shard: u16) {
        for channel in self.audience.channels_of(shard) {
            let subscribers = self.audience.subscribers(&channel).iter();
            let sessions = subscribers.filter_map(|s| self.connections.get(s.slot));
            let trackers = sessions
                .map(|connection| &connection.session)
                .filter(|session| session.tracked().any(|name| *name == channel));
            let trackers = trackers.map(|session| (session.connection(), OWNER)).collect();
            let ask = self.audience.ask_for_all(&channel);
            self.command(Command::Recover { channel, peer: self.me, ask, trackers });
        }
        for channel in self.detached_channels_of(shard) {
            self.answer_for_detached(&channel);
        }
    }

    /// Tells every socket that uses the channel, subscribed or not, that its map is lost, and
    /// answers for the sessions that have no socket.
    pub(super) fn tell_resync(&mut self, channel: &ChannelName) {
        let mut slots: Vec<u32> =
            self.audience.subscribers(channel).iter().map(|subscriber| subscriber.slot).collect();
        slots.extend(
            self.connections.slots().into_iter().filter(|slot| {
                self.connections.get(*slot).is_some_and(|c| c.may_join_later(channel))
            }),
        );
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            self.reply(slot, &Reply::Resync { channel: channel.clone() }, None);
        }
        self.answer_for_detached(channel);
    }

    /// The channel hibernates: the states of its subscribers are freed. Where there is a grace they
    /// stay, since the server answers a resync for who is away.
    pub(super) fn forget_states(&mut self, channel: &ChannelName) {
        if self.access.settings_for(channel).disconnect_grace_ms > 0 {
            return;
        }
        for subscriber in self.audience.subscribers(channel) {
            if let Some(connection) = self.connections.get_mut(subscriber.slot) {
                connection.session.forget_state(channel);
            }
        }
    }

    fn answer_for_detached(&mut self, channel: &ChannelName) {
        let max_members = self.access.settings_for(channel).max_members;
        for put in self.shown_detached(channel) {
            let Put { connection, .. } = put;
            let ticket =
                Ticket { peer: self.me, slot: NO_SLOT, connection, generation: 0, reference: None };
            let channel = channel.clone();
            self.command(Command::Put { channel, put, max_members, ticket });
        }
    }
}
