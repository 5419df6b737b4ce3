//! A connection that broke and may come back. Where grace is allowed, its entries stay for a
//! while, and a new socket that shows its resume token takes them over: nobody sees it leave.
//! An explicit close, an untrack or a kick never waits, and neither does a lease that has ended.

use std::time::Duration;

use herenow_wire::{ChannelName, ConnectionId, LeaveReason, Ref, UserId};

use super::access::Pending;
use super::authentication::Verified;
use super::{Limits, Session, SessionEffect, Subscription};
use crate::time::Instant;

/// What a resume token that was verified says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Whose entries it is for.
    pub connection: ConnectionId,
    /// Which of the connection's tokens it is: only the newest counts, so each works once.
    pub generation: u32,
}

/// A session without a socket: when the entry of each channel goes.
#[derive(Debug)]
pub(super) struct Detached {
    until: Vec<(ChannelName, Instant)>,
}

impl Session {
    /// Which resume token of this connection is the newest.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The socket broke without a close frame. Entries of channels that allow grace stay for it;
    /// with none, the session ends.
    pub fn break_off(
        &mut self,
        grace_of: impl Fn(&ChannelName) -> Duration,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        if self.has_ended || self.detached.is_some() {
            return;
        }
        self.waiting = None;
        let mut until = Vec::new();
        let mut kept = Vec::new();
        for mut subscription in std::mem::take(&mut self.subscriptions) {
            let grace = grace_of(&subscription.channel);
            if subscription.is_tracking && !grace.is_zero() && self.auth.is_some() {
                let channel = subscription.channel.clone();
                until.push((channel.clone(), now + grace));
                subscription.unlisten(out);
                out.push(SessionEffect::Detach { channel });
                kept.push(subscription);
            } else {
                subscription.finish(LeaveReason::Disconnect, out);
            }
        }
        // No rule is asked for a session without a socket, and there may be many of them.
        kept.shrink_to_fit();
        until.shrink_to_fit();
        if let Some(auth) = &mut self.auth {
            auth.claims = Default::default();
        }
        self.subscriptions = kept;
        if until.is_empty() {
            self.has_ended = true;
        } else {
            self.detached = Some(Box::new(Detached { until }));
            out.push(SessionEffect::Detached);
        }
    }

    /// Whether a claim of `user` is for this session.
    pub fn is_claimed(&self, claim: Claim, user: &UserId) -> bool {
        !self.has_ended
            && self.connection == claim.connection
            && self.generation == claim.generation
            && self.auth.as_ref().is_some_and(|auth| auth.user == *user)
    }

    /// Gives the session away to the socket that claimed it. What stays behind has ended.
    pub fn hand_over(&mut self, out: &mut Vec<SessionEffect>) -> Session {
        for subscription in &mut self.subscriptions {
            subscription.unlisten(out);
        }
        let ended = Session { has_ended: true, ..Session::nobody(self.connection) };
        std::mem::replace(self, ended)
    }

    /// A verified token came with a verified claim: asks for the claimed session.
    pub(super) fn claim(
        &mut self,
        verified: Verified,
        claim: Claim,
        reference: Option<Ref>,
        out: &mut Vec<SessionEffect>,
    ) {
        // Who is somebody already, or watches already, keeps its own name.
        if self.auth.is_some() || !self.subscriptions.is_empty() {
            return self.sign_in(verified, reference, out);
        }
        // The token has come in time, however long it takes to find the session.
        self.deadline = verified.until;
        let user = verified.auth.user.clone();
        self.await_decision(Pending::TakeOver { verified, reference });
        out.push(SessionEffect::TakeOver { claim, user });
    }

    /// The claimed session, or nothing where it is no more: then this is a new connection. What
    /// the claimed session subscribed to is granted again before anything of it is sent: the rights
    /// may have been lost meanwhile.
    pub fn taken_over(
        &mut self,
        claimed: Option<Session>,
        limits: &Limits,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        let is_take_over = |pending: &Pending| matches!(pending, Pending::TakeOver { .. });
        let Some(Pending::TakeOver { verified, reference }) = self.take_pending(is_take_over)
        else {
            return;
        };
        if let Some(claimed) = claimed {
            self.connection = claimed.connection;
            self.generation = claimed.generation.wrapping_add(1);
            self.subscriptions = claimed.subscriptions;
        }
        self.sign_in(verified, reference, out);
        self.resume(limits, now, out);
    }

    /// Tells the shard what a session shows that was taken over: it has a socket again. A full
    /// channel may have given its place away meanwhile.
    pub(super) fn show_again(&self, at: usize, out: &mut Vec<SessionEffect>) {
        let Some(user) = self.auth.as_ref().map(|auth| auth.user.clone()) else { return };
        let Subscription { channel, state, is_tracking, .. } = &self.subscriptions[at];
        if let (true, Some(state)) = (is_tracking, state.clone()) {
            let channel = channel.clone();
            out.push(SessionEffect::Put { channel, state, user, reference: None });
        }
    }

    /// Lets the entries go whose grace is over. Ends with the last of them.
    pub(super) fn end_grace(&mut self, now: Instant, out: &mut Vec<SessionEffect>) {
        let Some(detached) = &mut self.detached else { return };
        let over: Vec<ChannelName> = detached
            .until
            .extract_if(.., |(_, until)| *until <= now)
            .map(|(channel, _)| channel)
            .collect();
        let is_last = detached.until.is_empty();
        for channel in over {
            self.subscriptions.retain(|s| s.channel != channel);
            out.push(SessionEffect::Remove { channel, reason: LeaveReason::Disconnect });
        }
        if is_last {
            self.detached = None;
            self.has_ended = true;
        }
    }

    /// The process was paused for so long: nobody could come back meanwhile.
    pub fn extend_grace(&mut self, pause: Duration) {
        if let Some(detached) = &mut self.detached {
            for (_, until) in &mut detached.until {
                *until = *until + pause;
            }
        }
    }

    /// When the next entry's grace is over.
    pub(super) fn next_grace_end(&self) -> Option<Instant> {
        let detached = self.detached.as_ref()?;
        detached.until.iter().map(|(_, until)| *until).min()
    }

    pub(super) fn nobody(connection: ConnectionId) -> Self {
        Self {
            connection,
            generation: 0,
            auth: None,
            subscriptions: Vec::new(),
            rate: Default::default(),
            waiting: None,
            detached: None,
            deadline: Instant::NEVER,
            has_ended: false,
        }
    }
}
