//! A backend kicks a user or a connection, or disconnects a user: what that means for the
//! connections, the sessions without a socket and the keyed members of this hub.

use std::time::Duration;

use herenow_core::{Input, Session, Target};
use herenow_wire::{ChannelName, ConnectionId, UserId};

use crate::api::Io;
use crate::requests::Response;
use crate::work::Work;

impl<I: Io> Work<'_, I> {
    /// Removes a user or a connection from a channel, and keeps it out for a time.
    pub(crate) fn kick(
        &mut self,
        channel: ChannelName,
        target: Target,
        time: Duration,
    ) -> Response {
        let kicks = self.hub.policy.kicks_mut();
        if kicks.keep_out_of(channel.clone(), target.clone(), (self.now, time)).is_err() {
            return Response::Full;
        }
        let mut slots: Vec<u32> = self.hub.audience.slots(&channel).collect();
        slots.extend(self.hub.taken_over.in_channel(&channel));
        slots.sort_unstable();
        slots.dedup();
        let mut count = 0;
        for slot in slots {
            let session = self.hub.connections.get(slot).map(|connection| &connection.session);
            if session.is_some_and(|session| is_meant(&target, session) && uses(session, &channel))
            {
                self.dispatch(slot, Input::Kicked { channel: channel.clone(), time });
                count += 1;
            }
        }
        let detached = self.hub.detached.in_channel(&channel);
        let detached: Vec<ConnectionId> =
            detached.filter(|s| is_meant(&target, s)).map(Session::connection).collect();
        for id in detached {
            self.dispatch_detached(id, Input::Kicked { channel: channel.clone(), time });
            count += 1;
        }
        count += self.kick_keyed(&channel, &target);
        self.apply_shard_effects();
        Response::Counts(vec![count])
    }

    /// Disconnects a user, and keeps it out for a time. Members without a connection are the
    /// backend's own and stay.
    pub(crate) fn disconnect(&mut self, user: UserId, time: Duration) -> Response {
        if self.hub.policy.kicks_mut().keep_out(user.clone(), (self.now, time)).is_err() {
            return Response::Full;
        }
        let target = Target::User(user);
        let mut count = 0;
        for slot in self.hub.connections.slots() {
            let connection = self.hub.connections.get(slot);
            if connection.is_some_and(|c| c.is_open() && is_meant(&target, &c.session)) {
                self.dispatch(slot, Input::Disconnected { time });
                count += 1;
            }
        }
        let detached = self.hub.detached.sessions();
        let detached: Vec<ConnectionId> =
            detached.filter(|s| is_meant(&target, s)).map(Session::connection).collect();
        for id in detached {
            self.dispatch_detached(id, Input::Disconnected { time });
            count += 1;
        }
        self.apply_shard_effects();
        Response::Counts(vec![count])
    }
}

fn is_meant(target: &Target, session: &Session) -> bool {
    target.is(session.connection(), session.auth().map(|auth| &auth.user))
}

fn uses(session: &Session, channel: &ChannelName) -> bool {
    session.subscriptions().any(|(name, _)| name == channel)
}
