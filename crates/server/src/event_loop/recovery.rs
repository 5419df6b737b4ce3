//! When a channel's map is lost: telling the sockets that use it, and saying what this loop knows.

use herenow_core::{Command, Instant, Put, Session, Ticket};
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
        for channel in self.unheard_channels_of(shard) {
            self.answer_for_unheard(&channel);
        }
    }

    /// Tells every socket that uses the channel, subscribed or not, that its map is lost, and
    /// answers for the sessions that are not told.
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
        self.answer_for_unheard(channel);
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

    /// Sends the states again of sessions that show something in the channel and are sent nothing
    /// of it: those without a socket, and those that were taken over and wait for the rules.
    fn answer_for_unheard(&mut self, channel: &ChannelName) {
        let max_members = self.access.settings_for(channel).max_members;
        let connected = self.connections.iter().filter_map(|c| shown_by(&c.session, channel));
        let connected: Vec<Put> = connected.collect();
        let detached = self.detached.sessions().filter_map(|session| shown_by(session, channel));
        let detached: Vec<Put> = detached.collect();
        for put in connected {
            let Put { connection, .. } = put;
            let ticket =
                Ticket { peer: self.me, slot: NO_SLOT, connection, generation: 0, reference: None };
            let channel = channel.clone();
            self.command(Command::Put { channel, put, max_members, ticket });
        }
        for put in detached {
            let channel = channel.clone();
            self.command(Command::Keep { channel, put, max_members });
        }
    }

    /// The channels of one shard in which a session shows something and is sent nothing.
    fn unheard_channels_of(&self, shard: u16) -> Vec<ChannelName> {
        let connected = self.connections.iter().map(|connection| &connection.session);
        let sessions = self.detached.sessions().chain(connected);
        let channels = sessions.flat_map(|session| session.answered_for().map(|(name, _)| name));
        let mut channels: Vec<ChannelName> =
            channels.filter(|name| name.shard() == shard).cloned().collect();
        channels.sort_unstable();
        channels.dedup();
        channels
    }
}

/// What a session shows in `channel`, where it is sent nothing of it.
fn shown_by(session: &Session, channel: &ChannelName) -> Option<Put> {
    let user = session.auth()?.user.clone();
    let (_, state) = session.answered_for().find(|(name, _)| *name == channel)?;
    let connection = session.connection();
    Some(Put { connection, owner: OWNER, user, state: state.clone() })
}
