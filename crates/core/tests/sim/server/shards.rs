//! The shards of one simulated loop, and which of their channels are to be flushed when.

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_core::{Command, Effect, Flush, Instant, Shard};
use herenow_wire::ChannelName;

/// See the module.
pub struct Shards {
    epoch_base: u64,
    /// Those that were ever spoken to.
    shards: BTreeMap<u16, Shard>,
    planned: BTreeMap<ChannelName, Instant>,
    /// The next call to this one ends in a fault.
    pub faulty: Option<u16>,
    lost: Vec<Loss>,
    /// How many loops there are beside this one.
    others: usize,
    faults: u32,
    /// By lost shard: which fault it was, and how many loops have yet to say what they know.
    awaiting: BTreeMap<u16, (u32, usize)>,
}

/// A shard that a fault has cost its maps, and which of its loop's faults it was.
#[derive(Clone, Copy)]
pub struct Loss {
    pub shard: u16,
    fault: u32,
}

impl Shards {
    pub fn new(epoch_base: u64, loops: usize) -> Self {
        Self {
            epoch_base,
            shards: BTreeMap::new(),
            planned: BTreeMap::new(),
            faulty: None,
            lost: Vec::new(),
            others: loops - 1,
            faults: 0,
            awaiting: BTreeMap::new(),
        }
    }

    /// Returns the channel where it was freed by this: nobody was left to be told of it.
    pub fn handle(
        &mut self,
        command: Command,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Option<ChannelName> {
        let channel = command.channel().clone();
        let index = channel.shard();
        let count = |shards: &BTreeMap<u16, Shard>| shards.get(&index).map_or(0, Shard::channels);
        let before = count(&self.shards);
        self.with(index, |shard| shard.handle(command, now, out));
        (count(&self.shards) < before).then_some(channel)
    }

    pub fn plan(&mut self, channel: ChannelName, due: Instant) {
        self.planned.insert(channel, due);
    }

    pub fn poll_timeout(&self) -> Instant {
        self.planned.values().copied().min().unwrap_or(Instant::NEVER)
    }

    pub fn next_due(&mut self, now: Instant) -> Option<ChannelName> {
        let (channel, _) = self.planned.iter().find(|(_, due)| **due <= now)?;
        let channel = channel.clone();
        self.planned.remove(&channel);
        Some(channel)
    }

    pub fn flush(&mut self, channel: &ChannelName, now: Instant, out: &mut Flush) {
        *out = Flush::default();
        self.with(channel.shard(), |shard| shard.flush(channel, now, out));
    }

    pub fn handle_timeout(
        &mut self,
        now: Instant,
        hibernate_after: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        let indices: Vec<u16> = self.shards.keys().copied().collect();
        for index in indices {
            if self.shards[&index].has_deadlines(hibernate_after) {
                self.with(index, |shard| shard.handle_timeout(now, hibernate_after, out));
            }
        }
    }

    pub fn take_lost(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.lost)
    }

    /// Another loop has said what it knows of a lost shard.
    pub fn reported(&mut self, loss: Loss, now: Instant, out: &mut Vec<Effect>) {
        let Some((fault, loops)) = self.awaiting.get_mut(&loss.shard) else { return };
        if *fault != loss.fault {
            return;
        }
        *loops -= 1;
        if *loops == 0 {
            self.awaiting.remove(&loss.shard);
            self.with(loss.shard, |shard| shard.reports_are_in(now, out));
        }
    }

    pub fn entries(&self) -> usize {
        self.shards.values().map(Shard::entries).sum()
    }

    pub fn channels(&self) -> usize {
        self.shards.values().map(Shard::channels).sum()
    }

    /// A fault costs the call that met it and all maps of its shard.
    fn with(&mut self, index: u16, call: impl FnOnce(&mut Shard)) {
        let shard = self.shards.entry(index).or_insert_with(|| Shard::new(self.epoch_base));
        if self.faulty == Some(index) {
            self.faulty = None;
            *shard = shard.successor();
            self.faults += 1;
            if self.others > 0 {
                shard.await_reports();
                self.awaiting.insert(index, (self.faults, self.others));
            }
            self.lost.push(Loss { shard: index, fault: self.faults });
        } else {
            call(shard);
        }
    }
}
