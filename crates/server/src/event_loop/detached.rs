//! The sessions of one loop that have no socket: keeping them until they are claimed, and ending
//! them when their grace is over, when their user has too many of them, or when a new connection
//! needs the place. Knows no tokens and no claims.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use herenow_core::{Command, Input, Instant, Limits, Session, SessionEffect};
use herenow_wire::{ConnectionId, UserId};

use super::EventLoop;
use super::detached_users::{DetachedUsers, Detachment};
use super::mail::Mail;
use super::sessions::OWNER;

/// The sessions of one loop that have no socket. Finds the next to end and the oldest without
/// looking at the others.
#[derive(Debug, Default)]
pub(super) struct DetachedSessions {
    sessions: HashMap<ConnectionId, Kept>,
    by_next_end: BTreeSet<(Instant, ConnectionId)>,
    by_age: BTreeSet<(Instant, ConnectionId)>,
}

#[derive(Debug)]
struct Kept {
    session: Session,
    since: Instant,
    /// When the grace of its first channel is over.
    next_end: Instant,
}

impl DetachedSessions {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// When the next grace is over.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.by_next_end.first().map_or(Instant::NEVER, |(next_end, _)| *next_end)
    }

    /// Since when the oldest one has had no socket.
    pub(super) fn oldest_since(&self) -> Option<Instant> {
        self.by_age.first().map(|(since, _)| *since)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().map(|kept| &kept.session)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Session> {
        self.sessions.get(&id).map(|kept| &kept.session)
    }

    fn oldest(&self) -> Option<ConnectionId> {
        self.by_age.first().map(|(_, id)| *id)
    }

    fn next_over(&self, now: Instant) -> Option<ConnectionId> {
        self.by_next_end.first().filter(|(next_end, _)| *next_end <= now).map(|(_, id)| *id)
    }

    fn insert(&mut self, session: Session, limits: &Limits, since: Instant) {
        let (id, next_end) = (session.connection(), session.poll_timeout(limits));
        self.by_next_end.insert((next_end, id));
        self.by_age.insert((since, id));
        self.sessions.insert(id, Kept { session, since, next_end });
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Session> {
        let Kept { session, since, next_end } = self.sessions.remove(&id)?;
        self.by_next_end.remove(&(next_end, id));
        self.by_age.remove(&(since, id));
        Some(session)
    }

    /// Lets the session do something that may change when its next grace is over.
    fn change(&mut self, id: ConnectionId, limits: &Limits, change: impl FnOnce(&mut Session)) {
        let Some(kept) = self.sessions.get_mut(&id) else { return };
        change(&mut kept.session);
        self.by_next_end.remove(&(kept.next_end, id));
        kept.next_end = kept.session.poll_timeout(limits);
        self.by_next_end.insert((kept.next_end, id));
    }
}

impl EventLoop {
    /// Keeps a session without its socket.
    pub(super) fn keep_detached(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let id = connection.session.connection();
        let ended = Session::new(id, &self.limits, self.now);
        let session = std::mem::replace(&mut connection.session, ended);
        if let Some((user, detachment)) = self.detachment(&session) {
            self.tell_registrar(Mail::Detached { user, detachment });
        }
        self.detached.insert(session, &self.limits, self.now);
    }

    /// Takes a detached session out, whatever is to become of it.
    pub(super) fn take_detached(&mut self, id: ConnectionId) -> Option<Session> {
        let session = self.detached.remove(id)?;
        if let Some((user, detachment)) = self.detachment(&session) {
            self.tell_registrar(Mail::Reattached { user, detachment });
        }
        Some(session)
    }

    /// Every grace is longer by a pause of the process.
    pub(super) fn extend_graces(&mut self, pause: Duration) {
        let ids: Vec<ConnectionId> = self.detached.sessions().map(Session::connection).collect();
        for id in ids {
            self.detached.change(id, &self.limits, |session| session.extend_grace(pause));
        }
    }

    /// Lets the entries go whose grace is over.
    pub(super) fn end_graces(&mut self) {
        while let Some(id) = self.detached.next_over(self.now) {
            let mut effects = Vec::new();
            self.detached.change(id, &self.limits, |session| {
                session.handle_timeout(&self.limits, self.now, &mut effects);
            });
            if self.detached.get(id).is_some_and(Session::has_ended) {
                self.take_detached(id);
            }
            self.remove_all(id, effects);
        }
        self.settle();
    }

    /// A session that nobody has any more: its entries go at once.
    pub(super) fn end_orphan(&mut self, mut session: Session) {
        let mut effects = Vec::new();
        session.handle(Input::Broken, &self.limits, self.now, &mut effects);
        self.remove_all(session.connection(), effects);
        self.settle();
    }

    /// A new connection needs the place of a detached one, or another loop does.
    pub(super) fn end_oldest_detached(&mut self) {
        if let Some(oldest) = self.detached.oldest()
            && let Some(session) = self.take_detached(oldest)
        {
            self.end_orphan(session);
        }
    }

    /// The registrar of a user has counted one session too many. One that has been claimed since
    /// is not the one that was counted, though it has the same name.
    pub(super) fn end_detached(&mut self, Detachment { connection, generation, .. }: Detachment) {
        let is_it = |session: &Session| session.generation() == generation;
        if self.detached.get(connection).is_some_and(is_it)
            && let Some(session) = self.take_detached(connection)
        {
            self.end_orphan(session);
        }
    }

    /// As the registrar: a session of `user` has lost its socket.
    pub(super) fn register_detached(&mut self, user: UserId, detachment: Detachment) {
        let most = self.settings.max_detached_per_user;
        let Some(oldest) = self.detached_users.begin(user, detachment, most) else { return };
        if oldest.holder == self.me {
            self.end_detached(oldest);
        } else {
            self.outgoing[usize::from(oldest.holder.0)].push(Mail::EndDetached(oldest));
        }
    }

    /// What is said of a session to its user's registrar. Only a session with a user is kept.
    fn detachment(&self, session: &Session) -> Option<(UserId, Detachment)> {
        let user = session.auth()?.user.clone();
        let (connection, generation) = (session.connection(), session.generation());
        Some((user, Detachment { connection, generation, holder: self.me }))
    }

    /// Also where the registrar is this loop it goes as mail, so that the session which is just
    /// being kept or ended is not ended a second time in the middle of that.
    fn tell_registrar(&mut self, mail: Mail) {
        let (Mail::Detached { user, .. } | Mail::Reattached { user, .. }) = &mail else { return };
        let registrar = DetachedUsers::registrar(user, self.mailboxes.len() as u16);
        self.outgoing[usize::from(registrar.0)].push(mail);
    }

    fn remove_all(&mut self, connection: ConnectionId, effects: Vec<SessionEffect>) {
        for effect in effects {
            if let SessionEffect::Remove { channel, reason } = effect {
                self.command(Command::Remove { channel, connection, owner: OWNER, reason });
            }
        }
    }
}
