//! What a client wants of one channel, and how far the server has followed.

use std::time::{Duration, Instant};

use herenow_wire::{ChannelName, ErrorCode, LeaveReason, State};

use super::{KICK_CAP, KICKED_RETRY_CAP, Moment, Output, RETRY_CAP};
use crate::protocol;
use crate::roster::Roster;

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) interest: Interest,
    /// The newest state, kept so that it can be sent again whenever the server lost it.
    pub(super) tracked: Option<State>,
    admission: Admission,
    /// When to ask again, after the server could not decide or has taken the own entry away.
    pub(super) retry_at: Option<Instant>,
    /// How often the right to track was asked for on this socket since it was lost, the loss
    /// included.
    kicked: u32,
    /// Whether the next snapshot is that of a rebuilt map: it is told even where it reads the same.
    pub(super) is_rebuilding: bool,
    /// Whether the next list should hold this client: it tracks, and the server has not refused it. A
    /// list that was on its way before lacks it as well; then the state is told once more for nothing.
    is_expected: bool,
    /// Whether the subscription that was asked for on this socket is to the count, not to the list.
    is_counting: bool,
    /// Whether a list was asked for because changes came without one.
    is_list_requested: bool,
    pub(super) roster: Roster,
}

/// What a client wants to be told of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Interest {
    /// It may track nevertheless.
    #[default]
    Nothing,
    /// How many are in it.
    Count,
    /// Who is in it, and every change.
    List,
}

/// Whether the server lets this client into the channel, as far as it has said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Admission {
    /// It has not said no.
    #[default]
    Open,
    /// The rules refuse it; asking again is for another socket or another token.
    Denied,
    /// A backend has removed this client. Until `retry_at` nothing is asked for.
    Removed,
}

impl Channel {
    pub(super) fn is_wanted(&self) -> bool {
        self.interest != Interest::Nothing || self.tracked.is_some()
    }

    /// Says what is wanted. Tracking subscribes as well, so one message does for both.
    pub(super) fn request(&mut self, name: &ChannelName, out: &mut Vec<Output>) {
        self.retry_at = None;
        self.admission = Admission::Open;
        self.is_expected = self.tracked.is_some() && self.interest != Interest::Count;
        // Tracking subscribes to the list, so a client that counts subscribes first.
        if self.tracked.is_none() || self.is_other_subscription() {
            let message = self.subscribe(name);
            out.push(Output::Send(message));
        }
        out.extend(self.again(name).map(Output::Send));
    }

    /// Changes what the server tells of the channel, if something else is wanted now.
    pub(super) fn change_subscription(&mut self, name: &ChannelName) -> Option<String> {
        let is_open = self.admission == Admission::Open;
        (is_open && self.is_other_subscription()).then(|| self.subscribe(name))
    }

    /// A list came. If only the count is wanted, it belongs to an earlier subscription, or tracking
    /// has subscribed after the count was refused: the count is asked for again.
    pub(super) fn refuse_list(&mut self, name: &ChannelName) -> Option<String> {
        self.is_counting.then(|| self.subscribe(name))
    }

    fn is_other_subscription(&self) -> bool {
        self.interest != Interest::Nothing && self.is_counting != (self.interest == Interest::Count)
    }

    fn subscribe(&mut self, name: &ChannelName) -> String {
        self.is_counting = self.interest == Interest::Count;
        if self.is_counting {
            self.roster.suspend();
            protocol::subscribe_to_count(name)
        } else {
            protocol::subscribe(name)
        }
    }

    /// The message that tells the server the state that it lost.
    pub(super) fn again(&self, name: &ChannelName) -> Option<String> {
        self.tracked.as_ref().map(|state| protocol::track(name, state))
    }

    pub(super) fn unlisten(&mut self, name: &ChannelName) -> Vec<String> {
        let was_listening = std::mem::take(&mut self.interest) != Interest::Nothing;
        let is_over = was_listening && self.tracked.is_none();
        is_over.then(|| protocol::unsubscribe(name)).into_iter().collect()
    }

    pub(super) fn untrack(&mut self, name: &ChannelName) -> Vec<String> {
        if self.tracked.take().is_none() {
            return Vec::new();
        }
        if std::mem::take(&mut self.kicked) > 0 {
            self.retry_at = None;
        }
        match self.interest {
            Interest::Nothing => vec![protocol::unsubscribe(name)],
            Interest::Count => vec![protocol::untrack(name)],
            Interest::List if self.roster.position().is_some() => vec![protocol::untrack(name)],
            // The `presence_join` may wait for the rate: then it goes, and its subscription with it.
            Interest::List => vec![protocol::untrack(name), protocol::subscribe(name)],
        }
    }

