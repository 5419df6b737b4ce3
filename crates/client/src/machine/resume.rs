//! Coming back to a place that the server has kept: the same connection id, subscriptions and
//! entries. What the application gave up, and the server may not have heard, is told as soon as the
//! place is taken again.

use std::collections::BTreeSet;
use std::sync::Arc;

use herenow_wire::{ChannelName, ErrorCode};

use super::{Machine, Output};
use crate::protocol::{self, Failure};

/// The place of the connection that signed in last.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) connection_id: Arc<str>,
    /// Shown until the server names another: an attempt that was lost before it was heard has not
    /// used it up.
    pub(super) resume: Box<str>,
    /// Channels in which something ended, as far as it is not known that the server has heard: the
    /// socket that carried the word may have broken before it arrived.
    pub(super) given_up: BTreeSet<ChannelName>,
}

impl Machine {
    /// The kept place was taken: without a word, what was given up would be shown for ever.
    pub(super) fn give_up(&self, given_up: &BTreeSet<ChannelName>, out: &mut Vec<Output>) {
        for name in given_up {
            let message = match self.channels.get(name) {
                Some(channel) if channel.tracked.is_some() => continue,
                Some(_) => protocol::untrack(name),
                None => protocol::unsubscribe(name),
            };
            out.push(Output::Send(message));
        }
    }

    /// Whether this only says that the server did not keep what was given up: what a broken
    /// connection merely watched may have ended with it.
    pub(super) fn has_given_up(&self, failure: &Failure) -> bool {
        *failure.code == *ErrorCode::NotSubscribed.as_str()
            && failure.channel.as_ref().is_some_and(|name| !self.channels.contains_key(name))
    }
}
