//! One connection's conversation: who it is, what it may do, how fast, and what it subscribes to.
//! Judges all that concerns the socket and tells the shards facts. Has no socket: it is handed
//! decoded messages, decisions and answers, and says what to do about them.
//!
//! Messages take effect in the order sent. While a decision on one is awaited, the later ones wait.

mod access;
mod admission;
mod authentication;
mod input;
mod resume;
mod waiting;

use std::time::Duration;

use herenow_wire::encode::Reply;
use herenow_wire::{
    ChannelName, ClientMessage, CloseCode, ConnectionId, ErrorCode, Incoming, LeaveReason, Ref,
    Refusal, State,
};

use self::access::Cause;
pub use self::input::{
    AuthRefusal, Input, Limits, Question, Right, Ruling, SessionEffect, Verification,
};
pub use self::resume::Claim;
use self::resume::Detached;
use self::waiting::Waiting;
use crate::auth::Auth;
use crate::command::Verdict;
use crate::rate::Rate;
use crate::time::Instant;

/// See the module. About a hundred bytes: every connection has one.
#[derive(Debug)]
pub struct Session {
    connection: ConnectionId,
    /// Which of its resume tokens is the newest.
    generation: u32,
    auth: Option<Box<Auth>>,
    subscriptions: Vec<Subscription>,
    rate: Rate,
    /// Only while something waits: a decision, the messages behind it, or joins above the rate.
    waiting: Option<Box<Waiting>>,
    /// Only while it has no socket and may come back.
    detached: Option<Box<Detached>>,
    /// When the token ends, or the time to show one is over.
    deadline: Instant,
    has_ended: bool,
}

/// What a session knows of a channel it subscribes to.
#[derive(Debug)]
struct Subscription {
    channel: ChannelName,
    /// What it last asked to show, as long as that is kept. The shard may have refused it; taking
    /// it away again is harmless.
    state: Option<State>,
    is_tracking: bool,
    may_track: bool,
    /// Whether the connection receives what happens in the channel. A session that was taken over
    /// receives nothing of a channel before the rules have granted it again.
    is_listening: bool,
}

impl Session {
    /// A connection that has just opened.
    pub fn new(connection: ConnectionId, limits: &Limits, now: Instant) -> Self {
        Self { deadline: now + limits.auth_timeout, ..Self::nobody(connection) }
    }

    /// The server's name for this connection.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Who it is, once it has shown a good token.
    pub fn auth(&self) -> Option<&Auth> {
        self.auth.as_deref()
    }

