//! A session above its rate against a model that keeps every accepted message in a list.

use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Auth, ChannelSettings, Context, CurrentPolicy, Input, Instant, Limits, Patterns, Policy,
    RateLimit, Right, Ruling, Session, SessionEffect, Verification,
};
use herenow_wire::encode::Reply;
use herenow_wire::{ChannelName, ClientMessage, ErrorCode, Incoming, State, UserId};
use proptest::prelude::*;

const PER_SECOND: u32 = 10;
const BURST: u32 = 3;
const INTERVAL_MS: u64 = 1_000 / PER_SECOND as u64;

#[derive(Clone, Copy, Debug)]
enum Word {
    Track(u8),
    Untrack(u8),
    Ping,
    /// The session is woken, whether it asked for that or not.
    Wake,
}

/// What the session did, as far as the rate has a say in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Show(u8, u32),
    Hide(u8),
    Pong,
    Refuse,
}

/// The model.
#[derive(Default)]
struct List {
    accepted_ms: Vec<u64>,
    waiting: Vec<(u8, u32)>,
    shows: [bool; CHANNELS as usize],
}

const CHANNELS: u8 = 3;

impl List {
    /// Counted from no message before may more have been accepted than a burst and the rate allow.
    fn is_within(&self, now_ms: u64) -> bool {
        let so_many = self.accepted_ms.len();
        self.accepted_ms.iter().enumerate().all(|(at, first_ms)| {
            let with_this_one = (so_many - at + 1) as u64;
            with_this_one <= u64::from(BURST) + (now_ms - first_ms) / INTERVAL_MS
        })
    }

    fn accept(&mut self, now_ms: u64) -> bool {
        let is_within = self.is_within(now_ms);
        if is_within {
            self.accepted_ms.push(now_ms);
        }
        is_within
    }

    fn hear(&mut self, word: Word, n: u32, now_ms: u64) -> Vec<Did> {
        let mut did = Vec::new();
        while !self.waiting.is_empty() && self.accept(now_ms) {
            let (channel, n) = self.waiting.remove(0);
            self.show(channel, n, &mut did);
        }
        match word {
            Word::Track(channel) if self.accept(now_ms) => self.show(channel, n, &mut did),
            Word::Track(channel) => {
                match self.waiting.iter_mut().find(|(other, _)| *other == channel) {
                    Some(waits) => waits.1 = n,
                    None => self.waiting.push((channel, n)),
                }
            }
            Word::Untrack(channel) => {
                self.accept(now_ms);
                self.waiting.retain(|(other, _)| *other != channel);
                if std::mem::take(&mut self.shows[usize::from(channel)]) {
                    did.push(Did::Hide(channel));
                }
            }
            Word::Ping => did.push(if self.accept(now_ms) { Did::Pong } else { Did::Refuse }),
            Word::Wake => {}
        }
        did
    }

    fn show(&mut self, channel: u8, n: u32, did: &mut Vec<Did>) {
        self.shows[usize::from(channel)] = true;
        did.push(Did::Show(channel, n));
    }
}

struct Talk {
    session: Session,
    limits: Limits,
    policy: CurrentPolicy,
}

impl Talk {
    /// Signed in and allowed to track everywhere, in the first second; the bucket is full when the
    /// model's time begins.
    fn new() -> Self {
        let rate = RateLimit { messages_per_second: PER_SECOND, burst: BURST };
        let limits = Limits {
            auth_timeout: Duration::from_secs(5),
            expiry_leeway: Duration::from_secs(60),
            rate,
            max_channels: 100,
            max_waiting_messages: 64,
            max_waiting_bytes: 200_000,
            max_unauthenticated_waiting_bytes: 16_000,
        };
        let connection = herenow_wire::ConnectionId::from_bytes([1; 16]);
        let session = Session::new(connection, &limits, Instant::default());
        let mut talk = Self { session, limits, policy: policy() };
        let user = UserId::parse("jane").expect("a valid user");
        let auth = Auth { user: user.into(), expires_at_unix_ms: u64::MAX, claims: "{}".into() };
        let sign_in = ClientMessage::Auth { token: Some("t".into()), resume: None };
        talk.hear(Input::Message(Incoming { message: sign_in, reference: None }), 0);
        let verification = Verification { result: Ok(auth), claim: None, unix_ms: 0 };
        talk.hear(Input::Verified(verification), 0);
        for (channel, ms) in (0..CHANNELS).zip((0..).step_by(1_000)) {
            talk.hear(message(Word::Track(channel), 0).expect("a message"), ms);
            for right in [Right::Subscribe, Right::Track] {
                let asked = format!("{right:?}");
                let input = Input::Decision { channel: name(channel), ruling: Ruling::Granted };
                let effects = talk.hear(input, ms);
                assert!(!effects.is_empty(), "{asked} was asked for");
            }
            talk.hear(message(Word::Untrack(channel), 0).expect("a message"), ms);
        }
        talk
    }

