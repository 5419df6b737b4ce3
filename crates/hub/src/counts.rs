//! Telling connections how many are in a channel, and nothing else of it.
//!
//! The hub of the channel's shard looks at a counted channel after a flush with a join or a leave, and
//! not within a second after it was told last. It encodes the count once for all hubs with connections that count. Each of those keeps the newest frame
//! and writes it to its sockets, in parts if there are many. A socket that has yet to take something is
//! written to later, and then only the newest count: at most one waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use herenow_core::{Counted, Flush, Instant, Op, Peer};
use herenow_wire::ChannelName;
use herenow_wire::encode::{self, Position};

use crate::api::Io;
use crate::connection::{self, Sent};
use crate::held::Encoded;
use crate::mail::Mail;
use crate::send_queue::Shared;
use crate::work::Work;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// The channels of this hub's shards that some hub counts.
    counted: BTreeMap<ChannelName, CountedChannel>,
    /// When to look at one of them that may have changed.
    due: BTreeSet<(Instant, ChannelName)>,
    /// The channels that connections of this hub count.
    newest: BTreeMap<ChannelName, Newest>,
    /// Those of them whose newest frame is not written to everybody yet.
    running: VecDeque<ChannelName>,
    /// Connections that are to be told in this turn, because they have just asked.
    asking: Vec<(ChannelName, u32)>,
    /// When to write again to sockets that had yet to take something.
    retry_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct CountedChannel {
    peers: Vec<Peer>,
    /// What they were told last, and in which epoch.
    told: Option<(u64, usize, usize)>,
    frame: Option<Arc<Encoded>>,
    /// A second after it was told last: it is not looked at before.
    next_look: Instant,
    due: Option<Instant>,
}

impl CountedChannel {
    /// Whether others are in the channel after this flush than were told, perhaps.
    fn may_differ(&self, flush: &Flush) -> bool {
        let is_in_other_life = self.told.is_none_or(|(epoch, ..)| epoch != flush.epoch);
        let is_of_membership = |op: &Op| !matches!(op, Op::Put { old: Some(_), .. });
        is_in_other_life || flush.snapshot.is_some() || flush.ops.iter().any(is_of_membership)
    }
}

#[derive(Debug, Default)]
struct Newest {
    /// `None` until the first one has come.
    frame: Option<Arc<Encoded>>,
    /// The slot from which on it is still to be written; `None` if it has been.
    next_slot: Option<u32>,
    /// A newer frame came while one was written: those before `next_slot` have the older one.
    is_overtaken: bool,
    /// Slots whose sockets had yet to take something.
    owed: BTreeSet<u32>,
}

/// What hubs tell each other of counts.
#[derive(Debug)]
pub enum CountMail {
    /// Connections of this hub count a channel of the receiving hub's.
    Begin(ChannelName, Peer),
    /// None does any more.
    End(ChannelName, Peer),
    /// How many are in a channel, as a frame.
    Told(ChannelName, Arc<Encoded>),
}

/// How often a count is told at most, and how long a socket that is not ready is left alone.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Channels that are looked at in one turn.
const LOOKS_PER_TURN: usize = 256;

impl Counts {
    /// When something is to be done next.
    #[inline]
    pub(crate) fn poll_timeout(&self) -> Instant {
        let due = self.due.first().map_or(Instant::NEVER, |(due, _)| *due);
        due.min(self.retry_at.unwrap_or(Instant::NEVER))
    }

    /// Whether something is to be written whatever the time.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.running.is_empty() || !self.asking.is_empty()
    }

    /// These hubs and those that count a channel of this hub's shards, each once.
    pub(crate) fn with_counting(&self, channel: &ChannelName, peers: Vec<Peer>) -> BTreeSet<Peer> {
        let counting = self.counted.get(channel).into_iter().flat_map(|counted| &counted.peers);
        counting.copied().chain(peers).collect()
    }

    /// The channels of a shard that are counted.
    pub(crate) fn counted_in(&self, shard: u16) -> Vec<ChannelName> {
        self.counted.keys().filter(|channel| channel.shard() == shard).cloned().collect()
    }

    /// How many entries it holds.
    pub(crate) fn len(&self) -> usize {
        let owed = self.newest.values().map(|newest| newest.owed.len()).sum::<usize>();
        self.counted.len() + self.due.len() + self.newest.len() + self.running.len() + owed
    }

    /// A channel may hold others than before.
    fn plan(&mut self, channel: &ChannelName, now: Instant) {
        let Some(counted) = self.counted.get_mut(channel) else { return };
        if counted.due.is_none() {
            let due = counted.next_look.max(now);
            counted.due = Some(due);
            self.due.insert((due, channel.clone()));
        }
    }

    fn look_again(&mut self, channel: &ChannelName, now: Instant) {
        if let Some(counted) = self.counted.get_mut(channel) {
            counted.next_look = now + COUNT_EVERY;
        }
        self.plan(channel, now);
    }

    fn next_due(&mut self, now: Instant) -> Option<ChannelName> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, channel) = self.due.pop_first()?;
        if let Some(counted) = self.counted.get_mut(&channel) {
            counted.due = None;
        }
        Some(channel)
    }

    /// A hub is told no more. Whether no hub is.
    fn end(&mut self, channel: &ChannelName, peer: Peer) -> bool {
        let Some(counted) = self.counted.get_mut(channel) else { return false };
        counted.peers.retain(|known| *known != peer);
        if counted.peers.is_empty() {
            if let Some(due) = counted.due {
                self.due.remove(&(due, channel.clone()));
            }
            self.counted.remove(channel);
            return true;
        }
        false
    }

    /// A newer frame has come.
    fn take(&mut self, channel: &ChannelName, frame: Arc<Encoded>) {
        // Without an entry, nobody here counts any more.
        let Some(newest) = self.newest.get_mut(channel) else { return };
        newest.frame = Some(frame);
        newest.owed.clear();
        newest.is_overtaken = newest.next_slot.is_some();
        if newest.next_slot.is_none() {
            newest.next_slot = Some(0);
            self.running.push_back(channel.clone());
        }
    }
}

