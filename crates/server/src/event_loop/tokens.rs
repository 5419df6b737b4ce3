//! Tokens of this loop's connections on their way to be verified, and the verdicts on their way
//! back. When thousands sign in at once the verdicts come faster than they can be told, so a turn
//! tells a bounded number of them, and flushes to everybody else come in between.

use std::collections::VecDeque;

use herenow_core::{Input, Verification as Verified};

use super::EventLoop;
use super::resume::MAX_RESUME_TOKEN_BYTES;
use crate::access::Asker;
use crate::clock;
use crate::verification::{Job, Verdict};

/// Verdicts told in one turn: half a millisecond, most of it the writing of the answers.
const VERDICTS_PER_TURN: usize = 32;

impl EventLoop {
    /// Has a token of the session in `slot` verified.
    pub(super) fn verify(&mut self, slot: u32, token: Box<str>, resume: Option<Box<str>>) {
        let Some(connection) = self.connections.get(slot) else { return };
        let asker = Asker::new(self.me, slot, &connection.session);
        // A longer one is none, and would wait for nothing.
        let resume = resume.filter(|token| token.len() <= MAX_RESUME_TOKEN_BYTES);
        if let Some(verdict) = self.verification.verify(Job { asker, token, resume }) {
            self.tell_verdict(verdict);
        }
    }

    /// Tells the verdicts that have come, those that came first, as far as one turn allows.
    pub(super) fn tell_verdicts(&mut self) {
        for _ in 0..VERDICTS_PER_TURN {
            let Some(verdict) = self.verdicts.pop_front() else { break };
            self.verified(*verdict);
        }
        if self.verdicts.is_empty() && self.verdicts.capacity() > VERDICTS_PER_TURN {
            // What a herd has left behind.
            self.verdicts = VecDeque::new();
        }
    }

    /// A verdict that came later. The connection may be gone and its slot another's, or one that
    /// has taken its place.
    fn verified(&mut self, verdict: Verdict) {
        let slot = verdict.asker.slot;
        let holder = self.connections.get(slot);
        if holder.is_some_and(|c| Asker::new(self.me, slot, &c.session) == verdict.asker) {
            self.tell_verdict(verdict);
            self.carry_out(slot);
            self.settle();
            self.note_deadline(slot);
        }
    }

    fn tell_verdict(&mut self, Verdict { asker, verdict, resume }: Verdict) {
        let user = verdict.as_ref().ok().map(|auth| &auth.user);
        let claim = resume.zip(user).and_then(|(resume, user)| self.claim_of(&resume, user));
        let unix_ms = clock::unix_ms();
        let input = Input::Verified(Verified { verdict, claim, unix_ms });
        if let Some(connection) = self.connections.get_mut(asker.slot) {
            connection.session.handle(input, &self.limits, self.now, &mut self.effects);
        }
    }
}
