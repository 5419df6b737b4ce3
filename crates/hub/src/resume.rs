//! Sessions that lost their socket and may come back: keeping them, and finding them for the
//! socket that claims one, on whichever loop it is. The resume token is signed and says all there
//! is to know, so no table of tokens exists.

use std::time::Duration;

use herenow_core::{Claim, Peer, Session};
use herenow_wire::{ChannelName, CloseCode, UserId};

use crate::door::Io;
use crate::mail::{Asker, Mail};
use crate::work::Work;

impl<I: Io> Work<'_, I> {
    /// The token that a connection which has just authenticated may come back with.
    pub(crate) fn resume_token(&mut self, slot: u32) -> Option<Box<str>> {
        if !self.hub.policy.allows_grace() {
            return None;
        }
        let session = &self.hub.connections.get(slot)?.session;
        let user = &session.auth()?.user;
        let generation = session.generation();
        let claim = Claim { connection: session.connection(), generation };
        Some(self.io.resume_token(claim, user))
    }

    /// The socket in `slot` broke without a close frame.
    pub(crate) fn break_off(&mut self, slot: u32) {
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        let policy = &self.hub.policy;
        let grace_of = |channel: &ChannelName| {
            Duration::from_millis(policy.settings_for(channel).disconnect_grace_ms)
        };
        connection.session.break_off(grace_of, self.now, &mut self.hub.effects);
        self.carry_out(slot);
        self.settle();
    }

    /// The session in `slot` claims another: every loop looks for it, the answers come as mail.
    pub(crate) fn take_over(&mut self, slot: u32, claim: Claim, user: UserId) {
        let Some(connection) = self.hub.connections.get(slot) else { return };
        let asker = Asker::new(self.hub.config.me, slot, &connection.session);
        if let Some(session) = self.give_up(claim, &user) {
            return self.taken_over(asker, Some(Box::new(session)));
        }
        // Where it is not here it is on the loop that holds it, if on any: each is asked in turn.
        self.ask_next_loop(asker, claim, user, self.hub.config.me.0);
    }

    /// Another loop's connection claims a session.
    pub(crate) fn claimed(&mut self, asker: Asker, claim: Claim, user: UserId) {
        match self.give_up(claim, &user) {
            Some(session) => {
                let session = Some(Box::new(session));
                self.hub.outgoing.push_handover(asker.peer, Mail::TakenOver { asker, session });
            }
            None => self.ask_next_loop(asker, claim, user, self.hub.config.me.0),
        }
    }

    /// The claimed session, or nothing where no loop has it. The socket that claimed it may be
    /// gone by now: then nobody has it any more, and it ends.
    pub(crate) fn taken_over(&mut self, asker: Asker, session: Option<Box<Session>>) {
        let slot = asker.slot;
        let holder = self.hub.connections.get_mut(slot);
        match holder.filter(|c| c.is_open() && c.session.connection() == asker.connection) {
            Some(connection) => {
                let session = session.map(|session| *session);
                self.hub.taken_over.insert(slot);
                connection.session.taken_over(
                    session,
                    &self.hub.config.limits,
                    self.now,
                    &mut self.hub.effects,
                );
                self.carry_out(slot);
                self.settle();
                self.note_deadline(slot);
            }
            None => {
                if let Some(session) = session {
                    self.end_orphan(*session);
                }
            }
        }
    }

    fn ask_next_loop(&mut self, asker: Asker, claim: Claim, user: UserId, asked: u16) {
        let next = (asked + 1) % self.hub.config.hubs;
        if next == asker.peer.0 {
            if next == self.hub.config.me.0 {
                self.taken_over(asker, None);
            } else {
                self.hub.outgoing.push(Peer(next), Mail::TakenOver { asker, session: None });
            }
            return;
        }
        self.hub.outgoing.push(Peer(next), Mail::Claim { asker, claim, user });
    }

    /// Finds the session that is claimed, with or without a socket, and lets go of it. A socket
    /// that still holds it is closed: two sockets never share an entry.
    fn give_up(&mut self, claim: Claim, user: &UserId) -> Option<Session> {
        let id = claim.connection;
        if self.hub.detached.get(id).is_some_and(|session| session.is_claimed(claim, user)) {
            return self.take_detached(id);
        }
        let is_claimed = |slot: &u32| {
            self.hub.connections.get(*slot).is_some_and(|c| c.session.is_claimed(claim, user))
        };
        let slot = self.hub.connections.slots().into_iter().find(is_claimed)?;
        let connection = self.hub.connections.get_mut(slot)?;
        let session = connection.session.hand_over(&mut self.hub.effects);
        self.carry_out(slot);
        self.settle();
        self.close(slot, CloseCode::GoingAway, "resumed on another connection");
        Some(session)
    }
}
