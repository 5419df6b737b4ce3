//! What a session knows of one channel that it subscribes to.

use herenow_wire::{ChannelName, LeaveReason, State};

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
            is_tracking: false,
            may_track: false,
            is_listening: false,
        }
    }

    /// What holds in the channel.
    pub(super) fn settings(&mut self, policy: &CurrentPolicy) -> ChannelSettings {
        policy.settings_by(&mut self.row, &self.channel)
    }

    /// Receives what happens in the channel from here on, a snapshot first.
    pub(super) fn listen(&mut self, out: &mut Vec<SessionEffect>) {
        if !std::mem::replace(&mut self.is_listening, true) {
            out.push(SessionEffect::Listen { channel: self.channel.clone() });
        }
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
