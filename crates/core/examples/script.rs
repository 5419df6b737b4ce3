//! A fixed script for the core: 10,000 messages, decoded and told to sessions, and 10,000 commands to
//! a shard with the flushes between them. The same each time, to the byte. Run under callgrind it says
//! how many instructions they cost, which no other load of the machine can blur;
//! `crates/core/benches/count-instructions` does that. What a whole hub makes of a script is counted
//! in `crates/hub`.

use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Asker, Auth, ChannelSettings, Command, Context, CurrentPolicy, Expire, Flush, Input, Instant,
    Limits, Owner, Patterns, Peer, Policy, Put, RateLimit, RequestId, Right, Ruling, Session,
    Shard, Verification,
};
use herenow_wire::{ChannelName, DefaultChannel, LeaveReason, State, UserId, decode};

use fixed::{Dice, connection_id, state_text, track_text};

mod fixed;

const MESSAGES: usize = 10_000;
const CONNECTIONS: u64 = 200;
const CHANNELS: u64 = 10;
const STATE_BYTES: usize = 120;
/// Commands between two flushes, and the time from one to the next.
const COMMANDS_PER_FLUSH: usize = 8;
const FLUSH_PERIOD: Duration = Duration::from_millis(2);

fn main() {
    let (mut sessions, texts) = (sessions(), texts());
    let (mut shard, commands) = (shard(), commands());
    println!("{} effects of sessions", play_sessions(&mut sessions, &texts));
    println!("{} changes told", play_shard(&mut shard, commands));
}

/// Counted. Never inlined, since callgrind finds it by its name.
#[inline(never)]
fn play_sessions(sessions: &mut [Session], texts: &[(u64, String)]) -> usize {
    let (limits, policy) = (limits(), policy());
    let context = Context { now: Instant::from_millis(1000), limits: &limits, policy: &policy };
    let (mut decoded, mut effects, mut count) = (Vec::new(), Vec::new(), 0);
    for (slot, text) in texts {
        let session = &mut sessions[*slot as usize];
        decode(text, &DefaultChannel::None, &mut decoded);
        for message in decoded.drain(..) {
            session.handle(Input::Frame, &context, &mut effects);
            let input = message.map_or_else(Input::Refused, Input::Message);
            session.handle(input, &context, &mut effects);
        }
        count += effects.len();
        effects.clear();
    }
    count
}

/// Counted. Never inlined, since callgrind finds it by its name.
#[inline(never)]
fn play_shard(shard: &mut Shard, commands: Vec<Command>) -> usize {
    let mut now = Instant::from_millis(1000);
    let (mut effects, mut flush, mut count) = (Vec::new(), Flush::default(), 0);
    let channels: Vec<ChannelName> = (0..CHANNELS).map(channel).collect();
    let mut commands = commands.into_iter().peekable();
    while commands.peek().is_some() {
        for command in commands.by_ref().take(COMMANDS_PER_FLUSH) {
            shard.handle(command, now, &mut effects);
        }
        effects.clear();
        for channel in &channels {
            shard.flush(channel, now, &mut flush);
            count += flush.ops.len();
        }
        now = now + FLUSH_PERIOD;
    }
    count
}

/// Everybody is authenticated and shows something in two channels.
fn sessions() -> Vec<Session> {
    (0..CONNECTIONS).map(session).collect()
}

