//! What a session has been told and has not done yet: the request that waits for a decision, the
//! messages behind it, and joins above the rate. Absent while nothing waits. Bounded in messages
//! and in bytes, and the only place where either is counted.

use std::collections::VecDeque;
use std::mem::size_of;

use herenow_wire::{ChannelName, ClientMessage, ExpiringFields, Incoming, Ref, State};

use super::access::{Cause, Pending};
use super::input::Input;
use crate::auth::Auth;
use crate::time::Instant;

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The one decision in flight.
    pending: Option<Pending>,
    /// What came after it, in order.
    queue: VecDeque<Input>,
    /// Joins above the rate, the newest per channel, in the order in which the channels came.
    held: VecDeque<Join>,
    /// What all of it uses, estimated from above.
    bytes: usize,
}

/// What a connection asks to show in a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) channel: ChannelName,
    pub(super) state: State,
    pub(super) expire: Option<Box<ExpiringFields>>,
    pub(super) reference: Option<Ref>,
}

/// How much may wait for a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Messages behind a decision.
    pub(super) messages: usize,
    /// Channels for which a join or the end of something may wait.
    pub(super) channels: usize,
    /// Bytes, of everything.
    pub(super) bytes: usize,
}

/// What became of a message that was to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It waits.
    Waits,
    /// It waits, and this one, which it makes needless, no longer does.
    Replaced(Input),
    /// What waits already makes this one needless.
    Redundant(Input),
    /// There is no room for it.
    NoRoom(Input),
}

/// What one message or held join uses beside its texts. A queue that grows doubles its room.
const ITEM_BYTES: usize = 2 * size_of::<Input>();
/// What an allocation uses beside its text: counts of references, and the allocator's own.
const ALLOCATION_BYTES: usize = 32;

