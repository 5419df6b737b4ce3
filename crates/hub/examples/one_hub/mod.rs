//! One hub, and an outside that only counts: it takes every byte at once, verifies every token and
//! grants every request at once. What a server adds is system calls and cryptography, so this is
//! what the benches, the count of instructions and the count of allocations measure a hub by.

#![allow(dead_code, reason = "each program that measures uses its part")]

use std::hint::black_box;
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Asker, Auth, ChannelSettings, Claim, Instant, Limits, NodeMail, Owner, Patterns, Peer, Policy,
    Question, RateLimit, Ruling, UserIndex, Verification,
};
use herenow_hub::{
    Address, Announcement, Asked, Checked, Config, Counters, End, Event, Holdings, Hub, Io, Mail,
    Membership, Opening, Origin, Purpose, QueryId, Remembers, Response, Steps, TokenFacts, Wrote,
};
use herenow_wire::{ChannelName, DefaultChannel, UserId};

use fixed::{connection_id, track_text};

#[path = "../../../core/examples/fixed/mod.rs"]
pub mod fixed;

/// See the module.
pub struct OneHub {
    hub: Hub,
    outside: Counting,
    now: Instant,
    connections: u32,
    /// How often a connection came back.
    returns: u32,
    /// What is received is unmasked in place, so that each frame is copied before.
    read_buffer: Vec<u8>,
    auth: Vec<u8>,
}

/// What went to sockets so far.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Written {
    /// Writes.
    pub writes: u64,
    /// Parts of them: the replies to a connection, or what all subscribers share of a flush.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The outside.
#[derive(Default)]
struct Counting {
    remembers: Remembers,
    written: Written,
    is_recording: bool,
    recorded: Vec<u8>,
    /// Nothing is taken of a write longer than this.
    max_write_bytes: Option<usize>,
    /// No question to the rules is answered.
    are_rules_silent: bool,
    /// Each question to the rules is answered with no.
    do_rules_deny: bool,
    /// What the next resume token claims.
    claim: Option<Claim>,
    /// What the last resume token was given for.
    claimable: Option<Claim>,
    /// Answers to requests.
    responses: Vec<(QueryId, Response)>,
    /// What was announced to those who follow channels.
    announcements: Vec<Announcement>,
    /// How often it was announced that some may be missing.
    gaps: usize,
    /// What went to other nodes.
    node_mail: Vec<NodeMail>,
}

const MAX_MEMBERS: u32 = 100_000;
/// No measurement is to end in the limit that protects a server from one connection.
const MESSAGES_PER_SECOND: u32 = 1_000_000;
/// Longer than any measurement, so that nobody is pinged.
pub const PRESENCE_TTL: Duration = Duration::from_secs(3600);
/// A channel without a message for so long hibernates.
pub const HIBERNATE_AFTER: Duration = Duration::from_secs(60);
/// No connection has more from one turn to the next.
const SEND_QUEUE_BYTES: usize = 256 * 1024;
const WRITES_PER_TURN: usize = 512;

impl OneHub {
    /// Without connections. The time is a second after the server's start.
    pub fn new() -> Self {
        Self::with_policy(Policy::new(settings(), Patterns::default()))
    }

    /// The same, where these settings hold.
    pub fn with_policy(policy: Policy) -> Self {
        Self::with(policy, config())
    }

    /// The same, of a node that is one of several.
    pub fn one_of_several(policy: Policy) -> Self {
        Self::with(policy, Config { membership: Membership::OneOfSeveral, ..config() })
    }

    /// The same, where it is remembered why users are in channels or not.
    pub fn remembering(policy: Policy) -> Self {
        Self::with(policy, Config { remembers: Remembers::Causes, ..config() })
    }

