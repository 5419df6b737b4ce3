//! Coming back to a place that the server has kept: the same connection id, subscriptions and
//! entries. What the application gave up, and the server may not have heard, is told as soon as the
//! place is taken again.

use std::collections::BTreeSet;
use std::sync::Arc;

use herenow_wire::ChannelName;

use super::{Machine, Output};
use crate::protocol;

/// The place of the connection that signed in last.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` where another process had it.
    pub(super) connection_id: Option<Arc<str>>,
    /// Shown until the server names another: an attempt that was lost before it was heard has not
    /// used it up.
    pub(super) resume: Box<str>,
    /// Channels in which something ended, as far as it is not known that the server has heard: the
    /// socket that carried the word may have broken before it arrived.
    pub(super) given_up: BTreeSet<ChannelName>,
}

impl Place {
    /// Whether the server, which names this connection, has kept it.
    pub(super) fn is_taken_by(&self, connection_id: &Arc<str>) -> bool {
        self.connection_id.as_ref().is_none_or(|known| known == connection_id)
    }
}

impl Machine {
    /// A client that takes the place of one before it, as a page that is loaded again does: with
    /// its newest `resume`, and the channels it may have used, so that what is not wanted any more
    /// is given up.
    pub fn in_place_of(
        resume: Box<str>,
        token: Box<str>,
        channels: impl IntoIterator<Item = ChannelName>,
    ) -> Self {
        let given_up = channels.into_iter().collect();
        let place = Some(Place { connection_id: None, resume, given_up });
        Self { place, ..Self::new(Some(token)) }
    }

    /// The kept place was taken: without a word, what was given up would be shown for ever.
    pub(super) fn give_up(&mut self, given_up: &BTreeSet<ChannelName>, out: &mut Vec<Output>) {
        for name in given_up {
            let message = match self.channels.get(name) {
                Some(channel) if channel.tracked.is_some() => continue,
                Some(_) => protocol::untrack(name),
                None => {
                    self.leaving.expect(name);
                    protocol::unsubscribe(name)
                }
            };
            out.push(Output::Send(message));
        }
    }
}
