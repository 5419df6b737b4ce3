//! A connection that broke and may come back. Where grace is allowed, its members stay for a
//! while, and a new socket that shows its resume token takes them over: nobody sees it leave.
//! An explicit close, an untrack or a kick never waits, and neither does a lease that has ended.

use std::time::Duration;

use herenow_wire::{ChannelName, ConnectionId, LeaveReason, Ref, UserId};

use super::access::Pending;
use super::authentication::Verified;
use super::stage::{Graces, Stage};
use super::{Context, Session, SessionEffect};
use crate::command::{Asker, Expire, Peer};
use crate::policy::Row;
use crate::time::Instant;

/// For how long, at most, the members of a page that was left or is loaded again wait for the next
/// page of its tab. Enough for a page that loads slowly; and if the next page shows no presence, or
/// the tab was closed, the leave comes soon, however long the grace is that a network needs.
pub const PAGE_GRACE: Duration = Duration::from_secs(15);

/// What a resume token that was verified says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The connection whose members it is for.
    pub connection: ConnectionId,
    /// Which of the connection's tokens it is: only the newest counts, so each works once.
    pub generation: u32,
    /// Where the session is. `None` if that is another process, which it never leaves.
    pub place: Option<Place>,
}

/// Where in a process a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The loop that the session is on, which it leaves with its newest token alone.
    pub peer: Peer,
    /// The slot that it has there for as long as it has a socket.
    pub slot: u32,
}

/// What there is of a session that was claimed.
#[derive(PartialEq, Eq, Debug)]
pub enum Claimed {
    /// Nothing.
    Nothing,
    /// All of it.
    Session(Box<Session>),
    /// Its name, since it is on another node. The client subscribes and shows everything again, and by that
    /// takes its members over.
    Name {
        /// The connection.
        connection: ConnectionId,
        /// Which of the sockets that have had its id this is.
        generation: u32,
    },
}

impl Session {
    /// Which resume token of this connection is the newest.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The socket broke without a close frame, or the client's page has gone away. Members stay for
    /// their channel's grace, but no longer than `longest`.
    pub(super) fn detach(
        &mut self,
        longest: Duration,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        if matches!(self.stage, Stage::Detached { .. }) {
            return;
        }
        let Stage::Authenticated { mut auth, .. } =
            std::mem::replace(&mut self.stage, Stage::Ended)
        else {
            return self.end(LeaveReason::Disconnect, out);
        };
        self.waiting = None;
        let mut until = Vec::new();
        let mut kept = Vec::new();
        for mut subscription in std::mem::take(&mut self.subscriptions) {
            let grace = match subscription.is_tracking {
                true => subscription.settings(context.policy).disconnect_grace().min(longest),
                false => Duration::ZERO,
            };
            if !grace.is_zero() {
                let channel = subscription.channel.clone();
                until.push((channel.clone(), context.now + grace));
                subscription.unlisten(out);
                out.push(SessionEffect::Detach { channel });
                kept.push(subscription);
            } else {
                subscription.finish(LeaveReason::Disconnect, out);
            }
        }
        if until.is_empty() {
            return;
        }
        // No rule is asked for a session without a socket, and there may be many of them.
        auth.claims = Default::default();
        kept.shrink_to_fit();
        until.shrink_to_fit();
        self.subscriptions = kept;
        self.stage = Stage::Detached { auth, graces: Box::new(Graces { until }) };
        out.push(SessionEffect::Detached);
    }

    /// Whether a claim of `user` is for this session.
    pub fn is_claimed(&self, claim: Claim, user: &UserId) -> bool {
        self.connection == claim.connection
            && self.generation == claim.generation
            && self.auth().is_some_and(|auth| *auth.user == *user)
    }

