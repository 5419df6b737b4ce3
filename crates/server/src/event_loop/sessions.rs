//! Sessions on sockets: what a session is told, and carrying out what it wants done.

use std::cmp::Reverse;
use std::time::Duration;

use herenow_core::{
    Command, Effect, Input, Owner, Put, Question, Ruling, SCAN_EVERY, SessionEffect, Ticket,
    Verdict,
};
use herenow_wire::encode::{self, Reply};
use herenow_wire::frame::{self, Reader};
use herenow_wire::{ChannelName, CloseCode, Ref};

use super::connection::{LINGER, Phase, Sent};
use super::mail::Mail;
use super::replies::{Place, Replies};
use super::{EventLoop, Shards};
use crate::access::{Access, Asked, Asker, ChannelSettings};

/// Every entry of this process has one owner.
pub(super) const OWNER: Owner = Owner(0);

/// What reviews may cost in one turn, in sessions and questions: after a reload the rules are asked
/// for everything that was granted, and requests must not wait behind all of it.
const REVIEWS_PER_TURN: usize = 256;

impl EventLoop {
    /// Tells a session something and carries out what follows from it.
    pub(super) fn tell_session(&mut self, slot: u32, input: Input) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.session.handle(input, &self.limits, self.now, &mut self.effects);
        self.carry_out(slot);
        self.settle();
        self.note_deadline(slot);
    }

    pub(super) fn session_timeout(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.session.handle_timeout(&self.limits, self.now, &mut self.effects);
        self.carry_out(slot);
        self.settle();
        self.note_deadline(slot);
    }

    /// A shard's answer, here or from afar. The connection may be gone and its slot another's.
    pub(super) fn answer(&mut self, ticket: Ticket, channel: ChannelName, verdict: Verdict) {
        if let Some(connection) = self.connections.get_mut(ticket.slot)
            && ticket.is_from(&connection.session)
        {
            let input = Input::Answer { channel, reference: ticket.reference, verdict };
            connection.session.handle(input, &self.limits, self.now, &mut self.effects);
            self.carry_out(ticket.slot);
        }
    }

    /// Carries out what this loop's shards want done.
    pub(super) fn settle(&mut self) {
        self.recover_lost();
        while !self.shard_effects.is_empty() {
            let mut batch = std::mem::take(&mut self.shard_effects);
            for effect in batch.drain(..) {
                match effect {
                    Effect::Dirty { channel, flushed_at } => {
                        let due = self.pace.due(flushed_at, self.now);
                        self.shards.plan(channel, due);
                    }
                    Effect::Ripe { channel, flushed_at } => {
                        let due = self.pace.due_ripe(flushed_at, self.now);
                        self.shards.plan(channel, due);
                    }
                    Effect::Answer { ticket, channel, verdict } if ticket.peer == self.me => {
                        self.answer(ticket, channel, verdict);
                    }
                    Effect::Answer { ticket, channel, verdict } => {
                        let to = usize::from(ticket.peer.0);
                        self.outgoing[to].push(Mail::Answer { ticket, channel, verdict });
                    }
                    Effect::Resync { channel, .. } => {
                        // Sockets that only named the channel as their default are told as well,
                        // so every loop looks.
                        for (index, batch) in self.outgoing.iter_mut().enumerate() {
                            if index != usize::from(self.me.0) {
                                batch.push(Mail::Resync(channel.clone()));
                            }
                        }
                        self.tell_resync(&channel);
                    }
                    Effect::Hibernated { channel, peers } => {
                        for peer in peers {
                            if peer == self.me {
                                self.forget_states(&channel);
                            } else {
                                let batch = &mut self.outgoing[usize::from(peer.0)];
                                batch.push(Mail::Hibernated(channel.clone()));
                            }
                        }
                    }
                }
            }
            if self.shard_effects.is_empty() {
                self.shard_effects = batch;
                return;
            }
        }
    }

    /// Carries out what the session in `slot` wants done.
    pub(super) fn carry_out(&mut self, slot: u32) {
        while !self.effects.is_empty() {
            let mut batch = std::mem::take(&mut self.effects);
            for effect in batch.drain(..) {
                self.perform(slot, effect);
            }
            if self.effects.is_empty() {
                self.effects = batch;
                return;
            }
        }
    }

    fn perform(&mut self, slot: u32, effect: SessionEffect) {
        match effect {
            SessionEffect::Reply(mut reply, reference) => {
                if let Reply::AuthSuccess { resume, .. } = &mut reply {
                    let session = self.connections.get(slot).map(|c| &c.session);
                    *resume = session.and_then(|session| self.resume_token(session));
                }
                self.reply(slot, &reply, reference.as_ref());
            }
            SessionEffect::Verify { token, resume } => self.verify(slot, token, resume),
            SessionEffect::Authorize(question) => self.authorize(slot, question),
            SessionEffect::Listen { channel } => self.listen(slot, channel),
            SessionEffect::AskAgain { channel } => self.ask_again(slot, channel),
            SessionEffect::Unlisten { channel } => self.unlisten(slot, channel),
            SessionEffect::Put { channel, state, user, reference } => {
                let Some(connection) = self.connections.get(slot) else { return };
                let generation = connection.session.generation();
                let connection = connection.session.connection();
                let put = Put { connection, owner: OWNER, user, state };
                let ticket = Ticket { peer: self.me, slot, connection, generation, reference };
                let ChannelSettings { max_members, presence_ttl_ms, .. } =
                    self.access.settings_for(&channel);
                self.settings.rehearsals.rehearse_loop(&channel);
                self.watch_lease(slot, Duration::from_millis(presence_ttl_ms));
                self.command(Command::Put { channel, put, max_members, ticket });
            }
            SessionEffect::Remove { channel, reason } => {
                let Some(connection) = self.connections.get(slot) else { return };
                let connection = connection.session.connection();
                self.command(Command::Remove { channel, connection, owner: OWNER, reason });
            }
            SessionEffect::Detach { channel } => {
                let Some(connection) = self.connections.get(slot) else { return };
                let connection = connection.session.connection();
                self.command(Command::Detach { channel, connection, owner: OWNER });
            }
            SessionEffect::Settled => {
                if let Some(connection) = self.connections.get_mut(slot) {
                    connection.newcomer = None;
                }
            }
            SessionEffect::TakeOver { claim, user } => self.take_over(slot, claim, user),
            SessionEffect::Detached => self.keep_detached(slot),
            SessionEffect::ReviewLater => self.reviews.add_later(slot),
            SessionEffect::Close { code } => self.close(slot, code, ""),
        }
    }

    pub(super) fn reply(&mut self, slot: u32, reply: &Reply, reference: Option<&Ref>) {
        if let Reply::Error { code, .. } = reply {
            self.metrics.count_error(*code);
        }
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.is_open()
        {
            let buffer = self.replies.to(slot, &mut connection.reply);
            let start = buffer.len();
            encode::reply(buffer, reply, reference);
            if answers_nothing_in_particular(reply, reference) {
                Replies::drop_repeated(buffer, start, |new| connection.queue_ends_with(new));
            }
        }
    }

    /// Has a request of the session in `slot` decided.
    fn authorize(&mut self, slot: u32, question: Question) {
        let Some(connection) = self.connections.get(slot) else { return };
        let session = &connection.session;
        let asker = Asker::new(self.me, slot, session);
        self.review_cost += 1;
        if let Asked::Now(ruling) = self.access.ask(&question, session, asker) {
            self.decide(slot, question.channel, ruling);
        }
    }

    /// A decision that came later. The connection may be gone and its slot another's, or one that
    /// has taken its place.
    pub(super) fn decided(&mut self, asker: Asker, channel: ChannelName, ruling: Ruling) {
        let slot = asker.slot;
        let holder = self.connections.get(slot);
        if holder.is_some_and(|c| Asker::new(self.me, slot, &c.session) == asker) {
            self.decide(slot, channel, ruling);
            self.carry_out(slot);
            self.settle();
            self.note_deadline(slot);
        }
    }

    fn decide(&mut self, slot: u32, channel: ChannelName, ruling: Ruling) {
        let channel = self.audience.canonical(channel);
        if let Some(connection) = self.connections.get_mut(slot) {
            let input = Input::Decision { channel, ruling };
            connection.session.handle(input, &self.limits, self.now, &mut self.effects);
        }
    }

    /// New rules hold from here on, and whatever the old ones granted is asked again, bit by bit.
    pub(super) fn reload(&mut self, access: Access) {
        self.access = access;
        for slot in self.connections.slots() {
            self.reviews.add(slot);
        }
    }

    /// Whether a review is due and the rules can be asked.
    pub(super) fn can_review(&self) -> bool {
        !self.reviews.is_empty() && self.access.takes_reviews(self.me)
    }

    /// Reviews some of the sessions that are to be reviewed.
    pub(super) fn review_some(&mut self) {
        self.review_cost = 0;
        while self.review_cost < REVIEWS_PER_TURN && self.can_review() {
            let Some(slot) = self.reviews.take() else { return };
            self.review_cost += 1;
            self.watch_leases_anew(slot);
            self.tell_session(slot, Input::Review);
        }
    }

    /// To the channel's shard, here or on another loop.
    pub(super) fn command(&mut self, command: Command) {
        let home = Shards::home(command.channel(), self.mailboxes.len() as u16);
        if home == self.me.0 {
            self.shards.handle(command, self.now, &mut self.shard_effects);
        } else {
            self.outgoing[usize::from(home)].push(Mail::Command(command));
        }
    }

    /// Closes a connection whose session has ended, after what it was last told.
    pub(super) fn close(&mut self, slot: u32, code: CloseCode, reason: &str) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.is_open() {
            return;
        }
        connection.phase = Phase::Closing;
        connection.newcomer = None;
        connection.reader = Reader::default();
        connection.drop_flushes();
        frame::write_close(self.replies.to(slot, &mut connection.reply), code, reason);
        self.leases.set_deadline(slot, self.now + LINGER);
    }

    pub(super) fn ping(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.is_open()
        {
            frame::write_ping(self.replies.to(slot, &mut connection.reply));
        }
    }

    pub(super) fn lease_ended(&mut self, slot: u32) {
        let is_open = self.connections.get(slot).is_some_and(|c| c.is_open());
        if is_open {
            self.tell_session(slot, Input::LeaseEnded);
        } else {
            self.mark_dead(slot);
        }
    }

    /// A deadline of the session, or the end of a closed socket's time to linger.
    pub(super) fn deadline_came(&mut self, slot: u32) {
        match self.connections.get(slot).map(|connection| connection.phase) {
            Some(Phase::Open) => self.session_timeout(slot),
            Some(Phase::Closing) => self.mark_dead(slot),
            Some(Phase::Dead) | None => {}
        }
    }

    /// A far deadline costs nothing; a near one is met to the millisecond.
    pub(super) fn note_deadline(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.is_open() {
            return;
        }
        let deadline = connection.session.poll_timeout(&self.limits);
        if deadline > self.now + SCAN_EVERY {
            self.leases.set_deadline(slot, deadline);
        } else if !connection.is_soon {
            connection.is_soon = true;
            self.soon.push(Reverse((deadline, slot)));
        }
    }

    /// Decodes a message and tells the session.
    pub(super) fn text(&mut self, slot: u32, text: &str) {
        let Some(connection) = self.connections.get(slot) else { return };
        let mut decoded = std::mem::take(&mut self.scratch.decoded);
        herenow_wire::decode(text, connection.default_channel(), &mut decoded);
        for message in decoded.drain(..) {
            self.tell_session(slot, message.map_or_else(Input::Refused, Input::Message));
        }
        self.scratch.decoded = decoded;
    }

    /// Everybody is to come back, but not all at once.
    pub(super) fn close_all_for_restart(&mut self, connections: usize) {
        let window_ms = (1000 + connections as u64 / 4).min(30_000);
        for slot in self.connections.slots() {
            // Multiplying by a large odd number spreads neighbouring slots over the window.
            let place = slot.wrapping_mul(self.mailboxes.len() as u32) + u32::from(self.me.0);
            let spread = u64::from(place.wrapping_mul(2_654_435_769));
            let retry_after_ms = (spread * window_ms) >> 32;
            let reason = format!("{{\"retryAfterMs\":{retry_after_ms}}}");
            self.close(slot, CloseCode::Restart, &reason);
        }
    }

    /// Sends the replies that no flush has taken along.
    pub(super) fn send_replies(&mut self) {
        let slots = self.replies.take_slots();
        let max_outbox_bytes = self.settings.outbox_bytes;
        for slot in &slots {
            let Some(connection) = self.connections.get_mut(*slot) else { continue };
            let bytes = self.replies.of(connection.reply);
            if !bytes.is_empty() {
                self.metrics.writes.add(1);
                self.metrics.bytes_out.add(bytes.len());
                match connection.send_replies(bytes, max_outbox_bytes) {
                    Sent::Fine => {}
                    Sent::Dropped(channels) => self.scratch.dropped.push((*slot, channels)),
                    Sent::Broken => self.broken.push(*slot),
                }
            }
            connection.reply = Place::NONE;
            if connection.phase == Phase::Closing && !connection.has_outbox() {
                // All is said: the peer reads the close frame, then the end.
                let _ = connection.stream.shutdown(std::net::Shutdown::Write);
            }
        }
        self.replies.end_turn(slots);
        self.lag_dropped();
    }
}

/// A refusal that names neither a request nor a channel: one that directly follows its twin tells
/// the client nothing new.
fn answers_nothing_in_particular(reply: &Reply, reference: Option<&Ref>) -> bool {
    reference.is_none() && matches!(reply, Reply::Error { channel: None, .. })
}
