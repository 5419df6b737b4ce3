//! Sessions on simulated sockets: what a session is told, and carrying out what it wants done.

use std::cmp::Reverse;
use std::time::Duration;

use herenow_core::{
    Command, Effect, Input, Owner, Put, Question, Ruling, SCAN_EVERY, Session, SessionEffect,
    Ticket, Verdict,
};
use herenow_wire::encode::{self, Reply};
use herenow_wire::{ChannelName, CloseCode, ConnectionId, LeaveReason, frame};

use super::event_loop::{Asker, Decided, Loop, Mail, Phase};
use crate::network::micros;
use crate::stage::{Bug, Stage, Weather};

/// Every entry of a process has one owner.
pub(super) const OWNER: Owner = Owner(0);
/// How long a closed socket may linger.
const LINGER: Duration = Duration::from_secs(2);

impl Loop {
    /// Tells a session something and carries out what follows from it.
    pub(super) fn tell_session(&mut self, slot: u32, input: Input, stage: &mut Stage) {
        self.with_session(slot, stage, |session, stage, effects| {
            session.handle(input, &stage.plan.limits, stage.now, effects);
        });
    }

    pub(super) fn session_timeout(&mut self, slot: u32, stage: &mut Stage) {
        self.with_session(slot, stage, |session, stage, effects| {
            session.handle_timeout(&stage.plan.limits, stage.now, effects);
        });
    }

