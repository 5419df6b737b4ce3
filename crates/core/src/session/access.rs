//! What a session may do: every request that a rule decides. A request that needs a decision is
//! kept as `Pending` and goes on where it stopped when the decision comes.

use std::collections::VecDeque;

use herenow_wire::encode::Reply;
use herenow_wire::{
    ChannelName, ClientMessage, ErrorCode, ExpiringFields, Incoming, LeaveReason, Mode, Ref, State,
};

use super::authentication::Verified;
use super::input::{Context, Input, Question, Right, Ruling, SessionEffect};
use super::stage::Stage;
use super::waiting::Join;
use super::{Session, Subscription, fail, kick};
use crate::command::Expire;
use crate::time::Instant;

/// A request that waits for a decision or for the verification of a token. The channel comes back with the decision, as the loop
/// stores its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// Is the token good?
    Verification { reference: Option<Ref>, since: Instant },
    /// May it subscribe?
    Subscribe { mode: Mode, reference: Option<Ref> },
    /// May it subscribe, in order to track?
    SubscribeToTrack { state: State, expire: Option<Box<ExpiringFields>>, reference: Option<Ref> },
    /// May it track?
    Track { state: State, expire: Option<Box<ExpiringFields>>, reference: Option<Ref> },
    /// Is the session that it claims still there?
    TakeOver { verified: Verified, reference: Option<Ref> },
    /// May it keep what it has?
    Review(Review),
}

/// All that a connection was granted, asked again channel by channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Review {
    pub(super) cause: Cause,
    /// The subscription in question.
    at: usize,
    right: Right,
    pub(super) revoked: Vec<ChannelName>,
    /// Whether everybody who was asked could say.
    is_complete: bool,
}

/// Why a review takes place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connection has authenticated; it may have taken a session over. Losses are told one by
    /// one.
    Authenticated,
    /// A new token of the same user. Losses are told by `auth_refreshed`, which ends the review.
    Refresh {
        reference: Option<Ref>,
        /// Whether the members are to show another `info`.
        has_new_info: bool,
    },
    /// The rules have changed. Losses are told one by one.
    Rules,
}

impl Pending {
    fn awaits_a_rule(&self) -> bool {
        !matches!(self, Self::Verification { .. } | Self::TakeOver { .. })
    }
}

impl Cause {
    /// Whether the shards are to hear again what the connection shows, where it still may.
    fn shows_again(&self) -> bool {
        matches!(self, Self::Authenticated | Self::Refresh { has_new_info: true, .. })
    }
}

impl Review {
    pub(super) fn subscription_removed(&mut self, place: usize) {
        if place < self.at {
            self.at -= 1;
        }
    }
}

impl Session {
    pub(super) fn subscribe(
        &mut self,
        (channel, mode): (ChannelName, Mode),
        reference: Option<Ref>,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        if let Some(time) = self.kept_out_of(&channel, context) {
            return kick::refuse(channel, time, reference, out);
        }
        if let Some(subscription) = self.subscription(&channel).filter(|s| s.is_listening) {
            out.push(SessionEffect::Reply(Reply::Subscribed { channel }, reference));
            return subscription.receive(mode, out);
        }
        match self.subscription(&channel).map(|subscription| subscription.is_listening) {
            None if self.subscriptions.len() >= context.limits.max_channels => {
                channel_limit(channel, reference, context, out);
            }
            Some(_) | None => {
                self.ask(&channel, Right::Subscribe, out);
                self.await_decision(Pending::Subscribe { mode, reference });
            }
        }
    }

