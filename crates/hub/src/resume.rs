//! Sessions that lost their socket and may come back: keeping them, and finding them for the
//! socket that claims one. The resume token is signed and says all there is to know, the place of
//! the session included: no table of tokens exists, and no loop searches.

use herenow_core::{Asker, Claim, Claimed, Input, Place, Session};
use herenow_wire::{ChannelName, UserId};

use crate::api::Io;
use crate::history::GaveWayTo;
use crate::hub::Membership;
use crate::mail::Mail;
use crate::work::Work;

/// By so much at least a connection's generation grows when it comes back at another node.
const GENERATIONS_BETWEEN_NODES: u32 = 1 << 8;

impl<I: Io> Work<'_, I> {
    /// The token that a connection which has just authenticated may come back with.
    pub(crate) fn resume_token(&mut self, slot: u32) -> Option<Box<str>> {
        if !self.hub.policy.allows_grace() {
            return None;
        }
        let session = &self.hub.connections.get(slot)?.session;
        let user = &session.auth()?.user;
        let generation = session.generation();
        let (connection, peer) = (session.connection(), self.hub.config.me);
        let place = Some(Place { peer, slot });
        let claim = Claim { connection, generation, place };
        Some(self.io.resume_token(claim, user))
    }

    /// The socket in `slot` has ended as `how` says, and its client may come back.
    pub(crate) fn socket_lost(&mut self, slot: u32, how: Input) {
        self.handle_input(slot, how);
        self.apply_session_effects(slot);
        self.apply_shard_effects();
    }

    /// A session claims another, which is looked for in the one place that the claim names, here or
    /// on another loop.
    pub(crate) fn claimed(&mut self, asker: Asker, claim: Claim, user: UserId) {
        let me = self.hub.config.me;
        let Some(Place { peer: holder, slot }) = claim.place else {
            return self.claimed_elsewhere(asker, claim);
        };
        if holder != me && holder.0 < self.hub.config.hubs {
            return self.hub.outgoing.push(holder, Mail::Claim { asker, claim, user });
        }
        let id = claim.connection;
        let is_claimed = |session: &Session| session.is_claimed(claim, &user);
        if self.hub.detached.get(id).is_some_and(is_claimed) {
            if let Some(session) = self.take_detached(id) {
                self.forget_detached(id);
                self.hand_over(asker, Box::new(session));
            }
        } else if self.hub.connections.get(slot).is_some_and(|c| is_claimed(&c.session)) {
            // The socket that still holds it is closed: two sockets never share a member.
            self.handle_input(slot, Input::Claimed { by: asker });
            self.apply_session_effects(slot);
        } else if asker.peer == me {
            self.taken_over(asker, Claimed::Nothing);
        } else {
            self.hub.outgoing.push(asker.peer, Mail::TakenOver { asker, session: None });
        }
    }

    /// The session is on another node, or was on one that is gone. A session never travels: the client
    /// shows everything again, by which this one takes its members over, and the home of each tells the node
    /// that had it.
    fn claimed_elsewhere(&mut self, asker: Asker, claim: Claim) {
        let Claim { connection, generation, .. } = claim;
        let claimed = match self.hub.config.membership {
            Membership::Alone => Claimed::Nothing,
            Membership::OneOfSeveral => {
                let generation = generation.wrapping_add(self.next_generations());
                // Another socket may have come back here with the same token.
                self.take_from_all(connection, generation.wrapping_sub(1));
                Claimed::Name { connection, generation }
            }
        };
        self.taken_over(asker, claimed);
    }

    /// By how much a session from elsewhere is later than it was there: another number each time, so that a
    /// token which is used twice gives no two sessions that count alike.
    fn next_generations(&mut self) -> u32 {
        let (me, hubs) = (u32::from(self.hub.config.me.0), u32::from(self.hub.config.hubs));
        let number = self.hub.claimed_elsewhere.wrapping_mul(hubs).wrapping_add(me);
        self.hub.claimed_elsewhere = self.hub.claimed_elsewhere.wrapping_add(1);
        GENERATIONS_BETWEEN_NODES + number % GENERATIONS_BETWEEN_NODES
    }

    /// Gives a session to the connection that has claimed it.
    pub(crate) fn hand_over(&mut self, asker: Asker, session: Box<Session>) {
        if asker.peer == self.hub.config.me {
            return self.taken_over(asker, Claimed::Session(session));
        }
        let mail = Mail::TakenOver { asker, session: Some(session) };
        self.hub.outgoing.push_handover(asker.peer, mail);
    }

    /// What the session subscribes to waits for the rules from here on.
    fn note_taken_over(&mut self, slot: u32) {
        if let Some(connection) = self.hub.connections.get(slot) {
            let subscriptions = connection.session.subscriptions();
            let channels = subscriptions.map(|(channel, _)| channel.clone()).collect();
            self.hub.taken_over.insert(slot, channels);
        }
    }

    /// The rules have been asked for a channel, and may have answered.
    pub(crate) fn settle_taken_over(&mut self, slot: u32, channel: &ChannelName) {
        if self.hub.taken_over.is_empty() {
            return;
        }
        let connection = self.hub.connections.get(slot);
        if !connection.is_some_and(|c| c.session.awaits_right_to(channel)) {
            self.hub.taken_over.settle(slot, channel);
        }
    }

    /// The claimed session, or nothing where it is no more. The socket that claimed it may be
    /// gone by now: then nobody has it any more, and it ends.
    pub(crate) fn taken_over(&mut self, asker: Asker, claimed: Claimed) {
        let slot = asker.slot;
        let holder = self.hub.connections.get(slot);
        match holder.filter(|c| c.is_open() && asker.is(&c.session)) {
            Some(_) => {
                if !matches!(claimed, Claimed::Nothing) {
                    self.note_resumed(slot);
                }
                self.handle_input(slot, Input::TakenOver { claimed });
                self.hub.connections.rename(slot, asker.connection);
                self.note_taken_over(slot);
                self.apply_session_effects(slot);
                self.apply_shard_effects();
                self.note_deadline(slot);
                // Its members keep their leases while the rules are asked for them.
                self.reset_leases(slot);
            }
            None => {
                if let Claimed::Session(session) = claimed {
                    self.end_orphan(*session, GaveWayTo::Claimant);
                }
            }
        }
    }
}