    pub(super) fn with_session(
        &mut self,
        slot: u32,
        stage: &mut Stage,
        call: impl FnOnce(&mut Session, &mut Stage, &mut Vec<SessionEffect>),
    ) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let Some(connection) = connection else { return };
        call(&mut connection.session, stage, &mut self.effects);
        self.carry_out(slot, stage);
        self.settle(stage);
        self.note_deadline(slot, stage);
    }

    /// A shard's answer. The connection may be gone and its slot another's.
    pub(super) fn answer(
        &mut self,
        ticket: Ticket,
        channel: ChannelName,
        verdict: Verdict,
        stage: &mut Stage,
    ) {
        if let Some(connection) = self.connection(ticket.slot)
            && ticket.is_from(&connection.session)
        {
            let input = Input::Answer { channel, reference: ticket.reference, verdict };
            self.tell_session(ticket.slot, input, stage);
        }
    }

    /// Carries out what this loop's shards want done.
    pub(super) fn settle(&mut self, stage: &mut Stage) {
        self.recover_lost(stage);
        while !self.shard_effects.is_empty() {
            for effect in std::mem::take(&mut self.shard_effects) {
                match effect {
                    Effect::Dirty { channel, flushed_at } => {
                        let due = self.pace.due(flushed_at, stage.now);
                        self.shards.plan(channel, due);
                    }
                    Effect::Ripe { channel, flushed_at } => {
                        let due = self.pace.due_ripe(flushed_at, stage.now);
                        self.shards.plan(channel, due);
                    }
                    Effect::Answer { ticket, channel, verdict } if ticket.peer == self.me => {
                        self.answer(ticket, channel, verdict, stage);
                    }
                    Effect::Answer { ticket, channel, verdict } => {
                        let to = usize::from(ticket.peer.0);
                        self.outgoing[to].push(Mail::Answer { ticket, channel, verdict });
                    }
                    Effect::Resync { channel, .. } => {
                        for (index, batch) in self.outgoing.iter_mut().enumerate() {
                            if index != usize::from(self.me.0) {
                                batch.push(Mail::Resync(channel.clone()));
                            }
                        }
                        self.tell_resync(&channel, stage);
                    }
                    Effect::Hibernated { channel, peers } => {
                        for peer in peers {
                            if peer == self.me {
                                self.forget_states(&channel, stage);
                            } else {
                                let batch = &mut self.outgoing[usize::from(peer.0)];
                                batch.push(Mail::Hibernated(channel.clone()));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Carries out what the session in `slot` wants done.
    pub(super) fn carry_out(&mut self, slot: u32, stage: &mut Stage) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                self.perform(slot, effect, stage);
            }
        }
    }

    fn perform(&mut self, slot: u32, effect: SessionEffect, stage: &mut Stage) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let Some(connection) = connection else { return };
        let (id, peer) = (connection.session.connection(), self.me);
        match effect {
            SessionEffect::Reply(mut reply, reference) => {
                if let Reply::AuthSuccess { resume, .. } = &mut reply {
                    *resume = Self::resume_token(&connection.session, &stage.plan);
                }
                if connection.is_open() {
                    encode::reply(&mut connection.replies, &reply, reference.as_ref());
                }
            }
            SessionEffect::Verify { token, resume } => {
                self.verify(slot, &token, resume.as_deref(), stage);
            }
            SessionEffect::Authorize(question) => self.authorize(slot, question, stage),
            SessionEffect::Listen { channel } => {
                let ask = self.audience.listen(&channel, slot);
                self.command(Command::Subscribe { channel, peer, ask }, stage);
            }
            SessionEffect::AskAgain { channel } => {
                if let Some(ask) = self.audience.ask_again(&channel, slot) {
                    self.command(Command::Subscribe { channel, peer, ask }, stage);
                }
            }
            SessionEffect::Unlisten { channel } => {
                if self.audience.unlisten(&channel, slot) {
                    self.command(Command::Unsubscribe { channel, peer }, stage);
                }
            }
            SessionEffect::Put { channel, state, user, reference } => {
                let put = Put { connection: id, owner: OWNER, user, state };
                let generation = connection.session.generation();
                let ticket = Ticket { peer, slot, connection: id, generation, reference };
                let max_members = stage.plan.max_members;
                self.command(Command::Put { channel, put, max_members, ticket }, stage);
            }
            SessionEffect::Remove { channel, reason } => {
                match reason {
                    LeaveReason::Timeout => stage.tally.timeouts += 1,
                    LeaveReason::Kicked => stage.tally.revocations += 1,
                    LeaveReason::Disconnect | LeaveReason::Leave => {}
                }
                self.remove(channel, id, reason, stage);
            }
            SessionEffect::Detach { channel } => {
                self.command(Command::Detach { channel, connection: id, owner: OWNER }, stage);
            }
            SessionEffect::TakeOver { claim, user } => self.take_over(slot, claim, user, stage),
            SessionEffect::Detached => self.keep_detached(slot, stage),
            SessionEffect::ReviewLater => self.reviews.push_back(slot),
            SessionEffect::Settled => {}
            SessionEffect::Close { code } => self.close(slot, code, stage),
        }
    }

    pub(super) fn remove(
        &mut self,
        channel: ChannelName,
        connection: ConnectionId,
        reason: LeaveReason,
        stage: &mut Stage,
    ) {
        if stage.bug == Some(Bug::LeaveSkipped) && stage.chance.one_in(8) {
            return;
        }
        self.command(Command::Remove { channel, connection, owner: OWNER, reason }, stage);
    }

    /// A channel that is freed has told everybody who was left to be told.
    pub(super) fn tell_shard(&mut self, command: Command, stage: &mut Stage) {
        let freed = self.shards.handle(command, stage.now, &mut self.shard_effects);
        if let Some(freed) = freed {
            stage.history.forget(|channel| *channel == freed);
        }
    }

    /// To the channel's shard, here or on another loop.
    pub(super) fn command(&mut self, command: Command, stage: &mut Stage) {
        let home = command.channel().shard() % self.loops;
        if home == self.me.0 {
            self.tell_shard(command, stage);
        } else {
            self.outgoing[usize::from(home)].push(Mail::Command(command));
        }
    }

    fn authorize(&mut self, slot: u32, question: Question, stage: &mut Stage) {
        let peer = self.me;
        let Some(connection) = self.connection(slot) else { return };
        let asker = Asker::new(peer, slot, &connection.session);
        let is_unavailable = stage.weather == Weather::Rough && stage.chance.one_in(40);
        let ruling = match stage.plan.grants(&question) {
            _ if is_unavailable => Ruling::Unavailable,
            true => Ruling::Granted,
            false => Ruling::Denied,
        };
        let channel = question.channel;
        let delay_us = stage.chance.between(0, stage.plan.longest_decision_us);
        let at = stage.now + micros(delay_us);
        if delay_us == 0 {
            self.decide(Decided { at, asker, channel, ruling }, stage);
        } else {
            stage.tally.late_decisions += 1;
            self.decisions.push(Decided { at, asker, channel, ruling });
        }
    }

    pub(super) fn take_decisions(&mut self, stage: &mut Stage) {
        let mut come: Vec<Decided> =
            self.decisions.extract_if(.., |decided| decided.at <= stage.now).collect();
        come.sort_by_key(|decided| decided.at);
        for decided in come {
            let slot = decided.asker.slot;
            self.decide(decided, stage);
            self.carry_out(slot, stage);
            self.settle(stage);
            self.note_deadline(slot, stage);
        }
    }

    fn decide(&mut self, decided: Decided, stage: &mut Stage) {
        let Decided { asker, channel, ruling, .. } = decided;
        let channel = self.audience.canonical(channel);
        let Some(connection) = self.connections.get_mut(asker.slot as usize) else { return };
        let Some(connection) = connection else { return };
        let mut holder = Asker::new(self.me, asker.slot, &connection.session);
        if stage.bug == Some(Bug::AnyDecisionWillDo) {
            holder.generation = asker.generation;
        }
        if holder == asker {
            let input = Input::Decision { channel, ruling };
            connection.session.handle(input, &stage.plan.limits, stage.now, &mut self.effects);
        }
    }

    /// The rules were replaced: what the old ones granted is asked again.
    pub(super) fn reload(&mut self) {
        self.reviews = self.slots().into();
    }

    pub(super) fn close(&mut self, slot: u32, code: CloseCode, stage: &mut Stage) {
        let Some(connection) = self.connection(slot) else { return };
        if connection.is_open() {
            connection.phase = Phase::Closing;
            connection.outbox.drop_flushes(None);
            frame::write_close(&mut connection.replies, code, "");
            self.leases.set_deadline(slot, stage.now + LINGER);
        }
    }

    pub(super) fn ping(&mut self, slot: u32) {
        if let Some(connection) = self.connection(slot)
            && connection.is_open()
        {
            frame::write_ping(&mut connection.replies);
        }
    }

    pub(super) fn lease_ended(&mut self, slot: u32, stage: &mut Stage) {
        let Some(connection) = self.connection(slot) else { return };
        if connection.is_open() {
            let came_at = connection.came_at;
            let silent = stage.now.since(came_at);
            let least = stage.plan.ttl + self.forgiven_since(came_at, stage.now);
            assert!(silent >= least, "a lease ended after {silent:?} of silence, {least:?} may be");
            self.tell_session(slot, Input::LeaseEnded, stage);
        } else {
            self.mark_dead(slot);
        }
    }

    pub(super) fn deadline_came(&mut self, slot: u32, stage: &mut Stage) {
        match self.connection(slot).map(|connection| connection.phase) {
            Some(Phase::Open) => self.session_timeout(slot, stage),
            Some(Phase::Closing) => self.mark_dead(slot),
            Some(Phase::Dead) | None => {}
        }
    }

    /// A far deadline costs nothing; a near one is met at once.
    pub(super) fn note_deadline(&mut self, slot: u32, stage: &Stage) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let Some(connection) = connection.as_mut().filter(|one| one.is_open()) else { return };
        let deadline = connection.session.poll_timeout(&stage.plan.limits);
        if deadline > stage.now + SCAN_EVERY {
            self.leases.set_deadline(slot, deadline);
        } else if !connection.is_soon {
            connection.is_soon = true;
            self.soon.push(Reverse((deadline, slot)));
        }
    }
}