impl<I: Io> Work<'_, I> {
    /// The connection is told how many are in the channel: now, and when that changes.
    pub(crate) fn count(&mut self, slot: u32, channel: ChannelName) {
        if self.hub.audience.counting_mut().insert(&channel, slot) {
            self.hub.counts.newest.insert(channel.clone(), Newest::default());
            let me = self.hub.config.me;
            self.tell_home(&channel, CountMail::Begin(channel.clone(), me));
        }
        self.hub.counts.asking.push((channel, slot));
    }

    /// The connection counts no more. False if it did not.
    pub(crate) fn uncount(&mut self, slot: u32, channel: &ChannelName) -> bool {
        if self.hub.audience.counting().is_empty() {
            return false;
        }
        let Some(is_last) = self.hub.audience.counting_mut().remove(channel, slot) else {
            return false;
        };
        let counts = &mut self.hub.counts;
        if is_last {
            counts.newest.remove(channel);
            counts.running.retain(|running| running != channel);
            self.tell_home(channel, CountMail::End(channel.clone(), self.hub.config.me));
        } else if let Some(newest) = counts.newest.get_mut(channel) {
            newest.owed.remove(&slot);
        }
        true
    }

    fn tell_home(&mut self, channel: &ChannelName, mail: CountMail) {
        let home = self.hub.shards.home(channel.shard());
        self.send_count_mail(home, mail);
    }

    fn send_count_mail(&mut self, to: Peer, mail: CountMail) {
        if to == self.hub.config.me {
            self.take_count_mail(mail);
        } else {
            self.hub.outgoing.push(to, Mail::Count(mail));
        }
    }

    pub(crate) fn take_count_mail(&mut self, mail: CountMail) {
        match mail {
            CountMail::Begin(channel, peer) => self.begin_counting(&channel, peer),
            CountMail::End(channel, peer) => {
                if self.hub.counts.end(&channel, peer) {
                    let effects = &mut self.hub.shard_effects;
                    self.hub.shards.drop_for_counts(&channel, self.now, effects);
                    self.apply_shard_effects();
                }
            }
            CountMail::Told(channel, frame) => self.hub.counts.take(&channel, frame),
        }
    }

    /// A hub is to be told from here on. The first one has the channel looked at.
    fn begin_counting(&mut self, channel: &ChannelName, peer: Peer) {
        if !self.hub.counts.counted.contains_key(channel) {
            self.hub.shards.keep_for_counts(channel, self.now, &mut self.hub.shard_effects);
            self.apply_shard_effects();
        }
        let counted = self.hub.counts.counted.entry(channel.clone()).or_default();
        if !counted.peers.contains(&peer) {
            counted.peers.push(peer);
        }
        match counted.frame.clone() {
            Some(frame) => self.send_count_mail(peer, CountMail::Told(channel.clone(), frame)),
            None => self.hub.counts.plan(channel, self.now),
        }
    }

    /// The channel was flushed, so it may hold others than before.
    #[inline]
    pub(crate) fn note_count(&mut self, channel: &ChannelName, flush: &Flush) {
        let counted = &self.hub.counts.counted;
        if !counted.is_empty()
            && counted.get(channel).is_some_and(|counted| counted.may_differ(flush))
        {
            self.hub.counts.plan(channel, self.now);
        }
    }

    /// Looks at the channels that are due, and writes to those who are to be told.
    #[inline]
    pub(crate) fn tell_counts(&mut self) {
        if self.hub.counts.has_work() || self.now >= self.hub.counts.poll_timeout() {
            self.look_at_counted();
            self.answer_asking();
            self.retry_owed();
            self.write_counts();
        }
    }

    fn look_at_counted(&mut self) {
        for _ in 0..LOOKS_PER_TURN {
            let Some(channel) = self.hub.counts.next_due(self.now) else { return };
            let Some(now_in) = self.hub.shards.counted(&channel, self.now) else {
                // Nobody can say at present.
                self.hub.counts.look_again(&channel, self.now);
                continue;
            };
            let Some(known) = self.hub.counts.counted.get_mut(&channel) else { continue };
            let told = (now_in.epoch, now_in.users, now_in.connections);
            if known.told == Some(told) {
                continue;
            }
            let frame = encoded(&channel, now_in);
            known.told = Some(told);
            known.next_look = self.now + COUNT_EVERY;
            known.frame = Some(frame.clone());
            for peer in known.peers.clone() {
                self.send_count_mail(peer, CountMail::Told(channel.clone(), frame.clone()));
            }
        }
    }

    /// What is not known yet comes to everybody when it is.
    fn answer_asking(&mut self) {
        for (channel, slot) in std::mem::take(&mut self.hub.counts.asking) {
            let newest = self.hub.counts.newest.get(&channel);
            let is_to_come = newest.is_some_and(|newest| {
                newest.next_slot.is_some_and(|next| newest.is_overtaken || next <= slot)
            });
            if !is_to_come {
                self.write_count(&channel, &[slot]);
            }
        }
    }

    fn retry_owed(&mut self) {
        if self.hub.counts.retry_at.is_none_or(|at| self.now < at) {
            return;
        }
        self.hub.counts.retry_at = None;
        let newest = self.hub.counts.newest.iter_mut().filter(|(_, one)| !one.owed.is_empty());
        let owed: Vec<(ChannelName, BTreeSet<u32>)> =
            newest.map(|(channel, one)| (channel.clone(), std::mem::take(&mut one.owed))).collect();
        for (channel, slots) in owed {
            self.write_count(&channel, &Vec::from_iter(slots));
        }
    }

    /// Writes a part of what runs.
    fn write_counts(&mut self) {
        let mut left = self.hub.config.writes_per_turn;
        while left > 0
            && let Some(channel) = self.hub.counts.running.pop_front()
        {
            let next_slot = self.hub.counts.newest.get(&channel).and_then(|one| one.next_slot);
            let counting = self.hub.audience.counting();
            let slots = counting.slots_from(&channel, next_slot.unwrap_or(0)).take(left);
            let slots: Vec<u32> = slots.collect();
            let is_done = slots.len() < left;
            left -= slots.len();
            if let Some(newest) = self.hub.counts.newest.get_mut(&channel) {
                let goes_on = !is_done || std::mem::take(&mut newest.is_overtaken);
                let after = slots.last().filter(|_| !is_done).map_or(0, |last| last + 1);
                newest.next_slot = goes_on.then_some(after);
                if goes_on {
                    self.hub.counts.running.push_back(channel.clone());
                }
            }
            self.write_count(&channel, &slots);
        }
    }

    /// Writes the newest count to these. Who has yet to take something is written to later.
    fn write_count(&mut self, channel: &ChannelName, slots: &[u32]) {
        let Some(newest) = self.hub.counts.newest.get_mut(channel) else { return };
        let Some(frame) = newest.frame.clone() else { return };
        let send_queue_bytes = self.hub.config.send_queue_bytes;
        let mut shared = Shared::of(&frame);
        let (mut writes, mut bytes_out) = (0, 0);
        for slot in slots {
            let Some(connection) = self.hub.connections.get_mut(*slot) else { continue };
            if !connection.is_open() {
                continue;
            }
            if connection.has_send_queue() {
                newest.owed.insert(*slot);
                continue;
            }
            let replies = self.hub.replies.of(connection.reply);
            bytes_out += replies.len() + frame.bytes().len();
            writes += 1;
            let piece = connection::Part { shared: &mut shared, channel, send_queue_bytes };
            match connection.send_flush(*slot, replies, piece, self.io) {
                // What does not fit into the empty queue of a socket fits into none.
                Sent::Ok | Sent::Dropped(_) => {}
                Sent::Broken => self.hub.broken.push(*slot),
            }
            self.hub.replies.clear_of(connection.reply);
        }
        if !newest.owed.is_empty() {
            self.hub.counts.retry_at.get_or_insert(self.now + COUNT_EVERY);
        }
        self.hub.counters.writes += writes;
        self.hub.counters.bytes_out += bytes_out;
        self.hub.pace.record(slots.len(), self.now);
    }
}

fn encoded(channel: &ChannelName, counted: Counted) -> Arc<Encoded> {
    let Counted { epoch, seq, users, connections } = counted;
    let mut out = Vec::new();
    encode::count(
        &mut out,
        channel,
        Position { epoch, seq },
        encode::Counts { users, connections },
    );
    Encoded::of(&out)
}
