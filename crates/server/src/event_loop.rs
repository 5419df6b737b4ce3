//! One loop of one core: its sockets, the sessions on them, its share of the shards, and who of
//! its sockets subscribes to what. A few verbs in the order of their priority, each bounded, so
//! that no noisy socket starves the rest. Shares nothing with the other loops but mail.

mod channel_leases;
mod connection;
mod deliver;
mod detached;
mod detached_users;
mod held;
mod limits;
mod mail;
mod metrics;
mod orders;
mod outbox;
mod reading;
mod recovery;
mod replies;
mod resume;
mod reviews;
mod sessions;
mod shards;
mod slab;
mod snapshots;
mod sockets;
mod tokens;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use herenow_core::{
    Audience, Due, Effect, Flush, Instant, Leases, Limits, Pace, Peer, SCAN_EVERY, SessionEffect,
    SnapshotRequests,
};
use mio::{Events, Poll, Token};

use self::channel_leases::ChannelLeases;
use self::connection::Soon;
use self::deliver::{Deliveries, Scratch};
use self::detached::DetachedSessions;
use self::detached_users::DetachedUsers;
use self::held::Held;
pub(crate) use self::mail::{Inbox, Mail, Mailbox, mailbox};
pub(crate) use self::metrics::Metrics;
pub(crate) use self::orders::{Ending, LoopFailure, Orders};
use self::replies::Replies;
pub(crate) use self::resume::ResumeKey;
use self::reviews::Reviews;
use self::shards::{Counts, Shards};
use self::slab::Slab;
use crate::access::Access;
use crate::config::Settings;
use crate::verification::{Verdict, Verification};

/// What a loop is made of.
pub(crate) struct Parts {
    pub(crate) index: u16,
    pub(crate) settings: Arc<Settings>,
    pub(crate) verification: Verification,
    pub(crate) orders: Arc<Orders>,
    pub(crate) poll: Poll,
    pub(crate) inbox: Inbox,
    /// To every loop, this one included, by index.
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) resume_key: ResumeKey,
    /// When the server's clock was zero; the same for all loops.
    pub(crate) started: Wall,
    pub(crate) started_at_unix_ms: u64,
}

/// See the module.
pub(crate) struct EventLoop {
    me: Peer,
    settings: Arc<Settings>,
    limits: Limits,
    verification: Verification,
    orders: Arc<Orders>,
    /// The version of the orders that it has obeyed.
    obeyed: u64,
    /// Verdicts on tokens that have come and are not told yet.
    verdicts: VecDeque<Box<Verdict>>,
    access: Access,
    metrics: Arc<Metrics>,
    started: Wall,
    now: Instant,

    poll: Poll,
    inbox: Inbox,
    mailboxes: Arc<[Mailbox]>,
    /// Mail written this turn, by loop: one batch each.
    outgoing: Vec<Vec<Mail>>,

    /// Sessions on their way to another loop. They go when all other mail has gone: what they
    /// caused here must not arrive after what they cause there.
    handovers: Vec<(Peer, Mail)>,

    connections: Slab,
    /// Sockets that may have something to read, in the order of their turns.
    readable: VecDeque<u32>,
    /// Connections whose socket broke while it was written to.
    broken: Vec<u32>,
    /// Slots to free at the end of the turn, when no event can speak of them any more.
    dead: Vec<u32>,
    leases: Leases,
    channel_leases: ChannelLeases,
    soon: Soon,
    audience: Audience,
    deliveries: Deliveries,
    snapshot_requests: SnapshotRequests,
    held: Held,
    shards: Shards,
    pace: Pace,
    replies: Replies,
    /// Sessions without a socket.
    detached: DetachedSessions,
    detached_users: DetachedUsers,
    resume_key: ResumeKey,
    /// Sessions whose rights are to be asked again.
    reviews: Reviews,
    /// What the reviews of this turn have cost.
    review_cost: usize,
    ending: Option<Instant>,

    read_buffer: Vec<u8>,
    effects: Vec<SessionEffect>,
    shard_effects: Vec<Effect>,
    flush: Flush,
    scratch: Scratch,
    dues: Vec<Due>,
}

/// The token of the waker: no slot has it.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Batches of mail taken in one turn.
const BATCHES_PER_TURN: usize = 256;
/// The longest sleep: what was missed is found at the next look at the leases.
const LONGEST_SLEEP: Duration = SCAN_EVERY;

