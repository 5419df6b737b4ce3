//! Requests for a snapshot that must show a put of the same loop which the home has not answered. A
//! connection that tracks and then asks for the list is to find itself in it.

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_wire::ChannelName;

use super::{Replica, Role};
use crate::command::{Effect, Peer, RequestId};
use crate::time::Instant;

/// How long a request waits for a put at most. After that it is answered from the list as it is known
/// here: the home may be out of reach.
const WAIT_FOR_PUT: Duration = Duration::from_secs(1);

/// So many requests of one loop for one channel wait each for itself.
const MAX_REQUESTS: usize = 8;

/// In place of a ticket while a home opens: all puts are decided then.
pub(super) const UNTIL_OPEN: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_loop: BTreeMap<(ChannelName, Peer), Vec<Request>>,
}

/// A request that waits.
#[derive(Debug)]
struct Request {
    id: RequestId,
    /// The ticket of the last put that it waits for.
    ticket: u32,
    /// When it is answered in any case.
    until: Instant,
}

/// The newest request of a loop that is to be answered now.
pub(super) type Released = (ChannelName, (Peer, RequestId));

impl Replica {
    /// Requests a snapshot for a loop, once what it has put is answered. Whether the home is to be asked
    /// for the list.
    pub(super) fn request(
        &mut self,
        channel: &ChannelName,
        request: (Peer, RequestId),
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> bool {
        let (held, ticket) = match &mut self.role {
            Role::Home => return false,
            Role::Opening(opening) => {
                let ticket = opening.has_put(channel, request.0).then_some(UNTIL_OPEN);
                (&mut opening.held, ticket)
            }
            Role::Copy(own) => {
                let ticket = own.last_ticket(channel, request.0);
                (&mut own.held, ticket)
            }
        };
        match ticket {
            None => {
                // Its answer is one to earlier requests too, whose puts are over.
                held.forget(channel, request.0);
                self.shard.subscribe_to_copy(channel, request, now, out)
            }
            Some(ticket) => {
                held.hold(channel.clone(), request, ticket, now);
                self.shard.expect_copy(channel, request, now)
            }
        }
    }

    /// A copy holds what this node held when it was to be the home.
    pub(super) fn hold_on(&mut self, held: Held, out: &mut Vec<Effect>) {
        if let Role::Copy(own) = &mut self.role {
            own.hold(held);
        }
        self.answer_requests(out);
    }

    /// Answers the requests that wait for no put any more.
    pub(super) fn answer_requests(&mut self, out: &mut Vec<Effect>) {
        if let Role::Copy(own) = &mut self.role {
            let released = own.take_answered_requests();
            self.answer(released, out);
        }
    }

    /// Answers the requests that have waited for long enough.
    pub(super) fn answer_overdue(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if let Some(held) = self.held_mut() {
            let released = held.take_overdue(now);
            self.answer(released, out);
        }
    }

    /// Whether requests wait for puts.
    pub(super) fn holds_requests(&self) -> bool {
        match &self.role {
            Role::Home => false,
            Role::Opening(opening) => !opening.held.is_empty(),
            Role::Copy(own) => !own.held.is_empty(),
        }
    }

    pub(super) fn answer(&mut self, released: Vec<Released>, out: &mut Vec<Effect>) {
        for (channel, request) in released {
            self.shard.request_copy(&channel, request, out);
        }
    }

    fn held_mut(&mut self) -> Option<&mut Held> {
        match &mut self.role {
            Role::Home => None,
            Role::Opening(opening) => Some(&mut opening.held),
            Role::Copy(own) => Some(&mut own.held),
        }
    }
}

impl Held {
    /// Holds a request until the put with this ticket, and those before it, are answered.
    pub(super) fn hold(
        &mut self,
        channel: ChannelName,
        (peer, id): (Peer, RequestId),
        ticket: u32,
        now: Instant,
    ) {
        let requests = self.by_loop.entry((channel, peer)).or_default();
        let request = Request { id, ticket, until: now + WAIT_FOR_PUT };
        // Each waits for its own second, but for those that come in great number.
        if requests.len() >= MAX_REQUESTS
            && let Some(last) = requests.last_mut()
        {
            *last = request;
        } else {
            requests.push(request);
        }
    }

    /// The loop wants nothing of the channel any more.
    pub(super) fn forget(&mut self, channel: &ChannelName, peer: Peer) {
        self.by_loop.remove(&(channel.clone(), peer));
    }

    /// The puts that wait have other tickets from here on, of which this is the last.
    pub(super) fn wait_for(&mut self, last_ticket: u32) {
        self.by_loop.values_mut().flatten().for_each(|request| request.ticket = last_ticket);
    }

    /// Gives the requests that wait for no put any more. `first_ticket` tells the first ticket of a loop
    /// that waits in a channel.
    pub(super) fn take_answered(
        &mut self,
        first_ticket: impl Fn(&ChannelName, Peer) -> Option<u32>,
    ) -> Vec<Released> {
        self.take(|(channel, peer), requests| match first_ticket(channel, *peer) {
            None => requests.len(),
            Some(first) => requests.partition_point(|request| request.ticket < first),
        })
    }

    /// Gives the requests that have waited for long enough.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<Released> {
        self.take(|_, requests| requests.partition_point(|request| request.until <= now))
    }

    /// Gives all of them.
    pub(super) fn take_all(&mut self) -> Vec<Released> {
        self.take(|_, requests| requests.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_loop.is_empty()
    }

    /// Takes the first requests of each loop out, as many as `count` says. The last of them answers the
    /// others too.
    fn take(&mut self, count: impl Fn(&(ChannelName, Peer), &[Request]) -> usize) -> Vec<Released> {
        let mut released = Vec::new();
        self.by_loop.retain(|key, requests| {
            let count = count(key, requests);
            if let Some(last) = requests.drain(..count).next_back() {
                released.push((key.0.clone(), (key.1, last.id)));
            }
            !requests.is_empty()
        });
        released
    }
}
