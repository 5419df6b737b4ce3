//! The sessions of one hub that have no socket: keeping them until they are claimed, and ending
//! them when their grace is over, when their user has too many of them, or when a new connection
//! needs the place. Knows no tokens and no claims.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use herenow_core::{Asker, Context, Input, Instant, Limits, Session};
use herenow_wire::{ChannelName, ConnectionId, UserId};

use crate::api::Io;
use crate::detached_users::{DetachedUsers, Detachment};
use crate::history::GaveWayTo;
use crate::mail::Mail;
use crate::sessions::NO_SLOT;
use crate::work::Work;

/// The sessions of one hub that have no socket. Finds the next to end and the oldest without
/// looking at the others.
#[derive(Debug, Default)]
pub(crate) struct DetachedSessions {
    sessions: BTreeMap<ConnectionId, Kept>,
    by_next_end: BTreeSet<(Instant, ConnectionId)>,
    by_age: BTreeSet<(Instant, ConnectionId)>,
    /// Who of them shows something where.
    by_channel: BTreeMap<ChannelName, BTreeSet<ConnectionId>>,
}

#[derive(Debug)]
struct Kept {
    session: Session,
    since: Instant,
    /// When the grace of its first channel is over.
    next_end: Instant,
}

impl DetachedSessions {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// When the next grace is over.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.by_next_end.first().map_or(Instant::NEVER, |(next_end, _)| *next_end)
    }

    /// Since when the oldest one has had no socket.
    pub(crate) fn oldest_since(&self) -> Option<Instant> {
        self.by_age.first().map(|(since, _)| *since)
    }

    /// The first one after the one with this id.
    pub(crate) fn next_after(&self, after: Option<ConnectionId>) -> Option<&Session> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.sessions.range((from, Bound::Unbounded));
        rest.next().map(|(_, kept)| &kept.session)
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().map(|kept| &kept.session)
    }

    /// The same by their ids.
    pub(crate) fn ids_in_channel(
        &self,
        channel: &ChannelName,
    ) -> impl Iterator<Item = ConnectionId> {
        self.by_channel.get(channel).into_iter().flatten().copied()
    }

    /// Those that show something in `channel`.
    pub(crate) fn in_channel(&self, channel: &ChannelName) -> impl Iterator<Item = &Session> {
        let ids = self.by_channel.get(channel).into_iter().flatten();
        ids.filter_map(|id| self.get(*id))
    }

    /// The channels in which they show something.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.by_channel.keys()
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Session> {
        self.sessions.get(&id).map(|kept| &kept.session)
    }

    fn oldest(&self) -> Option<ConnectionId> {
        self.by_age.first().map(|(_, id)| *id)
    }

    fn next_over(&self, now: Instant) -> Option<ConnectionId> {
        self.by_next_end.first().filter(|(next_end, _)| *next_end <= now).map(|(_, id)| *id)
    }

    fn insert(&mut self, session: Session, since: Instant, limits: &Limits) {
        let (id, next_end) = (session.connection(), session.poll_timeout(limits));
        self.by_next_end.insert((next_end, id));
        self.by_age.insert((since, id));
        for (channel, _) in session.tracked_without_listening() {
            self.by_channel.entry(channel.clone()).or_default().insert(id);
        }
        self.sessions.insert(id, Kept { session, since, next_end });
    }

    /// The session, and since when it has had no socket.
    fn remove(&mut self, id: ConnectionId) -> Option<(Session, Instant)> {
        let Kept { session, since, next_end } = self.sessions.remove(&id)?;
        self.by_next_end.remove(&(next_end, id));
        self.by_age.remove(&(since, id));
        let shown = session.tracked_without_listening().map(|(channel, _)| channel);
        for channel in shown {
            if let Some(ids) = self.by_channel.get_mut(channel) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_channel.remove(channel);
                }
            }
        }
        Some((session, since))
    }
}