impl EventLoop {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { settings, mailboxes, started, .. } = &parts;
        let now = Instant::from_micros(started.elapsed().as_micros() as u64);
        let loops = mailboxes.len() as u16;
        let ttl = Duration::from_millis(settings.presence_ttl_ms);
        // Seconds times 2^20, the part of a second in the low bits: grows over restarts within one
        // second too, and stays below 2^53 for the clients' numbers.
        let orders = parts.orders.standing();
        let epoch_base = ((u128::from(parts.started_at_unix_ms) << 20) / 1000) as u64;
        Self {
            me: Peer(parts.index),
            limits: limits::of_sessions(settings),
            outgoing: mailboxes.iter().map(|_| Vec::new()).collect(),
            handovers: Vec::new(),
            connections: Slab::default(),
            readable: VecDeque::new(),
            broken: Vec::new(),
            dead: Vec::new(),
            leases: Leases::new(ttl, now),
            channel_leases: ChannelLeases::default(),
            soon: Soon::new(),
            audience: Audience::default(),
            deliveries: Deliveries::default(),
            snapshot_requests: SnapshotRequests::default(),
            held: Held::default(),
            shards: Shards::new(parts.index, loops, epoch_base, settings.fault_on_channel.clone()),
            pace: limits::pace(settings),
            replies: Replies::default(),
            detached: DetachedSessions::default(),
            detached_users: DetachedUsers::default(),
            resume_key: parts.resume_key,
            reviews: Reviews::default(),
            review_cost: 0,
            ending: None,
            read_buffer: vec![0; reading::READ_BYTES],
            effects: Vec::new(),
            shard_effects: Vec::new(),
            flush: Flush::default(),
            scratch: Scratch::default(),
            dues: Vec::new(),
            now,
            settings: parts.settings,
            verification: parts.verification,
            verdicts: VecDeque::new(),
            // Whatever has been ordered before the first turn is obeyed in it.
            obeyed: 0,
            access: orders.access,
            orders: parts.orders,
            metrics: parts.metrics,
            started: parts.started,
            poll: parts.poll,
            inbox: parts.inbox,
            mailboxes: parts.mailboxes,
        }
    }

    /// Runs until it is told to end and no connection is left. Fails if the system fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.has_ended() {
            self.sleep(&mut events)?;
            self.now = Instant::from_micros(self.started.elapsed().as_micros() as u64);
            for event in &events {
                if event.token() != WAKER {
                    let slot = event.token().0 as u32;
                    if event.is_writable() {
                        self.drain(slot);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        if let Some(connection) = self.connections.get_mut(slot) {
                            connection.is_read_closed |= event.is_read_closed();
                        }
                        self.queue_read(slot);
                    }
                }
            }
            self.turn();
        }
        Ok(())
    }

    /// Everything that is to be done about what has happened since the last one.
    fn turn(&mut self) {
        self.take_mail();
        self.tell_verdicts();
        self.obey_orders();
        self.read_sockets();
        self.meet_deadlines();
        self.review_some();
        self.end_broken();
        self.ask_for_snapshots();
        self.flush_channels();
        self.send_replies();
        self.send_mail();
        self.bury_dead();
        self.count();
    }

    /// Waits for events, mail, or the next deadline.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let mut timeout = self.timeout();
        if !timeout.is_zero() {
            self.inbox.fall_asleep();
            if let Some(batch) = self.inbox.take() {
                self.accept(batch);
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
        let has_work = !self.broken.is_empty()
            || !self.verdicts.is_empty()
            || !self.deliveries.is_empty()
            || self.snapshot_requests.is_ready()
            || !self.shard_effects.is_empty()
            || (!self.readable.is_empty() && !self.is_choked())
            || self.can_review();
        if has_work {
            return Duration::ZERO;
        }
        let soon = self.soon.peek().map_or(Instant::NEVER, |next| next.0.0);
        let next = self
            .leases
            .poll_timeout()
            .min(self.shards.poll_timeout())
            .min(soon)
            .min(self.snapshot_requests.poll_timeout())
            .min(self.detached.poll_timeout());
        let now = Instant::from_micros(self.started.elapsed().as_micros() as u64);
        next.since(now).min(LONGEST_SLEEP)
    }

    fn take_mail(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            let Some(batch) = self.inbox.take() else { return };
            self.accept(batch);
        }
    }

    fn accept(&mut self, batch: Vec<Mail>) {
        for mail in batch {
            match mail {
                Mail::Adopt(adopted) => self.adopt(*adopted),
                Mail::Command(command) => {
                    self.shards.handle(command, self.now, &mut self.shard_effects);
                    self.settle();
                }
                Mail::Answer { ticket, channel, verdict } => self.answer(ticket, channel, verdict),
                Mail::Decision { asker, channel, ruling } => self.decided(asker, channel, ruling),
                Mail::Verified(verdict) => self.verdicts.push_back(verdict),
                Mail::Claim { asker, claim, user } => self.claimed(asker, claim, user),
                Mail::TakenOver { asker, session } => self.taken_over(asker, session),
                Mail::Detached { user, detachment } => self.register_detached(user, detachment),
                Mail::Reattached { user, detachment } => self.detached_users.end(&user, detachment),
                Mail::EndDetached(detachment) => self.end_detached(detachment),
                Mail::EndOldestDetached => self.end_oldest_detached(),
                Mail::Delivery(delivery) => self.deliver_from_afar(delivery),
                Mail::ShardLost(loss) => self.report_to_home(loss),
                Mail::Reported(loss) => {
                    self.shards.reported(loss, self.now, &mut self.shard_effects);
                    self.settle();
                }
                Mail::Resync(channel) => self.tell_resync(&channel),
                Mail::Hibernated(channel) => self.forget_states(&channel),
            }
        }
    }

    /// Leases, tokens, rates, and channels that are being rebuilt.
    fn meet_deadlines(&mut self) {
        while let Some(next) = self.soon.peek()
            && next.0.0 <= self.now
        {
            let slot = next.0.1;
            self.soon.pop();
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.is_soon = false;
                self.session_timeout(slot);
            }
        }
        let pause = self.leases.pause(self.now);
        if !pause.is_zero() {
            self.extend_graces(pause);
        }
        self.end_graces();
        if self.now < self.leases.poll_timeout() {
            return;
        }
        let mut dues = std::mem::take(&mut self.dues);
        self.leases.scan(self.now, &mut dues);
        for due in dues.drain(..) {
            match due {
                Due::Ping(slot) => self.ping(slot),
                Due::Ended(slot) => self.lease_ended(slot),
                Due::Deadline(slot) => self.deadline_came(slot),
            }
        }
        self.dues = dues;
        self.scan_channel_leases();
        self.make_room();
        self.reviews.retry();
        let hibernate_after = self.settings.hibernate_after_ms;
        let hibernate_after = (hibernate_after > 0).then(|| Duration::from_millis(hibernate_after));
        self.shards.handle_timeout(self.now, hibernate_after, &mut self.shard_effects);
        self.settle();
    }

    /// One batch per loop and turn. Where a queue is full, the mail waits here and no socket is
    /// read until there is room: the load is passed back to those who make it.
    fn send_mail(&mut self) {
        for (mailbox, batch) in self.mailboxes.iter().zip(&mut self.outgoing) {
            if batch.is_empty() {
                continue;
            }
            if let Err(unsent) = mailbox.send(std::mem::take(batch)) {
                *batch = unsent;
            }
        }
        if !self.handovers.is_empty() && !self.is_choked() {
            for (peer, mail) in self.handovers.drain(..) {
                self.outgoing[usize::from(peer.0)].push(mail);
            }
            self.send_mail();
        }
    }

    fn is_choked(&self) -> bool {
        self.outgoing.iter().any(|batch| !batch.is_empty())
    }

    fn count(&self) {
        let Counts { entries, channels } = self.shards.counts();
        self.metrics.entries.set(entries);
        self.metrics.channels.set(channels);
        self.metrics.subscriptions.set(self.audience.subscriptions());
        self.metrics.connections.set(self.connections.len());
        self.metrics.detached_sessions.set(self.detached.len());
        self.metrics.note_oldest_detached(self.detached.oldest_since());
    }

    fn has_ended(&self) -> bool {
        // A socket that waits in the mail is to be told as well.
        let is_empty = || self.connections.is_empty() && self.inbox.is_empty();
        self.ending.is_some_and(|end| self.now >= end || is_empty())
    }
}