    /// Gives the session away to the socket that claimed it. What stays behind has ended.
    pub(super) fn hand_over(&mut self, to: Asker, out: &mut Vec<SessionEffect>) {
        for subscription in &mut self.subscriptions {
            subscription.unlisten(out);
        }
        let ended = Self::at(Stage::Ended, self.connection);
        let session = Box::new(std::mem::replace(self, ended));
        out.push(SessionEffect::HandedOver { to, session });
    }

    /// A verified token came with a verified claim: asks for the claimed session.
    pub(super) fn claim(
        &mut self,
        verified: Verified,
        (claim, reference): (Claim, Option<Ref>),
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        // A connection that is already authenticated or subscribed keeps its id.
        if self.auth().is_some() || !self.subscriptions.is_empty() {
            return self.authenticate(verified, reference, context, out);
        }
        // The token has come in time, however long it takes to find the session.
        self.stage = Stage::Unauthenticated { until: verified.until };
        let user = verified.auth.user.id().clone();
        self.await_decision(Pending::TakeOver { verified, reference });
        out.push(SessionEffect::TakeOver { claim, user });
    }

    /// The claimed session, or nothing where it is no more: then this is a new connection. What
    /// the claimed session subscribed to is granted again before anything of it is sent: the rights
    /// may have been lost meanwhile.
    pub(super) fn taken_over(
        &mut self,
        claimed: Claimed,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        let is_take_over = |pending: &Pending| matches!(pending, Pending::TakeOver { .. });
        let Some(Pending::TakeOver { verified, reference }) = self.take_pending(is_take_over)
        else {
            return;
        };
        match claimed {
            Claimed::Nothing => {}
            Claimed::Session(claimed) => {
                self.connection = claimed.connection;
                self.generation = claimed.generation.wrapping_add(1);
                self.subscriptions = claimed.subscriptions;
                for subscription in &mut self.subscriptions {
                    // It may have been found in another hub's policy.
                    subscription.row = Row::default();
                }
            }
            Claimed::Name { connection, generation } => {
                (self.connection, self.generation) = (connection, generation);
            }
        }
        self.authenticate(verified, reference, context, out);
        self.resume(context, out);
    }

    /// Tells the shard what a session shows that was taken over: it has a socket again. A full
    /// channel may have given its place away meanwhile.
    pub(super) fn show_again(
        &mut self,
        at: usize,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        let Some(user) = self.auth().map(|auth| auth.user.clone()) else { return };
        let subscription = &mut self.subscriptions[at];
        if let (true, Some(state)) = (subscription.is_tracking, subscription.state.clone()) {
            let channel = subscription.channel.clone();
            let settings = subscription.settings(context.policy);
            let (expire, reference) = (Expire::AsBefore, None);
            out.push(SessionEffect::Put { channel, state, expire, user, reference, settings });
        }
    }

    /// Lets the members go whose grace is over. Ends with the last of them.
    pub(super) fn end_graces(&mut self, now: Instant, out: &mut Vec<SessionEffect>) {
        let Stage::Detached { graces, .. } = &mut self.stage else { return };
        let over = graces.until.extract_if(.., |(_, until)| *until <= now);
        let over: Vec<ChannelName> = over.map(|(channel, _)| channel).collect();
        if graces.until.is_empty() {
            self.stage = Stage::Ended;
        }
        for channel in over {
            self.subscriptions.retain(|s| s.channel != channel);
            out.push(SessionEffect::Remove { channel, reason: LeaveReason::Disconnect });
        }
    }

    /// Every grace is longer by a pause of the process.
    pub(super) fn extend_graces(&mut self, pause: Duration) {
        if let Stage::Detached { graces, .. } = &mut self.stage {
            for (_, until) in &mut graces.until {
                *until = *until + pause;
            }
        }
    }

    /// A session at this stage that has neither done nor heard anything.
    pub(super) fn at(stage: Stage, connection: ConnectionId) -> Self {
        Self {
            connection,
            generation: 0,
            stage,
            subscriptions: Vec::new(),
            rate: Default::default(),
            waiting: None,
        }
    }
}
