//! Noting what happens to sockets and requests, for a history: the calls that the rest of the hub
//! makes at the few places through which everything goes. Each does nothing without a history.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use herenow_core::{Heard, Input, Instant, Leases, SessionEffect, Verification};
use herenow_wire::encode::Reply;
use herenow_wire::{ChannelName, ConnectionId, ErrorCode, UserId};

use crate::api::{Checked, Io};
use crate::history::facts::{
    GaveWayTo, Life, Lost, Origin, RefusedRequest, RefusedToken, RuleOutcome, SocketEnd,
    TokenFacts, UserEvent,
};
use crate::history::{History, Occasion};
use crate::sessions::NO_SLOT;
use crate::work::Work;

impl<I: Io> Work<'_, I> {
    pub(crate) fn note_opened(&mut self, slot: u32, origin: Option<&Origin>) {
        if let Some(history) = &mut self.hub.history {
            history.lives.open(slot, origin, self.now);
        }
    }

    pub(crate) fn note_closed(&mut self, slot: u32) {
        if let Some(history) = &mut self.hub.history {
            history.lives.close(slot);
        }
    }

    /// Before a session is told something.
    #[inline]
    pub(crate) fn note_input(&mut self, slot: u32, input: &Input) {
        if let Some(history) = &mut self.hub.history {
            let leases = &self.hub.leases;
            history.occasion = Occasion::of(input, || leases.silent_for(slot, self.now));
            if !matches!(input, Input::Verified(_)) {
                history.token = None;
            }
            if !matches!(input, Input::Decision { .. }) {
                history.ruling = None;
            }
        }
    }

    /// Before the session of a user that has no socket is told something. `gave_way_to`: why it ends,
    /// if it is for that.
    pub(crate) fn note_detached_input(
        &mut self,
        input: &Input,
        user: Option<UserId>,
        gave_way_to: Option<GaveWayTo>,
    ) {
        self.note_input(NO_SLOT, input);
        let Some(history) = &mut self.hub.history else { return };
        history.detached_user = user;
        if let Some(to) = gave_way_to {
            history.occasion = Occasion::GaveWay(to);
        }
    }

    /// Before the effects of one input are carried out.
    #[inline]
    pub(crate) fn note_effects(&mut self, effects: &[SessionEffect]) {
        if let Some(history) = &mut self.hub.history {
            history.closing = effects.iter().find_map(|effect| match effect {
                SessionEffect::Close { code } => Some(*code),
                _ => None,
            });
        }
    }

    /// Before a session is told the result of a verification.
    fn note_token(&mut self, slot: u32, facts: Option<Box<TokenFacts>>, user: Option<&UserId>) {
        let Some(history) = &mut self.hub.history else { return };
        let facts = facts.unwrap_or_default();
        if user.is_some() {
            history.lives.set_key(slot, facts.key.as_deref());
        }
        history.token = Some((facts, user.cloned()));
    }

    /// Takes what is to be remembered of a token out, before a session is told the rest.
    pub(crate) fn take_checked(&mut self, slot: u32, checked: Checked) -> Verification {
        let Checked { verification, facts } = checked;
        let user = verification.result.as_ref().ok().map(|auth| auth.user.id());
        self.note_token(slot, facts, user);
        verification
    }

    /// Before a session is told what the rules say.
    pub(crate) fn note_ruling(&mut self, channel: &ChannelName, rule: Option<RuleOutcome>) {
        if let Some(history) = &mut self.hub.history {
            history.ruling = rule.map(|rule| (channel.clone(), rule));
        }
    }

    /// A connection is told something.
    #[inline]
    pub(crate) fn note_reply(&mut self, slot: u32, reply: &Reply) {
        if self.hub.history.is_none() {
            return;
        }
        match reply {
            Reply::AuthSuccess { user, .. } => {
                if let Some(history) = &mut self.hub.history {
                    history.lives.sign_in(slot, user.clone(), self.now);
                }
            }
            Reply::AuthError { message } => self.note_refused_token(slot, message.clone()),
            Reply::AuthRefreshed { revoked, .. } => {
                for channel in revoked {
                    let code = ErrorCode::ChannelAccessDenied;
                    self.note_refusal(slot, (Some(channel), code), Refusal::EndOfSubscription);
                }
            }
            Reply::Unsubscribed { channel, code: Some(code), .. } => {
                self.note_refusal(slot, (Some(channel), *code), Refusal::EndOfSubscription);
            }
            Reply::Error { code: ErrorCode::AuthTimeout, .. } => {
                if let Some(history) = &mut self.hub.history {
                    history.never_authenticated += 1;
                }
            }
            Reply::Error { code: ErrorCode::ServerError, channel: None, message, .. } => {
                self.note_refused_token(slot, message.clone());
            }
            Reply::Error { code, channel, .. } => {
                self.note_refusal(slot, (channel.as_ref(), *code), Refusal::OfRequest);
            }
            _ => {}
        }
    }

    fn note_refusal(
        &mut self,
        slot: u32,
        (channel, code): (Option<&ChannelName>, ErrorCode),
        refusal: Refusal,
    ) {
        let pattern = channel.and_then(|channel| self.pattern_of(channel));
        let Some(history) = &mut self.hub.history else { return };
        let connection = self.hub.connections.get(slot).map(|one| one.session.connection());
        let user = history.lives.get(slot).and_then(|kept| kept.user.clone());
        // A user who is kept out has shown a good token, and has not authenticated.
        let proven = || history.token.as_ref().and_then(|(_, user)| user.clone());
        let (Some(user), Some(connection)) = (user.or_else(proven), connection) else { return };
        let is_ruling = matches!(code, ErrorCode::ChannelAccessDenied | ErrorCode::ServerError);
        let ruling = history.ruling.as_ref().filter(|(of, _)| is_ruling && Some(of) == channel);
        let refused = RefusedRequest {
            connection,
            channel: channel.cloned(),
            code,
            is_end_of_subscription: refusal == Refusal::EndOfSubscription,
            rule: ruling.map(|(_, rule)| *rule),
            pattern,
            count: 1,
            first: self.now,
        };
        history.of_users.push(user, UserEvent::Refused(refused), self.now);
    }

    fn note_refused_token(&mut self, slot: u32, reason: Cow<'static, str>) {
        let Some(history) = &mut self.hub.history else { return };
        let Some((facts, proven)) = history.token.take() else { return };
        let Some(address) = history.lives.get(slot).map(|kept| kept.address) else { return };
        let TokenFacts { key, named, expired_for_ms } = *facts;
        let Some(user) = proven.or(named) else { return };
        let refused = RefusedToken {
            address,
            reason,
            key: key.map(Arc::from),
            expired_for_ms,
            count: 1,
            first: self.now,
        };
        history.named.push(user, refused, self.now);
    }

    /// A socket ends. Only the first word on it counts.
    pub(crate) fn note_end(&mut self, slot: u32, end: SocketEnd) {
        let Some(history) = &mut self.hub.history else { return };
        let Some(life) = history.life(slot, &self.hub.leases, self.now) else { return };
        let Some(kept) = history.lives.get_mut(slot).filter(|kept| kept.end.is_none()) else {
            return;
        };
        kept.end = Some(end);
        let connection = self.hub.connections.get(slot).map(|one| one.session.connection());
        if let (Some(user), Some(connection)) = (kept.user.clone(), connection) {
            let ended = UserEvent::Ended { connection, end, life };
            history.of_users.push(user, ended, self.now);
        }
    }

    /// A session is kept without its socket.
    pub(crate) fn note_detached(&mut self, slot: u32, connection: ConnectionId) {
        let Some(history) = &mut self.hub.history else { return };
        let Some(life) = history.life(slot, &self.hub.leases, self.now) else { return };
        let Some(kept) = history.lives.get(slot) else { return };
        if let Some(user) = kept.user.clone() {
            let lost = Lost { at: self.now, end: kept.end.unwrap_or(SocketEnd::Broken) };
            history.lost.insert(connection, (user, life, lost));
        }
    }

    /// A session without a socket has ended, or has another.
    pub(crate) fn forget_detached(&mut self, connection: ConnectionId) {
        if let Some(history) = &mut self.hub.history {
            history.lost.remove(&connection);
        }
    }

    /// The connection in `slot` has taken a session over.
    pub(crate) fn note_resumed(&mut self, slot: u32) {
        if let Some(history) = &mut self.hub.history
            && let Some(kept) = history.lives.get_mut(slot)
        {
            kept.has_resumed = true;
        }
    }

    pub(crate) fn note_pause(&mut self, pause: Duration) {
        if let Some(history) = &mut self.hub.history {
            history.paused = Some((self.now, pause));
        }
    }
}

/// What is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    OfRequest,
    EndOfSubscription,
}

impl History {
    /// The life of the socket in `slot` up to now.
    pub(super) fn life(&self, slot: u32, leases: &Leases, now: Instant) -> Option<Life> {
        let heard_at = now - leases.silent_for(slot, now);
        // A lease is extended by a pause as if the connection had been heard that much later.
        let before_pause = self.paused.filter(|(ended, _)| heard_at < *ended);
        let heard_at = before_pause.map_or(heard_at, |(_, pause)| heard_at - pause);
        let heard: Heard = leases.last_heard(slot);
        self.lives.life(slot, (heard, heard_at))
    }
}