impl Waiting {
    /// What all of it uses, estimated from above.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_deciding(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn is_reviewed(&self) -> bool {
        matches!(&self.pending, Some(Pending::Review(review)) if matches!(review.cause, Cause::Rules))
    }

    /// The subscription at this place is gone: a review that is beyond it goes on with the same one.
    pub(super) fn subscription_removed(&mut self, place: usize) {
        if let Some(Pending::Review(review)) = &mut self.pending {
            review.subscription_removed(place);
        }
    }

    pub(super) fn verifying_since(&self) -> Option<Instant> {
        match self.pending {
            Some(Pending::Verification { since, .. }) => Some(since),
            _ => None,
        }
    }

    pub(super) fn holds_joins(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_none() && self.queue.is_empty() && self.held.is_empty()
    }

    /// Whether an ordinary message more would have to wait and there is no place for it.
    pub(super) fn is_full(&self, room: Room) -> bool {
        self.is_deciding() && self.queue.len() >= room.messages
    }

    pub(super) fn await_decision(&mut self, pending: Pending) {
        self.bytes += bytes_of_pending(&pending);
        self.pending = Some(pending);
    }

    /// The request in flight, if it is one that `is_meant` accepts.
    pub(super) fn take_pending(&mut self, is_meant: impl Fn(&Pending) -> bool) -> Option<Pending> {
        let pending = self.pending.take_if(|pending| is_meant(pending))?;
        self.bytes -= bytes_of_pending(&pending);
        Some(pending)
    }

    /// Keeps a message until the decision before it is there. What ends something is let in past
    /// the bound in messages, since it only ever makes less to do; the last word on its channel
    /// counts, and takes the place of the one before it if there is no other room. Of tokens the
    /// newest waits, in the place of the one before it.
    pub(super) fn queue(&mut self, input: Input, room: Room) -> Queued {
        let Some(earlier) = self.queue.iter().rposition(|one| concerns_the_same(one, &input))
        else {
            return self.push(input, room);
        };
        match (&self.queue[earlier], &input) {
            (Input::Review, _) => Queued::Redundant(input),
            (Input::Message(waiting), Input::Message(new)) => {
                match (&waiting.message, &new.message) {
                    (ClientMessage::Auth { .. }, _) => self.replace(earlier, input, room),
                    (ClientMessage::Untrack { .. }, _) => self.replace(earlier, input, room),
                    (ClientMessage::Unsubscribe { .. }, _) => Queued::Redundant(input),
                    _ => match self.push(input, room) {
                        Queued::NoRoom(input) => self.replace(earlier, input, room),
                        queued => queued,
                    },
                }
            }
            _ => self.push(input, room),
        }
    }

    fn push(&mut self, input: Input, room: Room) -> Queued {
        let places = if is_rare(&input) {
            // One each for a review and a token.
            room.messages + room.channels + 2
        } else {
            room.messages
        };
        let bytes = bytes_of(&input);
        if self.queue.len() >= places || self.bytes + bytes > room.bytes {
            return Queued::NoRoom(input);
        }
        self.bytes += bytes;
        self.queue.push_back(input);
        Queued::Waits
    }

    /// In the same place: nothing of the same kind stands between the two.
    fn replace(&mut self, at: usize, input: Input, room: Room) -> Queued {
        let bytes = self.bytes - bytes_of(&self.queue[at]) + bytes_of(&input);
        if bytes > room.bytes {
            return Queued::NoRoom(input);
        }
        self.bytes = bytes;
        Queued::Replaced(std::mem::replace(&mut self.queue[at], input))
    }

    /// What is left of the message that has begun waits ahead of all others. It has had its room.
    pub(super) fn put_back(&mut self, rest: Input) {
        self.bytes += bytes_of(&rest);
        self.queue.push_front(rest);
    }

    /// The next message, once nothing is in flight.
    pub(super) fn next_message(&mut self) -> Option<Input> {
        if self.is_deciding() {
            return None;
        }
        let input = self.queue.pop_front()?;
        self.bytes -= bytes_of(&input);
        Some(input)
    }

    /// Keeps a join that the rate does not allow yet. Gives back the older one that it replaces,
    /// or itself if there is no room.
    pub(super) fn hold(&mut self, new: Join, room: Room) -> Result<Option<Join>, Join> {
        let bytes = self.bytes + bytes_of_join(&new);
        let older = self.held.iter().position(|held| held.channel == new.channel);
        let freed = older.map_or(0, |at| bytes_of_join(&self.held[at]));
        let has_place = older.is_some() || self.held.len() < room.channels;
        if !has_place || bytes - freed > room.bytes {
            return Err(new);
        }
        self.bytes = bytes - freed;
        if let Some(at) = older {
            return Ok(Some(std::mem::replace(&mut self.held[at], new)));
        }
        self.held.push_back(new);
        Ok(None)
    }

    pub(super) fn holds_join_for(&self, channel: &ChannelName) -> bool {
        self.held.iter().any(|held| held.channel == *channel)
    }

    /// Takes the join that waits for `channel` out.
    pub(super) fn take_held(&mut self, channel: &ChannelName) -> Option<Join> {
        let at = self.held.iter().position(|held| held.channel == *channel)?;
        let held = self.held.remove(at)?;
        self.bytes -= bytes_of_join(&held);
        Some(held)
    }

    /// Takes the join out that has waited longest. Behind a decision it waits on as a message.
    pub(super) fn release_join(&mut self) -> Option<Input> {
        let held = self.held.pop_front()?;
        self.bytes -= bytes_of_join(&held);
        let Join { channel, state, expire, reference } = held;
        let message = ClientMessage::Track { channel, state, expire };
        let input = Input::Message(Incoming { message, reference });
        if !self.is_deciding() {
            return Some(input);
        }
        // It has had its room all along.
        self.bytes += bytes_of(&input);
        self.queue.push_back(input);
        None
    }
}

/// Whether a message may make an earlier one needless, or be made needless by it.
fn concerns_the_same(earlier: &Input, new: &Input) -> bool {
    match (earlier, new) {
        (Input::Review, Input::Review) => true,
        (Input::Message(earlier), Input::Message(new)) => match (&earlier.message, &new.message) {
            (ClientMessage::Auth { .. }, ClientMessage::Auth { .. }) => true,
            (
                earlier,
                ClientMessage::Untrack { channel } | ClientMessage::Unsubscribe { channel },
            ) => channel_of(earlier) == Some(channel),
            _ => false,
        },
        _ => false,
    }
}

