//! What a hub needs of the server beside sockets: tokens verified, the access rules asked, resume tokens
//! signed, backends answered, webhooks told. One of these belongs to each loop and calls those who do the
//! work; the loop hands their answers on as events without reading them. Knows no sockets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use herenow_core::{Auth, Claim, Peer, Question, Ruling, Verification as Verified};
use herenow_hub::{
    Announcement, Asked, Asker, Checked, Event, Policy, Purpose, QueryId, Request, Response,
};
use herenow_wire::UserId;
use slab::Slab;
use tokio::sync::oneshot;

use crate::access::Access;
use crate::auth::{MAX_RESUME_TOKEN_BYTES, ResumeKey};
use crate::clock;
use crate::config::Rehearsals;
use crate::probe::ProbeState;
use crate::verification::{Job, Verification, VerifiedToken};
use crate::webhooks::Announcer;

/// See the module.
pub(crate) struct Services {
    /// The loop's hub.
    me: Peer,
    providers: Providers,
    /// Where the answers to requests of backends go.
    requests: Slab<oneshot::Sender<Response>>,
    /// Verified tokens that the hub has not been handed yet, the oldest first.
    verified: VecDeque<Box<VerifiedToken>>,
}

/// Those who do the work. Clones share them.
#[derive(Clone)]
pub(crate) struct Providers {
    /// The rules in force.
    pub(crate) access: Access,
    pub(crate) verification: Verification,
    pub(crate) announcer: Announcer,
    pub(crate) resume_key: ResumeKey,
    /// Only if the settings want one.
    pub(crate) probe: Option<Arc<ProbeState>>,
    pub(crate) rehearsals: Rehearsals,
}

/// Verified tokens that a hub is handed in one turn: half a millisecond, most of it the writing of the
/// answers. When thousands authenticate at once, flushes to everybody else come in between.
pub(crate) const VERIFIED_PER_TURN: usize = 32;

impl Services {
    pub(crate) fn new(me: Peer, providers: Providers) -> Self {
        Self { me, providers, requests: Slab::new(), verified: VecDeque::new() }
    }

    /// What holds in which channel beside the rules in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.providers.access.policy()
    }

    /// Puts other rules in force. Returns what the hub is to be told.
    pub(crate) fn reload(&mut self, access: Access) -> Event<'static> {
        let policy = access.policy();
        self.providers.access = access;
        Event::Reload(policy)
    }

    /// A request of a backend. Returns what the hub is to be told.
    pub(crate) fn request(
        &mut self,
        request: Request,
        answer: oneshot::Sender<Response>,
    ) -> Event<'static> {
        Event::Request { id: self.requests.insert(answer) as QueryId, request }
    }

    /// Keeps a verified token until it is its turn.
    pub(crate) fn queue_verified(&mut self, token: Box<VerifiedToken>) {
        self.verified.push_back(token);
    }

    pub(crate) fn has_verified(&self) -> bool {
        !self.verified.is_empty()
    }

    /// What the hub is to be told of the oldest verified token.
    pub(crate) fn next_verified(&mut self) -> Option<Event<'static>> {
        let token = self.verified.pop_front()?;
        if self.verified.is_empty() && self.verified.capacity() > VERIFIED_PER_TURN {
            // What a herd has left behind.
            self.verified = VecDeque::new();
        }
        let asker = token.asker;
        Some(Event::Verified { asker, checked: self.checked(*token) })
    }

    pub(crate) fn verify(&self, asker: Asker, token: &str, resume: Option<&str>) -> Asked<Checked> {
        if let Some(auth) = self.providers.probe.as_ref().and_then(|probe| probe.verify(token)) {
            let verified = Verified { result: Ok(auth), claim: None, unix_ms: clock::unix_ms() };
            return Asked::Now(verified.into());
        }
        // A longer one is none, and would wait for nothing.
        let resume = resume.filter(|token| token.len() <= MAX_RESUME_TOKEN_BYTES);
        let (token, resume) = (token.into(), resume.map(Into::into));
        let job = Job { asker, token, resume, came: Instant::now() };
        match self.providers.verification.verify(job) {
            Some(token) => Asked::Now(self.checked(token)),
            None => Asked::Later,
        }
    }

    pub(crate) fn ask(
        &self,
        asker: (Asker, Purpose),
        question: &Question,
        auth: Option<&Auth>,
    ) -> Asked<Ruling> {
        self.providers.rehearsals.rehearse_loop(&question.channel);
        if self.providers.probe.as_ref().is_some_and(|probe| probe.is_asking(question, auth)) {
            return Asked::Now(Ruling::Granted);
        }
        self.providers.access.ask(asker, question, auth)
    }

    pub(crate) fn takes_reviews(&self) -> bool {
        self.providers.access.takes_reviews(self.me)
    }

    pub(crate) fn resume_token(&self, claim: Claim, user: &UserId) -> Box<str> {
        self.providers.resume_key.sign(claim, user)
    }

    pub(crate) fn respond(&mut self, id: QueryId, response: Response) {
        if let Some(answer) = self.requests.try_remove(id as usize) {
            // Who asked may have gone.
            let _ = answer.send(response);
        }
    }

    pub(crate) fn announce(&self, announcement: Announcement) {
        let is_probes = |probe: &Arc<ProbeState>| probe.has(&announcement.channel);
        if !self.providers.probe.as_ref().is_some_and(is_probes) {
            self.providers.announcer.announce(announcement);
        }
    }

    pub(crate) fn announce_gap(&self) {
        self.providers.announcer.announce_gap();
    }

    /// The result of a verification, with what the resume token that came along claims.
    fn checked(&self, token: VerifiedToken) -> Checked {
        let VerifiedToken { result, resume, facts, .. } = token;
        let user = result.as_ref().ok().map(|auth| &auth.user);
        let resume_key = &self.providers.resume_key;
        let claim = resume.zip(user).and_then(|(token, user)| resume_key.verify(&token, user));
        let (claim, unix_ms) = (claim.map(Box::new), clock::unix_ms());
        Checked { verification: Verified { result, claim, unix_ms }, facts }
    }
}
