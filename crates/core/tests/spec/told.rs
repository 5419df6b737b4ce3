//! The test verbs. Effects are compared as lines of text that name everything in them but the
//! wording of error messages, of which only that there is one.

use herenow_core::{
    Command, Context, CurrentPolicy, Effect, Expire, Flush, Input, Instant, Limits, Member, Op,
    Owner, Peer, PutResult, Question, Right, Session, SessionEffect, Shard, Snapshot, SnapshotFor,
};
use herenow_wire::encode::Reply;
use herenow_wire::{ChannelName, ConnectionId, LeaveReason, Ref};

use crate::given::{Token, at, channel, good, granted, id, limits, policy, settings};

/// A session and what it has to keep to.
pub struct Talk {
    pub session: Session,
    pub limits: Limits,
    pub policy: CurrentPolicy,
}

impl Talk {
    /// Connection `c`, opened when the server started.
    pub fn new() -> Self {
        Self::within(limits())
    }

    pub fn within(limits: Limits) -> Self {
        Self::opened('c', 0, limits)
    }

    /// Connection `letter`, opened at `ms`.
    pub fn opened(letter: char, ms: u64, limits: Limits) -> Self {
        let session = Session::new(id(letter), &limits, at(ms));
        Self { session, limits, policy: CurrentPolicy::new(policy(settings())) }
    }

    /// Signed in as jane.
    pub fn of_jane() -> Self {
        let mut talk = Self::new();
        talk.hear(0, good("jane"));
        talk
    }

    /// Signed in as jane and subscribed to lobby.
    pub fn in_lobby() -> Self {
        let mut talk = Self::of_jane();
        talk.hear(0, crate::given::subscribe("lobby"));
        talk.hear(0, granted("lobby"));
        talk
    }