impl<I: Io> Work<'_, I> {
    /// Keeps a session without its socket.
    pub(crate) fn keep_detached(&mut self, slot: u32) {
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        let id = connection.session.connection();
        let ended = Session::new(id, &self.hub.config.limits, self.now);
        let session = std::mem::replace(&mut connection.session, ended);
        if let Some((user, detachment)) = self.detachment(&session) {
            self.notify_registrar(Mail::Detached { user, detachment });
        }
        self.note_detached(slot, id);
        // A connection that went to another node and came back may have left a session here.
        if let Some(earlier) = self.take_detached(id) {
            self.end_orphan(earlier, GaveWayTo::Claimant);
        }
        self.hub.detached.insert(session, self.now, &self.hub.config.limits);
    }

    /// Takes a detached session out, whatever is to become of it.
    pub(crate) fn take_detached(&mut self, id: ConnectionId) -> Option<Session> {
        let (session, _) = self.hub.detached.remove(id)?;
        if let Some((user, detachment)) = self.detachment(&session) {
            self.notify_registrar(Mail::Reattached { user, detachment });
        }
        Some(session)
    }

    /// Every grace is longer by a pause of the process.
    pub(crate) fn extend_graces(&mut self, pause: Duration) {
        let ids: Vec<ConnectionId> =
            self.hub.detached.sessions().map(Session::connection).collect();
        for id in ids {
            self.dispatch_detached(id, Input::Paused { pause });
        }
    }

    /// Lets the members go whose grace is over.
    pub(crate) fn end_graces(&mut self) {
        while let Some(id) = self.hub.detached.next_over(self.now) {
            self.dispatch_detached(id, Input::Timeout);
        }
        self.apply_shard_effects();
    }

    /// Tells a session without a socket something and carries out what follows from it.
    pub(crate) fn dispatch_detached(&mut self, id: ConnectionId, input: Input) {
        let Some((mut session, since)) = self.hub.detached.remove(id) else { return };
        let detachment = self.detachment(&session);
        self.handle_detached_input(&mut session, input, None);
        if !session.has_ended() {
            self.hub.detached.insert(session, since, &self.hub.config.limits);
            return;
        }
        self.forget_detached(id);
        if let Some((user, detachment)) = detachment {
            self.notify_registrar(Mail::Reattached { user, detachment });
        }
    }

    /// A session that nobody has any more: its members go at once.
    pub(crate) fn end_orphan(&mut self, mut session: Session, to: GaveWayTo) {
        self.handle_detached_input(&mut session, Input::Closed, Some(to));
        self.forget_detached(session.connection());
        self.apply_shard_effects();
    }

    fn handle_detached_input(
        &mut self,
        session: &mut Session,
        input: Input,
        gave_way_to: Option<GaveWayTo>,
    ) {
        let user = session.auth().map(|auth| auth.user.id().clone());
        self.note_detached_input(&input, user, gave_way_to);
        let asker = Asker::new(self.hub.config.me, NO_SLOT, session);
        let (limits, policy) = (&self.hub.config.limits, &self.hub.policy);
        let mut effects = Vec::new();
        session.handle(input, &Context { now: self.now, limits, policy }, &mut effects);
        self.note_effects(&effects);
        for effect in effects {
            self.perform(asker, effect);
        }
    }

    /// A new connection needs the place of a detached one, or another hub does.
    pub(crate) fn end_oldest_detached(&mut self) {
        if let Some(oldest) = self.hub.detached.oldest()
            && let Some(session) = self.take_detached(oldest)
        {
            self.end_orphan(session, GaveWayTo::Connection);
        }
    }

    /// The registrar of a user has counted one session too many. One that has been claimed since
    /// is not the one that was counted, though it has the same name.
    pub(crate) fn end_detached(&mut self, Detachment { connection, generation, .. }: Detachment) {
        let is_it = |session: &Session| session.generation() == generation;
        if self.hub.detached.get(connection).is_some_and(is_it)
            && let Some(session) = self.take_detached(connection)
        {
            self.end_orphan(session, GaveWayTo::SessionOfUser);
        }
    }

    /// As the registrar: a session of `user` has lost its socket.
    pub(crate) fn register_detached(&mut self, user: UserId, detachment: Detachment) {
        let most = self.hub.config.max_detached_per_user;
        let Some(oldest) = self.hub.detached_users.begin(user, detachment, most) else { return };
        if oldest.holder == self.hub.config.me {
            self.end_detached(oldest);
        } else {
            self.hub.outgoing.push(oldest.holder, Mail::EndDetached(oldest));
        }
    }

    /// What is said of a session to its user's registrar. Only a session with a user is kept.
    fn detachment(&self, session: &Session) -> Option<(UserId, Detachment)> {
        let user = session.auth()?.user.id().clone();
        let (connection, generation) = (session.connection(), session.generation());
        Some((user, Detachment { connection, generation, holder: self.hub.config.me }))
    }

    /// Also where the registrar is this hub it goes as mail, so that the session which is just
    /// being kept or ended is not ended a second time in the middle of that.
    fn notify_registrar(&mut self, mail: Mail) {
        let (Mail::Detached { user, .. } | Mail::Reattached { user, .. }) = &mail else { return };
        let registrar = DetachedUsers::registrar(user, self.hub.config.hubs);
        self.hub.outgoing.push(registrar, mail);
    }
}
