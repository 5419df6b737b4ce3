//! Why members leave: what a session was told, how its socket ended and what subscribers are told
//! make up one cause, which the home of the channel records.

use std::sync::Arc;
use std::time::Duration;

use herenow_core::{Asker, Command, Contents, Input};
use herenow_wire::{
    ChannelName, ClientMessage, CloseCode, ConnectionId, Incoming, LeaveReason, UserId,
};

use crate::api::Io;
use crate::history::facts::{Cause, GaveWayTo, Lost, PastMember, SocketEnd};
use crate::keyed_members::MemberKey;
use crate::mail::Mail;
use crate::sessions::NO_SLOT;
use crate::work::Work;

/// What a session is told when it lets members go: half of the reason, beside the reason that
/// subscribers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Something that is not told apart.
    #[default]
    Other,
    Untrack,
    Unsubscribe,
    LeaseEnded(Duration),
    ChannelLeaseEnded(Duration),
    Kicked(Duration),
    Disconnected(Duration),
    Ruling,
    Timeout,
    GaveWay(GaveWayTo),
}

impl Occasion {
    pub(super) fn of(input: &Input, silent: impl FnOnce() -> Duration) -> Self {
        match input {
            Input::Message(Incoming { message: ClientMessage::Untrack { .. }, .. }) => {
                Self::Untrack
            }
            Input::Message(Incoming { message: ClientMessage::Unsubscribe { .. }, .. }) => {
                Self::Unsubscribe
            }
            Input::LeaseEnded => Self::LeaseEnded(silent()),
            Input::Silent { silent } => Self::ChannelLeaseEnded(*silent),
            Input::Kicked { time, .. } => Self::Kicked(*time),
            Input::Disconnected { time } => Self::Disconnected(*time),
            Input::Decision { .. } => Self::Ruling,
            Input::Timeout => Self::Timeout,
            _ => Self::Other,
        }
    }
}

