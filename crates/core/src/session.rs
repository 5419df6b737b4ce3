//! One connection's conversation: who it is, what it may do, how fast, and what it subscribes to.
//! Judges all that concerns the socket and tells the shards facts. Has no socket: it is handed
//! decoded messages, decisions and answers, and says what to do about them.
//!
//! Messages take effect in the order sent. While a decision on one is awaited, the later ones wait.

mod access;
mod admission;
mod authentication;
mod input;
mod kick;
mod resume;
mod stage;
mod subscription;
mod waiting;

use std::time::Duration;

use herenow_wire::encode::Reply;
use herenow_wire::{
    ChannelName, ClientMessage, CloseCode, ConnectionId, ErrorCode, Incoming, LeaveReason, Ref,
    Refusal, State,
};

use self::access::{Cause, Pending};
pub use self::input::{
    AuthRefusal, Context, Input, Limits, Question, Right, Ruling, SessionEffect, Verification,
};
pub use self::resume::{Claim, Claimed, PAGE_GRACE, Place};
use self::stage::Stage;
use self::subscription::Subscription;
use self::waiting::{Join, Waiting};
use crate::auth::Auth;
use crate::command::PutResult;
use crate::policy::CurrentPolicy;
use crate::rate::Rate;
use crate::time::Instant;

/// See the module. About a hundred bytes: every connection has one.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    connection: ConnectionId,
    /// Which of its resume tokens is the newest.
    generation: u32,
    stage: Stage,
    subscriptions: Vec<Subscription>,
    rate: Rate,
    /// Only while something waits: a decision, the messages behind it, or joins above the rate.
    waiting: Option<Box<Waiting>>,
}

impl Session {
    /// A connection that has just opened.
    pub fn new(connection: ConnectionId, limits: &Limits, now: Instant) -> Self {
        Self::at(Stage::Unauthenticated { until: now + limits.auth_timeout }, connection)
    }

    /// A connection that the server itself opens, to watch a channel for a backend.
    pub fn watching(
        connection: ConnectionId,
        channel: ChannelName,
        out: &mut Vec<SessionEffect>,
    ) -> Self {
        let mut session = Self::at(Stage::Watching, connection);
        let mut subscription = Subscription::new(channel);
        subscription.listen(out);
        session.subscriptions.push(subscription);
        session
    }

    /// The server's name for this connection.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Who it is, once it has shown a good token.
    pub fn auth(&self) -> Option<&Auth> {
        self.stage.auth()
    }

    /// Whether it has authenticated, or is the server's own.
    pub fn is_trusted(&self) -> bool {
        self.stage == Stage::Watching || self.auth().is_some()
    }

