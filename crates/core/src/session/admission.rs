//! When a message takes effect: at once, behind the decision that is awaited, when the rate allows
//! it, or never.

use herenow_wire::{ChannelName, ClientMessage, CloseCode, ErrorCode, Incoming, Ref};

use super::access::Pending;
use super::input::{Context, Input, SessionEffect};
use super::waiting::{Join, Queued, Room, channel_of};
use super::{Session, acknowledge, fail, not_subscribed};

impl Session {
    /// Judges a message by the rate. Joins above it wait, the newest per channel, and so do those
    /// without room behind a decision; leaving is never refused for the rate and takes the place
    /// of what waits; tokens have a rate of their own; the rest is refused.
    pub(super) fn admit(
        &mut self,
        input: Input,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        self.release_held(context, out);
        let is_within = self.rate.take(context.limits.rate, context.now);
        match input {
            Input::Message(Incoming {
                message: ClientMessage::Track { channel, state, expire },
                reference,
            }) if !is_within || self.must_hold(&channel, context) => {
                self.hold(Join { channel, state, expire, reference }, context, out);
            }
            Input::Message(Incoming {
                message:
                    ClientMessage::Untrack { ref channel } | ClientMessage::Unsubscribe { ref channel },
                ..
            }) => {
                self.supersede(channel, out);
                self.enqueue(input, context, out);
            }
            Input::Message(Incoming { message: ClientMessage::Auth { .. }, reference })
                if !self.rate.take_verification(context.now) =>
            {
                let message = "Too many tokens. One is verified per second; send it again later.";
                self.refuse_auth(message, reference, out);
            }
            Input::Message(Incoming { message: ClientMessage::Auth { .. }, .. }) => {
                self.enqueue(input, context, out);
            }
            _ if is_within => self.enqueue(input, context, out),
            input => self.refuse_for_rate(input, out),
        }
    }

    /// Applies the joins that waited, as far as the rate allows by now and there is room behind a
    /// decision: the rate's own delay must not turn a join into an error.
    pub(super) fn release_held(&mut self, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        let room = self.room(context);
        while let Some(waiting) = &mut self.waiting
            && waiting.holds_joins()
            && !waiting.is_full(room)
            && self.rate.take(context.limits.rate, context.now)
        {
            if let Some(join) = waiting.release_join() {
                self.perform(join, context, out);
            }
        }
        self.tidy();
    }

    /// Goes on with what waited behind a decision, up to the next one.
    pub(super) fn resume(&mut self, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        while let Some(input) = self.waiting.as_mut().and_then(|waiting| waiting.next_message()) {
            self.perform(input, context, out);
        }
        self.tidy();
    }

    pub(super) fn await_decision(&mut self, pending: Pending) {
        self.waiting.get_or_insert_default().await_decision(pending);
    }

    pub(super) fn take_pending(&mut self, is_meant: impl Fn(&Pending) -> bool) -> Option<Pending> {
        self.waiting.as_mut()?.take_pending(is_meant)
    }

    /// Carries a message out, or keeps it until the decision before it is there.
    pub(super) fn enqueue(
        &mut self,
        input: Input,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        let room = self.room(context);
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.is_deciding()) else {
            return self.perform(input, context, out);
        };
        match waiting.queue(input, room) {
            Queued::Waits => {}
            Queued::Replaced(older) => self.answer_replaced(older, out),
            Queued::Redundant(input) => answer_redundant(input, out),
            // A client counts on what it leaves being left: the end of the connection sees to that.
            Queued::NoRoom(input) if is_leaving(&input) => self.close(CloseCode::Overloaded, out),
            Queued::NoRoom(input) => self.refuse_for_rate(input, out),
        }
    }

    fn hold(&mut self, new: Join, context: &Context<'_>, out: &mut Vec<SessionEffect>) {
        let mut room = self.room(context);
        if self.subscription(&new.channel).is_some() {
            // A channel that is subscribed always has its place.
            room.channels = usize::MAX;
        }
        match self.waiting.get_or_insert_default().hold(new, room) {
            Ok(Some(older)) => acknowledge(older.reference, out),
            Ok(None) => {}
            Err(Join { channel, reference, .. }) => rate_limited(Some(channel), reference, out),
        }
    }

    /// A join must not overtake the one that waits, nor be lost where there is no room behind a
    /// decision: it would be the client's newest state.
    fn must_hold(&self, channel: &ChannelName, context: &Context<'_>) -> bool {
        let room = self.room(context);
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.holds_join_for(channel) || waiting.is_full(room))
    }

    /// A later word on `channel` takes the place of the join that waits there.
    fn supersede(&mut self, channel: &ChannelName, out: &mut Vec<SessionEffect>) {
        if let Some(held) = self.waiting.as_mut().and_then(|waiting| waiting.take_held(channel)) {
            acknowledge(held.reference, out);
        }
    }

    /// A newer message waits in the place of this one.
    fn answer_replaced(&self, older: Input, out: &mut Vec<SessionEffect>) {
        let Input::Message(Incoming { message, reference }) = older else { return };
        match message {
            ClientMessage::Auth { .. } => {
                let message = "A newer `auth` has replaced this one.";
                self.refuse_auth(message, reference, out);
            }
            ClientMessage::Subscribe { channel, .. } => rate_limited(Some(channel), reference, out),
            _ => acknowledge(reference, out),
        }
    }

    fn room(&self, context: &Context<'_>) -> Room {
        Room {
            messages: context.limits.max_waiting_messages,
            channels: context.limits.max_channels,
            bytes: match self.auth() {
                Some(_) => context.limits.max_waiting_bytes,
                None => context.limits.max_unauthenticated_waiting_bytes,
            },
        }
    }

    fn tidy(&mut self) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_idle()) {
            self.waiting = None;
        }
    }

    fn refuse_for_rate(&self, input: Input, out: &mut Vec<SessionEffect>) {
        match input {
            Input::Message(Incoming { message: ClientMessage::Auth { .. }, reference }) => {
                let message =
                    "Too many messages of this connection are waiting. Send the token again later.";
                self.refuse_auth(message, reference, out);
            }
            Input::Message(Incoming { message, reference }) => {
                rate_limited(channel_of(&message).cloned(), reference, out);
            }
            Input::Refused(refusal) => rate_limited(refusal.channel, refusal.reference, out),
            _ => {}
        }
    }
}

fn is_leaving(input: &Input) -> bool {
    use ClientMessage::{Unsubscribe, Untrack};
    matches!(input, Input::Message(Incoming { message: Untrack { .. } | Unsubscribe { .. }, .. }))
}

/// What waits already does what this message asks for, so it has its answer.
fn answer_redundant(input: Input, out: &mut Vec<SessionEffect>) {
    let Input::Message(Incoming { message, reference }) = input else { return };
    match message {
        ClientMessage::Unsubscribe { channel } => not_subscribed(channel, reference, out),
        _ => acknowledge(reference, out),
    }
}

fn rate_limited(
    channel: Option<ChannelName>,
    reference: Option<Ref>,
    out: &mut Vec<SessionEffect>,
) {
    let message =
        "Too many messages. Only joins wait until the rate allows; send this again later.";
    fail(ErrorCode::RateLimited, message, channel, reference, out);
}
