//! The loop of one core: polls its sockets, reads them into one buffer, hands what happens to its
//! hub, and carries out what the hub wants. Knows sockets, mailboxes and the clock; nothing of what
//! the bytes mean.

mod limits;
mod mail;
mod metrics;

mod shell;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use herenow_core::{Instant, Peer};
use herenow_hub::{Config, Event, Hub};
use herenow_wire::ConnectionId;
use mio::{Events, Poll, Token};

pub(crate) use self::mail::{Inbox, Mail, Mailbox, mailbox};
pub(crate) use self::metrics::Metrics;
use self::shell::{Got, Shell};
use crate::admission::UnauthenticatedPermit;
use crate::auth::ResumeKey;
use crate::backend::Backends;
use crate::config::Settings;
use crate::control::{LoopControl, Shutdown};
use crate::loops::AcceptedSocket;
use crate::probe::ProbeState;
use crate::verification::{Verification, VerifiedToken};
use crate::webhooks::Announcer;

/// What a loop is made of.
pub(crate) struct Parts {
    pub(crate) index: u16,
    pub(crate) settings: Arc<Settings>,
    pub(crate) verification: Verification,
    pub(crate) announcer: Announcer,
    pub(crate) control: Arc<LoopControl>,
    pub(crate) poll: Poll,
    pub(crate) inbox: Inbox,
    /// To every loop, this one included, by index.
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) backends: Backends,
    pub(crate) resume_key: ResumeKey,
    pub(crate) probe: Option<Arc<ProbeState>>,
    /// When the server's clock was zero; the same for all loops.
    pub(crate) started: Wall,
    pub(crate) started_at_unix_ms: u64,
}

/// See the module.
pub(crate) struct EventLoop {
    me: Peer,
    hub: Hub,
    shell: Shell,
    poll: Poll,
    inbox: Inbox,
    control: Arc<LoopControl>,
    /// The version of the control state that it has applied.
    applied: u64,
    /// Verified tokens that the hub has not been handed yet.
    verified_tokens: VecDeque<Box<VerifiedToken>>,
    metrics: Arc<Metrics>,
    read_buffer: Vec<u8>,
    started: Wall,
    now: Instant,
}

/// The token of the waker: no slot has it.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Verified tokens that are handed to the hub in one turn: half a millisecond, most of it the writing of the answers. When
/// thousands authenticate at once, flushes to everybody else come in between.
const VERIFIED_PER_TURN: usize = 32;
/// Batches of mail taken in one turn.
const BATCHES_PER_TURN: usize = 256;
/// The longest sleep: a wake that was missed costs no more.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