    /// Whether it has ended and takes no input any more.
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// The channels it subscribes to, with the state it shows in each where that is kept.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&ChannelName, Option<&State>)> {
        self.subscriptions.iter().map(|s| (&s.channel, s.state.as_ref()))
    }

    /// The channels in which it shows something.
    pub fn tracked(&self) -> impl Iterator<Item = &ChannelName> {
        self.subscriptions.iter().filter(|s| s.is_tracking).map(|s| &s.channel)
    }

    /// Whether it subscribes to a channel and has yet to be granted the right to be sent anything of it.
    pub fn awaits_right_to(&self, channel: &ChannelName) -> bool {
        self.subscriptions.iter().any(|s| s.channel == *channel && !s.is_listening)
    }

    /// What it shows in channels of which it is sent nothing at present: having no socket, or not
    /// yet the right. It cannot answer when such a channel's map is lost, so the server does.
    pub fn tracked_without_listening(&self) -> impl Iterator<Item = (&ChannelName, &State)> {
        let unheard = self.subscriptions.iter().filter(|s| s.is_tracking && !s.is_listening);
        unheard.filter_map(|s| Some((&s.channel, s.state.as_ref()?)))
    }

    /// How long each channel in which it shows something lets a silent connection keep that.
    pub fn leases(&mut self, policy: &CurrentPolicy) -> impl Iterator<Item = Duration> {
        let tracked = self.subscriptions.iter_mut().filter(|s| s.is_tracking);
        tracked.map(|s| s.settings(policy).presence_ttl())
    }

    /// Memory that what it has been told and has not done yet uses, estimated from above.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes())
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, input: Input, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        if self.has_ended() {
            return;
        }
        match input {
            Input::Frame => {
                if self.rate.count_frame(context.limits.rate, context.now) {
                    self.close(CloseCode::Abuse, out);
                }
            }
            Input::Message(_) | Input::Refused(_) => self.admit(input, context, out),
            Input::Verified(verification) => self.verified(verification, context, out),
            Input::Decision { channel, ruling } => self.decided(channel, ruling, context, out),
            // The connection has come back at another node too, and that socket counts.
            Input::Answer { result: PutResult::Superseded, .. } => {
                self.close(CloseCode::GoingAway, out);
            }
            Input::Answer { channel, reference, result } => answer(channel, reference, result, out),
            Input::Review => self.enqueue(input, context, out),
            Input::Hibernated { channel } => {
                if let Some(subscription) = self.subscription(&channel) {
                    subscription.state = None;
                }
            }
            Input::Timeout => self.timeout(context, out),
            Input::Silent { silent } => self.end_leases(silent, context, out),
            Input::LeaseEnded => {
                self.end(LeaveReason::Timeout, out);
                out.push(SessionEffect::Close { code: CloseCode::PresenceTimeout });
            }
            Input::Kicked { channel, time } => self.kicked(channel, time, context, out),
            Input::Disconnected { time } => self.disconnected(time, out),
            Input::Closed => self.end(LeaveReason::Disconnect, out),
            Input::SocketLost => self.detach(Duration::MAX, context, out),
            Input::PageLeft => self.detach(PAGE_GRACE, context, out),
            Input::Claimed { by } => self.hand_over(by, out),
            Input::TakenOver { claimed } => self.taken_over(claimed, context, out),
            Input::Paused { pause } => self.extend_graces(pause),
        }
    }

    /// When it wants to hear [`Input::Timeout`].
    pub fn poll_timeout(&self, limits: &Limits) -> Instant {
        match &self.waiting {
            Some(waiting) if waiting.holds_joins() && !waiting.is_deciding() => {
                self.deadline().min(self.rate.next(limits.rate))
            }
            _ => self.deadline(),
        }
    }

    /// Applies what the rate held back, and ends what is over.
    fn timeout(&mut self, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        if matches!(self.stage, Stage::Detached { .. }) {
            return self.end_graces(context.now, out);
        }
        self.release_held(context, out);
        if context.now >= self.deadline() {
            self.expire(out);
        }
    }

    /// Nothing has been heard for `silent`: the members of channels with a shorter TTL leave.
    fn end_leases(
        &mut self,
        silent: Duration,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        for subscription in &mut self.subscriptions {
            if silent > subscription.settings(context.policy).presence_ttl() && subscription.hide()
            {
                let channel = subscription.channel.clone();
                out.push(SessionEffect::Remove { channel, reason: LeaveReason::Timeout });
            }
        }
    }

    /// Ends the session: every member leaves, every subscription ends. The one way out, whatever
    /// the cause.
    fn end(&mut self, reason: LeaveReason, out: &mut Vec<SessionEffect>) {
        self.stage = Stage::Ended;
        self.waiting = None;
        for subscription in std::mem::take(&mut self.subscriptions) {
            subscription.finish(reason, out);
        }
    }

    /// Ends the session and its socket, for a reason of the server's.
    fn close(&mut self, code: CloseCode, out: &mut Vec<SessionEffect>) {
        self.end(LeaveReason::Disconnect, out);
        out.push(SessionEffect::Close { code });
    }

    /// Carries out one message whose turn has come.
    fn perform(&mut self, input: Input, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        match input {
            Input::Message(incoming) => self.message(incoming, context, out),
            Input::Refused(refusal) => {
                let Refusal { code, message, channel, reference } = refusal;
                fail(code, message, channel, reference, out);
            }
            Input::Review => self.begin_review(Cause::Rules, out),
            _ => {}
        }
    }

    fn message(&mut self, incoming: Incoming, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        let Incoming { message, reference } = incoming;
        match message {
            ClientMessage::Ping => out.push(SessionEffect::Reply(Reply::Pong, reference)),
            ClientMessage::Auth { token: Some(token), resume } => {
                self.await_decision(Pending::Verification { reference, since: context.now });
                out.push(SessionEffect::Verify { token, resume });
            }
            ClientMessage::Auth { token: None, .. } => {
                self.refuse_token(AuthRefusal::missing(), reference, out);
            }
            ClientMessage::Subscribe { channel, mode } => {
                self.subscribe((channel, mode), reference, context, out);
            }
            ClientMessage::SubscribeAll { channels, mode } => {
                self.subscribe_all((channels, mode), reference, context, out);
            }
            ClientMessage::Unsubscribe { channel } => {
                self.unsubscribe(channel, reference, context, out);
            }
            ClientMessage::Track { channel, state, expire } => {
                self.track(Join { channel, state, expire, reference }, context, out);
            }
            ClientMessage::Untrack { channel } => {
                if let Some(subscription) = self.subscription(&channel)
                    && subscription.hide()
                {
                    out.push(SessionEffect::Remove { channel, reason: LeaveReason::Leave });
                }
                acknowledge(reference, out);
            }
            ClientMessage::Sync { channel } => {
                match self.subscription(&channel) {
                    Some(subscription) => {
                        acknowledge(reference, out);
                        // Without the right, the snapshot comes when the rules have granted it.
                        if subscription.is_listening {
                            subscription.repeat(out);
                        }
                    }
                    None => not_subscribed(channel, reference, out),
                }
            }
        }
    }

    fn unsubscribe(
        &mut self,
        channel: ChannelName,
        reference: Option<Ref>,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        let Some(at) = self.subscriptions.iter().position(|s| s.channel == channel) else {
            return not_subscribed(channel, reference, out);
        };
        self.subscriptions.remove(at).finish(LeaveReason::Leave, out);
        let reply = Reply::Unsubscribed { channel, code: None, retry_after_ms: None };
        out.push(SessionEffect::Reply(reply, reference));
        self.restart_auth_clock(context);
    }

    /// An observer that watches nothing any more must show a token again, or go.
    fn restart_auth_clock(&mut self, context: &Context<'_>) {
        if self.stage == Stage::Observing && self.subscriptions.is_empty() {
            self.stage = Stage::Unauthenticated { until: context.auth_deadline() };
        }
    }

    fn subscription(&mut self, channel: &ChannelName) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|s| s.channel == *channel)
    }
}