impl<I: Io> Work<'_, I> {
    /// A session lets a member go. Told to the home of the channel ahead of the command.
    pub(crate) fn note_leave(&mut self, asker: Asker, channel: &ChannelName, reason: LeaveReason) {
        let Some(history) = &self.hub.history else { return };
        let Asker { slot, connection, .. } = asker;
        let (user, life, lost) = match history.lost.get(&connection).filter(|_| slot == NO_SLOT) {
            Some((user, life, lost)) => (user.clone(), Some(life.clone()), Some(*lost)),
            None => {
                let kept = history.lives.get(slot);
                let detached = history.detached_user.as_ref().filter(|_| slot == NO_SLOT);
                let user = kept.and_then(|kept| kept.user.as_ref()).or(detached);
                let Some(user) = user.cloned() else { return };
                let end = kept.and_then(|kept| kept.end);
                let life = history.life(slot, &self.hub.leases, self.now);
                (user, life, end.map(|end| Lost { at: self.now, end }))
            }
        };
        let cause = self.cause((connection, &user), channel, (reason, lost));
        let past = PastMember { user, connection, joined: None, cause, pattern: None, life };
        let home = self.hub.shards.home(channel.shard());
        match home == self.hub.config.me {
            true => self.note_left(channel, past),
            false => {
                let left = Mail::Left { channel: channel.clone(), past: Box::new(past) };
                self.hub.outgoing.push(home, left);
            }
        }
    }

    fn cause(
        &self,
        (connection, user): (ConnectionId, &UserId),
        channel: &ChannelName,
        (reason, lost): (LeaveReason, Option<Lost>),
    ) -> Cause {
        let Some(history) = &self.hub.history else { return Cause::Left };
        let closed = |code: CloseCode| SocketEnd::ServerClosed(code.number());
        let end = history.closing.map(closed).or(lost.map(|lost| lost.end));
        let end = end.unwrap_or(SocketEnd::Broken);
        let kicks = self.hub.policy.kicks();
        match (reason, history.occasion) {
            (_, Occasion::GaveWay(to)) => {
                Cause::GaveWay(lost.unwrap_or(Lost { at: self.now, end }), to)
            }
            (LeaveReason::Leave, Occasion::Untrack) => Cause::Untracked,
            (LeaveReason::Leave, Occasion::Unsubscribe) => Cause::Unsubscribed,
            (LeaveReason::Leave, _) => Cause::Left,
            (LeaveReason::Timeout, Occasion::ChannelLeaseEnded(silent)) => {
                Cause::ChannelLeaseEnded { silent }
            }
            (LeaveReason::Timeout, Occasion::LeaseEnded(silent)) => Cause::LeaseEnded { silent },
            (LeaveReason::Timeout, _) => Cause::LeaseEnded { silent: Duration::ZERO },
            (LeaveReason::Kicked, Occasion::Kicked(time)) => Cause::Kicked { time },
            (LeaveReason::Kicked, Occasion::Disconnected(time)) => Cause::Disconnected { time },
            (LeaveReason::Kicked, _) => {
                let of_channel = kicks.of_channel(channel, (connection, Some(user)), self.now);
                match (kicks.of_server(user, self.now), of_channel) {
                    (Some(time), _) => Cause::Disconnected { time },
                    (None, Some(time)) => Cause::Kicked { time },
                    (None, None) => {
                        let ruling = history.ruling.as_ref().filter(|(of, _)| of == channel);
                        Cause::RightLost(ruling.map(|(_, rule)| *rule))
                    }
                }
            }
            (LeaveReason::Disconnect, Occasion::Timeout) if history.closing.is_none() => {
                Cause::GraceEnded(lost.unwrap_or(Lost { at: self.now, end }))
            }
            (LeaveReason::Disconnect, _) => Cause::SocketEnded(end),
        }
    }

    /// At the home of a channel: a member leaves, if it is there.
    pub(crate) fn note_left(&mut self, channel: &ChannelName, mut past: PastMember) {
        if self.hub.history.is_none() {
            return;
        }
        let Some(joined) = self.hub.shards.since_of(channel, past.connection) else { return };
        past.joined = Some(joined);
        past.pattern = self.pattern_of(channel);
        if let Some(history) = &mut self.hub.history {
            let is_live = matches!(self.hub.shards.contents(channel), Contents::Live(_));
            history.noted_leaves += u64::from(is_live);
            history.left.push(channel.clone(), past, self.now);
        }
    }

    /// At the home of a channel: a member that has no connection leaves.
    pub(crate) fn note_keyed_left(
        &mut self,
        (channel, key): &(ChannelName, MemberKey),
        (connection, user): (ConnectionId, UserId),
        reason: LeaveReason,
    ) {
        let key = key.clone();
        let cause = match reason {
            LeaveReason::Timeout => Cause::KeyEnded(key),
            LeaveReason::Kicked => Cause::KeyKicked(key),
            LeaveReason::Leave | LeaveReason::Disconnect => Cause::KeyRemoved(key),
        };
        let (joined, pattern, life) = (None, None, None);
        self.note_left(channel, PastMember { user, connection, joined, cause, pattern, life });
    }

    /// At the home of a channel, before a command: members without a socket may have to give way.
    #[inline]
    pub(crate) fn note_command(&mut self, command: &Command) {
        if self.hub.history.is_some()
            && let Command::Put { channel, put, max_members, .. } = command
            && let Contents::Live(live) = self.hub.shards.contents(channel)
        {
            let evicted = live.evicted_for(put.connection, *max_members as usize);
            let evicted: Vec<_> =
                evicted.map(|member| (member.user.id().clone(), member.connection)).collect();
            for (user, connection) in evicted {
                let (joined, pattern, life) = (None, None, None);
                let cause = Cause::Evicted;
                let past = PastMember { user, connection, joined, cause, pattern, life };
                self.note_left(channel, past);
            }
        }
    }

    pub(crate) fn pattern_of(&self, channel: &ChannelName) -> Option<Arc<str>> {
        self.hub.history.as_ref()?;
        self.hub.policy.pattern_for(channel).map(|pattern| pattern.to_string().into())
    }
}