    fn with(policy: Policy, config: Config) -> Self {
        let now = Instant::from_millis(1000);
        let remembers = config.remembers;
        Self {
            hub: Hub::new(config, Arc::new(policy), now),
            outside: Counting { remembers, ..Counting::default() },
            now,
            connections: 0,
            returns: 0,
            read_buffer: Vec::new(),
            auth: masked(r#"{"type":"auth","token":"t"}"#),
        }
    }

    /// A connection that opens and authenticates. Returns its slot.
    pub fn connect(&mut self) -> u32 {
        let slot = self.connections;
        self.connections += 1;
        self.open(slot, DefaultChannel::None);
        self.authenticate(slot);
        slot
    }

    /// A connection that opens and says nothing. Returns its slot.
    pub fn connect_idle(&mut self, default_channel: DefaultChannel) -> u32 {
        let slot = self.connections;
        self.connections += 1;
        self.open(slot, default_channel);
        slot
    }

    /// The connection in `slot` breaks, and in the next turn its client comes back with a new one.
    pub fn reconnect(&mut self, slot: u32) {
        self.tell(Event::Ended { slot, how: End::Broken });
        self.turn();
        self.return_to(slot, None);
    }

    /// A client comes back into a slot that is free, perhaps with a claim.
    pub fn return_to(&mut self, slot: u32, claim: Option<Claim>) {
        self.outside.claim = claim;
        self.returns += 1;
        self.open(slot, DefaultChannel::None);
        self.authenticate(slot);
    }

    /// A masked frame has come.
    pub fn receive(&mut self, slot: u32, frame: &[u8]) {
        let mut bytes = std::mem::take(&mut self.read_buffer);
        bytes.clear();
        bytes.extend_from_slice(frame);
        self.tell(Event::Received { slot, bytes: &mut bytes });
        self.read_buffer = bytes;
    }

    /// Ends the turn: what is owed is written.
    pub fn turn(&mut self) {
        self.hub.turn(self.now, &mut self.outside);
    }

    /// Ends the turn, and asks the hub what a server asks it in every turn.
    pub fn shell_turn(&mut self) {
        black_box(self.hub.counters());
        self.turn();
        black_box(self.hub.counters());
        black_box(self.hub.poll_timeout(&self.outside));
    }

    /// Time goes on.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Nobody says anything for so long that every channel hibernates.
    pub fn hibernate(&mut self) {
        self.wait(HIBERNATE_AFTER);
        self.turn();
    }

    /// What went to sockets so far.
    pub fn written(&self) -> Written {
        self.outside.written
    }

    /// A connection that opens and claims another. Returns its slot.
    pub fn connect_claiming(&mut self, claim: Claim) -> u32 {
        self.outside.claim = Some(claim);
        self.connect()
    }

    /// What the last resume token was given for.
    pub fn claimable(&self) -> Option<Claim> {
        self.outside.claimable
    }

    /// What the hub has counted.
    pub fn counters(&self) -> Counters {
        self.hub.counters()
    }

    /// What the hub holds.
    pub fn holdings(&self) -> Holdings {
        self.hub.holdings()
    }

    /// In how many channels the connection in `slot` has a member.
    pub fn shown(&self, slot: u32) -> usize {
        self.hub.shown(slot).count()
    }

    /// What the hub has looked at.
    pub fn steps(&self) -> Steps {
        self.hub.steps()
    }

    /// The next state that is put into the channel ends in a fault of its shard.
    pub fn fail_next_put(&mut self, channel: ChannelName) {
        self.hub.fail_next_put(channel);
    }

    /// Tells the hub what happened.
    pub fn tell(&mut self, event: Event<'_>) {
        self.hub.handle(event, self.now, &mut self.outside);
    }

    /// What was announced since this was last asked.
    pub fn take_announcements(&mut self) -> Vec<Announcement> {
        std::mem::take(&mut self.outside.announcements)
    }

    /// How often announcements may have been missing since this was last asked.
    pub fn take_gaps(&mut self) -> usize {
        std::mem::take(&mut self.outside.gaps)
    }

    /// What went to other nodes since this was last asked.
    pub fn take_node_mail(&mut self) -> Vec<NodeMail> {
        std::mem::take(&mut self.outside.node_mail)
    }

    /// Answers to requests since this was last asked.
    pub fn take_responses(&mut self) -> Vec<(QueryId, Response)> {
        std::mem::take(&mut self.outside.responses)
    }

    /// The rules answer no question from here on.
    pub fn silence_rules(&mut self) {
        self.outside.are_rules_silent = true;
    }

    /// The rules grant nothing from here on.
    pub fn deny(&mut self) {
        self.outside.do_rules_deny = true;
    }

    /// Sockets take nothing of a write longer than this from here on.
    pub fn refuse_writes_above(&mut self, bytes: usize) {
        self.outside.max_write_bytes = Some(bytes);
    }

    /// Keeps what is written from here on.
    pub fn record(&mut self) {
        self.outside.is_recording = true;
    }

    /// What was written since this was last asked, whoever it was for.
    pub fn take_recorded(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outside.recorded)
    }

    fn open(&mut self, slot: u32, default_channel: DefaultChannel) {
        let id = connection_id(slot, self.returns);
        let opening = Opening::Client { default_channel, origin: self.origin() };
        self.tell(Event::Opened { slot, id, opening });
    }

    /// As a server learns it of a browser, if it is to be remembered.
    fn origin(&self) -> Option<Box<Origin>> {
        let address = Address::Ip(Ipv4Addr::new(192, 0, 2, 1).into());
        let agent = Some("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101".into());
        let is_wanted = self.outside.remembers == Remembers::Causes;
        is_wanted.then(|| Box::new(Origin { address, agent }))
    }

