//! Subscriptions that were ended and whose end the server has not confirmed. What it says of such a
//! channel until then, it said to the old subscription: a late snapshot is no answer to whoever
//! subscribes anew, and neither is a late refusal.

use std::collections::BTreeMap;

use herenow_wire::{ChannelName, ErrorCode};

use crate::protocol::{Failure, ServerMessage};

/// How many answers to `unsubscribe` are still to come, by channel.
#[derive(Debug, Default)]
pub(super) struct Leaving(BTreeMap<ChannelName, u32>);

impl Leaving {
    /// An `unsubscribe` was sent.
    pub(super) fn expect(&mut self, channel: &ChannelName) {
        *self.0.entry(channel.clone()).or_default() += 1;
    }

    /// The socket is gone, and what was on its way with it.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Whether an `unsubscribe` of the channel has not been answered.
    pub(super) fn expects(&self, channel: &ChannelName) -> bool {
        self.0.contains_key(channel)
    }

    /// Whether the message is to an old subscription; counts it, where it is an answer.
    pub(super) fn is_late(&mut self, message: &ServerMessage) -> bool {
        if is_error(message, ErrorCode::RateLimited) {
            // The one reply that overtakes others: it may be to the newest request. Asking once
            // more than needed does no harm.
            return false;
        }
        let Some(channel) = channel_of(message) else { return false };
        let Some(expected) = self.0.get_mut(channel) else { return false };
        if is_answer(message) {
            *expected -= 1;
            if *expected == 0 {
                self.0.remove(channel);
            }
        }
        true
    }
}

/// Each `unsubscribe` is answered once, by one of these two.
fn is_answer(message: &ServerMessage) -> bool {
    match message {
        ServerMessage::Unsubscribed { code, .. } => code.is_none(),
        _ => is_error(message, ErrorCode::NotSubscribed),
    }
}

fn is_error(message: &ServerMessage, known: ErrorCode) -> bool {
    matches!(message, ServerMessage::Error(Failure { code, .. }) if **code == *known.as_str())
}

fn channel_of(message: &ServerMessage) -> Option<&ChannelName> {
    match message {
        ServerMessage::Subscribed { channel }
        | ServerMessage::Unsubscribed { channel, .. }
        | ServerMessage::Resync { channel } => Some(channel),
        ServerMessage::Sync(snapshot) => Some(&snapshot.channel),
        ServerMessage::Join(delta) | ServerMessage::Update(delta) => Some(&delta.channel),
        ServerMessage::Leave(departure) => Some(&departure.channel),
        ServerMessage::Count(counts) => Some(&counts.channel),
        ServerMessage::Error(failure) => failure.channel.as_ref(),
        ServerMessage::AuthSuccess { .. }
        | ServerMessage::AuthError(_)
        | ServerMessage::AuthRefreshed { .. }
        | ServerMessage::Pong
        | ServerMessage::Ack
        | ServerMessage::Unknown => None,
    }
}
