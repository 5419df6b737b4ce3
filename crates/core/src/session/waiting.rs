//! What a session has been told and has not done yet: messages behind a decision, and joins above
//! the rate. Bounded, and absent while nothing waits.

use std::collections::VecDeque;

use herenow_wire::{ChannelName, ClientMessage, ErrorCode, Incoming, Ref, State};

use super::access::Pending;
use super::input::{Input, Limits, SessionEffect};
use super::{Session, acknowledge, fail};
use crate::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The one decision in flight.
    pub(super) pending: Option<Pending>,
    /// What came after it, in order.
    queue: VecDeque<Input>,
    /// Joins above the rate, the newest per channel, in the order in which the channels came.
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    channel: ChannelName,
    state: State,
    reference: Option<Ref>,
}

impl Waiting {
    pub(super) fn is_deciding(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn holds_joins(&self) -> bool {
        !self.held.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.pending.is_none() && self.queue.is_empty() && self.held.is_empty()
    }

    /// Whether a message more would have to wait and there is no room for it.
    fn is_full(&self, limits: &Limits) -> bool {
        self.is_deciding() && self.queue.len() >= limits.max_waiting_messages
    }

    fn holds_join_for(&self, channel: &ChannelName) -> bool {
        self.held.iter().any(|held| held.channel == *channel)
    }

    /// Takes the join that waits for `channel` out.
    fn take_held(&mut self, channel: &ChannelName) -> Option<Held> {
        let at = self.held.iter().position(|held| held.channel == *channel)?;
        self.held.remove(at)
    }
}

impl Session {
    /// Judges a message by the rate. Joins above it wait, the newest per channel, and so do those
    /// without room behind a decision; leaving is never refused and takes the place of what waits;
    /// the rest is refused.
    pub(super) fn admit(
        &mut self,
        input: Input,
        limits: &Limits,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        self.release_held(limits, now, out);
        let is_within = self.rate.take(limits.rate, now);
        match input {
            Input::Message(Incoming {
                message: ClientMessage::Track { channel, state },
                reference,
            }) if !is_within || self.must_hold(&channel, limits) => {
                self.hold(Held { channel, state, reference }, limits, out);
            }
            Input::Message(Incoming {
                message:
                    ClientMessage::Untrack { ref channel } | ClientMessage::Unsubscribe { ref channel },
                ..
            }) => {
                self.supersede(channel, out);
                self.enqueue(input, limits, now, out);
            }
            Input::Message(Incoming { message: ClientMessage::Auth { .. }, .. })
            | Input::Auth { .. }
            | Input::Resume { .. } => self.enqueue(input, limits, now, out),
            _ if is_within => self.enqueue(input, limits, now, out),
            input => refuse_for_rate(input, out),
        }
    }

    /// Applies the joins that waited, as far as the rate allows by now and there is room behind a
    /// decision: the rate's own delay must not turn a join into an error.
    pub(super) fn release_held(
        &mut self,
        limits: &Limits,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        while let Some(waiting) = &mut self.waiting
            && waiting.holds_joins()
            && !waiting.is_full(limits)
            && self.rate.take(limits.rate, now)
        {
            let Some(Held { channel, state, reference }) = waiting.held.pop_front() else { break };
            let message = ClientMessage::Track { channel, state };
            self.enqueue(Input::Message(Incoming { message, reference }), limits, now, out);
        }
        self.tidy();
    }

    /// Goes on with what waited behind a decision, up to the next one.
    pub(super) fn resume(&mut self, limits: &Limits, now: Instant, out: &mut Vec<SessionEffect>) {
        while let Some(waiting) = &mut self.waiting
            && !waiting.is_deciding()
        {
            let Some(input) = waiting.queue.pop_front() else { break };
            self.perform(input, limits, now, out);
        }
        self.tidy();
    }

    pub(super) fn await_decision(&mut self, pending: Pending) {
        self.waiting.get_or_insert_default().pending = Some(pending);
    }

    /// Carries a message out, or keeps it until the decision before it is there.
    pub(super) fn enqueue(
        &mut self,
        input: Input,
        limits: &Limits,
        now: Instant,
        out: &mut Vec<SessionEffect>,
    ) {
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.is_deciding()) else {
            return self.perform(input, limits, now, out);
        };
        if input == Input::Review && waiting.queue.contains(&input) {
            // The one that waits will ask the same rules.
            return;
        }
        // What ends something is let in past the bound: it only ever makes less to do.
        if !waiting.is_full(limits) || is_never_refused(&input) {
            waiting.queue.push_back(input);
        } else {
            refuse_for_rate(input, out);
        }
    }

    fn hold(&mut self, new: Held, limits: &Limits, out: &mut Vec<SessionEffect>) {
        let is_subscribed = self.subscription(&new.channel).is_some();
        let waiting = self.waiting.get_or_insert_default();
        if let Some(held) = waiting.held.iter_mut().find(|held| held.channel == new.channel) {
            acknowledge(std::mem::replace(held, new).reference, out);
        } else if is_subscribed || waiting.held.len() < limits.max_channels {
            waiting.held.push_back(new);
        } else {
            let Held { channel, reference, .. } = new;
            rate_limited(Some(channel), reference, out);
        }
    }

    /// A join must not overtake the one that waits, nor be lost where there is no room behind a
    /// decision: it would be the client's newest state.
    fn must_hold(&self, channel: &ChannelName, limits: &Limits) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.holds_join_for(channel) || waiting.is_full(limits))
    }

    /// A later word on `channel` takes the place of the join that waits there.
    fn supersede(&mut self, channel: &ChannelName, out: &mut Vec<SessionEffect>) {
        if let Some(held) = self.waiting.as_mut().and_then(|waiting| waiting.take_held(channel)) {
            acknowledge(held.reference, out);
        }
    }

    fn tidy(&mut self) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_idle()) {
            self.waiting = None;
        }
    }
}

fn is_never_refused(input: &Input) -> bool {
    match input {
        Input::Auth { .. } | Input::Resume { .. } | Input::Review => true,
        Input::Message(incoming) => matches!(
            incoming.message,
            ClientMessage::Auth { .. }
                | ClientMessage::Untrack { .. }
                | ClientMessage::Unsubscribe { .. }
        ),
        _ => false,
    }
}

fn refuse_for_rate(input: Input, out: &mut Vec<SessionEffect>) {
    let (channel, reference) = match input {
        Input::Message(Incoming { message, reference }) => (channel_of(message), reference),
        Input::Refused(refusal) => (refusal.channel, refusal.reference),
        _ => (None, None),
    };
    rate_limited(channel, reference, out);
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

fn channel_of(message: ClientMessage) -> Option<ChannelName> {
    match message {
        ClientMessage::Auth { .. } | ClientMessage::Ping => None,
        ClientMessage::Subscribe { channel }
        | ClientMessage::Unsubscribe { channel }
        | ClientMessage::Track { channel, .. }
        | ClientMessage::Untrack { channel }
        | ClientMessage::Sync { channel } => Some(channel),
    }
}
