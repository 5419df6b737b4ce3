//! The fake outside of one hub: links for sockets, which take what is written in part, late or not
//! at all, and break while they are written to; and answers that come when they come.

use std::collections::{BTreeSet, VecDeque};
use std::io::IoSlice;
use std::time::Duration;

use herenow_core::{
    Auth, AuthRefusal, Claim, Instant, NodeMail, Owner, Peer, Place, Question, Right, Ruling,
    SCAN_EVERY, Verification,
};
use herenow_hub::{
    Announcement, Asked, Asker, Checked, End, Event, Hub, Io, Mail, Opening, Purpose, QueryId,
    Response, RuleOutcome, Said, TokenFacts, Wrote,
};
use herenow_wire::{ChannelName, CloseCode, ConnectionId, Info, User, UserId};

use crate::backend;
use crate::bounds::SnapshotWaits;
use crate::clock::Clock;
use crate::cluster::FromLoop;
use crate::network::{Down, LinkId, PieceEnd, Up};
use crate::stage::{Stage, Weather};

/// See the module.
pub struct Shell {
    node: usize,
    clock: Clock,
    /// What its resume tokens call the process.
    process: u64,
    me: Peer,
    sockets: Vec<Option<Socket>>,
    free: Vec<u32>,
    /// Links whose request to open has not arrived.
    opening: Vec<LinkId>,
    /// Verdicts and rulings on their way, by when they come.
    answers: Vec<(Instant, Answer)>,
    busy_until: Instant,
    snapshot_waits: SnapshotWaits,
    /// What the rules have granted to whom, socket by socket.
    granted: BTreeSet<(LinkId, ChannelName)>,
    /// From when until when it was held up.
    pauses: Vec<(Instant, Instant)>,
}

/// One open link.
struct Socket {
    link: LinkId,
    /// It did not take all that it was given.
    is_blocked: bool,
    /// When it takes more although nobody has taken anything from it: its kernel had a moment.
    unblocks_at: Instant,
    read_bytes: u64,
    /// When the last whole frame was read, and when it had arrived.
    heard_at: Instant,
    came_at: Instant,
    /// Its last bytes wait in the hub: what they hold counts as heard only when it is looked at.
    is_kept: bool,
    /// It broke while it was written to.
    is_broken: bool,
}

enum Answer {
    Verified { asker: Asker, checked: Checked },
    Ruling { asker: Asker, link: LinkId, question: Question, ruling: Ruling },
}

/// The batches that wait for one hub.
#[derive(Default)]
pub struct Inbox {
    batches: VecDeque<Vec<Mail>>,
}

/// What a hub is handed as its outside during one turn.
pub struct Outside<'a> {
    shell: &'a mut Shell,
    inboxes: &'a mut [Inbox],
    stage: &'a mut Stage,
}

/// How long after its end a lease may at most be noticed.
const LATE: Duration = Duration::from_secs(1);
/// A pause that is noticed wherever it falls between two looks.
const NOTICED_PAUSE: Duration = Duration::from_millis(1_500);
/// What the rules may be asked, one after the other, about what a client says at once.
const MOST_DECISIONS: u32 = 8;
/// Times that one socket is read in one turn.
const READS_PER_TURN: usize = 32;

impl Inbox {
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub fn take_all(&mut self) -> VecDeque<Vec<Mail>> {
        std::mem::take(&mut self.batches)
    }
}

impl Shell {
    pub fn new((node, process, me): (usize, u64, Peer), stage: &Stage) -> Self {
        Self {
            node,
            clock: stage.plan.clocks[node],
            process,
            me,
            sockets: Vec::new(),
            free: Vec::new(),
            opening: Vec::new(),
            answers: Vec::new(),
            busy_until: stage.now,
            snapshot_waits: SnapshotWaits::default(),
            granted: BTreeSet::new(),
            pauses: Vec::new(),
        }
    }

    pub fn watch(&mut self, link: LinkId) {
        self.opening.push(link);
    }

    pub fn links(&self) -> Vec<LinkId> {
        let open = self.sockets.iter().flatten().map(|socket| socket.link);
        self.opening.iter().copied().chain(open).collect()
    }

    pub fn busy_until(&self) -> Instant {
        self.busy_until
    }