    /// Subscribes to one channel after the other. What is left waits for the decision about the one
    /// before it, ahead of the messages that have come since.
    pub(super) fn subscribe_all(
        &mut self,
        (mut channels, mode): (VecDeque<ChannelName>, Mode),
        reference: Option<Ref>,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        while let Some(channel) = channels.pop_front() {
            self.subscribe((channel, mode), reference.clone(), context, out);
            if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.is_deciding()) {
                if !channels.is_empty() {
                    let message = ClientMessage::SubscribeAll { channels, mode };
                    waiting.put_back(Input::Message(Incoming { message, reference }));
                }
                return;
            }
        }
    }

    pub(super) fn track(
        &mut self,
        join: Join,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        if self.auth().is_none() {
            let message = "Only an authenticated connection may track. Send `auth` first.";
            let Join { channel, reference, .. } = join;
            return fail(ErrorCode::NotAuthenticated, message, Some(channel), reference, out);
        }
        if let Some(time) = self.kept_out_of(&join.channel, context) {
            return kick::refuse(join.channel, time, join.reference, out);
        }
        match self.subscription(&join.channel).map(|subscription| subscription.may_track) {
            Some(true) => self.show(join, context, out),
            Some(false) => {
                let Join { channel, state, expire, reference } = join;
                self.ask(&channel, Right::Track, out);
                self.await_decision(Pending::Track { state, expire, reference });
            }
            None if self.subscriptions.len() >= context.limits.max_channels => {
                channel_limit(join.channel, join.reference, context, out);
            }
            None => {
                let Join { channel, state, expire, reference } = join;
                self.ask(&channel, Right::Subscribe, out);
                self.await_decision(Pending::SubscribeToTrack { state, expire, reference });
            }
        }
    }

    /// Goes on with the request that waited for this decision.
    pub(super) fn decided(
        &mut self,
        channel: ChannelName,
        ruling: Ruling,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        let Some(pending) = self.take_pending(Pending::awaits_a_rule) else { return };
        let kept_out = self.kept_out_of(&channel, context);
        match pending {
            // Kicked while the rules were asked.
            Pending::Subscribe { reference, .. }
            | Pending::SubscribeToTrack { reference, .. }
            | Pending::Track { reference, .. }
                if kept_out.is_some() =>
            {
                kick::refuse(channel, kept_out.unwrap_or_default(), reference, out);
            }
            Pending::Subscribe { mode, reference } => match ruling {
                Ruling::Granted => {
                    let reply = Reply::Subscribed { channel: channel.clone() };
                    let subscription = self.subscribed(channel, out);
                    out.push(SessionEffect::Reply(reply, reference));
                    subscription.receive(mode, out);
                }
                refused => self.refuse(channel, refused, reference, out),
            },
            Pending::SubscribeToTrack { state, expire, reference } => match ruling {
                Ruling::Granted => {
                    self.ask(&channel, Right::Track, out);
                    self.await_decision(Pending::Track { state, expire, reference });
                }
                refused => self.refuse(channel, refused, reference, out),
            },
            Pending::Track { state, expire, reference } => match ruling {
                Ruling::Granted => {
                    self.track_granted(Join { channel, state, expire, reference }, context, out);
                }
                refused => self.refuse(channel, refused, reference, out),
            },
            Pending::Verification { .. } | Pending::TakeOver { .. } => {}
            Pending::Review(review) => {
                self.reviewed(review, (channel, ruling), context, out);
            }
        }
        self.resume(context, out);
    }

    /// Whether the decision that it waits for belongs to a review because the rules have changed.
    pub fn is_reviewed(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.is_reviewed())
    }

    /// Starts to ask again for everything that was granted.
    pub(super) fn begin_review(&mut self, cause: Cause, out: &mut Vec<SessionEffect>) {
        let is_answered = matches!(cause, Cause::Refresh { .. });
        let has_no_rights = self.subscriptions.is_empty() || self.stage == Stage::Watching;
        if !is_answered && has_no_rights {
            return;
        }
        let review = Review {
            cause,
            at: 0,
            right: Right::Subscribe,
            revoked: Vec::new(),
            is_complete: true,
        };
        self.continue_review(review, out);
    }

    fn reviewed(
        &mut self,
        mut review: Review,
        (channel, ruling): (ChannelName, Ruling),
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        if self.subscriptions.get(review.at).is_none_or(|s| s.channel != channel) {
            // Kicked while the rules were asked: another subscription has its place.
            review.right = Right::Subscribe;
            return self.continue_review(review, out);
        }
        if let Some(time) = self.kept_out_of(&channel, context) {
            // Kicked while the session was on its way from one hub to another.
            review.right = Right::Subscribe;
            self.kicked(channel, time, context, out);
            return self.continue_review(review, out);
        }
        // What cannot be decided stays as it was granted.
        review.is_complete &= ruling != Ruling::Unavailable;
        let next_is_track = match (review.right, ruling) {
            (Right::Subscribe, Ruling::Denied) => {
                let lost = self.subscriptions.remove(review.at);
                review.revoked.push(lost.channel.clone());
                if !matches!(review.cause, Cause::Refresh { .. }) {
                    let code = Some(self.denial());
                    let channel = lost.channel.clone();
                    let reply = Reply::Unsubscribed { channel, code, retry_after_ms: None };
                    out.push(SessionEffect::Reply(reply, None));
                }
                lost.finish(LeaveReason::Kicked, out);
                self.restart_auth_clock(context);
                review.right = Right::Subscribe;
                return self.continue_review(review, out);
            }
            (Right::Subscribe, ruling) => {
                let subscription = &mut self.subscriptions[review.at];
                if ruling == Ruling::Granted {
                    subscription.listen(out);
                }
                subscription.may_track
            }
            (Right::Track, Ruling::Denied) => {
                let subscription = &mut self.subscriptions[review.at];
                subscription.may_track = false;
                if subscription.hide() {
                    let channel = subscription.channel.clone();
                    out.push(SessionEffect::Remove { channel, reason: LeaveReason::Kicked });
                }
                false
            }
            (Right::Track, _) => {
                if review.cause.shows_again() {
                    self.show_again(review.at, context, out);
                }
                false
            }
        };
        if next_is_track {
            review.right = Right::Track;
        } else {
            review.right = Right::Subscribe;
            review.at += 1;
        }
        self.continue_review(review, out);
    }

    fn continue_review(&mut self, review: Review, out: &mut Vec<SessionEffect>) {
        if let Some(subscription) = self.subscriptions.get(review.at) {
            let channel = subscription.channel.clone();
            self.ask(&channel, review.right, out);
            self.await_decision(Pending::Review(review));
            return;
        }
        if !review.is_complete {
            out.push(SessionEffect::ReviewLater);
        }
        if let (Cause::Refresh { reference, .. }, Some(auth)) = (review.cause, self.auth()) {
            let user = auth.user.id().clone();
            let reply = Reply::AuthRefreshed { user, revoked: review.revoked };
            out.push(SessionEffect::Reply(reply, reference));
        }
    }

    /// The right to track is there: subscribes where that is still to be done.
    fn track_granted(&mut self, join: Join, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        let channel = join.channel.clone();
        let is_new = self.subscription(&channel).is_none();
        self.subscribed(channel.clone(), out).may_track = true;
        self.show(join, context, out);
        // The member first, so that the first snapshot holds it.
        if is_new && let Some(subscription) = self.subscription(&channel) {
            subscription.listen(out);
        }
    }

    fn show(&mut self, join: Join, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        let Join { channel, state, expire, reference } = join;
        let Some(user) = self.auth().map(|auth| auth.user.clone()) else { return };
        let Some(subscription) = self.subscription(&channel) else { return };
        // What is said again later must not bring back what has ended by then.
        let kept = expire.as_ref().map_or(&state, |expire| expire.rest());
        subscription.state = Some(kept.clone());
        subscription.is_tracking = true;
        let settings = subscription.settings(context.policy);
        let expire = expire.map_or(Expire::Never, Expire::After);
        out.push(SessionEffect::Put { channel, state, expire, user, reference, settings });
    }

    /// The subscription to `channel`, made where there is none.
    fn subscribed(
        &mut self,
        channel: ChannelName,
        out: &mut Vec<SessionEffect>,
    ) -> &mut Subscription {
        if let Some(at) = self.subscriptions.iter().position(|s| s.channel == channel) {
            return &mut self.subscriptions[at];
        }
        if self.auth().is_none() {
            self.stage = Stage::Observing;
            out.push(SessionEffect::Admitted);
        }
        // Most connections have one channel: no room is kept for more.
        self.subscriptions.reserve_exact(1);
        self.subscriptions.push(Subscription::new(channel));
        self.subscriptions.last_mut().expect("one was just added")
    }

    fn ask(&self, channel: &ChannelName, right: Right, out: &mut Vec<SessionEffect>) {
        let user = self.auth().map(|auth| auth.user.id().clone());
        out.push(SessionEffect::Authorize(Question { channel: channel.clone(), right, user }));
    }

    fn refuse(
        &self,
        channel: ChannelName,
        ruling: Ruling,
        reference: Option<Ref>,
        out: &mut Vec<SessionEffect>,
    ) {
        let (code, message) = match ruling {
            Ruling::Unavailable => {
                (ErrorCode::ServerError, "The access rule could not be called. Try again.")
            }
            _ => match self.denial() {
                ErrorCode::NotAuthenticated => {
                    (ErrorCode::NotAuthenticated, "The channel is not public. Send `auth` first.")
                }
                code => (code, "The channel's rules do not allow this."),
            },
        };
        fail(code, message, Some(channel), reference, out);
    }

    /// The code of a denial: a connection that has not authenticated may get the right once it has.
    fn denial(&self) -> ErrorCode {
        match self.auth() {
            Some(_) => ErrorCode::ChannelAccessDenied,
            None => ErrorCode::NotAuthenticated,
        }
    }
}

fn channel_limit(
    channel: ChannelName,
    reference: Option<Ref>,
    context: &Context<'_>,
    out: &mut Vec<SessionEffect>,
) {
    let most = context.limits.max_channels;
    let message =
        format!("A connection may use {most} channels at once. Unsubscribe from one first.");
    fail(ErrorCode::ChannelLimit, message, Some(channel), reference, out);
}
