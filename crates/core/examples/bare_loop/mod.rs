//! A loop without sockets: decodes messages, tells sessions and one shard, flushes and encodes,
//! and counts what it would have written. What a real loop adds is system calls, so this is what
//! benches, the instruction count and the allocation count measure the core and the wire by.
//!
//! Everybody is signed in and every access decision is yes.

#![allow(dead_code, reason = "each program that measures uses its part")]

use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Asker, Audience, Auth, ChannelSettings, Command, Context, CurrentPolicy, Effect, Flush, Input,
    Instant, Limits, Op, Owner, Part, Patterns, Peer, Policy, Put, RateLimit, Ruling, Session,
    SessionEffect, Shard, Snapshot, Verification,
};
use herenow_wire::encode::{self, Gone, Position, Row};
use herenow_wire::{
    ChannelName, ClientMessage, ConnectionId, DefaultChannel, Incoming, Refusal, UserId, decode,
};

/// See the module.
pub struct BareLoop {
    limits: Limits,
    policy: CurrentPolicy,
    sessions: Vec<Session>,
    shard: Shard,
    audience: Audience,
    now: Instant,
    dirty: Vec<ChannelName>,
    written: Written,

    decoded: Vec<Result<Incoming, Refusal>>,
    session_effects: Vec<SessionEffect>,
    shard_effects: Vec<Effect>,
    flush: Flush,
    replies: Vec<u8>,
    deltas: Vec<u8>,
    snapshot: Vec<u8>,
}

/// What would have gone to sockets so far.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Written {
    /// Changes, each counted once per subscriber that was sent it.
    pub deliveries: u64,
    /// Snapshots, each counted once per subscriber that was sent it.
    pub snapshots: u64,
    /// Bytes encoded, however many subscribers shared them.
    pub encoded_bytes: u64,
}

const PEER: Peer = Peer(0);
const OWNER: Owner = Owner(0);
const MAX_MEMBERS: u32 = 100_000;
/// No measurement is to end in the limit that protects a server from one connection.
const MESSAGES_PER_SECOND: u32 = 1_000_000;

impl BareLoop {
    /// Of nobody. The time is a second after the server's start.
    pub fn new() -> Self {
        Self {
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
            policy: CurrentPolicy::new(Arc::new(Policy::new(
                ChannelSettings {
                    max_members: MAX_MEMBERS,
                    presence_ttl_ms: 60_000,
                    disconnect_grace_ms: 0,
                },
                Patterns::default(),
            ))),
            sessions: Vec::new(),
            shard: Shard::new(1),
            audience: Audience::default(),
            now: Instant::from_millis(1000),
            dirty: Vec::new(),
            written: Written::default(),
            decoded: Vec::new(),
            session_effects: Vec::new(),
            shard_effects: Vec::new(),
            flush: Flush::default(),
            replies: Vec::new(),
            deltas: Vec::new(),
            snapshot: Vec::new(),
        }
    }

    /// A connection that opens and signs in. Returns its slot.
    pub fn connect(&mut self) -> u32 {
        let slot = self.sessions.len() as u32;
        self.sessions.push(Session::new(connection_id(slot, 0), &self.limits, self.now));
        self.sign_in(slot);
        slot
    }

    /// The connection in `slot` breaks, and its client comes back with a new one.
    pub fn reconnect(&mut self, slot: u32) {
        self.tell(slot, Input::Broken);
        let generation = self.written.deliveries as u32 | 1;
        let id = connection_id(slot, generation);
        self.sessions[slot as usize] = Session::new(id, &self.limits, self.now);
        self.sign_in(slot);
    }

    /// The text of a frame has come.
    pub fn receive(&mut self, slot: u32, text: &str) {
        let mut decoded = std::mem::take(&mut self.decoded);
        decode(text, &DefaultChannel::None, &mut decoded);
        for message in decoded.drain(..) {
            self.tell(slot, Input::Frame);
            self.tell(slot, message.map_or_else(Input::Refused, Input::Message));
        }
        self.decoded = decoded;
    }

