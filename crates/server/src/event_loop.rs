//! The loop of one core: polls its sockets, reads them into one buffer, hands what happens to its
//! hub, and carries out what the hub wants. Knows sockets, mailboxes and the clock; nothing of what
//! the bytes mean.

mod shell;
mod sockets;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use herenow_core::{Instant, Peer};
use herenow_hub::{Config, Event, Hub};
use herenow_wire::ConnectionId;
use mio::{Events, Poll, Token};

use self::shell::Shell;
use self::sockets::{Got, Sockets};
use crate::admission::UnauthenticatedPermit;
use crate::cluster::NodeOutbox;
use crate::control::{LoopControl, Shutdown};
use crate::loops::{AcceptedSocket, LoopMetrics};
use crate::mailbox::{Inbox, Mail, Mailbox};
use crate::services::{Services, VERIFIED_PER_TURN};

/// What a loop is made of.
pub(crate) struct Parts {
    /// Of its hub.
    pub(crate) config: Config,
    pub(crate) services: Services,
    pub(crate) control: Arc<LoopControl>,
    pub(crate) poll: Poll,
    pub(crate) inbox: Inbox,
    /// To every loop, this one included, by index.
    pub(crate) mailboxes: Arc<[Mailbox]>,
    /// To other nodes, if this one is not alone.
    pub(crate) nodes: Option<NodeOutbox>,
    pub(crate) metrics: Arc<LoopMetrics>,
    /// When the server's clock was zero; the same for all loops.
    pub(crate) started: Wall,
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
    metrics: Arc<LoopMetrics>,
    read_buffer: Vec<u8>,
    started: Wall,
    now: Instant,
}

/// The token of the waker: no slot has it.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Batches of mail taken in one turn.
const BATCHES_PER_TURN: usize = 256;
/// The longest sleep: a wake that was missed costs no more.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);
/// The same while the cluster's thread is behind.
const NODES_SLEEP: Duration = Duration::from_millis(5);

impl EventLoop {
    /// Fails if the system gives no second handle of the poll.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let started = parts.started;
        let now = Instant::from_micros(started.elapsed().as_micros() as u64);
        let registry = parts.poll.registry().try_clone()?;
        let me = parts.config.me;
        Ok(Self {
            me,
            hub: Hub::new(parts.config, parts.services.policy(), now),
            shell: Shell {
                sockets: Sockets::new(registry),
                services: parts.services,
                mailboxes: parts.mailboxes,
                me,
                nodes: parts.nodes,
            },
            poll: parts.poll,
            inbox: parts.inbox,
            control: parts.control,
            // The first turn applies whatever has changed before it.
            applied: 0,
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
                    self.shell.sockets.note_writable(slot);
                    self.tell(Event::Writable { slot });
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.shell.sockets.note_readable(slot, event.is_read_closed());
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
        let has_readable = self.shell.sockets.count_readable() > 0;
        let waits_for_nodes = self.shell.is_backpressured_by_nodes();
        let may_read = !self.hub.is_backpressured() && !waits_for_nodes;
        if self.shell.services.has_verified() || (has_readable && may_read) {
            return Duration::ZERO;
        }
        // Nothing wakes the loop when the cluster's thread has caught up.
        let longest = if waits_for_nodes { NODES_SLEEP } else { LONGEST_SLEEP };
        self.hub.poll_timeout(&self.shell).since(self.clock()).min(longest)
    }

    fn tell(&mut self, event: Event<'_>) {
        self.hub.handle(event, self.now, &mut self.shell);
    }

    fn accept(&mut self, batch: Vec<Mail>) {
        for mail in batch {
            match mail {
                Mail::Event(event) => self.tell(event),
                Mail::Accepted(accepted) => self.open(*accepted),
                Mail::Verified(token) => self.shell.services.queue_verified(token),
                Mail::Request(request) => {
                    let (request, answer) = *request;
                    let event = self.shell.services.request(request, answer);
                    self.tell(event);
                }
            }
        }
    }

    /// Hands verified tokens to the hub, the oldest first, as far as one turn allows.
    fn deliver_verified(&mut self) {
        for _ in 0..VERIFIED_PER_TURN {
            let Some(event) = self.shell.services.next_verified() else { break };
            self.tell(event);
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
        self.shell.sockets.queue_read(slot);
    }

    /// Polls a socket from here on. Returns its slot, and a name for its connection.
    fn watch(
        &mut self,
        stream: socket2::Socket,
        permit: Option<UnauthenticatedPermit>,
    ) -> Option<(u32, ConnectionId)> {
        let id = random_id()?;
        match self.shell.sockets.watch(stream, permit) {
            Ok(slot) => Some((slot, id)),
            Err(error) => {
                tracing::warn!(%error, "a socket could not be polled and was closed");
                None
            }
        }
    }

    /// Reads the sockets that have something, in turns, until the hub has had enough.
    fn read_sockets(&mut self) {
        if self.shell.is_backpressured_by_nodes() {
            return;
        }
        for _ in 0..self.shell.sockets.count_readable() {
            if self.hub.has_read_enough() {
                return;
            }
            let Some(slot) = self.shell.sockets.next_readable() else { return };
            self.read_socket(slot);
        }
    }

    fn read_socket(&mut self, slot: u32) {
        let at_most = self.hub.read_limit(slot).min(self.read_buffer.len());
        if at_most == 0 {
            // The hub says when it is to be read again.
            return;
        }
        match self.shell.sockets.read(slot, &mut self.read_buffer[..at_most]) {
            Got::Nothing => {}
            Got::End(how) => self.tell(Event::Ended { slot, how }),
            Got::Bytes { count, is_emptied } => {
                let bytes = &mut self.read_buffer[..count];
                self.hub.handle(Event::Received { slot, bytes }, self.now, &mut self.shell);
                if !is_emptied {
                    self.shell.sockets.queue_read(slot);
                }
            }
        }
    }

    /// Applies the control state, if it has changed since the last turn.
    fn apply_control(&mut self) {
        let Some(state) = self.control.newer_than(self.applied) else { return };
        self.applied = state.version;
        match (state.shutdown, state.drain) {
            (None, None) => {
                let event = self.shell.services.reload(state.access);
                self.tell(event);
            }
            (None, Some(over)) => self.tell(Event::Drain { over }),
            (Some(Shutdown { at, return_within }), _) => {
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

/// 128 bits that nobody can guess.
fn random_id() -> Option<ConnectionId> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(ConnectionId::from_bytes(bytes)),
        Err(error) => {
            tracing::error!(%error, "the system gave no random bytes; a connection was closed");
            None
        }
    }
}
