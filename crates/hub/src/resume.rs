//! Sessions that lost their socket and may come back: keeping them, and finding them for the
//! socket that claims one, on whichever loop it is. The resume token is signed and says all there
//! is to know, so no table of tokens exists.

use herenow_core::{Asker, Claim, Input, Peer, Session};
use herenow_wire::UserId;

use crate::door::Io;
use crate::mail::Mail;
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
    pub(crate) fn socket_lost(&mut self, slot: u32) {
        self.hand(slot, Input::SocketLost);
        self.carry_out(slot);
        self.settle();
    }

    /// A session claims another, which is given away if it is here. If not it is on the loop that
    /// holds it, if on any: each is asked in turn.
    pub(crate) fn claimed(&mut self, asker: Asker, claim: Claim, user: UserId) {
        let id = claim.connection;
        if self.hub.detached.get(id).is_some_and(|session| session.is_claimed(claim, &user)) {
            if let Some(session) = self.take_detached(id) {
                self.give(asker, Box::new(session));
            }
            return;
        }
        let is_claimed = |slot: &u32| {
            self.hub.connections.get(*slot).is_some_and(|c| c.session.is_claimed(claim, &user))
        };
        match self.hub.connections.slots().into_iter().find(is_claimed) {
            // The socket that still holds it is closed: two sockets never share an entry.
            Some(slot) => {
                self.hand(slot, Input::Claimed { by: asker });
                self.carry_out(slot);
            }
            None => self.ask_next_loop(asker, claim, user),
        }
    }

    /// Gives a session to the connection that has claimed it.
    pub(crate) fn give(&mut self, asker: Asker, session: Box<Session>) {
        if asker.peer == self.hub.config.me {
            return self.taken_over(asker, Some(session));
        }
        let mail = Mail::TakenOver { asker, session: Some(session) };
        self.hub.outgoing.push_handover(asker.peer, mail);
    }

    /// The claimed session, or nothing where no loop has it. The socket that claimed it may be
    /// gone by now: then nobody has it any more, and it ends.
    pub(crate) fn taken_over(&mut self, asker: Asker, session: Option<Box<Session>>) {
        let slot = asker.slot;
        let holder = self.hub.connections.get(slot);
        match holder.filter(|c| c.is_open() && asker.is(&c.session)) {
            Some(_) => {
                self.hub.taken_over.insert(slot);
                self.tell_session(slot, Input::TakenOver { claimed: session });
            }
            None => {
                if let Some(session) = session {
                    self.end_orphan(*session);
                }
            }
        }
    }

    fn ask_next_loop(&mut self, asker: Asker, claim: Claim, user: UserId) {
        let next = Peer((self.hub.config.me.0 + 1) % self.hub.config.hubs);
        if next != asker.peer {
            self.hub.outgoing.push(next, Mail::Claim { asker, claim, user });
        } else if next == self.hub.config.me {
            self.taken_over(asker, None);
        } else {
            self.hub.outgoing.push(next, Mail::TakenOver { asker, session: None });
        }
    }
}
