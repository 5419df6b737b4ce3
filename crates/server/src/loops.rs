//! The border between the front door and the event loops: what a loop is given when a socket has
//! been upgraded, and what it tells of itself. Knows no HTTP.

mod metrics;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use herenow_core::{Peer, Right};
use herenow_hub::{Event, Opening, Request, Response};
use herenow_wire::{ChannelName, SHARDS};
use mio::{Poll, Waker};
use socket2::Socket;
use tokio::sync::oneshot;

use crate::access::Access;
use crate::admission::UnauthenticatedPermit;
use crate::auth::{ResumeKey, Verifier};
use crate::backend::{Backends, Unavailable};
use crate::clock;
use crate::cluster::NodeOutbox;
use crate::config::{HubFacts, Reloadable, Settings, hub_config};
use crate::control::{LoopControl, LoopFailure, Shutdown};
use crate::durations::BesideLoops;
use crate::event_loop::{EventLoop, Parts, WAKER};
use crate::mailbox::{Mail, Mailbox, mailbox};
use crate::probe::ProbeState;
use crate::services::{Providers, Services};
use crate::verification::Verification;
use crate::webhooks::Announcer;

pub(crate) use metrics::LoopMetrics;
pub use metrics::LoopsMetrics;

/// A socket on its way to a loop.
#[derive(Debug)]
pub struct AcceptedSocket {
    /// Nonblocking, and over TCP with `TCP_NODELAY`.
    pub stream: Socket,
    /// What arrived behind the request's head: the client's first frames.
    pub first_bytes: Vec<u8>,
    /// What it was opened for.
    pub opening: Opening,
    /// Dropped as soon as the connection authenticates, joins a public channel, or ends.
    pub permit: Option<UnauthenticatedPermit>,
}

/// The running loops. Clones speak to the same loops.
#[derive(Clone, Debug)]
pub struct Loops {
    settings: Arc<Settings>,
    mailboxes: Arc<[Mailbox]>,
    control: Arc<LoopControl>,
    metrics: Arc<[Arc<LoopMetrics>]>,
    beside: Arc<BesideLoops>,
    /// Only if the settings want one.
    probe: Option<Arc<ProbeState>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    next: Arc<AtomicUsize>,
    /// When the server's clock was zero.
    started: Instant,
    started_at_unix_ms: u64,
}

/// Who else asks the loops, or is told by them.
pub(crate) struct Outlets {
    /// Whether backends may send requests.
    pub(crate) backends: Backends,
    /// For webhooks.
    pub(crate) announcer: Announcer,
    /// Other nodes, if this one is not alone.
    pub(crate) nodes: Option<NodeOutbox>,
    pub(crate) resume_key: ResumeKey,
}

impl Loops {
    /// Starts one thread per loop.
    pub(crate) fn start(
        settings: Arc<Settings>,
        verifier: Arc<Verifier>,
        Outlets { backends, announcer, nodes, resume_key }: Outlets,
    ) -> io::Result<Self> {
        let started = Instant::now();
        let started_at_unix_ms = clock::unix_ms();
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..settings.loops.clamp(1, usize::from(SHARDS)) {
            let poll = Poll::new()?;
            let (mailbox, inbox) = mailbox(Waker::new(poll.registry(), WAKER)?);
            mailboxes.push(mailbox);
            polls.push((poll, inbox));
        }
        let mailboxes: Arc<[Mailbox]> = mailboxes.into();
        let beside = Arc::<BesideLoops>::default();
        let wanted = settings.reloadable();
        let access = Access::new(wanted, &settings, mailboxes.clone(), beside.clone());
        let control = Arc::new(LoopControl::new(access.clone(), mailboxes.clone()));
        let checks = (verifier, backends.remembers());
        let verification = Verification::start(checks, mailboxes.clone(), beside.clone())?;
        let is_probed = settings.truth_probe_ms > 0;
        let probe = is_probed.then(ProbeState::random).transpose()?.map(Arc::new);
        let metrics: Vec<Arc<LoopMetrics>> = polls.iter().map(|_| Arc::default()).collect();
        let facts = HubFacts { hubs: mailboxes.len() as u16, backends, started_at_unix_ms };
        let providers = Providers {
            access,
            verification,
            announcer,
            resume_key,
            probe: probe.clone(),
            rehearsals: settings.rehearsals.clone(),
        };
        let mut threads = Vec::new();
        for ((index, (poll, inbox)), metrics) in (0u16..).zip(polls).zip(&metrics) {
            let config = hub_config(&settings, Peer(index), facts);
            let services = Services::new(config.me, providers.clone());
            let parts = Parts {
                config,
                services,
                control: control.clone(),
                poll,
                inbox,
                mailboxes: mailboxes.clone(),
                nodes: nodes.clone(),
                metrics: metrics.clone(),
                started,
            };
            let thread = std::thread::Builder::new().name(format!("loop-{index}"));
            // The loop is made on its own thread, so that what it keeps for long lies there.
            threads.push(thread.spawn(move || run(parts))?);
        }
        Ok(Self {
            settings,
            mailboxes,
            control,
            metrics: metrics.into(),
            beside,
            probe,
            threads: Arc::new(Mutex::new(threads)),
            next: Arc::default(),
            started,
            started_at_unix_ms,
        })
    }