    /// Time goes on.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Nobody says anything for so long, and every channel falls asleep.
    pub fn hibernate(&mut self, after: Duration) {
        self.wait(after);
        self.shard.handle_timeout(self.now, Some(after), &mut self.shard_effects);
        self.settle();
    }

    /// Flushes every channel that has something to tell.
    pub fn flush(&mut self) {
        let mut flush = std::mem::take(&mut self.flush);
        let mut dirty = std::mem::take(&mut self.dirty);
        for channel in dirty.drain(..) {
            self.shard.flush(&channel, self.now, &mut flush);
            self.deliver(&channel, &flush);
        }
        flush.snapshot = None;
        self.flush = flush;
        self.dirty = dirty;
        self.written.encoded_bytes += self.replies.len() as u64;
        self.replies.clear();
    }

    /// Gives back the buffers that all connections share, so that what is left is theirs.
    pub fn give_back_buffers(&mut self) {
        self.dirty = Vec::new();
        self.decoded = Vec::new();
        self.session_effects = Vec::new();
        self.shard_effects = Vec::new();
        self.flush = Flush::default();
        self.replies = Vec::new();
        self.deltas = Vec::new();
        self.snapshot = Vec::new();
    }

    /// What would have gone to sockets so far.
    pub fn written(&self) -> Written {
        self.written
    }

    fn sign_in(&mut self, slot: u32) {
        let message = ClientMessage::Auth { token: Some("t".into()), resume: None };
        self.tell(slot, Input::Message(Incoming { message, reference: None }));
    }

    fn tell(&mut self, slot: u32, input: Input) {
        self.hand(slot, input);
        while !self.session_effects.is_empty() {
            let mut batch = std::mem::take(&mut self.session_effects);
            for effect in batch.drain(..) {
                self.perform(slot, effect);
            }
            if self.session_effects.is_empty() {
                self.session_effects = batch;
                break;
            }
        }
        self.settle();
    }

    fn hand(&mut self, slot: u32, input: Input) {
        let context = Context { now: self.now, limits: &self.limits, policy: &self.policy };
        self.sessions[slot as usize].handle(input, &context, &mut self.session_effects);
    }

    fn perform(&mut self, slot: u32, effect: SessionEffect) {
        let connection = self.sessions[slot as usize].connection();
        match effect {
            SessionEffect::Reply(reply, reference) => {
                encode::reply(&mut self.replies, &reply, reference.as_ref());
            }
            SessionEffect::Authorize(question) => {
                let channel = self.audience.canonical(question.channel);
                let input = Input::Decision { channel, ruling: Ruling::Granted };
                self.hand(slot, input);
            }
            SessionEffect::Verify { .. } => {
                let user = UserId::parse(&format!("user-{slot}")).expect("short and not empty");
                let auth = Auth { user, expires_at_unix_ms: u64::MAX, claims: "{}".into() };
                let verification = Verification { verdict: Ok(auth), claim: None, unix_ms: 0 };
                let input = Input::Verified(verification);
                self.hand(slot, input);
            }
            SessionEffect::Listen { channel } => {
                let ask = self.audience.listen(&channel, slot);
                self.command(Command::Subscribe { channel, peer: PEER, ask });
            }
            SessionEffect::AskAgain { channel } => {
                if let Some(ask) = self.audience.ask_again(&channel, slot) {
                    self.command(Command::Subscribe { channel, peer: PEER, ask });
                }
            }
            SessionEffect::Unlisten { channel } => {
                if self.audience.unlisten(&channel, slot) {
                    self.command(Command::Unsubscribe { channel, peer: PEER });
                }
            }
            SessionEffect::Put { channel, state, user, reference, settings } => {
                let put = Put { connection, owner: OWNER, user, state };
                let asker = Asker::new(PEER, slot, &self.sessions[slot as usize]);
                let max_members = settings.max_members;
                self.command(Command::Put { channel, put, max_members, asker, reference });
            }
            SessionEffect::Remove { channel, reason } => {
                self.command(Command::Remove { channel, connection, owner: OWNER, reason });
            }
            // Sockets, resuming and reviews are the shell's.
            SessionEffect::TakeOver { .. }
            | SessionEffect::Detach { .. }
            | SessionEffect::Detached
            | SessionEffect::HandedOver { .. }
            | SessionEffect::ReviewLater
            | SessionEffect::Settled
            | SessionEffect::Close { .. } => {}
        }
    }