    pub fn pause(&mut self, until: Instant, now: Instant) {
        self.busy_until = self.busy_until.max(until);
        match self.pauses.last_mut().filter(|(_, end)| *end >= now) {
            Some((_, end)) => *end = self.busy_until,
            None => self.pauses.push((now, self.busy_until)),
        }
    }

    /// Nothing holds it up any more.
    pub fn go_on(&mut self, now: Instant) {
        self.busy_until = self.busy_until.min(now);
        if let Some((_, end)) = self.pauses.last_mut() {
            *end = (*end).min(now);
        }
    }

    pub fn end_turn(&mut self, stage: &mut Stage) {
        let turn_us = stage.chance.between(0, stage.plan.longest_turn_us);
        self.busy_until = self.busy_until.max(stage.now + Duration::from_micros(turn_us));
    }

    /// What waits in the hub is heard when it is looked at.
    pub fn note_kept(&mut self, hub: &Hub, now: Instant) {
        for (slot, socket) in (0u32..).zip(&mut self.sockets) {
            let Some(socket) = socket else { continue };
            let is_kept = hub.read_limit(slot) == 0;
            if is_kept || socket.is_kept {
                socket.heard_at = now;
            }
            socket.is_kept = is_kept;
        }
    }

    /// See [`SnapshotWaits::check`].
    pub fn waits_for_no_snapshot(&mut self, hub: &Hub, patient_until: Instant, stage: &mut Stage) {
        let link_of = |slot: u32| self.sockets[slot as usize].as_ref().map_or(0, |one| one.link);
        let longest = self.snapshot_waits.check(hub, (stage.now, patient_until), link_of);
        let longest_ms = longest.as_millis() as u64;
        stage.tally.longest_snapshot_wait_ms = stage.tally.longest_snapshot_wait_ms.max(longest_ms);
    }

    fn note_ruling(&mut self, link: LinkId, question: &Question, ruling: Ruling) {
        if question.right == Right::Subscribe {
            let key = (link, question.channel.clone());
            match ruling {
                Ruling::Granted => drop(self.granted.insert(key)),
                Ruling::Denied => drop(self.granted.remove(&key)),
                Ruling::Unavailable => {}
            }
        }
    }

    /// No socket subscribes to what the rules have not granted to it.
    pub fn rules_are_kept(&self, hub: &Hub) {
        for (slot, channel) in hub.subscriptions() {
            let link = self.sockets[slot as usize].as_ref().map(|socket| socket.link);
            let is_granted =
                link.is_some_and(|link| self.granted.contains(&(link, channel.clone())));
            assert!(is_granted, "{slot} subscribes to {channel}, which was not granted to it");
        }
    }

    /// The sockets that broke while they were written to: the next turn closes them.
    pub fn broken(&self) -> Vec<LinkId> {
        let sockets = self.sockets.iter().flatten();
        sockets.filter(|socket| socket.is_broken).map(|socket| socket.link).collect()
    }

    /// How many sockets are read no more at present.
    pub fn unread(&self) -> usize {
        self.sockets.iter().flatten().filter(|socket| socket.is_kept).count()
    }

    /// Nobody who has been silent for longer than may be is still there.
    ///
    /// The lease of a channel counts from when the hub knows that it is another's than that of
    /// connections: not before `patient_until`.
    pub fn leases_are_kept(&self, hub: &Hub, patient_until: Instant, stage: &Stage) {
        // Its lease counts from when it was let into the last of its channels.
        let decided_within = MOST_DECISIONS * Duration::from_micros(stage.plan.longest_decision_us);
        for (slot, socket) in self.taken().filter(|(slot, _)| hub.is_open(*slot)) {
            let paused = self.overlaps(socket.heard_at, stage.now).sum::<Duration>();
            let most = stage.plan.longest_ttl() + LATE + paused;
            let silent = stage.now.since(socket.heard_at);
            assert!(silent <= most, "silent for {silent:?}, and still here after {most:?}");
            for channel in hub.shown(slot) {
                let most = stage.plan.longest_ttl_of(channel) + LATE + paused + decided_within;
                let silent = stage.now.since(socket.heard_at.max(patient_until));
                assert!(silent <= most, "silent for {silent:?}, and still in {channel}");
            }
        }
    }

    pub fn awaits_none(&self) -> bool {
        self.opening.is_empty()
    }

    pub fn is_drained(&self) -> bool {
        self.sockets.iter().all(Option::is_none) && self.answers.is_empty()
    }