    /// The socket is gone. The list stays until the next one's snapshot.
    pub(super) fn detach(&mut self) {
        self.admission = Admission::Open;
        self.retry_at = None;
        self.kicked = 0;
        self.is_rebuilding = false;
        self.is_expected = false;
        self.is_counting = false;
        self.is_list_requested = false;
        self.roster.suspend();
    }

    pub(super) fn refused(&mut self, code: &str, moment: Moment) {
        let is_waiting = self.roster.position().is_none();
        self.is_expected = false;
        // It may have been the subscription.
        self.is_counting = false;
        let is = |known: ErrorCode| code == known.as_str();
        // Tracks are never refused for their rate, so that was a subscribe; without another try
        // the listener would wait for ever.
        if is(ErrorCode::ServerError) || is_waiting && is(ErrorCode::RateLimited) {
            self.retry(moment);
        }
        let is_denied = is(ErrorCode::ChannelAccessDenied) || is(ErrorCode::NotAuthenticated);
        if is_waiting && is_denied {
            self.admission = Admission::Denied;
        }
    }

    /// A list or a count of the channel came.
    pub(super) fn granted(&mut self) {
        self.admission = Admission::Open;
        self.is_list_requested = false;
    }

    /// A change came. Changes follow a list, so if none is known, it came while nothing was wanted of
    /// the channel, which the socket subscribes to by default: it is asked for once more.
    pub(super) fn request_missed_list(&mut self, name: &ChannelName) -> Option<String> {
        let is_missed =
            self.roster.position().is_none() && !self.is_counting && !self.is_list_requested;
        self.is_list_requested |= is_missed;
        is_missed.then(|| protocol::subscribe(name))
    }

    /// The server ended the subscription. Nothing is asked for by itself, unless it names a time.
    pub(super) fn denied(&mut self) {
        self.admission = Admission::Denied;
        self.is_counting = false;
        self.kicked = 0;
        self.retry_at = None;
    }

    /// A backend has removed this client from the channel. What is wanted is asked for again when
    /// that is over, and not at once even if it is over already.
    pub(super) fn removed(&mut self, retry_after: Duration, moment: Moment) {
        self.admission = Admission::Removed;
        self.is_expected = false;
        self.is_counting = false;
        self.retry(moment);
        let over_at = moment.now + retry_after.min(KICK_CAP);
        self.retry_at = self.retry_at.max(Some(over_at));
    }

    /// Whether a backend has removed this client and the time is not over.
    pub(super) fn is_removed(&self) -> bool {
        self.admission == Admission::Removed
    }

    /// Whether another token may change what the server said.
    pub(super) fn is_kept_out(&self) -> bool {
        self.admission != Admission::Open || self.is_kicked()
    }

    /// The server ended this client's own entry, or it is missing from the list. It is tracked
    /// again: at once, since the client is evidently alive; after a wait where the right was lost.
    pub(super) fn own_entry_ended(
        &mut self,
        reason: &str,
        name: &ChannelName,
        moment: Moment,
        out: &mut Vec<Output>,
    ) {
        let is = |known: LeaveReason| reason == known.as_str();
        if is(LeaveReason::Leave) || self.tracked.is_none() || self.admission != Admission::Open {
            return;
        }
        if is(LeaveReason::Kicked) {
            self.retry_kicked(moment);
        } else {
            self.request(name, out);
        }
    }

    /// Whether the list that has come should hold this client.
    pub(super) fn take_expected(&mut self) -> bool {
        std::mem::take(&mut self.is_expected)
    }

    /// A list came without this client and should have held it: the server has ended its member
    /// before anything was heard of it. The state is told again, unless that has just been done since
    /// the list before held it.
    pub(super) fn missing(&mut self, name: &ChannelName) -> Option<String> {
        (!self.is_expected).then(|| self.again(name)).flatten()
    }

    /// Whether the right to track was lost on this socket.
    pub(super) fn is_kicked(&self) -> bool {
        self.kicked > 0
    }

    pub(super) fn retry_kicked(&mut self, moment: Moment) {
        let longest = RETRY_CAP.saturating_mul(1 << self.kicked.min(16)).min(KICKED_RETRY_CAP);
        self.kicked = self.kicked.saturating_add(1);
        self.retry_at = Some(moment.now + longest.mul_f64((1.0 + moment.random) / 2.0));
    }

    fn retry(&mut self, moment: Moment) {
        // At least half of the cap, so that a loaded server is not asked in a tight loop.
        self.retry_at = Some(moment.now + RETRY_CAP.mul_f64((1.0 + moment.random) / 2.0));
    }
}