/// Whether at most one waits, in all or for a channel.
fn is_rare(input: &Input) -> bool {
    match input {
        Input::Review => true,
        Input::Message(incoming) => matches!(
            incoming.message,
            ClientMessage::Auth { .. }
                | ClientMessage::Untrack { .. }
                | ClientMessage::Unsubscribe { .. }
        ),
        _ => false,
    }
}

/// The channel that a message is about.
pub(super) fn channel_of(message: &ClientMessage) -> Option<&ChannelName> {
    match message {
        ClientMessage::Auth { .. } | ClientMessage::SubscribeAll { .. } | ClientMessage::Ping => {
            None
        }
        ClientMessage::Subscribe { channel, .. }
        | ClientMessage::Unsubscribe { channel }
        | ClientMessage::Track { channel, .. }
        | ClientMessage::Untrack { channel }
        | ClientMessage::Sync { channel } => Some(channel),
    }
}

fn bytes_of(input: &Input) -> usize {
    let texts = match input {
        Input::Message(Incoming { message, reference }) => {
            let own = match message {
                ClientMessage::Auth { token, resume } => text(token) + text(resume),
                ClientMessage::SubscribeAll { channels, .. } => {
                    channels.iter().map(|channel| text_bytes(channel.as_str())).sum()
                }
                ClientMessage::Track { state, expire, .. } => {
                    text_bytes(state.as_str()) + expire_bytes(expire)
                }
                _ => 0,
            };
            let channel = channel_of(message).map_or(0, |channel| text_bytes(channel.as_str()));
            own + channel + reference_bytes(reference)
        }
        Input::Refused(refusal) => {
            let channel = refusal.channel.as_ref();
            text_bytes(&refusal.message)
                + channel.map_or(0, |channel| text_bytes(channel.as_str()))
                + reference_bytes(&refusal.reference)
        }
        _ => 0,
    };
    ITEM_BYTES + texts
}

fn bytes_of_join(Join { channel, state, expire, reference }: &Join) -> usize {
    let texts = text_bytes(channel.as_str()) + text_bytes(state.as_str()) + expire_bytes(expire);
    ITEM_BYTES + texts + reference_bytes(reference)
}

fn expire_bytes(expire: &Option<Box<ExpiringFields>>) -> usize {
    expire.as_ref().map_or(0, |expire| expire.bytes())
}

fn bytes_of_pending(pending: &Pending) -> usize {
    let texts = match pending {
        Pending::Verification { reference, .. } | Pending::Subscribe { reference, .. } => {
            reference_bytes(reference)
        }
        Pending::SubscribeToTrack { state, expire, reference }
        | Pending::Track { state, expire, reference } => {
            expire_bytes(expire) + text_bytes(state.as_str()) + reference_bytes(reference)
        }
        Pending::TakeOver { verified, reference } => {
            let Auth { user, claims, .. } = &verified.auth;
            text_bytes(user.as_str()) + text_bytes(claims) + reference_bytes(reference)
        }
        Pending::Review(review) => {
            let revoked = review.revoked.iter();
            let names = revoked.map(|name| size_of::<ChannelName>() + text_bytes(name.as_str()));
            names.sum::<usize>()
                + match &review.cause {
                    Cause::Refresh { reference, .. } => reference_bytes(reference),
                    Cause::Authenticated | Cause::Rules => 0,
                }
        }
    };
    size_of::<Pending>() + texts
}

fn text(text: &Option<Box<str>>) -> usize {
    text.as_deref().map_or(0, text_bytes)
}

fn reference_bytes(reference: &Option<Ref>) -> usize {
    reference.as_ref().map_or(0, |reference| text_bytes(reference.as_json()))
}

fn text_bytes(text: &str) -> usize {
    text.len() + ALLOCATION_BYTES
}

#[cfg(test)]
mod tests;