    /// Whether it has ended and takes no input any more.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The channels it subscribes to, with the state it shows in each where that is kept.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&ChannelName, Option<&State>)> {
        self.subscriptions.iter().map(|s| (&s.channel, s.state.as_ref()))
    }

    /// The channels in which it shows something.
    pub fn tracked(&self) -> impl Iterator<Item = &ChannelName> {
        self.subscriptions.iter().filter(|s| s.is_tracking).map(|s| &s.channel)
    }

    /// What it shows in channels of which it is sent nothing at present: having no socket, or not
    /// yet the right. It cannot answer when such a channel's map is lost, so the server does.
    pub fn answered_for(&self) -> impl Iterator<Item = (&ChannelName, &State)> {
        let unheard = self.subscriptions.iter().filter(|s| s.is_tracking && !s.is_listening);
        unheard.filter_map(|s| Some((&s.channel, s.state.as_ref()?)))
    }

    /// The channel hibernates: its states are freed, this one too. The client has it.
    pub fn forget_state(&mut self, channel: &ChannelName) {
        if let Some(subscription) = self.subscription(channel) {
            subscription.state = None;
        }
    }

    /// Takes in one thing that happened.
    pub fn handle(
        &mut self,
        input: Input,
        limits: &Limits,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        if self.has_ended {
            return;
        }
        match input {
            Input::Frame => {
                if self.rate.count_frame(limits.rate, now) {
                    self.close(CloseCode::Abuse, out);
                }
            }
            Input::Decision { channel, ruling } => self.decided(channel, ruling, limits, now, out),
            Input::Answer { channel, reference, verdict } => {
                answer(channel, reference, verdict, out)
            }
            Input::LeaseEnded => {
                self.end(LeaveReason::Timeout, out);
                out.push(SessionEffect::Close { code: CloseCode::PresenceTimeout });
            }
            Input::Broken => self.end(LeaveReason::Disconnect, out),
            Input::Verified(verification) => self.verified(verification, limits, now, out),
            Input::Review => self.enqueue(input, limits, now, out),
            Input::Message(_) | Input::Refused(_) => self.admit(input, limits, now, out),
        }
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self, limits: &Limits) -> Instant {
        if self.has_ended {
            return Instant::NEVER;
        }
        if let Some(end) = self.next_grace_end() {
            return end;
        }
        match &self.waiting {
            Some(waiting) if waiting.holds_joins() && !waiting.is_deciding() => {
                self.deadline().min(self.rate.next(limits.rate))
            }
            _ => self.deadline(),
        }
    }

    /// Applies what the rate held back, and ends what is over.
    pub fn handle_timeout(&mut self, limits: &Limits, now: Instant, out: &mut Vec<SessionEffect>) {
        if self.has_ended {
            return;
        }
        if self.detached.is_some() {
            return self.end_grace(now, out);
        }
        self.release_held(limits, now, out);
        if now >= self.deadline() {
            self.expire(out);
        }
    }

    /// Nothing has been heard for `silent`: the entries of channels with a shorter lease leave. The
    /// connection itself has a lease of its own.
    pub fn end_leases(
        &mut self,
        silent: Duration,
        lease_of: impl Fn(&ChannelName) -> Duration,
        out: &mut Vec<SessionEffect>,
    ) {
        for subscription in &mut self.subscriptions {
            if silent > lease_of(&subscription.channel) && subscription.hide() {
                let channel = subscription.channel.clone();
                out.push(SessionEffect::Remove { channel, reason: LeaveReason::Timeout });
            }
        }
    }

    /// Ends the session: every entry leaves, every subscription ends. The one way out, whatever
    /// the cause.
    fn end(&mut self, reason: LeaveReason, out: &mut Vec<SessionEffect>) {
        self.has_ended = true;
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
    fn perform(
        &mut self,
        input: Input,
        limits: &Limits,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        match input {
            Input::Message(incoming) => self.message(incoming, limits, now, out),
            Input::Refused(refusal) => {
                let Refusal { code, message, channel, reference } = refusal;
                fail(code, message, channel, reference, out);
            }
            Input::Review => self.begin_review(Cause::Rules, out),
            _ => {}
        }
    }

    fn message(
        &mut self,
        incoming: Incoming,
        limits: &Limits,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        let Incoming { message, reference } = incoming;
        match message {
            ClientMessage::Ping => out.push(SessionEffect::Reply(Reply::Pong, reference)),
            ClientMessage::Auth { token, resume } => {
                self.verify((token, resume), reference, now, out);
            }
            ClientMessage::Subscribe { channel } => {
                self.subscribe(channel, reference, limits, out);
            }
            ClientMessage::Unsubscribe { channel } => {
                self.unsubscribe(channel, reference, limits, now, out);
            }
            ClientMessage::Track { channel, state } => {
                self.track(channel, state, reference, limits, out);
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
                match self.subscription(&channel).map(|subscription| subscription.is_listening) {
                    Some(is_listening) => {
                        acknowledge(reference, out);
                        // Without the right, the snapshot comes when the rules have granted it.
                        if is_listening {
                            out.push(SessionEffect::AskAgain { channel });
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
        limits: &Limits,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        let Some(at) = self.subscriptions.iter().position(|s| s.channel == channel) else {
            return not_subscribed(channel, reference, out);
        };
        self.subscriptions.remove(at).finish(LeaveReason::Leave, out);
        out.push(SessionEffect::Reply(Reply::Unsubscribed { channel, code: None }, reference));
        self.restart_auth_clock(limits, now);
    }

    /// An observer that watches nothing any more must show a token again, or go.
    fn restart_auth_clock(&mut self, limits: &Limits, now: Instant) {
        if self.auth.is_none() && self.subscriptions.is_empty() {
            self.deadline = now + limits.auth_timeout;
        }
    }

    fn subscription(&mut self, channel: &ChannelName) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|s| s.channel == *channel)
    }
}

impl Subscription {
    /// Receives what happens in the channel from here on, a snapshot first.
    fn listen(&mut self, out: &mut Vec<SessionEffect>) {
        if !std::mem::replace(&mut self.is_listening, true) {
            out.push(SessionEffect::Listen { channel: self.channel.clone() });
        }
    }

    /// Receives nothing more of the channel.
    fn unlisten(&mut self, out: &mut Vec<SessionEffect>) {
        if std::mem::take(&mut self.is_listening) {
            out.push(SessionEffect::Unlisten { channel: self.channel.clone() });
        }
    }

    /// Shows nothing any more. True where it did.
    fn hide(&mut self) -> bool {
        self.state = None;
        std::mem::take(&mut self.is_tracking)
    }

    /// Ends it: the entry leaves, and nothing more of the channel is sent.
    fn finish(self, reason: LeaveReason, out: &mut Vec<SessionEffect>) {
        if self.is_tracking {
            out.push(SessionEffect::Remove { channel: self.channel.clone(), reason });
        }
        if self.is_listening {
            out.push(SessionEffect::Unlisten { channel: self.channel });
        }
    }
}

/// A track was answered by the channel's shard.
fn answer(
    channel: ChannelName,
    reference: Option<Ref>,
    verdict: Verdict,
    out: &mut Vec<SessionEffect>,
) {
    match verdict {
        Verdict::Done => acknowledge(reference, out),
        Verdict::Full => {
            let message = "The channel holds as many entries as it may. You are still subscribed.";
            fail(ErrorCode::MemberLimit, message, Some(channel), reference, out);
        }
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
    let reply = Reply::Error { code, message: message.into(), channel };
    out.push(SessionEffect::Reply(reply, reference));
}