    /// Signed in as jane, subscribed to lobby and showing `{"n":0}` there.
    pub fn tracking() -> Self {
        let mut talk = Self::in_lobby();
        talk.hear(0, crate::given::track("lobby", r#"{"n":0}"#));
        talk.hear(0, granted("lobby"));
        talk
    }

    /// What the session wants done about `said`. The verdict on a token comes in the same turn.
    pub fn hear(&mut self, ms: u64, said: impl Into<Said>) -> Vec<String> {
        match said.into() {
            Said::Input(input) => self.hear_input(ms, input),
            Said::Token(token) => {
                let mut effects = self.hear_input(ms, token.message());
                if effects.pop_if(|last| last == "verify t").is_some() {
                    effects.extend(self.hear_input(ms, token.verified(ms)));
                }
                effects
            }
        }
    }

    fn hear_input(&mut self, ms: u64, input: Input) -> Vec<String> {
        self.effects(at(ms), input).into_iter().map(line_of).collect()
    }

    /// What the session wants done about `input`, as data.
    pub fn effects(&mut self, now: Instant, input: Input) -> Vec<SessionEffect> {
        let mut out = Vec::new();
        let context = Context { now, limits: &self.limits, policy: &self.policy };
        self.session.handle(input, &context, &mut out);
        out
    }

    /// `said` at `ms` gives exactly these effects.
    #[track_caller]
    pub fn gives(&mut self, ms: u64, said: impl Into<Said>, effects: &[&str]) {
        let said = said.into();
        let shown = format!("{said:?}");
        assert_eq!(self.hear(ms, said), effects, "after {shown} at {ms} ms");
    }

    /// What the session wants done when it is woken at `ms`.
    pub fn wake(&mut self, ms: u64) -> Vec<String> {
        self.wake_at(at(ms))
    }

    pub fn wake_at(&mut self, now: Instant) -> Vec<String> {
        self.effects(now, Input::Timeout).into_iter().map(line_of).collect()
    }

    /// Waking at `ms` gives exactly these effects.
    #[track_caller]
    pub fn wakes(&mut self, ms: u64, effects: &[&str]) {
        assert_eq!(self.wake(ms), effects, "woken at {ms} ms");
    }

    /// The session wants to be woken at exactly `ms`.
    #[track_caller]
    pub fn sleeps_until(&self, ms: u64) {
        assert_eq!(self.session.poll_timeout(&self.limits), at(ms));
    }

    /// The session never wants to be woken.
    #[track_caller]
    pub fn sleeps_for_ever(&self) {
        assert_eq!(self.session.poll_timeout(&self.limits), Instant::NEVER);
    }
}

/// What a session hears.
#[derive(Debug)]
pub enum Said {
    Input(Input),
    Token(Token),
}

impl From<Input> for Said {
    fn from(input: Input) -> Self {
        Self::Input(input)
    }
}

impl From<Token> for Said {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}

/// A shard whose first maps live in epoch 7.
pub struct House {
    pub shard: Shard,
}

impl House {
    pub fn new() -> Self {
        Self { shard: Shard::new(7) }
    }

    /// With what has happened to it at 0 ms, all told.
    pub fn after(commands: impl IntoIterator<Item = Command>) -> Self {
        let mut house = Self::new();
        let mut names: Vec<ChannelName> = Vec::new();
        for command in commands {
            names.push(command.channel().clone());
            house.hear(0, command);
        }
        for name in names {
            house.shard.flush(&name, at(0), &mut Flush::default());
        }
        house
    }

    /// What the shard wants done about `command`.
    pub fn hear(&mut self, ms: u64, command: Command) -> Vec<String> {
        self.out(|shard, out| shard.handle(command, at(ms), out))
    }

    /// `command` at `ms` gives exactly these effects.
    #[track_caller]
    pub fn gives(&mut self, ms: u64, command: Command, effects: &[&str]) {
        let shown = format!("{command:?}");
        assert_eq!(self.hear(ms, command), effects, "after {shown} at {ms} ms");
    }

    /// What another call to the shard wants done.
    pub fn out(&mut self, call: impl FnOnce(&mut Shard, &mut Vec<Effect>)) -> Vec<String> {
        let mut out = Vec::new();
        call(&mut self.shard, &mut out);
        out.into_iter().map(effect_line).collect()
    }

    /// A process is lost, and its members leave.
    pub fn lose_owner(&mut self, owner: Owner, now: Instant) -> Vec<String> {
        self.out(|shard, out| {
            for channel in shard.channels_of(owner) {
                shard.remove_owner(&channel, (owner, LeaveReason::Disconnect), now, out);
            }
        })
    }

    /// A flush of the channel owes exactly this.
    #[track_caller]
    pub fn owes(&mut self, name: &str, ms: u64, lines: &[&str]) {
        assert_eq!(self.flush(name, ms), lines, "flush of {name} at {ms} ms");
    }

    pub fn flush(&mut self, name: &str, ms: u64) -> Vec<String> {
        // What stood in it before must not be seen again.
        let mut flush =
            Flush { merged: 99, snapshot: Some(Snapshot::default()), ..Flush::default() };
        self.shard.flush(&channel(name), at(ms), &mut flush);
        flush_lines(&flush)
    }

    /// How many channels and members the shard holds.
    #[track_caller]
    pub fn holds(&self, channels: usize, members: usize) {
        assert_eq!((self.shard.channels(), self.shard.members()), (channels, members));
    }
}

pub fn line_of(effect: SessionEffect) -> String {
    match effect {
        SessionEffect::Reply(reply, reference) => reply_line(reply) + &suffix(reference.as_ref()),
        SessionEffect::Verify { token, resume } => {
            let resume = resume.map_or(String::new(), |resume| format!(" with {resume}"));
            format!("verify {token}{resume}")
        }
        SessionEffect::Authorize(Question { channel, right, user }) => {
            let right = match right {
                Right::Subscribe => "subscribe",
                Right::Track => "track",
            };
            let user = user.map_or("nobody".to_owned(), |user| user.to_string());
            format!("may {user} {right} {}?", channel.as_str())
        }
        SessionEffect::Listen { channel } => format!("listen {}", channel.as_str()),
        SessionEffect::Count { channel } => format!("count {}", channel.as_str()),
        SessionEffect::RequestSnapshot { channel } => {
            format!("request snapshot {}", channel.as_str())
        }
        SessionEffect::Unlisten { channel } => format!("unlisten {}", channel.as_str()),
        SessionEffect::Put { channel, state, expire, user, reference, .. } => {
            let suffix = suffix(reference.as_ref());
            let info = user.info().map_or_else(String::new, |info| format!(" {}", info.as_str()));
            let user = user.id();
            let after = match expire {
                Expire::After(fields) => format!(" then {}", fields.rest().as_str()),
                Expire::Never | Expire::AsBefore => String::new(),
            };
            format!("put {} {}{after} as {user}{info}{suffix}", channel.as_str(), state.as_str())
        }
        SessionEffect::Remove { channel, reason } => {
            format!("remove {} {}", channel.as_str(), reason.as_str())
        }
        SessionEffect::TakeOver { claim, user } => {
            let connection = letter(claim.connection);
            format!("take over {connection} {} for {user}", claim.generation)
        }
        SessionEffect::Detach { channel } => format!("detach {}", channel.as_str()),
        SessionEffect::Detached => "detached".to_owned(),
        SessionEffect::HandedOver { to, session } => {
            format!("hand {} over to {}", letter(session.connection()), letter(to.connection))
        }
        SessionEffect::ReviewLater => "review later".to_owned(),
        SessionEffect::Admitted => "admitted".to_owned(),
        SessionEffect::Close { code } => format!("close {}", code.number()),
    }
}

fn reply_line(reply: Reply) -> String {
    match reply {
        Reply::AuthSuccess { user, connection, .. } => {
            format!("auth_success {user} {}", letter(connection))
        }
        Reply::AuthError { message } => {
            assert!(!message.is_empty(), "a failure has a sentence");
            "auth_error".to_owned()
        }
        Reply::AuthRefreshed { user, revoked } => {
            let revoked: Vec<&str> = revoked.iter().map(ChannelName::as_str).collect();
            format!("auth_refreshed {user} [{}]", revoked.join(" "))
        }
        Reply::Subscribed { channel } => format!("subscribed {}", channel.as_str()),
        Reply::Unsubscribed { channel, code, retry_after_ms } => {
            let code = code.map_or(String::new(), |code| format!(" {code}"));
            format!("unsubscribed {}{code}{}", channel.as_str(), after(retry_after_ms))
        }
        Reply::Pong => "pong".to_owned(),
        Reply::Ack => "ack".to_owned(),
        Reply::Error { code, message, channel, retry_after_ms } => {
            assert!(!message.is_empty(), "a failure has a sentence");
            let channel = channel.map_or(String::new(), |channel| format!(" {}", channel.as_str()));
            format!("error {code}{channel}{}", after(retry_after_ms))
        }
        Reply::Resync { channel } => format!("resync {}", channel.as_str()),
    }
}

fn after(retry_after_ms: Option<u32>) -> String {
    retry_after_ms.map_or(String::new(), |ms| format!(" for {ms} ms"))
}

fn effect_line(effect: Effect) -> String {
    match effect {
        Effect::Dirty { channel, flushed_at } => {
            format!("dirty {} since {}", channel.as_str(), flushed_at.as_millis())
        }
        Effect::FlushNow { channel, flushed_at } => {
            format!("flush now {} since {}", channel.as_str(), flushed_at.as_millis())
        }
        Effect::Answer { asker, reference, channel, result } => {
            let result = match result {
                PutResult::Done => "done",
                PutResult::Full => "full",
                PutResult::Superseded => "superseded",
            };
            let suffix = suffix(reference.as_ref());
            format!("answer {} {} {result}{suffix}", letter(asker.connection), channel.as_str())
        }
        Effect::Resync { channel, peers } => among("resync", &channel, &peers),
        Effect::Hibernated { channel, peers } => among("hibernated", &channel, &peers),
    }
}

fn among(what: &str, channel: &ChannelName, peers: &[Peer]) -> String {
    let peers: Vec<String> = peers.iter().map(|peer| peer.0.to_string()).collect();
    format!("{what} {} [{}]", channel.as_str(), peers.join(" "))
}

/// The ops, what was merged away where anything was, the receivers, and the snapshot.
pub fn flush_lines(flush: &Flush) -> Vec<String> {
    let mut lines: Vec<String> = flush.ops.iter().map(op_line).collect();
    if flush.merged > 0 {
        lines.push(format!("merged {}", flush.merged));
    }
    lines.extend(flush.to.iter().map(|receiver| match receiver.snapshot_for {
        SnapshotFor::None => format!("to {}: deltas", receiver.peer.0),
        SnapshotFor::UpTo(request_id) => {
            format!("to {}: snapshot up to {}", receiver.peer.0, request_id.0)
        }
        SnapshotFor::All(request_id) => {
            format!("to {}: snapshot to all up to {}", receiver.peer.0, request_id.0)
        }
    }));
    lines.extend(flush.snapshot.as_ref().map(snapshot_line));
    lines
}

pub fn snapshot_line(snapshot: &Snapshot) -> String {
    let rows: Vec<String> = snapshot.members.iter().map(row).collect();
    format!("snapshot {}:{} [{}]", snapshot.epoch, snapshot.seq, rows.join(" "))
}

pub fn op_line(op: &Op) -> String {
    match op {
        Op::Put { old: None, new } => format!("{}: join {}", new.seq, row(new)),
        Op::Put { old: Some(old), new } => {
            assert_eq!(old.connection, new.connection, "a member keeps its key");
            format!("{}: update {} was {}", new.seq, row(new), old.state.as_str())
        }
        Op::Remove { old, reason, seq } => format!("{seq}: {} {}", leave(*reason), row(old)),
    }
}

fn leave(reason: LeaveReason) -> String {
    format!("leave({})", reason.as_str())
}

fn row(member: &Member) -> String {
    format!("{}{}", letter(member.connection), member.state.as_str())
}

fn letter(connection: ConnectionId) -> char {
    char::from(connection.as_bytes()[0])
}

fn suffix(reference: Option<&Ref>) -> String {
    reference.map_or(String::new(), |reference| format!(" ref {}", reference.as_json()))
}