    fn authenticate(&mut self, slot: u32) {
        let auth = std::mem::take(&mut self.auth);
        self.receive(slot, &auth);
        self.auth = auth;
    }
}

impl Io for Counting {
    fn write(&mut self, _: u32, parts: &[IoSlice<'_>]) -> Wrote {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.max_write_bytes.is_some_and(|most| bytes > most) {
            return Wrote::Bytes(0);
        }
        self.written.writes += 1;
        self.written.parts += parts.len() as u64;
        self.written.bytes += bytes as u64;
        if self.is_recording {
            parts.iter().for_each(|part| self.recorded.extend_from_slice(part));
        }
        Wrote::Bytes(bytes)
    }

    fn shutdown_write(&mut self, _: u32) {}

    fn close(&mut self, _: u32) {}

    fn resume(&mut self, _: u32) {}

    fn admitted(&mut self, _: u32) {}

    fn post(&mut self, _: Peer, _: Vec<Mail>) -> Result<(), Vec<Mail>> {
        Ok(())
    }

    fn post_to_nodes(&mut self, _: Owner, mail: Vec<NodeMail>) {
        self.node_mail.extend(mail);
    }

    fn verify(&mut self, asker: Asker, _: &str, _: Option<&str>) -> Asked<Checked> {
        let user = UserId::parse(&format!("user-{}", asker.slot)).expect("short and not empty");
        let auth = Auth { user: user.into(), expires_at_unix_ms: u64::MAX, claims: "{}".into() };
        let claim = self.claim.take().map(Box::new);
        let verification = Verification { result: Ok(auth), claim, unix_ms: 0 };
        let key = || Some("JWT_USER_SECRET".into());
        let facts = || Box::new(TokenFacts { key: key(), ..TokenFacts::default() });
        let facts = (self.remembers == Remembers::Causes).then(facts);
        Asked::Now(Checked { verification, facts })
    }

    fn ask(&mut self, _: (Asker, Purpose), _: &Question, _: Option<&Auth>) -> Asked<Ruling> {
        match (self.are_rules_silent, self.do_rules_deny) {
            (true, _) => Asked::Later,
            (false, true) => Asked::Now(Ruling::Denied),
            (false, false) => Asked::Now(Ruling::Granted),
        }
    }

    fn takes_reviews(&self) -> bool {
        true
    }

    fn resume_token(&mut self, claim: Claim, _: &UserId) -> Box<str> {
        self.claimable = Some(claim);
        "r".into()
    }

    fn respond(&mut self, id: QueryId, response: Response) {
        self.responses.push((id, response));
    }

    fn announce_gap(&mut self) {
        self.gaps += 1;
    }

    fn announce(&mut self, announcement: Announcement) {
        self.announcements.push(announcement);
    }

    fn shard_lost(&mut self, _: u16) {}
}

/// What holds in every channel.
pub fn settings() -> ChannelSettings {
    ChannelSettings {
        max_members: MAX_MEMBERS,
        presence_ttl_ms: PRESENCE_TTL.as_millis() as u64,
        disconnect_grace_ms: 0,
    }
}

fn config() -> Config {
    Config {
        me: Peer(0),
        hubs: 1,
        membership: Membership::Alone,
        epoch_base: 1,
        limits: Limits {
            auth_timeout: Duration::from_secs(5),
            expiry_leeway: Duration::from_secs(60),
            rate: RateLimit {
                messages_per_second: MESSAGES_PER_SECOND,
                burst: MESSAGES_PER_SECOND,
            },
            max_channels: 100,
            max_waiting_messages: 64,
            max_waiting_bytes: usize::MAX,
            max_unauthenticated_waiting_bytes: usize::MAX,
        },
        presence_ttl: PRESENCE_TTL,
        hibernate_after: Some(HIBERNATE_AFTER),
        max_detached_per_user: 100,
        max_frame_bytes: 64 * 1024,
        send_queue_bytes: SEND_QUEUE_BYTES,
        writes_per_turn: WRITES_PER_TURN,
        // Whatever was received before a turn is written in it, at any load.
        flush_delay: Some(Duration::ZERO),
        gather_for: None,
        user_index: UserIndex::LargeChannels,
        remembers: Remembers::Nothing,
        fault_on_channel: None,
    }
}

/// A track whose state is about `state_bytes` long and differs with `number`, as a client's frame.
pub fn track(channel: &str, number: u64, state_bytes: usize) -> Vec<u8> {
    masked(&track_text(channel, number, state_bytes))
}

/// A client's text frame.
pub fn masked(text: &str) -> Vec<u8> {
    herenow_client::raw::text_frame(text)
}