impl EventLoop {
    /// Fails if the system gives no second handle of the poll.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let started = parts.started;
        let now = Instant::from_micros(started.elapsed().as_micros() as u64);
        let config = config(&parts);
        let access = parts.control.state().access;
        Ok(Self {
            me: Peer(parts.index),
            hub: Hub::new(config, access.policy(), now),
            shell: Shell {
                me: Peer(parts.index),
                registry: parts.poll.registry().try_clone()?,
                sockets: slab::Slab::new(),
                requests: slab::Slab::new(),
                readable: VecDeque::new(),
                rehearsals: parts.settings.rehearsals.clone(),
                access,
                verification: parts.verification,
                announcer: parts.announcer,
                resume_key: parts.resume_key,
                probe: parts.probe,
                mailboxes: parts.mailboxes,
            },
            poll: parts.poll,
            inbox: parts.inbox,
            control: parts.control,
            // The first turn applies whatever has changed before it.
            applied: 0,
            verified_tokens: VecDeque::new(),
            metrics: parts.metrics,
            read_buffer: vec![0; herenow_hub::READ_BYTES],
            started,
            now,
        })
    }

    /// Runs until it is told to end and no connection is left. Fails if the system fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.has_ended() {
            self.sleep(&mut events)?;
            self.now = self.clock();
            self.metrics.turn_begins(self.now);
            for event in &events {
                if event.token() == WAKER {
                    continue;
                }
                let slot = event.token().0 as u32;
                if event.is_writable() {
                    self.shell.note_writable(slot);
                    self.tell(Event::Writable { slot });
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.shell.note_readable(slot, event.is_read_closed());
                }
            }
            self.turn();
        }
        self.metrics.end();
        Ok(())
    }

    /// Everything that is to be done about what has happened since the last one.
    fn turn(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            let Some(mail) = self.inbox.take() else { break };
            self.accept(mail);
        }
        self.deliver_verified();
        self.apply_control();
        self.read_sockets();
        // Before anybody is told, so that who has heard of a change finds it counted.
        self.metrics.publish(&self.hub);
        self.hub.turn(self.now, &mut self.shell);
        self.metrics.publish(&self.hub);
    }

    /// Waits for events, mail, or the next deadline.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let mut timeout = self.timeout();
        if !timeout.is_zero() {
            self.inbox.fall_asleep();
            if let Some(mail) = self.inbox.take() {
                self.accept(mail);
                timeout = Duration::ZERO;
            } else if self.control.newer_than(self.applied).is_some() {
                timeout = Duration::ZERO;
            }
        }
        let polled = self.poll.poll(events, Some(timeout));
        self.inbox.wake_up();
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn timeout(&self) -> Duration {
        let has_work = !self.verified_tokens.is_empty()
            || (self.shell.has_readable() && !self.hub.is_backpressured());
        if has_work {
            return Duration::ZERO;
        }
        self.hub.poll_timeout(&self.shell).since(self.clock()).min(LONGEST_SLEEP)
    }

    fn tell(&mut self, event: Event<'_>) {
        self.hub.handle(event, self.now, &mut self.shell);
    }

    fn accept(&mut self, batch: Vec<Mail>) {
        for mail in batch {
            match mail {
                Mail::Accepted(accepted) => self.open(*accepted),
                Mail::Hub(batch) => self.tell(Event::Mail(batch)),
                Mail::Decision { asker, channel, ruling, rule } => {
                    let rule = Some(rule);
                    self.tell(Event::Ruling { asker, channel, ruling, rule });
                }
                Mail::Verified(token) => self.verified_tokens.push_back(token),
                Mail::Request(request) => {
                    let (request, answer) = *request;
                    let id = self.shell.await_response(answer);
                    self.tell(Event::Request { id, request });
                }
                Mail::EndOldestDetached => self.tell(Event::EvictDetached),
            }
        }
    }

    /// Hands verified tokens to the hub, the oldest first, as far as one turn allows.
    fn deliver_verified(&mut self) {
        for _ in 0..VERIFIED_PER_TURN {
            let Some(token) = self.verified_tokens.pop_front() else { break };
            let asker = token.asker;
            let checked = self.shell.verified(*token);
            self.tell(Event::Verified { asker, checked });
        }
        if self.verified_tokens.is_empty() && self.verified_tokens.capacity() > VERIFIED_PER_TURN {
            // What a herd has left behind.
            self.verified_tokens = VecDeque::new();
        }
    }

    /// Takes over a socket.
    fn open(&mut self, accepted: AcceptedSocket) {
        let AcceptedSocket { stream, mut first_bytes, opening, permit } = accepted;
        let Some((slot, id)) = self.watch(stream, permit) else { return };
        self.tell(Event::Opened { slot, id, opening });
        if !first_bytes.is_empty() {
            self.tell(Event::Received { slot, bytes: &mut first_bytes });
        }
        self.shell.queue_read(slot);
    }

    /// Polls a socket from here on. Returns its slot, and a name for its connection.
    fn watch(
        &mut self,
        stream: socket2::Socket,
        permit: Option<UnauthenticatedPermit>,
    ) -> Option<(u32, ConnectionId)> {
        let id = random_id()?;
        match self.shell.watch(stream, permit) {
            Ok(slot) => Some((slot, id)),
            Err(error) => {
                tracing::warn!(%error, "a socket could not be watched and was dropped");
                None
            }
        }
    }

    /// Reads the sockets that have something, in turns, until the hub has had enough.
    fn read_sockets(&mut self) {
        for _ in 0..self.shell.readable.len() {
            if self.hub.has_read_enough() {
                return;
            }
            let Some(slot) = self.shell.next_readable() else { return };
            self.read_socket(slot);
        }
    }

    fn read_socket(&mut self, slot: u32) {
        let at_most = self.hub.read_limit(slot).min(self.read_buffer.len());
        if at_most == 0 {
            // The hub says when it is to be read again.
            return;
        }
        match self.shell.read(slot, &mut self.read_buffer[..at_most]) {
            Got::Nothing => {}
            Got::End(how) => self.tell(Event::Ended { slot, how }),
            Got::Bytes { count, is_emptied } => {
                let bytes = &mut self.read_buffer[..count];
                self.hub.handle(Event::Received { slot, bytes }, self.now, &mut self.shell);
                if !is_emptied {
                    self.shell.queue_read(slot);
                }
            }
        }
    }

    /// Applies the control state, if it has changed since the last turn.
    fn apply_control(&mut self) {
        let Some(state) = self.control.newer_than(self.applied) else { return };
        self.applied = state.version;
        match state.shutdown {
            None => {
                self.shell.access = state.access;
                self.tell(Event::Reload(self.shell.access.policy()));
            }
            Some(Shutdown { at, return_within }) => {
                let within = at.saturating_duration_since(Wall::now());
                self.tell(Event::ShutDown { within, return_within });
            }
        }
        self.control.applied(self.me, state.version);
    }

    fn has_ended(&self) -> bool {
        // A socket that waits in the mail is to be told as well.
        self.hub.has_ended(self.now, || self.inbox.is_empty())
    }

    fn clock(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }
}

/// What a hub is made of, by the operator's settings.
fn config(parts: &Parts) -> Config {
    let settings = &*parts.settings;
    // Seconds times 2^20, the part of a second in the low bits: grows over restarts within one
    // second too, and stays below 2^53 for the clients' numbers.
    let epoch_base = ((u128::from(parts.started_at_unix_ms) << 20) / 1000) as u64;
    let over_zero = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    Config {
        me: Peer(parts.index),
        hubs: parts.mailboxes.len() as u16,
        epoch_base,
        limits: limits::of_sessions(settings),
        presence_ttl: Duration::from_millis(settings.presence_ttl_ms),
        hibernate_after: over_zero(settings.hibernate_after_ms),
        max_detached_per_user: settings.max_detached_per_user,
        max_frame_bytes: settings.max_frame_bytes,
        send_queue_bytes: settings.send_queue_bytes,
        writes_per_turn: WRITES_PER_TURN,
        flush_delay: settings.flush_delay_us.map(Duration::from_micros),
        gather_for: over_zero(settings.gather_ms),
        user_index: parts.backends.user_index(),
        remembers: parts.backends.remembers(),
        fault_on_channel: settings.fault_on_channel.clone(),
    }
}

/// 128 bits that nobody can guess.
fn random_id() -> Option<ConnectionId> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(ConnectionId::from_bytes(bytes)),
        Err(error) => {
            tracing::error!(%error, "the system gave no randomness; a socket was dropped");
            None
        }
    }
}

/// Sockets written to in one go: some two milliseconds' worth.
const WRITES_PER_TURN: usize = 512;
