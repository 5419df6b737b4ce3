//! Sessions that lost their socket and may come back: finding them for the socket that claims one,
//! on whichever loop it is. The resume token is signed and says all there is to know, so no table
//! of tokens exists.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use herenow_core::{Claim, Session};
use herenow_wire::{ChannelName, CloseCode, ConnectionId, UserId};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::EventLoop;
use super::mail::Mail;
use crate::access::Asker;

/// Signs resume tokens. One key for all loops, made anew at each start: no entry outlives that.
#[derive(Clone)]
pub(crate) struct ResumeKey([u8; 32]);

/// The bytes of a token before its signature: connection and generation.
const SIGNED_BYTES: usize = 16 + 4;
/// How much of the signature is kept.
const MAC_BYTES: usize = 16;
/// A longer text is no resume token: three bytes are four characters.
pub(super) const MAX_RESUME_TOKEN_BYTES: usize = (SIGNED_BYTES + MAC_BYTES) * 4 / 3;

impl ResumeKey {
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(std::io::Error::other)?;
        Ok(Self(key))
    }

    /// The token with which `user` may take a connection over.
    fn sign(&self, claim: Claim, user: &UserId) -> Box<str> {
        let mut bytes = [0; SIGNED_BYTES + MAC_BYTES];
        bytes[..16].copy_from_slice(claim.connection.as_bytes());
        bytes[16..20].copy_from_slice(&claim.generation.to_be_bytes());
        let mac = self.mac(&bytes[..SIGNED_BYTES], user).finalize().into_bytes();
        bytes[SIGNED_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes).into()
    }

    /// What `token` claims, where it was signed here and for `user`.
    fn verify(&self, token: &str, user: &UserId) -> Option<Claim> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, mac) = bytes.split_at_checked(SIGNED_BYTES)?;
        let expected = self.mac(signed, user);
        if mac.len() != MAC_BYTES || expected.verify_truncated_left(mac).is_err() {
            return None;
        }
        let connection = ConnectionId::from_bytes(*signed.first_chunk()?);
        let generation = u32::from_be_bytes(*signed[16..].first_chunk()?);
        Some(Claim { connection, generation })
    }

    fn mac(&self, signed: &[u8], user: &UserId) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length will do");
        mac.update(signed);
        mac.update(user.as_str().as_bytes());
        mac
    }
}

impl EventLoop {
    /// Whether any channel lets a broken connection's entry stay.
    fn allows_grace(&self) -> bool {
        self.access.allows_grace()
    }

    /// The token that a connection which has just signed in may come back with.
    pub(super) fn resume_token(&self, session: &Session) -> Option<Box<str>> {
        let user = &session.auth()?.user;
        let generation = session.generation();
        let claim = Claim { connection: session.connection(), generation };
        self.allows_grace().then(|| self.resume_key.sign(claim, user))
    }

    /// What a resume token claims, if it was made for `user`.
    pub(super) fn claim_of(&self, token: &str, user: &UserId) -> Option<Claim> {
        self.resume_key.verify(token, user)
    }

    /// The socket in `slot` broke without a close frame.
    pub(super) fn break_off(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let access = &self.access;
        let grace_of = |channel: &ChannelName| {
            Duration::from_millis(access.settings_for(channel).disconnect_grace_ms)
        };
        connection.session.break_off(grace_of, self.now, &mut self.effects);
        self.carry_out(slot);
        self.settle();
    }

    /// The session in `slot` claims another: every loop looks for it, the answers come as mail.
    pub(super) fn take_over(&mut self, slot: u32, claim: Claim, user: UserId) {
        let Some(connection) = self.connections.get(slot) else { return };
        let asker = Asker::new(self.me, slot, &connection.session);
        if let Some(session) = self.give_up(claim, &user) {
            return self.taken_over(asker, Some(Box::new(session)));
        }
        // Where it is not here it is on the loop that holds it, if on any: each is asked in turn.
        self.ask_next_loop(asker, claim, user, self.me.0);
    }

    /// Another loop's connection claims a session.
    pub(super) fn claimed(&mut self, asker: Asker, claim: Claim, user: UserId) {
        match self.give_up(claim, &user) {
            Some(session) => {
                let session = Some(Box::new(session));
                self.handovers.push((asker.peer, Mail::TakenOver { asker, session }));
            }
            None => self.ask_next_loop(asker, claim, user, self.me.0),
        }
    }

    /// The claimed session, or nothing where no loop has it. The socket that claimed it may be
    /// gone by now: then nobody has it any more, and it ends.
    pub(super) fn taken_over(&mut self, asker: Asker, session: Option<Box<Session>>) {
        let slot = asker.slot;
        let holder = self.connections.get_mut(slot);
        match holder.filter(|c| c.is_open() && c.session.connection() == asker.connection) {
            Some(connection) => {
                let session = session.map(|session| *session);
                connection.session.taken_over(session, &self.limits, self.now, &mut self.effects);
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
        let next = (asked + 1) % self.mailboxes.len() as u16;
        if next == asker.peer.0 {
            if next == self.me.0 {
                self.taken_over(asker, None);
            } else {
                self.outgoing[usize::from(next)].push(Mail::TakenOver { asker, session: None });
            }
            return;
        }
        self.outgoing[usize::from(next)].push(Mail::Claim { asker, claim, user });
    }

    /// Finds the session that is claimed, with or without a socket, and lets go of it. A socket
    /// that still holds it is closed: two sockets never share an entry.
    fn give_up(&mut self, claim: Claim, user: &UserId) -> Option<Session> {
        let id = claim.connection;
        if self.detached.get(id).is_some_and(|session| session.is_claimed(claim, user)) {
            return self.take_detached(id);
        }
        let is_claimed = |slot: &u32| {
            self.connections.get(*slot).is_some_and(|c| c.session.is_claimed(claim, user))
        };
        let slot = self.connections.slots().into_iter().find(is_claimed)?;
        let connection = self.connections.get_mut(slot)?;
        let session = connection.session.hand_over(&mut self.effects);
        self.carry_out(slot);
        self.settle();
        self.close(slot, CloseCode::GoingAway, "resumed on another connection");
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a valid user")
    }

    #[test]
    fn a_token_says_what_was_signed_and_only_for_its_user() {
        let key = ResumeKey([7; 32]);
        let claim = Claim { connection: ConnectionId::from_bytes([1; 16]), generation: 3 };
        let token = key.sign(claim, &user("jane"));
        assert_eq!(key.verify(&token, &user("jane")), Some(claim));
        assert_eq!(key.verify(&token, &user("bob")), None);
        assert_eq!(ResumeKey([8; 32]).verify(&token, &user("jane")), None);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let key = ResumeKey([7; 32]);
        let claim = Claim { connection: ConnectionId::from_bytes([1; 16]), generation: 3 };
        let token = key.sign(claim, &user("jane"));
        for cut in 0..token.len() {
            assert_eq!(key.verify(&token[..cut], &user("jane")), None, "{cut} characters");
        }
        for text in ["", "*", "AAAA", "presence"] {
            assert_eq!(key.verify(text, &user("jane")), None, "{text}");
        }
    }
}
