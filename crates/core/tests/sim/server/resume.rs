//! Sessions that lost their simulated socket and may come back.

use herenow_core::{
    Auth, AuthRefusal, Claim, Input, Instant, Limits, Session, SessionEffect, Verification,
};
use herenow_wire::{CloseCode, ConnectionId, UserId};

use super::event_loop::{Asker, Loop, Mail};
use crate::plan::Plan;
use crate::stage::Stage;

impl Loop {
    /// What a connection may come back with: here the claim itself, for nobody forges one.
    pub(super) fn resume_token(session: &Session, plan: &Plan) -> Option<Box<str>> {
        let user = &session.auth()?.user;
        let token = format!("{}.{}.{user}", session.connection(), session.generation());
        (!plan.grace.is_zero()).then(|| token.into())
    }

    /// A token is the name of its user, and verified at once.
    pub(super) fn verify(&mut self, slot: u32, token: &str, resume: Option<&str>, stage: &Stage) {
        let verdict = UserId::parse(token)
            .map(|user| Auth { user, expires_at_unix_ms: u64::MAX, claims: "{}".into() })
            .map_err(|_| AuthRefusal::Bad("a token names a user".into()));
        let user = verdict.as_ref().ok().map(|auth| &auth.user);
        let claim = resume.zip(user).and_then(|(resume, user)| claim_of(resume, user));
        let input = Input::Verified(Verification { verdict, claim, unix_ms: 0 });
        if let Some(connection) = self.connections[slot as usize].as_mut() {
            connection.session.handle(input, &stage.plan.limits, stage.now, &mut self.effects);
        }
    }

    /// The socket in `slot` broke without a close frame.
    pub(super) fn break_off(&mut self, slot: u32, stage: &mut Stage) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let Some(connection) = connection else { return };
        let grace = stage.plan.grace;
        connection.session.break_off(|_| grace, stage.now, &mut self.effects);
        self.carry_out(slot, stage);
        self.settle(stage);
    }

    /// Keeps a session without its socket.
    pub(super) fn keep_detached(&mut self, slot: u32, stage: &Stage) {
        let Some(connection) = self.connection(slot) else { return };
        let id = connection.session.connection();
        let ended = Session::new(id, &stage.plan.limits, stage.now);
        let session = std::mem::replace(&mut connection.session, ended);
        self.detached.insert(id, session);
    }

    pub(super) fn next_grace_end(&self, limits: &Limits) -> Instant {
        let ends = self.detached.values().map(|session| session.poll_timeout(limits));
        ends.min().unwrap_or(Instant::NEVER)
    }

    /// Lets the entries go whose grace is over.
    pub(super) fn end_graces(&mut self, stage: &mut Stage) {
        let limits = stage.plan.limits.clone();
        while self.next_grace_end(&limits) <= stage.now {
            let over =
                self.detached.iter_mut().find(|(_, one)| one.poll_timeout(&limits) <= stage.now);
            let Some((&id, session)) = over else { return };
            let mut effects = Vec::new();
            session.handle_timeout(&limits, stage.now, &mut effects);
            if session.has_ended() {
                self.detached.remove(&id);
            }
            self.remove_all(id, effects, stage);
        }
        self.settle(stage);
    }

    /// The session in `slot` claims another: every loop looks for it in turn.
    pub(super) fn take_over(&mut self, slot: u32, claim: Claim, user: UserId, stage: &mut Stage) {
        let peer = self.me;
        let Some(connection) = self.connection(slot) else { return };
        let asker = Asker::new(peer, slot, &connection.session);
        match self.give_up(claim, &user, stage) {
            Some(session) => self.taken_over(asker, Some(Box::new(session)), stage),
            None => self.ask_next_loop(asker, claim, user, stage),
        }
    }

    /// Another loop's connection claims a session.
    pub(super) fn claimed(&mut self, asker: Asker, claim: Claim, user: UserId, stage: &mut Stage) {
        match self.give_up(claim, &user, stage) {
            Some(session) => {
                let session = Some(Box::new(session));
                self.handovers.push((asker.peer, Mail::TakenOver { asker, session }));
            }
            None => self.ask_next_loop(asker, claim, user, stage),
        }
    }

    /// The claimed session, or nothing where no loop has it.
    pub(super) fn taken_over(
        &mut self,
        asker: Asker,
        session: Option<Box<Session>>,
        stage: &mut Stage,
    ) {
        let holder = self.connection(asker.slot);
        let stands = |session: &Session| session.connection() == asker.connection;
        match holder.filter(|one| one.is_open() && stands(&one.session)) {
            Some(_) => {
                stage.tally.resumes += u64::from(session.is_some());
                let claimed = session.map(|session| *session);
                self.with_session(asker.slot, stage, |session, stage, effects| {
                    session.taken_over(claimed, &stage.plan.limits, stage.now, effects);
                });
            }
            None => {
                if let Some(session) = session {
                    self.end_orphan(*session, stage);
                }
            }
        }
    }

    fn ask_next_loop(&mut self, asker: Asker, claim: Claim, user: UserId, stage: &mut Stage) {
        let next = (self.me.0 + 1) % self.loops;
        if next != asker.peer.0 {
            self.outgoing[usize::from(next)].push(Mail::Claim { asker, claim, user });
        } else if next == self.me.0 {
            self.taken_over(asker, None, stage);
        } else {
            self.outgoing[usize::from(next)].push(Mail::TakenOver { asker, session: None });
        }
    }

    /// Finds the session that is claimed and lets go of it. A socket that still holds it is closed.
    fn give_up(&mut self, claim: Claim, user: &UserId, stage: &mut Stage) -> Option<Session> {
        let id = claim.connection;
        if self.detached.get(&id).is_some_and(|session| session.is_claimed(claim, user)) {
            return self.detached.remove(&id);
        }
        let slot = self.slots().into_iter().find(|slot| {
            let connection = self.connections[*slot as usize].as_ref();
            connection.is_some_and(|one| one.session.is_claimed(claim, user))
        })?;
        let connection = self.connections[slot as usize].as_mut()?;
        let session = connection.session.hand_over(&mut self.effects);
        self.carry_out(slot, stage);
        self.settle(stage);
        self.close(slot, CloseCode::GoingAway, stage);
        Some(session)
    }

    /// A session that nobody has any more: its entries go at once.
    fn end_orphan(&mut self, mut session: Session, stage: &mut Stage) {
        let mut effects = Vec::new();
        session.handle(Input::Broken, &stage.plan.limits, stage.now, &mut effects);
        self.remove_all(session.connection(), effects, stage);
        self.settle(stage);
    }

    fn remove_all(&mut self, id: ConnectionId, effects: Vec<SessionEffect>, stage: &mut Stage) {
        for effect in effects {
            if let SessionEffect::Remove { channel, reason } = effect {
                self.remove(channel, id, reason, stage);
            }
        }
    }
}

fn claim_of(token: &str, user: &UserId) -> Option<Claim> {
    let mut parts = token.splitn(3, '.');
    let connection = ConnectionId::parse(parts.next()?)?;
    let generation = parts.next()?.parse().ok()?;
    (parts.next()? == user.as_str()).then_some(Claim { connection, generation })
}
