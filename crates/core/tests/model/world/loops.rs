//! What the loops do: carrying out what sessions and the shard want done, and taking in mail.

use herenow_core::{
    Asker, Claim, Command, Context, Effect, Flush, Input, Part, Peer, Put, Session, SessionEffect,
    Verification,
};
use herenow_wire::encode::Reply;
use herenow_wire::{ChannelName, ClientMessage, ConnectionId, Incoming, State};

use super::{LOOPS, Mail, OWNER, PEOPLE, Person, World, auth_of};
use crate::Answers;
use crate::client::{Client, Frame};

impl World {
    pub(super) fn say(&mut self, who: usize, message: ClientMessage) {
        let input = Input::Message(Incoming { message, reference: None });
        self.tell(who % PEOPLE, input);
    }

    pub(super) fn tell(&mut self, slot: usize, input: Input) {
        let out = self.hand(slot, input);
        self.carry_out(slot, out);
    }

    fn hand(&mut self, slot: usize, input: Input) -> Vec<SessionEffect> {
        let mut out = Vec::new();
        let context = Context { now: self.now, limits: &self.limits, policy: &self.policy };
        self.people[slot].session.handle(input, &context, &mut out);
        out
    }

    pub(super) fn carry_out(&mut self, slot: usize, out: Vec<SessionEffect>) {
        let shows_in = |name: &ChannelName| {
            let is_put = |one: &SessionEffect| matches!(one, SessionEffect::Put { channel, .. } if channel == name);
            out.iter().any(is_put)
        };
        let shown_and_heard: Vec<ChannelName> = out
            .iter()
            .filter_map(|effect| match effect {
                SessionEffect::Listen { channel } if shows_in(channel) => Some(channel.clone()),
                _ => None,
            })
            .collect();
        for channel in shown_and_heard {
            self.people[slot].client.expects_itself_in(&channel);
        }
        for effect in out {
            if let SessionEffect::Remove { channel, .. } | SessionEffect::Unlisten { channel } =
                &effect
            {
                self.people[slot].client.expects_itself_no_more_in(channel);
            }
            self.perform(slot, effect);
        }
    }

    fn perform(&mut self, slot: usize, effect: SessionEffect) {
        let (at, peer) = (slot as u32, Peer((slot % LOOPS) as u16));
        let connection = self.id(slot);
        let person = &mut self.people[slot];
        let home = &mut self.loops[slot % LOOPS];
        match effect {
            SessionEffect::Reply(reply, _) => person.client.inbox.extend(frame(reply)),
            SessionEffect::Authorize(question) => {
                let before = person.question.replace(question);
                assert_eq!(before, None, "one decision is asked for at a time");
            }
            SessionEffect::Listen { channel } => {
                let request_id = home.audience.listen(&channel, at);
                home.to_shard.push_back(Command::Subscribe { channel, peer, request_id });
            }
            SessionEffect::RequestSnapshot { channel } => {
                if let Some(request_id) = home.audience.request_again(&channel, at) {
                    home.to_shard.push_back(Command::Subscribe { channel, peer, request_id });
                }
            }
            SessionEffect::Unlisten { channel } => {
                if home.audience.unlisten(&channel, at) {
                    home.to_shard.push_back(Command::Unsubscribe { channel, peer });
                }
            }
            SessionEffect::Put { channel, state, user, reference, settings } => {
                let put = Put { connection, owner: OWNER, user, state };
                let asker = Asker { peer, slot: at, connection, generation: 0 };
                let max_members = settings.max_members;
                let put = Command::Put { channel, put, max_members, asker, reference };
                home.to_shard.push_back(put);
            }
            SessionEffect::Remove { channel, reason } => {
                home.to_shard.push_back(Command::Remove {
                    channel,
                    connection,
                    owner: OWNER,
                    reason,
                });
            }
            SessionEffect::Detach { channel } => {
                let owner = OWNER;
                home.to_shard.push_back(Command::Detach { channel, connection, owner });
            }
            SessionEffect::TakeOver { claim, .. } => person.claim = Some(claim),
            SessionEffect::Detached => {
                let ended = Session::new(connection, &self.limits, self.now);
                let session = std::mem::replace(&mut person.session, ended);
                self.detached.push((slot % LOOPS, session));
            }
            SessionEffect::ReviewLater => person.is_reviewed_later = true,
            SessionEffect::HandedOver { .. } => unreachable!("who claims takes it out"),
            SessionEffect::Verify { .. }
            | SessionEffect::Admitted
            | SessionEffect::Close { .. } => {}
        }
    }

