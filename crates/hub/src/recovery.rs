//! When a channel's map is lost: telling the sockets that use it, and saying what this hub knows.

use herenow_core::{Asker, Command, Expire, Input, Put, Session};
use herenow_wire::ChannelName;
use herenow_wire::encode::Reply;

use crate::api::Io;
use crate::connection::Connection;
use crate::mail::{LostShard, Mail};
use crate::sessions::{NO_SLOT, OWNER};
use crate::work::Work;

impl<I: Io> Work<'_, I> {
    /// A fault has cost shards of this hub their maps: every hub says what it knows of them. Done
    /// at the beginning of a turn, since reporting the fault may have taken long, and the clients'
    /// time to answer begins here.
    #[inline]
    pub(crate) fn recover_lost(&mut self) {
        if !self.hub.shards.has_lost() {
            return;
        }
        for lost_shard in self.hub.shards.take_lost() {
            self.io.shard_lost(lost_shard.shard);
            let me = self.hub.config.me;
            self.hub.outgoing.push_to_others(me, || Mail::ShardLost(lost_shard));
            self.report(lost_shard.shard);
            for channel in self.hub.counts.counted_in(lost_shard.shard) {
                let effects = &mut self.hub.shard_effects;
                self.hub.shards.keep_for_counts(&channel, self.now, effects);
            }
            self.reported(lost_shard);
        }
    }

    /// Another hub's shard is lost: what is known of it here goes there, and that this is all.
    pub(crate) fn report_to_home(&mut self, lost_shard: LostShard) {
        self.report(lost_shard.shard);
        self.apply_shard_effects();
        let home = self.hub.shards.home(lost_shard.shard);
        self.hub.outgoing.push(home, Mail::Reported(lost_shard));
    }

    /// A hub has said what it knows of a lost shard of this one.
    pub(crate) fn reported(&mut self, lost_shard: LostShard) {
        self.hub.shards.reported(lost_shard, self.now, &mut self.hub.shard_effects);
        self.apply_shard_effects();
        self.announce_lost(lost_shard.shard);
    }

    /// Tells a shard that has lost its maps who here subscribes to its channels and who tracked.
    fn report(&mut self, shard: u16) {
        for channel in self.hub.audience.channels_of(shard) {
            let connections = &self.hub.connections;
            let tracker = |slot| {
                let session = &connections.get(slot)?.session;
                let is_here = session.tracked().any(|name| *name == channel);
                is_here.then(|| (session.connection(), OWNER))
            };
            let me = (channel.clone(), self.hub.config.me);
            let recover = Command::recover(me, &mut self.hub.audience, tracker);
            self.command(recover);
            if !self.hub.audience.has_list(&channel) {
                // It was only counted here.
                self.command(Command::Unsubscribe { channel, peer: self.hub.config.me });
            }
        }
        for channel in self.channels_of_absent(shard) {
            self.resend_for_absent(&channel);
        }
    }

    /// Tells every socket that uses the channel, subscribed or not, that its map is lost, and
    /// answers for the sessions that are not told.
    pub(crate) fn send_resync(&mut self, channel: &ChannelName) {
        let mut slots: Vec<u32> = self.hub.audience.slots(channel).collect();
        let connections = &self.hub.connections;
        let may_join = |slot: &u32| connections.get(*slot).is_some_and(Connection::may_join_later);
        slots.extend(connections.named(channel).filter(may_join));
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            self.reply(slot, &Reply::Resync { channel: channel.clone() }, None);
        }
        self.resend_for_absent(channel);
    }

    /// The channel hibernates: the states of its subscribers are freed. Where there is a grace they
    /// stay, since the server answers a resync for who is away.
    pub(crate) fn forget_states(&mut self, channel: &ChannelName) {
        if self.hub.policy.settings_for(channel).disconnect_grace_ms > 0 {
            return;
        }
        let slots: Vec<u32> = self.hub.audience.slots(channel).collect();
        for slot in slots {
            self.handle_input(slot, Input::Hibernated { channel: channel.clone() });
        }
    }

    /// Sends the states again of sessions that show something in the channel and are sent nothing
    /// of it: those without a socket, and those that were taken over and wait for the rules.
    fn resend_for_absent(&mut self, channel: &ChannelName) {
        let max_members = self.hub.policy.settings_for(channel).max_members;
        let connections = &self.hub.connections;
        let slots = self.hub.taken_over.in_channel(channel);
        let taken_over = slots.filter_map(|slot| connections.get(slot));
        let connected = taken_over.filter_map(|c| shown_by(&c.session, channel));
        let keyed = self.hub.keyed_members.in_channel(channel);
        let connected: Vec<Put> = connected.chain(keyed).collect();
        let detached = self.hub.detached.in_channel(channel);
        let detached: Vec<Put> = detached.filter_map(|one| shown_by(one, channel)).collect();
        for put in connected {
            let (peer, connection) = (self.hub.config.me, put.connection);
            let asker = Asker { peer, slot: NO_SLOT, connection, generation: 0 };
            let channel = channel.clone();
            self.command(Command::Put {
                channel,
                put,
                expire: Expire::Never,
                max_members,
                asker,
                reference: None,
            });
        }
        for put in detached {
            let channel = channel.clone();
            self.command(Command::Keep { channel, put, max_members });
        }
    }

    /// The channels of one shard in which a session shows something and is sent nothing.
    fn channels_of_absent(&self, shard: u16) -> Vec<ChannelName> {
        let keyed = self.hub.keyed_members.channels();
        let taken_over = self.hub.taken_over.channels();
        let all = taken_over.chain(self.hub.detached.channels()).chain(keyed);
        let mut channels: Vec<ChannelName> =
            all.filter(|name| name.shard() == shard).cloned().collect();
        channels.sort_unstable();
        channels.dedup();
        channels
    }
}

/// What a session shows in `channel`, where it is sent nothing of it.
fn shown_by(session: &Session, channel: &ChannelName) -> Option<Put> {
    let user = session.auth()?.user.clone();
    let (_, state) = session.tracked_without_listening().find(|(name, _)| *name == channel)?;
    let (connection, generation) = (session.connection(), session.generation());
    Some(Put { connection, owner: OWNER, generation, user, state: state.clone() })
}