fn session(slot: u64) -> Session {
    let (limits, policy) = (limits(), policy());
    let context = Context { now: Instant::from_millis(0), limits: &limits, policy: &policy };
    let mut session = Session::new(connection_id(slot as u32, 0), &limits, context.now);
    let mut out = Vec::new();
    let mut tell = |input| session.handle(input, &context, &mut out);
    tell(message(r#"{"type":"auth","token":"t"}"#));
    let auth = Auth { user: user(slot).into(), expires_at_unix_ms: u64::MAX, claims: "{}".into() };
    tell(Input::Verified(Verification { result: Ok(auth), claim: None, unix_ms: 0 }));
    for number in [0, 1].map(|which| (slot + which) % CHANNELS) {
        tell(message(&track_text(&number.to_string(), 0, STATE_BYTES)));
        for _ in [Right::Subscribe, Right::Track] {
            tell(Input::Decision { channel: channel(number), ruling: Ruling::Granted });
        }
    }
    assert_eq!(session.tracked().count(), 2);
    session
}

/// With a subscriber of every channel on one peer.
fn shard() -> Shard {
    let mut shard = Shard::new(1);
    for number in 0..CHANNELS {
        let wish = Command::Subscribe {
            channel: channel(number),
            peer: Peer(0),
            request_id: RequestId(1),
        };
        shard.handle(wish, Instant::from_millis(0), &mut Vec::new());
    }
    shard
}

/// Mostly updates, and some of everything else that a client may ask.
fn texts() -> Vec<(u64, String)> {
    let mut dice = Dice(20_261_125);
    let text = |number| {
        let slot = dice.below(CONNECTIONS);
        let name = (slot + dice.below(2)) % CHANNELS;
        let say = |kind: &str| {
            format!(r#"{{"type":"{kind}","channel":"presence:{name}","ref":{number}}}"#)
        };
        let text = match dice.below(100) {
            0..84 => track_text(&name.to_string(), number, STATE_BYTES),
            84..89 => say("presence_leave"),
            89..93 => say("presence_sync"),
            93..97 => say("ping"),
            _ => say("unheard-of"),
        };
        (slot, text)
    };
    (0..MESSAGES as u64).map(text).collect()
}

/// Mostly updates, some leaves, and some wishes for a snapshot.
fn commands() -> Vec<Command> {
    let mut dice = Dice(20_261_125);
    let command = |number| {
        let slot = dice.below(CONNECTIONS);
        let (channel, connection) =
            (channel((slot + dice.below(2)) % CHANNELS), connection_id(slot as u32, 0));
        match dice.below(100) {
            0..88 => {
                let state =
                    State::parse(&state_text(number as u64, STATE_BYTES)).expect("a valid state");
                let put = Put {
                    connection,
                    owner: Owner(0),
                    generation: 0,
                    user: user(slot).into(),
                    state,
                };
                let (peer, slot) = (Peer(0), slot as u32);
                let asker = Asker { peer, slot, connection, generation: 0 };
                Command::Put {
                    channel,
                    put,
                    expire: Expire::Never,
                    max_members: u32::MAX,
                    asker,
                    reference: None,
                }
            }
            88..95 => {
                let reason = LeaveReason::Leave;
                Command::Remove { channel, connection, owner: Owner(0), generation: 0, reason }
            }
            _ => Command::Subscribe {
                channel,
                peer: Peer(0),
                request_id: RequestId(number as u32 + 2),
            },
        }
    };
    (0..MESSAGES).map(command).collect()
}

fn message(text: &str) -> Input {
    let mut decoded = Vec::new();
    decode(text, &DefaultChannel::None, &mut decoded);
    let message = decoded.pop().expect("one message");
    Input::Message(message.expect("it makes sense"))
}

fn user(slot: u64) -> UserId {
    UserId::parse(&format!("user-{slot}")).expect("a valid user")
}

fn channel(number: u64) -> ChannelName {
    ChannelName::parse(&format!("presence:{number}")).expect("a valid name")
}

fn policy() -> CurrentPolicy {
    let settings =
        ChannelSettings { max_members: u32::MAX, presence_ttl_ms: 60_000, disconnect_grace_ms: 0 };
    CurrentPolicy::new(Arc::new(Policy::new(settings, Patterns::default())))
}

fn limits() -> Limits {
    Limits {
        auth_timeout: Duration::from_secs(5),
        expiry_leeway: Duration::from_secs(60),
        rate: RateLimit { messages_per_second: 1_000_000, burst: 1_000_000 },
        max_channels: 100,
        max_waiting_messages: 64,
        max_waiting_bytes: usize::MAX,
        max_unauthenticated_waiting_bytes: usize::MAX,
    }
}