    pub(super) fn settle(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dirty { channel, .. } => {
                    self.dirty.insert(channel);
                }
                Effect::FlushNow { channel, .. } => {
                    assert!(self.dirty.contains(&channel), "what is ripe was dirty before");
                }
                Effect::Resync { channel, .. } => {
                    // Whoever has not yet subscribed as far as the shard knows is told as well.
                    for one in &mut self.loops {
                        one.from_shard.push_back(Mail::Resync(channel.clone()));
                    }
                }
                // There is a grace here: a loop keeps the states to answer for who is away.
                Effect::Hibernated { .. } => {}
                Effect::Answer { .. } => unreachable!("no ref was given and no channel is full"),
            }
        }
    }

    pub(super) fn flush(&mut self, channel: &ChannelName) {
        self.dirty.remove(channel);
        let mut flush = Flush::default();
        self.shard.flush(channel, self.now, &mut flush);
        if flush.to.is_empty() {
            return;
        }
        let rows = self.truth.rows(channel).expect("a map that is not known is not told of");
        for receiver in &flush.to {
            let (flush, rows) = (flush.clone(), rows.clone());
            let delivery = Mail::Delivery(channel.clone(), flush, receiver.snapshot_for, rows);
            self.loops[usize::from(receiver.peer.0)].from_shard.push_back(delivery);
        }
    }

    pub(super) fn take_in(&mut self, of: usize, mail: Mail) {
        match mail {
            Mail::ShardLost => self.report(of),
            Mail::Resync(channel) => {
                for subscriber in self.loops[of].audience.subscribers(&channel) {
                    let client = &mut self.people[subscriber.slot as usize].client;
                    client.inbox.push_back(Frame::Resync(channel.clone()));
                }
            }
            Mail::Delivery(channel, flush, snapshot_for, rows) => {
                for subscriber in self.loops[of].audience.subscribers(&channel) {
                    let inbox = &mut self.people[subscriber.slot as usize].client.inbox;
                    match subscriber.take(snapshot_for) {
                        None => continue,
                        Some(Part::Deltas) => inbox.extend(
                            flush.ops.iter().map(|op| Frame::Delta(channel.clone(), op.clone())),
                        ),
                        Some(Part::Snapshot) => {
                            let snapshot = flush.snapshot.clone().expect("somebody is owed it");
                            inbox.push_back(Frame::Snapshot(channel.clone(), snapshot));
                        }
                    }
                    inbox.push_back(Frame::Check(channel.clone(), rows.clone()));
                }
            }
        }
    }

    /// What a loop knows of the maps that were lost.
    fn report(&mut self, of: usize) {
        for channel in self.names.clone() {
            let home = &mut self.loops[of];
            let slots: Vec<u32> =
                home.audience.subscribers(&channel).iter().map(|one| one.slot).collect();
            if slots.is_empty() {
                continue;
            }
            let request_id = home.audience.request_for_all(&channel);
            let shows = |slot: &usize| self.shows(*slot, &channel).is_some();
            let slots = slots.into_iter().map(|slot| slot as usize);
            let trackers = slots.filter(shows).map(|slot| (self.id(slot), OWNER)).collect();
            let peer = Peer(of as u16);
            let recover = Command::Recover { channel, peer, request_id, trackers };
            self.loops[of].to_shard.push_back(recover);
        }
    }

    pub(super) fn claim_of(&self, slot: usize) -> Claim {
        let session = &self.people[slot].session;
        let (connection, generation) = (session.connection(), session.generation());
        Claim { connection, generation, peer: Peer((slot % LOOPS) as u16), slot: slot as u32 }
    }

    /// Finds the session that `slot` claims, with or without a socket.
    pub(super) fn take_over(&mut self, slot: usize, claim: Claim) {
        let user = auth_of(slot).user;
        let is_claimed = |session: &Session| session.is_claimed(claim, &user);
        let detached = self.detached.iter().position(|(_, session)| is_claimed(session));
        let holder = (0..PEOPLE).find(|old| is_claimed(&self.people[*old].session));
        let claimed = if let Some(at) = detached {
            Some(self.detached.remove(at))
        } else if let Some(old) = holder {
            let peer = Peer((slot % LOOPS) as u16);
            let by = Asker::new(peer, slot as u32, &self.people[slot].session);
            let mut out = self.hand(old, Input::Claimed { by });
            let Some(SessionEffect::HandedOver { session, .. }) = out.pop() else {
                panic!("a session that is claimed is handed over, and nothing after it");
            };
            self.carry_out(old, out);
            self.people[old] = self.newcomer(Answers::Always);
            self.sign_in(old);
            Some((old % LOOPS, *session))
        } else {
            None
        };
        let claimed = claimed.map(|(of, session)| {
            // What its loop sent to the shard went off before the session did.
            self.carry_to_shard(of, usize::MAX);
            Box::new(session)
        });
        let out = self.hand(slot, Input::TakenOver { claimed });
        let person = &mut self.people[slot];
        person.client = Client::new(person.session.connection(), person.client.answers());
        self.carry_out(slot, out);
        // The page says again what it shows, as after every reconnect.
        let mine: Vec<ChannelName> = self.subscribed(slot).map(|(channel, _)| channel).collect();
        for channel in mine {
            self.show_again(slot, channel);
        }
    }

    pub(super) fn end_graces(&mut self) {
        for (of, mut session) in std::mem::take(&mut self.detached) {
            let mut out = Vec::new();
            if session.poll_timeout(&self.limits) <= self.now {
                let context = Context { now: self.now, limits: &self.limits, policy: &self.policy };
                session.handle(Input::Timeout, &context, &mut out);
            }
            let connection = session.connection();
            for effect in out {
                let SessionEffect::Remove { channel, reason } = effect else {
                    panic!("{effect:?} where nobody listens");
                };
                let remove = Command::Remove { channel, connection, owner: OWNER, reason };
                self.loops[of].to_shard.push_back(remove);
            }
            if !session.has_ended() {
                self.detached.push((of, session));
            }
        }
    }

    pub(super) fn end(&mut self, slot: usize, input: Input, answers: Answers) {
        self.tell(slot, input);
        self.people[slot] = self.newcomer(answers);
        self.sign_in(slot);
    }

    pub(super) fn newcomer(&mut self, answers: Answers) -> Person {
        self.drawn += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.drawn.to_be_bytes());
        let connection = ConnectionId::from_bytes(bytes);
        Person {
            session: Session::new(connection, &self.limits, self.now),
            client: Client::new(connection, answers),
            question: None,
            claim: None,
            is_reviewed_later: false,
            lagging: Vec::new(),
        }
    }

    pub(super) fn sign_in(&mut self, slot: usize) {
        self.show_token(slot, None);
    }

    /// The token is good, and its verdict comes at once.
    pub(super) fn show_token(&mut self, slot: usize, claim: Option<Claim>) {
        self.say(slot, ClientMessage::Auth { token: Some("t".into()), resume: None });
        let verification =
            Verification { result: Ok(auth_of(slot)), claim: claim.map(Box::new), unix_ms: 0 };
        self.tell(slot, Input::Verified(verification));
    }

    /// What the client library does about a resync.
    pub(super) fn show_again(&mut self, slot: usize, channel: ChannelName) {
        if let Some(state) = self.shows(slot, &channel) {
            self.say(slot, ClientMessage::Track { channel, state });
        }
    }

    pub(super) fn nobody_expects_itself_in(&mut self, channel: &ChannelName) {
        for person in &mut self.people {
            person.client.expects_itself_no_more_in(channel);
        }
    }

    pub(super) fn shows(&self, slot: usize, channel: &ChannelName) -> Option<State> {
        self.subscribed(slot).find(|(name, _)| name == channel).and_then(|(_, state)| state)
    }

    pub(super) fn subscribed(
        &self,
        slot: usize,
    ) -> impl Iterator<Item = (ChannelName, Option<State>)> {
        let subscriptions = self.people[slot].session.subscriptions();
        subscriptions.map(|(name, state)| (name.clone(), state.cloned()))
    }

    pub(super) fn id(&self, slot: usize) -> ConnectionId {
        self.people[slot].session.connection()
    }

    pub(super) fn name(&self, of: usize) -> ChannelName {
        self.names[of % self.names.len()].clone()
    }
}

/// What of a reply matters to the client's list.
fn frame(reply: Reply) -> Option<Frame> {
    match reply {
        Reply::Unsubscribed { channel, .. } => Some(Frame::Unsubscribed(channel)),
        Reply::AuthRefreshed { revoked, .. } => Some(Frame::Refreshed(revoked)),
        _ => None,
    }
}