    fn taken(&self) -> impl Iterator<Item = (u32, &Socket)> {
        (0u32..).zip(&self.sockets).filter_map(|(slot, one)| Some((slot, one.as_ref()?)))
    }

    fn slots(&self) -> Vec<u32> {
        self.taken().map(|(slot, _)| slot).collect()
    }

    fn socket(&mut self, slot: u32) -> Option<&mut Socket> {
        self.sockets.get_mut(slot as usize)?.as_mut()
    }

    fn insert(&mut self, socket: Socket) -> u32 {
        let slot = self.free.pop().unwrap_or(self.sockets.len() as u32);
        if slot as usize == self.sockets.len() {
            self.sockets.push(None);
        }
        self.sockets[slot as usize] = Some(socket);
        slot
    }

    /// What a lease is longer for pauses at least: a short one is not noticed, nor the end of any
    /// within a scan.
    fn forgiven_since(&self, then: Instant, now: Instant) -> Duration {
        let noticed = self.overlaps(then, now).filter(|pause| *pause > NOTICED_PAUSE);
        noticed.map(|pause| pause - 2 * SCAN_EVERY).sum()
    }

    fn overlaps(&self, then: Instant, now: Instant) -> impl Iterator<Item = Duration> {
        let within =
            move |(from, until): &(Instant, Instant)| (*until).min(now).since((*from).max(then));
        self.pauses.iter().map(within)
    }
}

impl<'a> Outside<'a> {
    pub fn new(shell: &'a mut Shell, inboxes: &'a mut [Inbox], stage: &'a mut Stage) -> Self {
        Self { shell, inboxes, stage }
    }

    /// What time it is by the clock of its node.
    fn local(&self) -> Instant {
        self.shell.clock.local(self.stage.now)
    }

    /// When something reaches this hub, or is due there.
    pub fn next_turn(&mut self, hub: &Hub) -> Instant {
        let answers = self.shell.answers.iter().map(|(at, _)| *at);
        let due = self.shell.clock.true_time(hub.poll_timeout(self));
        let mut next = answers.fold(due, Instant::min);
        for link in &self.shell.opening {
            next = next.min(self.stage.network.link(*link).up.next_at());
        }
        for (slot, socket) in self.shell.taken() {
            let link = self.stage.network.link(socket.link);
            next = next.min(link.taken.next_at());
            if socket.is_blocked {
                next = next.min(socket.unblocks_at);
            }
            if !hub.is_backpressured() && hub.read_limit(slot) > 0 {
                next = next.min(link.up.next_at());
            }
        }
        next
    }

    /// Tells the verdicts and rulings that have come.
    pub fn tell_answers(&mut self, hub: &mut Hub) {
        let now = self.stage.now;
        let mut come: Vec<_> = self.shell.answers.extract_if(.., |(at, _)| *at <= now).collect();
        come.sort_by_key(|(at, _)| *at);
        for (_, answer) in come {
            let event = match answer {
                Answer::Verified { asker, checked } => Event::Verified { asker, checked },
                Answer::Ruling { asker, link, question, ruling } => {
                    self.shell.note_ruling(link, &question, ruling);
                    let (rule, channel) = (Some(outcome(&question, ruling)), question.channel);
                    Event::Ruling { asker, channel, ruling, rule }
                }
            };
            hub.handle(event, self.local(), self);
        }
    }

    /// Lets the hub hear what has come on every socket.
    pub fn read_sockets(&mut self, hub: &mut Hub) {
        for link in std::mem::take(&mut self.shell.opening) {
            match self.stage.network.link(link).up.receive(self.stage.now) {
                Some((_, Up::Open(opening))) => self.open((link, opening), hub),
                Some(_) => {}
                None => self.shell.opening.push(link),
            }
        }
        for slot in self.shell.slots() {
            self.unblock(slot, hub);
            for _ in 0..READS_PER_TURN {
                if hub.is_backpressured() || hub.read_limit(slot) == 0 || !self.read(slot, hub) {
                    break;
                }
            }
        }
    }

