//! What the server says, and what the client makes of it: its lists, its place, and what it asks for
//! again.

use std::sync::Arc;

use herenow_wire::{ChannelName, ErrorCode};

use super::backoff::Backoff;
use super::channel::Channel;
use super::resume::Place;
use super::{Event, Link, Machine, Moment, Output};
use crate::protocol::{Failure, ServerMessage};
use crate::roster::{Outcome, RosterEvent};

impl Machine {
    pub(super) fn handle_text(&mut self, text: &str, moment: Moment, out: &mut Vec<Output>) {
        let Link::Open(alive) = &mut self.link else { return };
        alive.dead_at = None;
        let message = ServerMessage::parse(text);
        if !matches!(message, ServerMessage::Error(_) | ServerMessage::AuthError(_)) {
            // Only now is the server known to take this client: one that accepts and closes at
            // once must not be asked at the pace of a first attempt.
            self.backoff = Backoff::default();
        }
        if self.leaving.is_late(&message) {
            // Only the last answer is about all that was given up: one to an earlier `unsubscribe` says
            // nothing of a later one, which may not have arrived.
            if let ServerMessage::Unsubscribed { channel, code: None, .. } = message
                && !self.leaving.expects(&channel)
                && let Some(place) = &mut self.place
            {
                place.given_up.remove(&channel);
            }
            return;
        }
        match message {
            ServerMessage::AuthSuccess { user_id, connection_id, resume } => {
                let before = self.place.take().filter(|place| place.is_taken_by(&connection_id));
                let given_up = before.map(|place| place.given_up).unwrap_or_default();
                self.give_up(&given_up, out);
                self.place = resume.map(|resume| Place {
                    connection_id: Some(connection_id.clone()),
                    resume,
                    given_up,
                });
                self.connection_id = Some(connection_id.clone());
                out.push(Output::Event(Event::SignedIn { user_id, connection_id }));
            }
            ServerMessage::AuthRefreshed { revoked } => self.refreshed(&revoked, moment, out),
            ServerMessage::AuthError(failure) => out.push(Output::Event(Event::Refused(failure))),
            ServerMessage::Error(failure) => self.refused(failure, moment, out),
            ServerMessage::Unsubscribed { channel, code: Some(code), retry_after } => {
                self.revoked(&channel, moment, out);
                let message = "the server ended the subscription".into();
                let failure = Failure { code, message, channel: Some(channel), retry_after };
                self.refused(failure, moment, out);
            }
            ServerMessage::Sync(sync) => {
                let mut known = self.channels.get_mut(&sync.channel);
                if let Some(message) =
                    known.as_mut().and_then(|channel| channel.refuse_list(&sync.channel))
                {
                    return out.push(Output::Send(message));
                }
                let is_expected = known.is_some_and(Channel::take_expected);
                self.apply(&sync.channel, moment, out, |channel| {
                    channel.granted();
                    let is_rebuilt = std::mem::take(&mut channel.is_rebuilding);
                    let outcome = channel.roster.apply_snapshot(&sync);
                    Outcome { changed: outcome.changed || is_rebuilt, ..outcome }
                });
                let is_in = |own: &Arc<str>| sync.rows.iter().any(|row| row.connection_id == *own);
                let is_missing = self.connection_id.as_ref().is_some_and(|own| !is_in(own));
                if let Some(channel) = self.channels.get_mut(&sync.channel)
                    && is_expected
                    && is_missing
                {
                    out.extend(channel.missing(&sync.channel).map(Output::Send));
                }
            }
            ServerMessage::Join(delta) | ServerMessage::Update(delta) => {
                self.request_missed_list(&delta.channel, out);
                self.apply(&delta.channel, moment, out, |channel| {
                    channel.roster.apply_delta(&delta)
                });
            }
            ServerMessage::Leave(departure) => {
                self.request_missed_list(&departure.channel, out);
                self.apply(&departure.channel, moment, out, |channel| {
                    channel.roster.apply_departure(&departure)
                });
            }
            ServerMessage::Resync { channel } => {
                if let Some(known) = self.channels.get_mut(&channel) {
                    known.is_rebuilding = true;
                    out.extend(known.again(&channel).map(Output::Send));
                }
            }
            ServerMessage::Count(counts) => {
                if let Some(channel) = self.channels.get_mut(&counts.channel) {
                    channel.granted();
                    out.push(Output::Event(Event::Counted(counts)));
                }
            }
            ServerMessage::Subscribed { .. }
            | ServerMessage::Unsubscribed { code: None, .. }
            | ServerMessage::Pong
            | ServerMessage::Ack
            | ServerMessage::Unknown => {}
        }
    }

    /// Lets one frame change a channel's list and tells the differences. An own entry that has
    /// ended is tracked again.
    fn apply(
        &mut self,
        name: &ChannelName,
        moment: Moment,
        out: &mut Vec<Output>,
        frame: impl FnOnce(&mut Channel) -> Outcome,
    ) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let outcome = frame(channel);
        let own_end = self.connection_id.as_ref().and_then(|own| end_of(own, &outcome));
        let event = |event| Output::Event(Event::Roster { channel: name.clone(), event });
        out.extend(outcome.events.into_iter().map(event));
        if outcome.changed {
            out.push(Output::Event(Event::Changed { channel: name.clone() }));
        }
        if let (Some(reason), Some(channel)) = (own_end, self.channels.get_mut(name)) {
            channel.own_entry_ended(&reason, name, moment, out);
        }
    }

    fn request_missed_list(&mut self, name: &ChannelName, out: &mut Vec<Output>) {
        let message = self.channels.get_mut(name).and_then(|one| one.request_missed_list(name));
        out.extend(message.map(Output::Send));
    }

    fn revoked(&mut self, name: &ChannelName, moment: Moment, out: &mut Vec<Output>) {
        self.apply(name, moment, out, |channel| {
            channel.denied();
            channel.roster.lose()
        });
    }

    fn refreshed(&mut self, revoked: &[ChannelName], moment: Moment, out: &mut Vec<Output>) {
        for name in revoked {
            self.revoked(name, moment, out);
        }
        // What the old token was refused, the new one may be granted.
        for (name, channel) in &mut self.channels {
            if channel.is_kept_out() && !revoked.contains(name) {
                channel.request(name, out);
            }
        }
    }

    fn refused(&mut self, failure: Failure, moment: Moment, out: &mut Vec<Output>) {
        let channel = failure.channel.as_ref().and_then(|name| self.channels.get_mut(name));
        if let Some(channel) = channel {
            if channel.is_kicked() && *failure.code == *ErrorCode::ChannelAccessDenied.as_str() {
                // The application was told of the loss itself.
                return channel.retry_kicked(moment);
            }
            match failure.retry_after {
                Some(retry_after) if *failure.code == *ErrorCode::Kicked.as_str() => {
                    channel.removed(retry_after, moment);
                }
                _ => channel.refused(&failure.code, moment),
            }
        }
        out.push(Output::Event(Event::Refused(failure)));
    }
}

/// Why the entry of this connection has ended, where it has.
fn end_of(own: &Arc<str>, outcome: &Outcome) -> Option<Box<str>> {
    outcome.events.iter().find_map(|event| match event {
        RosterEvent::Leave { connection_id, reason, .. } if connection_id == own => {
            Some(reason.clone())
        }
        _ => None,
    })
}
