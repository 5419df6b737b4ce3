//! Sessions on sockets: what a session is told, and carrying out what it wants done.

use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Asker, Command, Context, Effect, Input, Owner, Policy, Put, Question, Ruling, SessionEffect,
};
use herenow_wire::encode::{self, Reply};
use herenow_wire::frame::{self, Reader};
use herenow_wire::{ChannelName, CloseCode, Ref};

use crate::api::{Asked, Checked, Io, Purpose};
use crate::connection::{Phase, Sent};
use crate::history::{RuleOutcome, SocketEnd};
use crate::mail::Mail;
use crate::replies::{BufferIndex, Replies};
use crate::work::Work;

/// Every member of this process has one owner.
pub(crate) const OWNER: Owner = Owner(0);

/// No slot: nothing reaches a session through it.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// What reviews may cost in one turn, in sessions and questions: after a reload the rules are asked
/// for everything that was granted, and requests must not wait behind all of it.
const REVIEWS_PER_TURN: usize = 256;

impl<I: Io> Work<'_, I> {
    /// Tells a session something and carries out what follows from it.
    pub(crate) fn dispatch(&mut self, slot: u32, input: Input) {
        if self.hub.connections.get(slot).is_some() {
            self.handle_input(slot, input);
            self.apply_session_effects(slot);
            self.apply_shard_effects();
            self.note_deadline(slot);
        }
    }

    /// Every input of a session with a socket goes this way. What follows from it waits for
    /// [`Work::apply_session_effects`].
    pub(crate) fn handle_input(&mut self, slot: u32, input: Input) {
        self.note_input(slot, &input);
        let hub = &mut *self.hub;
        if let Some(connection) = hub.connections.get_mut(slot) {
            let (limits, policy) = (&hub.config.limits, &hub.policy);
            let context = Context { now: self.now, limits, policy };
            connection.session.handle(input, &context, &mut hub.effects);
        }
    }

    /// A shard's answer, here or from afar. The connection may be gone and its slot another's.
    pub(crate) fn answer(&mut self, asker: Asker, answer: Input) {
        if self.is_current(asker) {
            self.handle_input(asker.slot, answer);
            self.apply_session_effects(asker.slot);
        }
    }

    /// Carries out what this loop's shards want done.
    pub(crate) fn apply_shard_effects(&mut self) {
        self.recover_lost();
        while !self.hub.shard_effects.is_empty() {
            let mut batch = std::mem::take(&mut self.hub.shard_effects);
            for effect in batch.drain(..) {
                match effect {
                    Effect::Dirty { channel, flushed_at } => {
                        let due = self.hub.pace.due(flushed_at, self.now);
                        self.hub.shards.plan(channel, due, self.now);
                    }
                    Effect::FlushNow { channel, flushed_at } => {
                        let due = self.hub.pace.due_early(flushed_at, self.now);
                        self.hub.shards.plan(channel, due, self.now);
                    }
                    Effect::Answer { asker, reference, channel, result }
                        if asker.peer == self.hub.config.me =>
                    {
                        self.answer(asker, Input::Answer { channel, reference, result });
                    }
                    Effect::Answer { asker, reference, channel, result } => {
                        let mail = Mail::Answer { asker, reference, channel, result };
                        self.hub.outgoing.push(asker.peer, mail);
                    }
                    Effect::Resync { channel, .. } => {
                        self.hub.counters.resyncs.rebuilt += 1;
                        // Sockets that only named the channel as their default are told as well,
                        // so every loop looks.
                        let me = self.hub.config.me;
                        let mail = || Mail::Resync(channel.clone());
                        self.hub.outgoing.push_to_others(me, mail);
                        self.send_resync(&channel);
                    }
                    Effect::Hibernated { channel, peers } => {
                        let all = self.hub.counts.with_counting(&channel, peers);
                        for peer in all.into_iter().filter(|peer| peer.is_loop()) {
                            if peer == self.hub.config.me {
                                self.forget_states(&channel);
                            } else {
                                self.hub.outgoing.push(peer, Mail::Hibernated(channel.clone()));
                            }
                        }
                    }
                }
            }
            if self.hub.shard_effects.is_empty() {
                self.hub.shard_effects = batch;
                return;
            }
        }
    }

    /// Carries out what the session in `slot` wants done.
    pub(crate) fn apply_session_effects(&mut self, slot: u32) {
        while !self.hub.effects.is_empty() {
            let Some(connection) = self.hub.connections.get(slot) else {
                return self.hub.effects.clear();
            };
            let asker = Asker::new(self.hub.config.me, slot, &connection.session);
            let mut batch = std::mem::take(&mut self.hub.effects);
            self.note_effects(&batch);
            for effect in batch.drain(..) {
                self.perform(asker, effect);
            }
            if self.hub.effects.is_empty() {
                self.hub.effects = batch;
                return;
            }
        }
    }

    /// Carries out one thing that a session wants done, with a socket or without one.
    pub(crate) fn perform(&mut self, asker: Asker, effect: SessionEffect) {
        let Asker { slot, connection, generation, .. } = asker;
        match effect {
            SessionEffect::Reply(mut reply, reference) => {
                if let Reply::AuthSuccess { resume, .. } = &mut reply {
                    *resume = self.resume_token(slot);
                }
                self.reply(slot, &reply, reference.as_ref());
            }
            SessionEffect::Verify { token, resume } => {
                self.verify(asker, &token, resume.as_deref());
            }
            SessionEffect::Authorize(question) => self.authorize(asker, question),
            SessionEffect::Listen { channel } => self.listen(slot, channel),
            SessionEffect::Count { channel } => self.count(slot, channel),
            SessionEffect::RequestSnapshot { channel } => self.request_again(slot, channel),
            SessionEffect::Unlisten { channel } => self.unlisten(slot, channel),
            SessionEffect::Put { channel, state, expire, user, reference, settings } => {
                let put = Put { connection, owner: OWNER, generation, user, state };
                self.watch_lease(slot, settings.presence_ttl());
                let max_members = settings.max_members;
                self.command(Command::Put { channel, put, expire, max_members, asker, reference });
            }
            SessionEffect::Remove { channel, reason } => {
                self.note_leave(asker, &channel, reason);
                let owner = OWNER;
                let remove = Command::Remove { channel, connection, owner, generation, reason };
                self.command(remove);
            }
            SessionEffect::Admitted => {
                self.io.admitted(slot);
            }
            SessionEffect::Detach { channel } => {
                let owner = OWNER;
                self.command(Command::Detach { channel, connection, owner, generation });
            }
            SessionEffect::Detached => self.keep_detached(slot),
            SessionEffect::TakeOver { claim, user } => self.claimed(asker, claim, user),
            SessionEffect::HandedOver { to, session } => {
                self.apply_shard_effects();
                self.note_end(slot, SocketEnd::TakenOver);
                self.close(slot, CloseCode::GoingAway, "resumed on another connection");
                self.hand_over(to, session);
            }
            SessionEffect::ReviewLater => self.hub.reviews.add_later(slot),
            SessionEffect::Close { code } => self.close(slot, code, ""),
        }
    }

    pub(crate) fn reply(&mut self, slot: u32, reply: &Reply, reference: Option<&Ref>) {
        if let Reply::Error { code, .. } = reply {
            self.hub.count_error(*code);
        }
        self.note_reply(slot, reply);
        if let Some(connection) = self.hub.connections.get_mut(slot)
            && connection.is_open()
        {
            let buffer = self.hub.replies.to(slot, &mut connection.reply);
            let start = buffer.len();
            encode::reply(buffer, reply, reference);
            if is_unspecific_error(reply, reference) {
                Replies::drop_repeated(buffer, start, |new| connection.queue_ends_with(new));
            }
        }
    }

    /// Has a request of the session in `slot` decided.
    fn authorize(&mut self, asker: Asker, question: Question) {
        let Some(connection) = self.hub.connections.get(asker.slot) else { return };
        let session = &connection.session;
        if session.has_ended() {
            // Its token expired in the moment in which the rate let the request through.
            return;
        }
        let purpose = match session.is_reviewed() {
            true => Purpose::Review,
            false => Purpose::Request,
        };
        self.hub.review_cost += 1;
        let asked = self.io.ask((asker, purpose), &question, session.auth());
        if let Asked::Now(ruling) = asked {
            self.decide(asker.slot, question.channel, (ruling, None));
        }
    }

    /// A decision that came later. The connection may be gone and its slot another's, or one that
    /// has taken its place.
    pub(crate) fn handle_ruling(
        &mut self,
        asker: Asker,
        channel: ChannelName,
        said: (Ruling, Option<RuleOutcome>),
    ) {
        if self.is_current(asker) {
            self.decide(asker.slot, channel, said);
            self.apply_session_effects(asker.slot);
            self.apply_shard_effects();
            self.note_deadline(asker.slot);
        }
    }

    fn decide(
        &mut self,
        slot: u32,
        channel: ChannelName,
        (ruling, rule): (Ruling, Option<RuleOutcome>),
    ) {
        let channel = self.hub.audience.canonical(channel);
        self.note_ruling(&channel, rule);
        self.handle_input(slot, Input::Decision { channel: channel.clone(), ruling });
        self.settle_taken_over(slot, &channel);
    }

    /// New rules hold from here on, and whatever the old ones granted is asked again, bit by bit.
    pub(crate) fn reload(&mut self, policy: Arc<Policy>) {
        self.hub.shards.set_policy(&policy);
        let before = self.hub.policy.replace(policy);
        self.follow_others(&before);
        for slot in self.hub.connections.slots() {
            self.hub.reviews.add(slot);
        }
    }

    /// Reviews some of the sessions that are to be reviewed, as far as the rules can be asked.
    pub(crate) fn run_reviews(&mut self) {
        self.hub.review_cost = 0;
        while self.hub.review_cost < REVIEWS_PER_TURN
            && !self.hub.reviews.is_empty()
            && self.io.takes_reviews()
        {
            let Some(slot) = self.hub.reviews.take() else { return };
            self.hub.review_cost += 1;
            self.reset_leases(slot);
            self.dispatch(slot, Input::Review);
        }
    }

    /// To the channel's shard, here or on another loop.
    pub(crate) fn command(&mut self, command: Command) {
        let home = self.hub.shards.home(command.channel().shard());
        if home == self.hub.config.me {
            self.handle_command(command);
        } else {
            self.hub.outgoing.push(home, Mail::Command(command));
        }
    }

    /// A command to a shard that is here.
    pub(crate) fn handle_command(&mut self, mut command: Command) {
        self.note_command(&command);
        self.note_expiring(&mut command);
        self.hub.shards.handle(command, self.now, &mut self.hub.shard_effects);
    }

    /// Closes a connection whose session has ended, after what it was last told.
    pub(crate) fn close(&mut self, slot: u32, code: CloseCode, reason: &str) {
        let connection = self.hub.connections.get(slot);
        if !connection.is_some_and(|connection| connection.is_open()) {
            return;
        }
        self.note_end(slot, SocketEnd::ServerClosed(code.number()));
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        connection.phase = Phase::Closing;
        connection.reader = Reader::default();
        connection.drop_flushes();
        frame::write_close(self.hub.replies.to(slot, &mut connection.reply), code, reason);
        self.io.admitted(slot);
        self.linger(slot);
    }

    pub(crate) fn ping(&mut self, slot: u32) {
        if let Some(connection) = self.hub.connections.get_mut(slot)
            && connection.is_open()
        {
            frame::write_ping(self.hub.replies.to(slot, &mut connection.reply));
        }
    }

    /// Decodes a message and tells the session.
    pub(crate) fn text(&mut self, slot: u32, text: &str) {
        let Some(connection) = self.hub.connections.get(slot) else { return };
        let mut decoded = std::mem::take(&mut self.hub.scratch.decoded);
        herenow_wire::decode(text, connection.default_channel(), &mut decoded);
        for message in decoded.drain(..) {
            self.dispatch(slot, message.map_or_else(Input::Refused, Input::Message));
        }
        self.hub.scratch.decoded = decoded;
    }

    /// Has a token verified.
    fn verify(&mut self, asker: Asker, token: &str, resume: Option<&str>) {
        if let Asked::Now(checked) = self.io.verify(asker, token, resume) {
            let verification = self.take_checked(asker.slot, checked);
            self.handle_input(asker.slot, Input::Verified(verification));
        }
    }

    /// What came of a token, later. The connection may be gone and its slot another's, or one that
    /// has taken its place.
    pub(crate) fn verified(&mut self, asker: Asker, checked: Checked) {
        if self.is_current(asker) {
            let verification = self.take_checked(asker.slot, checked);
            self.dispatch(asker.slot, Input::Verified(verification));
        }
    }

    fn is_current(&self, asker: Asker) -> bool {
        let holder = self.hub.connections.get(asker.slot);
        holder.is_some_and(|c| asker.is(&c.session))
    }

    /// The hub is to end: everybody is closed, and it waits for them to go.
    pub(crate) fn begin_shutdown(&mut self, within: Duration, return_within: Duration) {
        if self.hub.shutdown_deadline.is_some() {
            // It is about to end, and no new connection is let in.
            return;
        }
        self.hub.shutdown_deadline = Some(self.now + within);
        self.close_all_for_restart(return_within);
    }

    /// Everybody is to come back, but not all at once.
    pub(crate) fn close_all_for_restart(&mut self, return_within: Duration) {
        for slot in self.hub.connections.slots() {
            self.close_for_restart(slot, return_within);
        }
    }

    /// The client in `slot` is to come back, at a moment of its own within this time.
    pub(crate) fn close_for_restart(&mut self, slot: u32, return_within: Duration) {
        // Its bound is far below 2^32, so the product below fits.
        let window_ms = return_within.as_millis() as u64;
        // Multiplying by a large odd number spreads neighbouring slots over the window.
        let config = &self.hub.config;
        let place = slot.wrapping_mul(u32::from(config.hubs)) + u32::from(config.me.0);
        let spread = u64::from(place.wrapping_mul(2_654_435_769));
        let retry_after_ms = (spread * window_ms) >> 32;
        let reason = format!("{{\"retryAfterMs\":{retry_after_ms}}}");
        self.close(slot, CloseCode::Restart, &reason);
    }

    /// Sends the replies that no flush has taken along.
    pub(crate) fn send_replies(&mut self) {
        let slots = self.hub.replies.take_slots();
        let send_queue_bytes = self.hub.config.send_queue_bytes;
        for slot in &slots {
            let Some(connection) = self.hub.connections.get_mut(*slot) else { continue };
            let bytes = self.hub.replies.of(connection.reply);
            if !bytes.is_empty() {
                self.hub.counters.writes += 1;
                self.hub.counters.bytes_out += bytes.len();
                match connection.send_replies(*slot, (bytes, send_queue_bytes), self.io) {
                    Sent::Ok => {}
                    Sent::Dropped(channels) => self.hub.scratch.dropped.push((*slot, channels)),
                    Sent::Broken => self.hub.broken.push(*slot),
                }
            }
            connection.reply = BufferIndex::NONE;
            if connection.has_send_queue() {
                continue;
            }
            if connection.phase == Phase::Closing {
                // All is said: the peer reads the close frame, then the end.
                self.io.shutdown_write(*slot);
            }
            self.resume_reading(*slot);
        }
        self.hub.replies.end_turn(slots);
        self.lag_dropped();
    }
}

/// A refusal that names neither a request nor a channel: one that directly follows its twin tells
/// the client nothing new.
fn is_unspecific_error(reply: &Reply, reference: Option<&Ref>) -> bool {
    reference.is_none() && matches!(reply, Reply::Error { channel: None, .. })
}