    /// Hands a socket to a loop, to each in turn, passing over one whose queue is full; gives it
    /// back when all are.
    // The refused socket is the error: boxing it would cost every adoption an allocation.
    #[allow(clippy::result_large_err)]
    pub fn accept(&self, accepted: AcceptedSocket) -> Result<(), AcceptedSocket> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        let (before, from) = self.mailboxes.split_at(turn);
        let mut batch = vec![Mail::Accepted(Box::new(accepted))];
        for mailbox in from.iter().chain(before) {
            match mailbox.send(batch) {
                Ok(()) => return Ok(()),
                Err(unsent) => batch = unsent,
            }
        }
        match batch.pop() {
            Some(Mail::Accepted(accepted)) => Err(*accepted),
            _ => unreachable!("the batch comes back as it was sent"),
        }
    }

    /// Puts new rules in force, and has everything that was granted asked again. A loop takes them
    /// when it turns; returns what [`Loops::until_applied`] waits for.
    pub fn reload(&self, new: Reloadable) -> ControlVersion {
        let (mailboxes, beside) = (self.mailboxes.clone(), self.beside.clone());
        let access = Access::new(new, &self.settings, mailboxes, beside);
        ControlVersion(self.control.set_access(access))
    }

    /// To every loop, by index.
    pub(crate) fn mailboxes(&self) -> Arc<[Mailbox]> {
        self.mailboxes.clone()
    }

    /// Whom the loops take for the probe.
    pub(crate) fn probe(&self) -> Option<&Arc<ProbeState>> {
        self.probe.as_ref()
    }

    /// The loop whose shard a channel belongs to.
    pub(crate) fn home(&self, channel: &ChannelName) -> Peer {
        Peer(channel.shard() % self.mailboxes.len() as u16)
    }

    /// The rule in force that decides who may track in a channel, and its pattern.
    pub(crate) fn tracking_rule(&self, channel: &ChannelName) -> Option<(Right, Arc<str>)> {
        self.control.state().access.tracking_rule(channel)
    }

    /// What the clock of the loops shows.
    pub(crate) fn now(&self) -> herenow_core::Instant {
        herenow_core::Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// When the clock of the loops was zero.
    pub(crate) fn started_at_unix_ms(&self) -> u64 {
        self.started_at_unix_ms
    }

    /// Every loop.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        (0..self.mailboxes.len() as u16).map(Peer)
    }

    /// Asks a loop something for a backend. Fails if the loop has no room for more mail.
    pub(crate) fn request(
        &self,
        peer: Peer,
        request: Request,
    ) -> Result<oneshot::Receiver<Response>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let mail = vec![Mail::Request(Box::new((request, answer)))];
        self.mailboxes[usize::from(peer.0)].send(mail).map_err(|_| Unavailable::Busy)?;
        Ok(answered)
    }

    /// Hands the server's end of a socket to a loop by which a backend watches a channel. The
    /// channel's own loop: its flushes go there anyway.
    pub(crate) fn watch(&self, stream: Socket, channel: ChannelName) -> Result<(), Unavailable> {
        let home = self.home(&channel);
        let opening = Opening::Watch { channel };
        let accepted = AcceptedSocket { stream, first_bytes: Vec::new(), opening, permit: None };
        let mail = vec![Mail::Accepted(Box::new(accepted))];
        self.mailboxes[usize::from(home.0)].send(mail).map_err(|_| Unavailable::Busy)
    }

    /// Waits until every loop has taken the rules of this order, or newer ones.
    pub async fn until_applied(&self, version: ControlVersion) {
        self.control.until_applied(version.0).await;
    }

    /// The loops that have not, by index.
    pub fn behind(&self, version: ControlVersion) -> Vec<usize> {
        self.control.behind(version.0)
    }

    /// Waits until a loop ends that should not have. Says which, and why.
    pub async fn until_failed(&self) -> (usize, io::Error) {
        let LoopFailure { peer, error } = self.control.until_failed().await;
        (usize::from(peer.0), io::Error::new(error.kind(), error.to_string()))
    }

    /// Connections held now.
    pub fn connections(&self) -> usize {
        self.metrics.iter().map(|metrics| metrics.connections.value() as usize).sum()
    }

    /// Sessions held now that have lost their socket and may come back.
    pub fn detached_sessions(&self) -> usize {
        self.metrics.iter().map(|metrics| metrics.detached_sessions.value() as usize).sum()
    }

    /// The loops that have not begun a turn for this long, by index. A loop that has ended in order is
    /// none of them.
    pub fn standing_still(&self, since: Duration) -> Vec<usize> {
        let now = self.started.elapsed().as_micros() as u64;
        let limit = since.as_micros() as u64;
        let loops = self.metrics.iter().enumerate();
        let still = loops.filter(|(_, it)| now.saturating_sub(it.turned_at()) > limit);
        still.map(|(index, _)| index).collect()
    }

    /// Ends the oldest session that has no socket: a new connection needs its place. A loop that is
    /// too busy to be told keeps it; the next connection asks again.
    pub fn end_oldest_detached(&self) {
        let ages = self.metrics.iter().map(|metrics| metrics.oldest_detached());
        let oldest = (0..).zip(ages).filter_map(|(at, since)| Some((since?, at))).min();
        if let Some((_, at)) = oldest {
            let at: usize = at;
            let _ = self.mailboxes[at].send(vec![Mail::Event(Event::EvictDetached)]);
        }
    }

    /// The counts of all loops, summed.
    pub fn metrics(&self) -> LoopsMetrics {
        let mut sum = LoopsMetrics {
            rule_decisions: self.beside.rules.durations(),
            rule_results: self.beside.rules.results(),
            token_verifications: self.beside.tokens.durations(),
            token_results: self.beside.tokens.results(),
            probe: self.probe.as_ref().map(|probe| probe.metrics()),
            ..LoopsMetrics::default()
        };
        for (metrics, mailbox) in self.metrics.iter().zip(self.mailboxes.iter()) {
            metrics.add_to(&mut sum);
            sum.queued += mailbox.waiting() as u64;
        }
        sum
    }

    /// Over how long the clients of now would be asked to come back.
    pub fn return_within(&self) -> Duration {
        Duration::from_millis(match self.settings.drain_ms {
            0 => (1000 + self.connections() as u64 / 4).min(30_000),
            chosen => chosen,
        })
    }

    /// Closes every connection with 1012, evenly over a time, for the clients to go to other nodes. Returns when
    /// all are gone or the time is over.
    pub(crate) async fn drain(&self) {
        let over = match self.settings.drain_ms {
            0 => NODE_DRAIN_TIME,
            chosen => Duration::from_millis(chosen).min(NODE_DRAIN_TIME),
        };
        self.control.drain(over);
        let end = Instant::now() + over;
        while self.connections() > 0 && Instant::now() < end {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Closes every connection with 1012 and returns when all are gone or the time is over. Returns
    /// the loops that have not ended by then, by index. Blocks.
    pub fn shut_down(&self, within: Duration) -> Vec<usize> {
        let at = Instant::now() + within;
        self.control.shut_down(Shutdown { at, return_within: self.return_within() });
        let Ok(threads) = self.threads.lock() else { return Vec::new() };
        loop {
            let running = threads.iter().enumerate().filter(|(_, thread)| !thread.is_finished());
            let running: Vec<usize> = running.map(|(index, _)| index).collect();
            if running.is_empty() || Instant::now() >= at + LAST_TURN {
                return running;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// An order to the loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControlVersion(u64);

/// Over how long the connections of a node that stops are closed, unless `drainMs` is shorter: a longer time
/// would not end before supervisors lose patience.
const NODE_DRAIN_TIME: Duration = Duration::from_millis(5000);
/// How long a loop may take to end when its time is over.
const LAST_TURN: Duration = Duration::from_millis(500);
/// How often loops that should end are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What the thread of a loop does. However it ends, others learn of it.
fn run(parts: Parts) {
    let fate = Fate { peer: parts.config.me, control: parts.control.clone() };
    if let Err(error) = EventLoop::new(parts).and_then(EventLoop::run) {
        fate.control.fail(LoopFailure { peer: fate.peer, error });
    }
}

/// Reports a panic of the loop's thread.
struct Fate {
    peer: Peer,
    control: Arc<LoopControl>,
}

impl Drop for Fate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = io::Error::other("a fault in the server");
            self.control.fail(LoopFailure { peer: self.peer, error });
        }
    }
}