/// A track was answered by the channel's shard.
fn answer(
    channel: ChannelName,
    reference: Option<Ref>,
    result: PutResult,
    out: &mut Vec<SessionEffect>,
) {
    match result {
        PutResult::Done => acknowledge(reference, out),
        PutResult::Full => {
            let message = "The channel has as many members as allowed. You are still subscribed.";
            fail(ErrorCode::MemberLimit, message, Some(channel), reference, out);
        }
        PutResult::Superseded => unreachable!("it ends the session"),
    }
}

fn acknowledge(reference: Option<Ref>, out: &mut Vec<SessionEffect>) {
    if reference.is_some() {
        out.push(SessionEffect::Reply(Reply::Ack, reference));
    }
}

fn not_subscribed(channel: ChannelName, reference: Option<Ref>, out: &mut Vec<SessionEffect>) {
    let message = "This connection does not subscribe to the channel. Send `subscribe` first.";
    fail(ErrorCode::NotSubscribed, message, Some(channel), reference, out);
}

fn fail(
    code: ErrorCode,
    message: impl Into<std::borrow::Cow<'static, str>>,
    channel: Option<ChannelName>,
    reference: Option<Ref>,
    out: &mut Vec<SessionEffect>,
) {
    let reply = Reply::Error { code, message: message.into(), channel, retry_after_ms: None };
    out.push(SessionEffect::Reply(reply, reference));
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    /// What each was when the memory of a million connections was stated.
    const STATED_SESSION_BYTES: usize = 104;
    const STATED_SUBSCRIPTION_BYTES: usize = 40;

    #[test]
    fn a_session_and_a_subscription_are_no_larger_than_stated() {
        assert!(size_of::<Session>() <= STATED_SESSION_BYTES, "{} bytes", size_of::<Session>());
        let bytes = size_of::<Subscription>();
        assert!(bytes <= STATED_SUBSCRIPTION_BYTES, "{bytes} bytes for each subscription");
    }
}
