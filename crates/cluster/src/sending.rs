//! One direction of a link, at the sender: a numbered stream of batches, of which only the numbers
//! are kept. After a loss the stream begins anew, and what there is no room for is remembered as the
//! shards and channels that it was about. Only items that no report and no snapshot replaces are kept
//! until they are acknowledged.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use herenow_core::{Instant, Owed};
use herenow_wire::ChannelName;
use herenow_wire::link::{Body, Follows, Item, Packet, Urgency, bodies};

use crate::api::Contents;

/// When a batch that is not acknowledged is asked about, and how often.
pub(crate) const TICK_EVERY: Duration = Duration::from_millis(250);
/// So much may be unacknowledged. What comes then is only remembered as owed.
pub(crate) const MAX_UNACKED_BYTES: usize = 4 * 1024 * 1024;
/// What a small batch counts for, so that their number is bounded too.
const LEAST_COUNTED_BYTES: usize = 256;
/// So many items that no report and no snapshot replaces are kept. There are fewer refusals than that:
/// their puts are not acknowledged while they wait.
const MAX_KEPT_ITEMS: usize = 65_536;
/// So many channels are owed by their names. After it the stream begins anew.
const MAX_OWED_CHANNELS: usize = 65_536;
/// So many reports and snapshots are asked for at once.
const OWED_AT_ONCE: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Sending {
    max_body_bytes: usize,
    /// The number of the last batch that was made.
    made: u64,
    /// The number of the last batch that was sent.
    sent: u64,
    acked: u64,
    /// The number of the batch with which the stream last began anew.
    begun_at: u64,
    unacked: VecDeque<(u64, usize)>,
    unacked_bytes: usize,
    /// Batches that are made and wait for room.
    waiting: VecDeque<Batch>,
    /// What is sent again when the stream begins anew, with the last batch that it went with.
    kept: VecDeque<(u64, Item)>,
    owed: BTreeSet<Concern>,
    /// What the owner was asked for and has not answered. It sends nothing of it before the answer,
    /// which replaces what the owner had handed in until then.
    asked: BTreeSet<Concern>,
    awaits_contents: bool,
    tick_at: Instant,
    /// A node that is not in the view yet has asked for this. It is kept until a view of this number.
    pub(crate) known_from: u64,
}

#[derive(Debug)]
struct Batch {
    n: u64,
    follows: Follows,
    urgency: Urgency,
    body: Vec<u8>,
}

/// What an item is about, and so what replaces it if it is lost.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Concern {
    /// A report of the shard.
    Shard(u16),
    /// A snapshot of the channel.
    Channel(ChannelName),
}

/// What became of items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// They go with the batches up to this one.
    UpTo(u64),
    /// They are owed, or the contents that are asked for will hold them.
    Owed,
    /// There is no room to remember them: the stream must begin anew.
    Overflow,
    /// There is no room to keep them, and nothing replaces them.
    Dropped,
}

impl Sending {
    /// A stream that begins with the contents that the owner is asked for, after this number.
    pub(crate) fn new(max_payload_bytes: usize, after: u64) -> Self {
        Self {
            max_body_bytes: max_payload_bytes.saturating_sub(Packet::MAX_HEADER_BYTES),
            made: after,
            sent: after,
            acked: after,
            begun_at: after + 1,
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            waiting: VecDeque::new(),
            kept: VecDeque::new(),
            owed: BTreeSet::new(),
            asked: BTreeSet::new(),
            awaits_contents: true,
            tick_at: Instant::NEVER,
            known_from: 0,
        }
    }

    /// The number of the last batch that was sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether everything is acknowledged and nothing is owed.
    pub(crate) fn is_idle(&self) -> bool {
        let owes = !(self.owed.is_empty() && self.asked.is_empty());
        self.acked == self.made && !owes && !self.awaits_contents
    }

