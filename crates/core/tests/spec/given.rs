//! Short names for values, and the inputs of sessions and shards.

use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Asker, Auth, AuthRefusal, ChannelSettings, Claim, Command, Expire, Input, Instant, Limits,
    Overrides, Owner, Pattern, Patterns, Peer, Policy, Put, PutResult, RateLimit, RequestId,
    Ruling, Verification,
};
use herenow_wire::{
    ChannelName, ClientMessage, ConnectionId, DefaultChannel, ErrorCode, Incoming, Info,
    LeaveReason, Mode, Ref, Refusal, State, User, UserId, decode,
};

pub fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

pub fn channel(name: &str) -> ChannelName {
    ChannelName::parse(&format!("presence:{name}")).expect("a valid name")
}

pub fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a valid user")
}

pub fn state(json: &str) -> State {
    State::parse(json).expect("a valid state")
}

/// A connection, named by a letter.
pub fn id(letter: char) -> ConnectionId {
    ConnectionId::from_bytes([letter as u8; 16])
}

/// A `ref` as a client would send it.
pub fn reference(json: &str) -> Ref {
    let mut out = Vec::new();
    decode(&format!(r#"{{"type":"ping","ref":{json}}}"#), &DefaultChannel::None, &mut out);
    let incoming = out.remove(0).expect("a good ping");
    incoming.reference.expect("it carries a ref")
}

// What a session is told.

pub fn say(message: ClientMessage) -> Input {
    Input::Message(Incoming { message, reference: None })
}

pub fn subscribe(name: &str) -> Input {
    say(ClientMessage::Subscribe { channel: channel(name), mode: Mode::List })
}

pub fn subscribe_all(names: &[&str]) -> Input {
    let channels = names.iter().map(|name| channel(name)).collect();
    say(ClientMessage::SubscribeAll { channels, mode: Mode::List })
}

/// Subscribes to nothing but the count.
pub fn count(name: &str) -> Input {
    say(ClientMessage::Subscribe { channel: channel(name), mode: Mode::Count })
}

pub fn unsubscribe(name: &str) -> Input {
    say(ClientMessage::Unsubscribe { channel: channel(name) })
}

pub fn track(name: &str, json: &str) -> Input {
    say(ClientMessage::Track { channel: channel(name), state: state(json), expire: None })
}

/// Tracks a state with fields that end.
pub fn expiring(name: &str, json: &str, expire: &str) -> Input {
    let mut out = Vec::new();
    let text = format!(
        r#"{{"type":"presence_join","channel":"presence:{name}","state":{json},"expire":{expire}}}"#
    );
    decode(&text, &DefaultChannel::None, &mut out);
    Input::Message(out.remove(0).expect("a good message"))
}

pub fn untrack(name: &str) -> Input {
    say(ClientMessage::Untrack { channel: channel(name) })
}

pub fn sync(name: &str) -> Input {
    say(ClientMessage::Sync { channel: channel(name) })
}

pub fn ping() -> Input {
    say(ClientMessage::Ping)
}

/// What the wire makes of a message that makes no sense.
pub fn nonsense() -> Input {
    Input::Refused(Refusal {
        code: ErrorCode::UnknownType,
        message: "the type is not one that a client sends".into(),
        channel: None,
        reference: None,
    })
}

/// When the token of [`good`] ends.
pub const GOOD_UNTIL_MS: u64 = 1_000_000;

/// An `auth` message and what its token will be found to be.
#[derive(Clone, Debug)]
pub struct Token {
    pub result: Result<Auth, AuthRefusal>,
    pub claim: Option<Claim>,
    pub reference: Option<Ref>,
}

impl Token {
    pub fn message(&self) -> Input {
        let message = ClientMessage::Auth { token: Some("t".into()), resume: None };
        Input::Message(Incoming { message, reference: self.reference.clone() })
    }

    /// The verdict that comes so many milliseconds after the server's start, by a right clock.
    pub fn verified(self, ms: u64) -> Input {
        self.verified_by_clock(STARTED_AT_UNIX_MS.saturating_add(ms))
    }

    pub fn verified_by_clock(self, unix_ms: u64) -> Input {
        let Token { result, claim, .. } = self;
        Input::Verified(Verification { result, claim: claim.map(Box::new), unix_ms })
    }
}

pub fn good(name: &str) -> Token {
    good_until(name, GOOD_UNTIL_MS)
}

/// A good token with the claim `presence.info`.
pub fn informed(name: &str, info: &str) -> Token {
    let mut token = good(name);
    if let Ok(auth) = &mut token.result {
        auth.user = User::new(user(name), Some(Info::parse(info).expect("a short object")));
    }
    token
}

/// A good token that ends so many milliseconds after the server's start.
pub fn good_until(name: &str, ms: u64) -> Token {
    let expires_at_unix_ms = STARTED_AT_UNIX_MS.saturating_add(ms);
    let auth = Auth { user: user(name).into(), expires_at_unix_ms, claims: "{}".into() };
    Token { result: Ok(auth), claim: None, reference: None }
}

pub fn bad() -> Token {
    refused(AuthRefusal::Bad("It is not good.".into()))
}

pub fn refused(refusal: AuthRefusal) -> Token {
    Token { result: Err(refusal), claim: None, reference: None }
}

pub fn granted(name: &str) -> Input {
    Input::Decision { channel: channel(name), ruling: Ruling::Granted }
}

pub fn denied(name: &str) -> Input {
    Input::Decision { channel: channel(name), ruling: Ruling::Denied }
}

pub fn unavailable(name: &str) -> Input {
    Input::Decision { channel: channel(name), ruling: Ruling::Unavailable }
}

pub fn answered(name: &str, result: PutResult) -> Input {
    Input::Answer { channel: channel(name), reference: None, result }
}

/// What a client can give a `ref`.
pub trait WithRef {
    fn with_ref(self, reference: Option<Ref>) -> Self;
}

impl WithRef for Token {
    fn with_ref(self, reference: Option<Ref>) -> Self {
        Self { reference, ..self }
    }
}

/// The same with a `ref`.
pub fn with_ref<T: WithRef>(json: &str, what: T) -> T {
    what.with_ref(Some(reference(json)))
}

impl WithRef for Input {
    fn with_ref(self, reference: Option<Ref>) -> Self {
        match self {
            Input::Message(Incoming { message, .. }) => {
                Input::Message(Incoming { message, reference })
            }
            Input::Refused(refusal) => Input::Refused(Refusal { reference, ..refusal }),
            Input::Answer { channel, result, .. } => Input::Answer { channel, reference, result },
            other => unreachable!("{other:?} comes from no client"),
        }
    }
}

/// The wall clock when the server's own was zero.
pub const STARTED_AT_UNIX_MS: u64 = 1_700_000_000_000;

pub fn limits() -> Limits {
    Limits {
        auth_timeout: Duration::from_millis(5_000),
        expiry_leeway: Duration::from_secs(60),
        rate: RateLimit { messages_per_second: 200, burst: 400 },
        max_channels: 100,
        max_waiting_messages: 64,
        max_waiting_bytes: 200_000,
        max_unauthenticated_waiting_bytes: 16_000,
    }
}

/// Channels without a grace, whose members outlive a minute of silence.
pub fn settings() -> ChannelSettings {
    ChannelSettings { max_members: ROOMY, presence_ttl_ms: 60_000, disconnect_grace_ms: 0 }
}

/// The same settings in every channel.
pub fn policy(defaults: ChannelSettings) -> Arc<Policy> {
    Arc::new(Policy::new(defaults, Patterns::default()))
}

/// Settings of its own in the channel `name`.
pub fn policy_but_for(name: &str, own: Overrides, defaults: ChannelSettings) -> Arc<Policy> {
    let pattern = Pattern::parse(&format!("presence:{name}")).expect("a channel can match it");
    Arc::new(Policy::new(defaults, Patterns::new(vec![(pattern, own)])))
}

// What a shard is told.

pub const OWNER: Owner = Owner(0);

/// Room enough for every test that is not about the lack of it.
pub const ROOMY: u32 = 1_000;

/// What connection `letter` shows; its user has the same letter.
pub fn shown(letter: char, json: &str) -> Put {
    Put {
        connection: id(letter),
        owner: OWNER,
        generation: 0,
        user: user(&letter.to_string()).into(),
        state: state(json),
    }
}

/// Connection `letter`.
pub fn asker(letter: char) -> Asker {
    Asker { peer: Peer(0), slot: 0, connection: id(letter), generation: 0 }
}

/// Connection `letter` shows `json`, and gave the message no `ref`.
pub fn put(name: &str, letter: char, json: &str) -> Command {
    put_among(name, shown(letter, json), ROOMY)
}

/// The same with the `ref` that stands in the message.
pub fn put_with_ref(name: &str, put: Put, json: &str) -> Command {
    let asker = Asker { connection: put.connection, ..asker('?') };
    let reference = Some(reference(json));
    Command::Put {
        channel: channel(name),
        put,
        expire: Expire::Never,
        max_members: ROOMY,
        asker,
        reference,
    }
}

pub fn put_among(name: &str, put: Put, max_members: u32) -> Command {
    let asker = Asker { connection: put.connection, ..asker('?') };
    Command::Put {
        channel: channel(name),
        put,
        expire: Expire::Never,
        max_members,
        asker,
        reference: None,
    }
}

pub fn remove(name: &str, letter: char, reason: LeaveReason) -> Command {
    remove_of(name, letter, OWNER, reason)
}

pub fn remove_of(name: &str, letter: char, owner: Owner, reason: LeaveReason) -> Command {
    Command::Remove { channel: channel(name), connection: id(letter), owner, generation: 0, reason }
}

pub fn subscribe_peer(name: &str, peer: u16, request_id: u32) -> Command {
    Command::Subscribe {
        channel: channel(name),
        peer: Peer(peer),
        request_id: RequestId(request_id),
    }
}

pub fn unsubscribe_peer(name: &str, peer: u16) -> Command {
    Command::Unsubscribe { channel: channel(name), peer: Peer(peer) }
}
