//! What a client wants of one channel, and how far the server has followed.

use std::time::{Duration, Instant};

use herenow_wire::{ChannelName, ErrorCode, LeaveReason, State};

use super::{KICK_CAP, KICKED_RETRY_CAP, Moment, Output, RETRY_CAP};
use crate::protocol;
use crate::roster::Roster;

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) listening: bool,
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
    /// Whether the first list of this socket must hold this client: tracking was the first that it
    /// said of the channel, and the server has not refused it.
    is_expected: bool,
    pub(super) roster: Roster,
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
        self.listening || self.tracked.is_some()
    }

    /// Says what is wanted. Tracking subscribes as well, so one message does for both.
    pub(super) fn request(&mut self, name: &ChannelName, out: &mut Vec<Output>) {
        self.retry_at = None;
        self.admission = Admission::Open;
        self.is_expected = self.tracked.is_some() && self.roster.position().is_none();
        let message = self.again(name).unwrap_or_else(|| protocol::subscribe(name));
        out.push(Output::Send(message));
    }

    /// The message that tells the server the state that it lost.
    pub(super) fn again(&self, name: &ChannelName) -> Option<String> {
        self.tracked.as_ref().map(|state| protocol::track(name, state))
    }

    pub(super) fn unlisten(&mut self, name: &ChannelName) -> Option<String> {
        let was_listening = std::mem::take(&mut self.listening);
        (was_listening && self.tracked.is_none()).then(|| protocol::unsubscribe(name))
    }

    pub(super) fn untrack(&mut self, name: &ChannelName) -> Option<String> {
        self.tracked.take()?;
        if std::mem::take(&mut self.kicked) > 0 {
            self.retry_at = None;
        }
        let message = if self.listening { protocol::untrack } else { protocol::unsubscribe };
        Some(message(name))
    }

    /// The socket is gone. The list stays until the next one's snapshot.
    pub(super) fn detach(&mut self) {
        self.admission = Admission::Open;
        self.retry_at = None;
        self.kicked = 0;
        self.is_rebuilding = false;
        self.is_expected = false;
        self.roster.suspend();
    }

    pub(super) fn refused(&mut self, code: &str, moment: Moment) {
        let is_waiting = self.roster.position().is_none();
        self.is_expected = false;
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

    /// A list of the channel came.
    pub(super) fn granted(&mut self) {
        self.admission = Admission::Open;
    }

    /// The server ended the subscription. Nothing is asked for by itself, unless it names a time.
    pub(super) fn denied(&mut self) {
        self.admission = Admission::Denied;
        self.kicked = 0;
        self.retry_at = None;
    }

    /// A backend has removed this client from the channel. What is wanted is asked for again when
    /// that is over, and not at once even if it is over already.
    pub(super) fn removed(&mut self, retry_after: Duration, moment: Moment) {
        self.admission = Admission::Removed;
        self.is_expected = false;
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

    /// A list came without this client. If it should have been there, the server has ended it before
    /// anything was heard of it: the state is told again.
    pub(super) fn missing(&mut self, name: &ChannelName) -> Option<String> {
        std::mem::take(&mut self.is_expected).then(|| self.again(name)).flatten()
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