    fn open(&mut self, (link, opening): (LinkId, Opening), hub: &mut Hub) {
        let (now, chance) = (self.stage.now, &mut self.stage.chance);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&chance.draw().to_le_bytes());
        bytes[8..].copy_from_slice(&chance.draw().to_le_bytes());
        let slot = self.shell.insert(Socket {
            link,
            is_blocked: false,
            unblocks_at: Instant::NEVER,
            read_bytes: 0,
            heard_at: now,
            came_at: now,
            is_kept: false,
            is_broken: false,
        });
        self.stage.send_down(link, Down::Opened);
        let id = ConnectionId::from_bytes(bytes);
        if let Opening::Watch { channel } = &opening {
            // No rule is asked.
            self.shell.granted.insert((link, channel.clone()));
        }
        hub.handle(Event::Opened { slot, id, opening }, self.local(), self);
    }

    /// Nodes are about to say who decides what.
    pub fn meet_new_homes(&mut self) {
        self.stage.has_new_homes = true;
    }

    /// Lets a backend ask, now and then.
    pub fn ask_for_a_list(&mut self, hub: &mut Hub) {
        if self.stage.plan.is_cluster() {
            // A list is asked of the home, which no other node does yet.
            return;
        }
        let loops = self.inboxes.len() as u16;
        if let Some(question) = backend::draw_question(self.stage, (self.shell.me, loops)) {
            hub.handle(question, self.local(), self);
        }
    }

    fn unblock(&mut self, slot: u32, hub: &mut Hub) {
        let now = self.stage.now;
        let Some(socket) = self.shell.socket(slot) else { return };
        let link = self.stage.network.link(socket.link);
        let mut is_unblocked = socket.unblocks_at <= now;
        while let Some((_, bytes)) = link.taken.receive(now) {
            link.untaken_bytes -= bytes;
            is_unblocked = true;
        }
        if is_unblocked && std::mem::take(&mut socket.is_blocked) {
            socket.unblocks_at = Instant::NEVER;
            hub.handle(Event::Writable { slot }, self.local(), self);
        }
    }

    /// Reads what has come, as much as the hub takes. Whether there was something.
    fn read(&mut self, slot: u32, hub: &mut Hub) -> bool {
        let now = self.stage.now;
        let Some(socket) = self.shell.socket(slot) else { return false };
        let link = self.stage.network.link(socket.link);
        let mut bytes = Vec::new();
        let mut newest = None;
        while let Some(Up::Bytes(next)) = link.up.front(now)
            && (bytes.is_empty() || bytes.len() + next.len() <= hub.read_limit(slot))
            && let Some((came_at, Up::Bytes(next))) = link.up.receive(now)
        {
            socket.read_bytes += next.len() as u64;
            if link.has_read_frames(socket.read_bytes) && hub.is_open(slot) {
                socket.heard_at = now;
                newest = Some(came_at);
            }
            bytes.extend(next);
        }
        if bytes.is_empty() {
            if link.up.receive(now).is_some() {
                hub.handle(Event::Ended { slot, how: End::Broken }, self.local(), self);
            }
            return false;
        }
        hub.handle(Event::Received { slot, bytes: &mut bytes }, self.local(), self);
        // What a peer says that takes none of its replies is not looked at, and proves nothing.
        let is_looked_at = hub.read_limit(slot) > 0;
        if let (true, Some(came_at), Some(socket)) = (is_looked_at, newest, self.shell.socket(slot))
        {
            socket.came_at = came_at;
        }
        true
    }

    /// A lease never ends early: what was heard last, and every pause, count.
    fn lease_may_end(&mut self, slot: u32) {
        let now = self.stage.now;
        let Some(came_at) = self.shell.socket(slot).map(|socket| socket.came_at) else { return };
        let silent = self.shell.clock.local(now).since(self.shell.clock.local(came_at));
        let least = self.stage.plan.ttl + self.shell.forgiven_since(came_at, now);
        assert!(silent >= least, "a lease ended after {silent:?} of silence, {least:?} may be");
        self.stage.tally.timeouts += 1;
    }

    fn later(&mut self, longest_us: u64) -> Option<Instant> {
        let delay_us = self.stage.chance.between(0, longest_us);
        (delay_us > 0).then(|| self.stage.now + Duration::from_micros(delay_us))
    }
}