    /// How many reports and snapshots are owed.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len() + self.asked.len()
    }

    /// What it holds, in bytes, but for the names of channels.
    pub(crate) fn held_bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|batch| batch.body.len()).sum();
        waiting
            + self.unacked.len() * size_of::<(u64, usize)>()
            + self.kept.len() * size_of::<(u64, Item)>()
    }

    /// Takes items that are one flush. If one of them has to be owed, all are that can be.
    pub(crate) fn take(&mut self, items: Vec<Item>, urgency: Urgency) -> Taken {
        let has_room = self.waiting.is_empty() && self.unacked_bytes < MAX_UNACKED_BYTES;
        let is_owed = |item: &Item| {
            let about = concern(item);
            about.is_some_and(|about| self.owed.contains(&about) || self.asked.contains(&about))
        };
        let owes = !has_room || items.iter().any(is_owed);
        let mut going = Vec::new();
        let kept_before = self.kept.len();
        for item in items {
            match concern(&item) {
                None => {
                    self.kept.push_back((u64::MAX, item.clone()));
                    going.push(item);
                }
                Some(_) if self.awaits_contents => {}
                Some(concern) if self.asked.contains(&concern) => {}
                Some(concern) if owes => {
                    self.owed.insert(concern);
                }
                Some(_) => going.push(item),
            }
        }
        if self.kept.len() > MAX_KEPT_ITEMS {
            self.kept.truncate(kept_before);
            return Taken::Dropped;
        }
        if self.awaits_contents {
            return Taken::Owed;
        }
        if self.owed.len() + self.asked.len() > MAX_OWED_CHANNELS {
            return Taken::Overflow;
        }
        if going.is_empty() {
            return Taken::Owed;
        }
        self.queue(&going, Follows::Previous, urgency);
        for (n, _) in self.kept.range_mut(kept_before..) {
            *n = self.made;
        }
        if owes { Taken::Owed } else { Taken::UpTo(self.made) }
    }

    /// The owner answers what [`Sending::poll_owed`] asked for.
    pub(crate) fn answered(&mut self, owed: &Owed) {
        for concern in concerns(owed) {
            self.asked.remove(&concern);
        }
    }

    /// From here on nothing goes but the contents that the owner is asked for. Whether that is news.
    pub(crate) fn begin_anew(&mut self) -> bool {
        self.waiting.clear();
        self.owed.clear();
        self.asked.clear();
        self.tick_at = Instant::NEVER;
        !std::mem::replace(&mut self.awaits_contents, true)
    }

    /// Whether nothing waits that was handed in, and no snapshot is owed. Only then may be acknowledged what
    /// was told: a refusal, and the change that a put has made, go before the acknowledgement of the put.
    pub(crate) fn has_said_all(&self) -> bool {
        // Channels come last.
        let holds_a_channel =
            |of: &BTreeSet<Concern>| matches!(of.last(), Some(Concern::Channel(_)));
        let owes = holds_a_channel(&self.owed) || holds_a_channel(&self.asked);
        self.waiting.is_empty() && !owes && !self.awaits_contents
    }

    /// The owner says what is owed. Gives the number of the last batch that holds it.
    pub(crate) fn contents(&mut self, contents: Contents) -> Option<u64> {
        if !self.awaits_contents {
            return None;
        }
        self.awaits_contents = false;
        self.unacked.clear();
        self.unacked_bytes = 0;
        self.made = self.sent;
        self.begun_at = self.sent + 1;
        self.owed = contents.channels.into_iter().map(Concern::Channel).collect();
        let mut items = contents.items;
        items.extend(self.kept.iter().map(|(_, item)| item.clone()));
        self.queue(&items, Follows::Nothing, Urgency::Soon);
        for (n, _) in &mut self.kept {
            *n = self.made;
        }
        Some(self.made)
    }

    /// The receiver has missed something, and had heard of no number above `seen` when it said so.
    /// Whether the stream has to begin anew: what was said before the last beginning came is old.
    pub(crate) fn is_broken_by(&self, seen: u64) -> bool {
        (self.begun_at..=self.sent).contains(&seen)
    }

    /// Everything up to `n` has come, and makes room. Whether that is news.
    pub(crate) fn received(&mut self, n: u64) -> bool {
        let before = self.unacked.len();
        if n <= self.sent && n >= self.begun_at {
            while let Some((_, bytes)) = self.unacked.pop_front_if(|(number, _)| *number <= n) {
                self.unacked_bytes -= bytes;
            }
        }
        self.unacked.len() < before
    }

    /// Everything up to `n` is applied and told. Whether that is news.
    pub(crate) fn acknowledged(&mut self, n: u64) -> bool {
        if n <= self.acked || n > self.sent || n < self.begun_at || self.awaits_contents {
            return false;
        }
        self.acked = n;
        while self.kept.pop_front_if(|(number, _)| *number <= n).is_some() {}
        if self.acked == self.sent {
            self.tick_at = Instant::NEVER;
        }
        true
    }

    /// What to ask the owner for, if there is room again and nothing else was asked for.
    pub(crate) fn poll_owed(&mut self) -> Option<Owed> {
        let has_room = self.waiting.is_empty() && self.unacked_bytes < MAX_UNACKED_BYTES / 2;
        let may_ask = has_room && !self.awaits_contents && self.asked.is_empty();
        if !may_ask || self.owed.is_empty() {
            return None;
        }
        let mut owed = Owed::default();
        while self.asked.len() < OWED_AT_ONCE
            && let Some(concern) = self.owed.pop_first()
        {
            match &concern {
                Concern::Shard(shard) => owed.shards.push(*shard),
                Concern::Channel(channel) => owed.channels.push(channel.clone()),
            }
            self.asked.insert(concern);
        }
        Some(owed)
    }

    /// The next batch that may go.
    pub(crate) fn poll_batch(&mut self, now: Instant) -> Option<(u64, Follows, Urgency, Vec<u8>)> {
        if self.unacked_bytes >= MAX_UNACKED_BYTES {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        let counted = batch.body.len().max(LEAST_COUNTED_BYTES);
        self.unacked.push_back((batch.n, counted));
        self.unacked_bytes += counted;
        self.sent = batch.n;
        self.tick_at = now + TICK_EVERY;
        Some((batch.n, batch.follows, batch.urgency, batch.body))
    }

    /// When to ask whether the last batch has come. Never, once it is acknowledged.
    pub(crate) fn next_tick(&self) -> Instant {
        self.tick_at
    }

    /// Whether to ask now.
    pub(crate) fn poll_tick(&mut self, now: Instant) -> Option<Body<'static>> {
        if now < self.tick_at {
            return None;
        }
        self.tick_at = now + TICK_EVERY;
        Some(Body::Tick)
    }

    fn queue(&mut self, items: &[Item], follows: Follows, urgency: Urgency) {
        let mut bodies = bodies(items, self.max_body_bytes);
        if bodies.is_empty() {
            bodies.push(Vec::new());
        }
        // The parts of an item make room for each other only when they are acknowledged.
        let urgency = if bodies.len() > 1 { Urgency::Soon } else { urgency };
        let mut follows = follows;
        for body in bodies {
            self.made += 1;
            self.waiting.push_back(Batch { n: self.made, follows, urgency, body });
            follows = Follows::Previous;
        }
    }
}

fn concerns(owed: &Owed) -> impl Iterator<Item = Concern> {
    let shards = owed.shards.iter().map(|shard| Concern::Shard(*shard));
    shards.chain(owed.channels.iter().map(|channel| Concern::Channel(channel.clone())))
}

fn concern(item: &Item) -> Option<Concern> {
    match item {
        Item::Report(report) => Some(Concern::Shard(report.shard)),
        Item::Put(put) => Some(Concern::Shard(put.channel.shard())),
        Item::Remove { channel, .. }
        | Item::Detach { channel, .. }
        | Item::Interest { channel, .. } => Some(Concern::Shard(channel.shard())),
        Item::Snap(snap) => Some(Concern::Channel(snap.channel.clone())),
        Item::Change(change) => Some(Concern::Channel(change.channel.clone())),
        Item::Refused(_)
        | Item::Taken { .. }
        | Item::Heard { .. }
        | Item::Hibernated { .. }
        | Item::Woke { .. }
        | Item::Kick(_) => None,
    }
}

#[cfg(test)]
mod tests;