    fn hear(&mut self, input: Input, ms: u64) -> Vec<SessionEffect> {
        let mut out = Vec::new();
        let now = Instant::from_millis(ms);
        let context = Context { now, limits: &self.limits, policy: &self.policy };
        self.session.handle(input, &context, &mut out);
        out
    }

    fn wake(&mut self, ms: u64) -> Vec<SessionEffect> {
        self.hear(Input::Timeout, ms)
    }
}

/// When the model's time begins: all is set up and the bucket is full again.
const BEGIN_MS: u64 = 60_000;

fn message(word: Word, n: u32) -> Option<Input> {
    let message = match word {
        Word::Track(channel) => {
            let state = State::parse(&format!(r#"{{"n":{n}}}"#)).expect("a valid state");
            ClientMessage::Track { channel: name(channel), state, expire: None }
        }
        Word::Untrack(channel) => ClientMessage::Untrack { channel: name(channel) },
        Word::Ping => ClientMessage::Ping,
        Word::Wake => return None,
    };
    Some(Input::Message(Incoming { message, reference: None }))
}

fn name(channel: u8) -> ChannelName {
    ChannelName::parse(&format!("presence:{channel}")).expect("a valid name")
}

fn did(effect: &SessionEffect) -> Did {
    let number = |name: &ChannelName| name.as_str().parse().expect("a number");
    match effect {
        SessionEffect::Put { channel, state, .. } => {
            let n = state.as_str().trim_matches(|c: char| !c.is_ascii_digit());
            Did::Show(number(channel), n.parse().expect("a number"))
        }
        SessionEffect::Remove { channel, .. } => Did::Hide(number(channel)),
        SessionEffect::Reply(Reply::Pong, None) => Did::Pong,
        SessionEffect::Reply(Reply::Error { code: ErrorCode::RateLimited, .. }, None) => {
            Did::Refuse
        }
        other => panic!("{other:?} has nothing to do with the rate"),
    }
}

fn any_word() -> impl Strategy<Value = Word> {
    prop_oneof![
        6 => (0..CHANNELS).prop_map(Word::Track),
        2 => (0..CHANNELS).prop_map(Word::Untrack),
        2 => Just(Word::Ping),
        2 => Just(Word::Wake),
    ]
}

proptest! {
    #![proptest_config(crate::config())]

    // P8.1, P8.2, P8.3, P8.4
    #[test]
    fn a_session_does_what_the_list_says_and_the_last_word_is_never_lost(
        words in prop::collection::vec((any_word(), 0..250_u64), 1..80),
    ) {
        let (mut talk, mut list) = (Talk::new(), List::default());
        let mut now_ms = BEGIN_MS;
        let mut last_word = [None; CHANNELS as usize];
        let mut shown = [None; CHANNELS as usize];
        let mut note = |did: &[Did]| for one in did {
            match one {
                Did::Show(channel, n) => shown[usize::from(*channel)] = Some(*n),
                Did::Hide(channel) => shown[usize::from(*channel)] = None,
                Did::Pong | Did::Refuse => {}
            }
        };
        for (n, (word, pause_ms)) in (1..).zip(words) {
            now_ms += pause_ms;
            match word {
                Word::Track(channel) => last_word[usize::from(channel)] = Some(n),
                Word::Untrack(channel) => last_word[usize::from(channel)] = None,
                Word::Ping | Word::Wake => {}
            }
            let effects = match message(word, n) {
                Some(input) => talk.hear(input, now_ms),
                None => talk.wake(now_ms),
            };
            let did: Vec<Did> = effects.iter().map(did).collect();
            prop_assert_eq!(&did, &list.hear(word, n, now_ms));
            note(&did);
        }
        while !list.waiting.is_empty() {
            let next = talk.session.poll_timeout(&talk.limits);
            prop_assert!(next >= Instant::from_millis(now_ms), "it asks for a time to come");
            prop_assert!(next <= Instant::from_millis(now_ms + INTERVAL_MS), "and soon");
            now_ms = next.as_millis();
            let did: Vec<Did> = talk.wake(now_ms).iter().map(did).collect();
            prop_assert_eq!(&did, &list.hear(Word::Wake, 0, now_ms));
            prop_assert!(!did.is_empty(), "it does not wake in vain");
            note(&did);
        }
        prop_assert_eq!(shown, last_word);
    }
}

/// Room for everybody, and no grace.
fn policy() -> CurrentPolicy {
    let settings =
        ChannelSettings { max_members: 100, presence_ttl_ms: 60_000, disconnect_grace_ms: 0 };
    CurrentPolicy::new(Arc::new(Policy::new(settings, Patterns::default())))
}