impl Io for Outside<'_> {
    fn write(&mut self, slot: u32, parts: &[IoSlice<'_>]) -> Wrote {
        let is_rough = self.stage.weather == Weather::Rough;
        let all: usize = parts.iter().map(|part| part.len()).sum();
        if parts.iter().any(|part| closes_with(part, CloseCode::PresenceTimeout)) {
            self.lease_may_end(slot);
        }
        let stage = &mut *self.stage;
        let Some(socket) = self.shell.socket(slot) else { panic!("{slot} was closed") };
        if socket.is_broken {
            return Wrote::Broken;
        }
        let link = stage.network.link(socket.link);
        let room = stage.plan.window_bytes.saturating_sub(link.untaken_bytes).min(all);
        if is_rough && stage.chance.one_in(500) {
            stage.tally.broken_writes += 1;
            let at = stage.arrival();
            stage.network.link(socket.link).cut_down(at);
            socket.is_broken = true;
            return Wrote::Broken;
        }
        let takes_less = is_rough && room > 0 && stage.chance.one_in(20);
        let taken = if takes_less { stage.chance.below(room as u64) as usize } else { room };
        let socket = self.shell.socket(slot).expect("it was here a moment ago");
        if taken < all {
            stage.tally.partial_writes += 1;
            socket.is_blocked = true;
            if taken < room {
                socket.unblocks_at = stage.within_ms(0, 50);
            }
        }
        let link = socket.link;
        let bytes: Vec<u8> =
            parts.iter().flat_map(|part| part.iter().copied()).take(taken).collect();
        if !bytes.is_empty() {
            stage.network.link(link).untaken_bytes += bytes.len();
            let end = if taken < all { PieceEnd::Somewhere } else { PieceEnd::Whole };
            stage.send_down(link, Down::Bytes(bytes, end));
        }
        Wrote::Bytes(taken)
    }

    fn shutdown_write(&mut self, slot: u32) {
        assert!(self.shell.socket(slot).is_some(), "what is finished was not closed before");
    }

    fn close(&mut self, slot: u32) {
        let socket = self.shell.sockets[slot as usize].take().expect("a socket is closed once");
        self.stage.send_down(socket.link, Down::End);
        self.shell.free.push(slot);
    }

    fn resume(&mut self, _: u32) {}

    fn admitted(&mut self, _: u32) {}

    fn post(&mut self, to: Peer, batch: Vec<Mail>) -> Result<(), Vec<Mail>> {
        let inbox = &mut self.inboxes[usize::from(to.0)];
        if inbox.batches.len() >= self.stage.plan.max_batches {
            return Err(batch);
        }
        inbox.batches.push_back(batch);
        Ok(())
    }

    fn post_to_nodes(&mut self, owner: Owner, mail: Vec<NodeMail>) {
        assert!(self.stage.plan.is_cluster(), "a node that is alone has nothing for others");
        let (node, hub) = (self.shell.node, self.shell.me.0);
        self.stage.node_mail.push(FromLoop { node, hub, owner, mail });
    }

    fn verify(&mut self, asker: Asker, token: &str, resume: Option<&str>) -> Asked<Checked> {
        let checked = verify(token, (resume, self.shell.process), self.stage);
        match self.later(self.stage.plan.longest_verdict_us) {
            None => Asked::Now(checked),
            Some(at) => {
                self.stage.tally.late_verifications += 1;
                self.shell.answers.push((at, Answer::Verified { asker, checked }));
                Asked::Later
            }
        }
    }

    fn takes_reviews(&self) -> bool {
        let waiting = self.shell.answers.len();
        waiting < self.stage.plan.most_questions
    }

    fn ask(
        &mut self,
        (asker, _): (Asker, Purpose),
        question: &Question,
        auth: Option<&Auth>,
    ) -> Asked<Ruling> {
        assert_eq!(
            question.user.as_ref(),
            auth.map(|auth| auth.user.id()),
            "a question names its asker"
        );
        let is_rough = self.stage.weather == Weather::Rough;
        let is_unavailable = is_rough && self.stage.chance.one_in(40);
        let ruling = match self.stage.plan.grants(question) {
            _ if is_unavailable => Ruling::Unavailable,
            true => Ruling::Granted,
            false => Ruling::Denied,
        };
        let link = self.shell.socket(asker.slot).expect("who asks has a socket").link;
        match self.later(self.stage.plan.longest_decision_us) {
            None => {
                self.shell.note_ruling(link, question, ruling);
                Asked::Now(ruling)
            }
            Some(at) => {
                self.stage.tally.late_decisions += 1;
                let question = question.clone();
                self.shell.answers.push((at, Answer::Ruling { asker, link, question, ruling }));
                Asked::Later
            }
        }
    }

    fn resume_token(&mut self, claim: Claim, user: &UserId) -> Box<str> {
        resume_token(self.shell.process, claim, user)
    }

    fn respond(&mut self, id: QueryId, response: Response) {
        backend::check_answer(self.stage, id, response);
    }

    fn announce_gap(&mut self) {
        assert!(self.stage.plan.is_cluster(), "one node misses nothing");
        let node = self.shell.node;
        self.stage.note(|| format!("node {node} announces a gap"));
        self.stage.follower.miss();
    }

    fn announce(&mut self, announcement: Announcement) {
        let node = self.shell.node;
        self.stage.note(|| format!("node {node} announces {announcement:?}"));
        let Stage { follower, history, .. } = &mut *self.stage;
        follower.fold(&announcement, history);
    }

    fn shard_lost(&mut self, shard: u16) {
        let node = self.shell.node;
        self.stage.note(|| format!("node {node} loses shard {shard} by a fault"));
        self.stage.tally.faults += 1;
    }
}

