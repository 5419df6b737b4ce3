//! What a session knows of one channel that it subscribes to.

use herenow_wire::{ChannelName, LeaveReason, Mode, State};

use super::input::SessionEffect;
use crate::policy::{ChannelSettings, CurrentPolicy, Row};

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) channel: ChannelName,
    /// What it last asked to show, as long as that is kept. The shard may have refused it; taking
    /// it away again is harmless.
    pub(super) state: Option<State>,
    /// Where the channel's settings stand.
    pub(super) row: Row,
    /// What the connection receives.
    pub(super) mode: Mode,
    pub(super) is_tracking: bool,
    pub(super) may_track: bool,
    /// Whether the connection receives what happens in the channel. A session that was taken over
    /// receives nothing of a channel before the rules have granted it again.
    pub(super) is_listening: bool,
}

impl Subscription {
    /// To which nothing has been granted yet but that it exists.
    pub(super) fn new(channel: ChannelName) -> Self {
        Self {
            channel,
            state: None,
            row: Row::default(),
            mode: Mode::List,
            is_tracking: false,
            may_track: false,
            is_listening: false,
        }
    }

    /// What holds in the channel.
    pub(super) fn settings(&mut self, policy: &CurrentPolicy) -> ChannelSettings {
        policy.settings_by(&mut self.row, &self.channel)
    }

    /// Receives what happens in the channel from here on, a snapshot or a count first.
    pub(super) fn listen(&mut self, out: &mut Vec<SessionEffect>) {
        if !std::mem::replace(&mut self.is_listening, true) {
            let channel = self.channel.clone();
            out.push(match self.mode {
                Mode::List => SessionEffect::Listen { channel },
                Mode::Count => SessionEffect::Count { channel },
            });
        }
    }

    /// Is to receive this from here on, which begins anew if it does already.
    pub(super) fn receive(&mut self, mode: Mode, out: &mut Vec<SessionEffect>) {
        if self.mode == mode && self.is_listening {
            return self.repeat(out);
        }
        self.unlisten(out);
        self.mode = mode;
        self.listen(out);
    }

    /// Receives another snapshot, or the count again.
    pub(super) fn repeat(&self, out: &mut Vec<SessionEffect>) {
        let channel = self.channel.clone();
        out.push(match self.mode {
            Mode::List => SessionEffect::RequestSnapshot { channel },
            Mode::Count => SessionEffect::Count { channel },
        });
    }

    /// Receives nothing more of the channel.
    pub(super) fn unlisten(&mut self, out: &mut Vec<SessionEffect>) {
        if std::mem::take(&mut self.is_listening) {
            out.push(SessionEffect::Unlisten { channel: self.channel.clone() });
        }
    }

    /// Shows nothing any more. True where it did.
    pub(super) fn hide(&mut self) -> bool {
        self.state = None;
        std::mem::take(&mut self.is_tracking)
    }

    /// Ends it: the member leaves, and nothing more of the channel is sent.
    pub(super) fn finish(self, reason: LeaveReason, out: &mut Vec<SessionEffect>) {
        if self.is_tracking {
            out.push(SessionEffect::Remove { channel: self.channel.clone(), reason });
        }
        if self.is_listening {
            out.push(SessionEffect::Unlisten { channel: self.channel });
        }
    }
}
