//! A backend removes a connection from a channel, or its user from the server.

use std::time::Duration;

use herenow_wire::encode::Reply;
use herenow_wire::{ChannelName, CloseCode, ErrorCode, LeaveReason, Ref};

use super::stage::Stage;
use super::{Context, Session, SessionEffect};
use crate::kicks::retry_after_ms;

impl Session {
    /// Ends one subscription, whatever the session is waiting for.
    pub(super) fn kicked(
        &mut self,
        channel: ChannelName,
        time: Duration,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        let Some(at) = self.subscriptions.iter().position(|s| s.channel == channel) else { return };
        let subscription = self.subscriptions.remove(at);
        if let Some(waiting) = &mut self.waiting {
            waiting.subscription_removed(at);
        }
        let (code, retry_after_ms) = (Some(ErrorCode::Kicked), Some(retry_after_ms(time)));
        let reply = Reply::Unsubscribed { channel: channel.clone(), code, retry_after_ms };
        out.push(SessionEffect::Reply(reply, None));
        subscription.finish(LeaveReason::Kicked, out);
        if let Stage::Detached { graces, .. } = &mut self.stage {
            graces.until.retain(|(name, _)| *name != channel);
            if graces.until.is_empty() {
                self.stage = Stage::Ended;
            }
        }
        self.restart_auth_clock(context);
    }

    /// Ends the session.
    pub(super) fn disconnected(&mut self, time: Duration, out: &mut Vec<SessionEffect>) {
        out.push(SessionEffect::Reply(error(None, time), None));
        self.end(LeaveReason::Kicked, out);
        out.push(SessionEffect::Close { code: CloseCode::Kicked });
    }

    /// For how long a backend keeps this connection out of a channel.
    pub(super) fn kept_out_of(
        &self,
        channel: &ChannelName,
        context: &Context<'_>,
    ) -> Option<Duration> {
        let user = self.auth().map(|auth| auth.user.id());
        context.policy.kicks().of_channel(channel, (self.connection, user), context.now)
    }
}

/// A request for a channel from which the connection is kept out.
pub(super) fn refuse(
    channel: ChannelName,
    time: Duration,
    reference: Option<Ref>,
    out: &mut Vec<SessionEffect>,
) {
    out.push(SessionEffect::Reply(error(Some(channel), time), reference));
}

fn error(channel: Option<ChannelName>, time: Duration) -> Reply {
    let message = match channel {
        Some(_) => "The application has removed you from this channel for a time.",
        None => "The application has disconnected you for a time.",
    };
    let retry_after_ms = Some(retry_after_ms(time));
    Reply::Error { code: ErrorCode::Kicked, message: message.into(), channel, retry_after_ms }
}