/// Whether bytes that are written hold a close frame with this code. States are ASCII here.
fn closes_with(bytes: &[u8], code: CloseCode) -> bool {
    let [high, low] = code.number().to_be_bytes();
    bytes.windows(4).any(|frame| matches!(frame, [0x88, _, h, l] if (*h, *l) == (high, low)))
}

/// What a rule says that is run.
fn outcome(question: &Question, ruling: Ruling) -> RuleOutcome {
    let said = match ruling {
        Ruling::Granted => Said::True,
        Ruling::Denied => Said::False,
        Ruling::Unavailable => Said::Nothing,
    };
    RuleOutcome { rule: question.right, said }
}

/// A token is the name of its user: no run is about signatures.
fn verify(token: &str, (resume, process): (Option<&str>, u64), stage: &Stage) -> Checked {
    let result = UserId::parse(token).map_err(|_| AuthRefusal::Bad("a token names a user".into()));
    let claim = result.as_ref().ok().and_then(|user| claim_of(process, resume?, user));
    let life_ms = stage.plan.token_life.map(|life| life.as_millis() as u64);
    let expires_at_unix_ms = life_ms.map_or(u64::MAX, |life_ms| stage.now.as_millis() + life_ms);
    let result = result.map(|user| informed(user, stage.now));
    let result = result.map(|user| Auth { user, expires_at_unix_ms, claims: "{}".into() });
    let facts = TokenFacts { key: Some("HS256".into()), ..TokenFacts::default() };
    let verification =
        Verification { result, claim: claim.map(Box::new), unix_ms: stage.now.as_millis() };
    Checked { verification, facts: Some(Box::new(facts)) }
}

/// Every second user has a token with information, which changes from time to time.
fn informed(user: UserId, now: Instant) -> User {
    const CHANGES_EVERY_MS: u64 = 20_000;
    let has_info = user.as_str().bytes().last().is_some_and(|last| last % 2 == 0);
    let info = format!(r#"{{"turn":{}}}"#, now.as_millis() / CHANGES_EVERY_MS);
    User::new(user, has_info.then(|| Info::parse(&info).expect("a short object")))
}

/// A resume token says what it is for.
fn resume_token(process: u64, claim: Claim, user: &UserId) -> Box<str> {
    let id: String = claim.connection.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let Place { peer, slot } = claim.place.expect("a hub says where its sessions are");
    format!("{process} {id} {} {} {slot} {}", claim.generation, peer.0, user.as_str()).into()
}

/// Nodes take each other's tokens, but the place that one names is in its own process.
fn claim_of(process: u64, token: &str, user: &UserId) -> Option<Claim> {
    let mut parts = token.splitn(6, ' ');
    let is_own = parts.next()? == process.to_string();
    let id = u128::from_str_radix(parts.next()?, 16).ok()?;
    let generation = parts.next()?.parse().ok()?;
    let peer = Peer(parts.next()?.parse().ok()?);
    let slot = parts.next()?.parse().ok()?;
    let connection = ConnectionId::from_bytes(id.to_be_bytes());
    let place = is_own.then_some(Place { peer, slot });
    let claim = Claim { connection, generation, place };
    (parts.next()? == user.as_str()).then_some(claim)
}