    fn command(&mut self, command: Command) {
        self.shard.handle(command, self.now, &mut self.shard_effects);
    }

    fn settle(&mut self) {
        let mut effects = std::mem::take(&mut self.shard_effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Dirty { channel, .. } => self.dirty.push(channel),
                Effect::Answer { asker, reference, channel, verdict } => {
                    self.hand(asker.slot, Input::Answer { channel, reference, verdict });
                }
                Effect::Hibernated { channel, .. } => {
                    let subscribers = self.audience.subscribers(&channel).iter();
                    let slots: Vec<u32> = subscribers.map(|one| one.slot).collect();
                    for slot in slots {
                        self.hand(slot, Input::Hibernated { channel: channel.clone() });
                    }
                }
                Effect::Ripe { .. } | Effect::Resync { .. } => {}
            }
        }
        self.shard_effects = effects;
        for effect in self.session_effects.drain(..) {
            if let SessionEffect::Reply(reply, reference) = effect {
                encode::reply(&mut self.replies, &reply, reference.as_ref());
            }
        }
    }

    fn deliver(&mut self, channel: &ChannelName, flush: &Flush) {
        self.deltas.clear();
        self.snapshot.clear();
        for op in &flush.ops {
            encode_op(&mut self.deltas, channel, op);
        }
        if let Some(snapshot) = &flush.snapshot {
            encode_snapshot(&mut self.snapshot, channel, snapshot);
        }
        self.written.encoded_bytes += (self.deltas.len() + self.snapshot.len()) as u64;
        for receiver in &flush.to {
            for subscriber in self.audience.subscribers(channel) {
                match subscriber.take(receiver.owed) {
                    Some(Part::Deltas) => self.written.deliveries += flush.ops.len() as u64,
                    Some(Part::Snapshot) => self.written.snapshots += 1,
                    None => {}
                }
            }
        }
    }
}

/// The text of a track whose state is about `state_bytes` long and differs with `number`.
pub fn track_text(channel: &str, number: u64, state_bytes: usize) -> String {
    let state = format!(r#"{{"status":"online","cursor":{{"x":{number},"y":0}},"name":""#);
    let padding = "n".repeat(state_bytes.saturating_sub(state.len() + 2));
    format!(
        r#"{{"type":"presence_join","channel":"presence:{channel}","state":{state}{padding}"}}}}"#
    )
}

fn connection_id(slot: u32, generation: u32) -> ConnectionId {
    // Real ids are random; these are spread as widely, and the same each time.
    let spread = u64::from(slot).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let both = (u128::from(spread) << 64) | (u128::from(slot) << 32) | u128::from(generation);
    ConnectionId::from_bytes(both.to_be_bytes())
}

fn encode_op(out: &mut Vec<u8>, channel: &ChannelName, op: &Op) {
    match op {
        Op::Put { was, is } => {
            let row = Row { user: &is.user, connection: is.connection, state: &is.state };
            match was {
                None => encode::join(out, channel, is.seq, row),
                Some(_) => encode::update(out, channel, is.seq, row),
            }
        }
        Op::Remove { was, reason, seq } => {
            let gone = Gone { user: &was.user, connection: was.connection, reason: *reason };
            encode::leave(out, channel, *seq, gone);
        }
    }
}

fn encode_snapshot(out: &mut Vec<u8>, channel: &ChannelName, snapshot: &Snapshot) {
    let position = Position { epoch: snapshot.epoch, seq: snapshot.seq };
    let rows = snapshot.entries.iter().map(|entry| Row {
        user: &entry.user,
        connection: entry.connection,
        state: &entry.state,
    });
    encode::sync(out, channel, position, rows);
}
