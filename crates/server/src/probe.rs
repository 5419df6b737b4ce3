//! The truth probe: two clients of the server's own, which measure how long users wait until they see
//! that somebody has come or gone. They are connected to event loops like any client, but over pairs of
//! sockets within the process: what a network and a proxy add is not in it. Off by default, and then
//! nothing of it exists.
//!
//! In each round one client subscribes, and another one joins and then closes its connection. No rule
//! has to know of them: the loops let the probe's own identity into the probe's own channel.

mod client;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use herenow_core::{Auth, Question};
use herenow_hub::Histogram;
use herenow_wire::{ChannelName, UserId};
use serde_json::{Value, json};

use self::client::Client;
use crate::auth::Secret;
use crate::durations::Durations;
use crate::loops::Loops;

/// The thread that probes. It ends with this.
#[derive(Debug)]
pub(crate) struct Probe {
    _running: SyncSender<()>,
}

/// Whom the loops take for the probe, and what it has measured.
#[derive(Debug)]
pub(crate) struct ProbeState {
    user: UserId,
    channel: ChannelName,
    /// The token that it shows: what no other client can know.
    token: String,
    secret: Secret,
    join_to_visible: Durations,
    close_to_leave: Durations,
    failures: AtomicU64,
}

/// What a probe has measured since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeMetrics {
    /// From the message that joins to the message that tells the other client.
    pub join_to_visible: Histogram,
    /// From the close frame to the message that tells the other client.
    pub close_to_leave: Histogram,
    /// Rounds that were not finished.
    pub failures: u64,
}

/// Why a round was not finished.
#[derive(Debug)]
pub(crate) enum ProbeError {
    /// The system gave no pair of sockets, or one of them broke.
    Socket(io::Error),
    /// Every loop's queue was full.
    Full,
    /// The connection was closed, as when the server stops.
    Closed,
    /// A client was not told what it waited for within [`PATIENCE`].
    Silent,
}

/// The channel of the probe.
const CHANNEL: &str = "presence:herenow-probe";
/// How long a client waits for a message: longer than lists are held back after an upgrade.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the token is made of.
const TOKEN_BYTES: usize = 32;

impl ProbeState {
    /// One with a token that nobody can guess.
    pub(crate) fn random() -> io::Result<Self> {
        let token = random_hex::<TOKEN_BYTES>()?;
        let secret = Secret::new(token.as_bytes()).expect("it is not empty");
        // A token of the application names this user only if its backend wants to.
        let user = format!("herenow-probe-{}", random_hex::<8>()?);
        let user = UserId::parse(&user).expect("it is short and plain");
        let channel = ChannelName::parse(CHANNEL).expect("it is a good name");
        let (join_to_visible, close_to_leave) = Default::default();
        let failures = AtomicU64::new(0);
        Ok(Self { user, channel, token, secret, join_to_visible, close_to_leave, failures })
    }

    /// Whom the token speaks for, if it is the probe's.
    pub(crate) fn verify(&self, token: &str) -> Option<Auth> {
        self.secret.is(token.as_bytes()).then(|| Auth {
            user: self.user.clone().into(),
            expires_at_unix_ms: u64::MAX,
            claims: "{}".into(),
        })
    }

    /// Whether it is the probe that asks, and for its own channel: no rule is asked then.
    pub(crate) fn is_asking(&self, question: &Question, auth: Option<&Auth>) -> bool {
        auth.is_some_and(|auth| *auth.user == self.user) && self.has(&question.channel)
    }

    /// Whether this is its channel, which no backend is told of.
    pub(crate) fn has(&self, channel: &ChannelName) -> bool {
        *channel == self.channel
    }

    pub(crate) fn metrics(&self) -> ProbeMetrics {
        ProbeMetrics {
            join_to_visible: self.join_to_visible.read(),
            close_to_leave: self.close_to_leave.read(),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

impl Probe {
    /// Begins a round after each `period`, on a thread of its own.
    pub(crate) fn start(
        loops: Loops,
        state: Arc<ProbeState>,
        period: Duration,
    ) -> io::Result<Self> {
        let (running, ended) = sync_channel(0);
        let rounds = Rounds { loops, state, number: 0, has_failed: false };
        let thread = std::thread::Builder::new().name("probe".into());
        thread.spawn(move || rounds.run(&ended, period))?;
        Ok(Self { _running: running })
    }
}

struct Rounds {
    loops: Loops,
    state: Arc<ProbeState>,
    number: u64,
    /// The last round was not finished, and the log says so.
    has_failed: bool,
}

impl Rounds {
    fn run(mut self, ended: &Receiver<()>, period: Duration) {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(period) {
            self.number += 1;
            match self.round() {
                Ok(()) => self.has_failed = false,
                // The server stops, and closes every connection.
                Err(_) if ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    return;
                }
                Err(error) => {
                    self.state.failures.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut self.has_failed, true) {
                        tracing::warn!(%error, "the probe did not see a join or a leave");
                    }
                }
            }
        }
    }

    fn round(&self) -> Result<(), ProbeError> {
        let mut observer = self.client()?;
        observer.say(&json!({"type": "subscribe", "channel": CHANNEL}))?;
        observer.wait_for(|message| message["type"] == "presence_sync")?;
        let mut member = self.client()?;
        let state = json!({"round": self.number});
        let joined = Instant::now();
        member.say(&json!({"type": "presence_join", "channel": CHANNEL, "state": state}))?;
        let is_ours = |message: &Value| {
            message["type"] == "presence_join"
                && message["userId"] == self.state.user.as_str()
                && message["state"] == state
        };
        let join = observer.wait_for(is_ours)?;
        self.state.join_to_visible.observe(joined.elapsed());
        let closed = Instant::now();
        member.close()?;
        observer.wait_for(|message| {
            message["type"] == "presence_leave" && message["connectionId"] == join["connectionId"]
        })?;
        self.state.close_to_leave.observe(closed.elapsed());
        observer.close()
    }

    /// One that has authenticated.
    fn client(&self) -> Result<Client, ProbeError> {
        let mut client = Client::connect(&self.loops, PATIENCE)?;
        client.say(&json!({"type": "auth", "token": self.state.token}))?;
        client.wait_for(|message| message["type"] == "auth_success")?;
        Ok(client)
    }
}

fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => write!(f, "its sockets failed: {error}"),
            Self::Full => f.write_str("every event loop is busy"),
            Self::Closed => f.write_str("its connection was closed"),
            Self::Silent => write!(f, "no message came within {} s", PATIENCE.as_secs()),
        }
    }
}

impl std::error::Error for ProbeError {}
