//! The shards that live on one loop, and which of their channels are to be flushed when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use herenow_core::{Command, Effect, Flush, Instant, Shard};
use herenow_wire::{ChannelName, SHARDS};

use crate::faults::contain;

/// See the module.
#[derive(Debug)]
pub(super) struct Shards {
    /// Every `loops`-th shard, beginning with this loop's index.
    shards: Vec<Shard>,
    loops: u16,
    due: BinaryHeap<Reverse<(Instant, ChannelName)>>,
    /// When each channel in `due` is to be flushed. A channel whose flush was brought forward
    /// stands in the heap twice; this says which of the two counts.
    planned: HashMap<ChannelName, Instant>,
    counts: Counts,
    /// The index of this loop, and so of its first shard.
    first: u16,
    lost: Vec<Loss>,
    /// How many faults there have been.
    faults: u32,
    /// The lost shards of which not every loop has said what it knows.
    awaiting: HashMap<u16, Awaiting>,
    /// See [`crate::config::Settings::fault_on_channel`].
    fault_on: Option<ChannelName>,
}

/// A shard that a fault has cost its maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) shard: u16,
    /// Which of its loop's faults it was: a second one may come before all have heard of the first.
    pub(crate) fault: u32,
}

#[derive(Debug)]
struct Awaiting {
    fault: u32,
    loops: u16,
}

/// What the shards of a loop hold, kept as a sum: adding 1024 shards up each turn would cost more
/// than a turn.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) entries: usize,
    pub(super) channels: usize,
}

impl Shards {
    /// The share of loop `index` out of `loops`.
    pub(super) fn new(
        index: u16,
        loops: u16,
        epoch_base: u64,
        fault_on: Option<ChannelName>,
    ) -> Self {
        let shards = (index..SHARDS).step_by(usize::from(loops)).map(|_| Shard::new(epoch_base));
        Self {
            shards: shards.collect(),
            loops,
            due: BinaryHeap::new(),
            planned: HashMap::new(),
            counts: Counts::default(),
            first: index,
            lost: Vec::new(),
            faults: 0,
            awaiting: HashMap::new(),
            fault_on,
        }
    }

    /// The loop that a channel's shard lives on.
    pub(super) fn home(channel: &ChannelName, loops: u16) -> u16 {
        channel.shard() % loops
    }

    pub(super) fn handle(&mut self, command: Command, now: Instant, out: &mut Vec<Effect>) {
        let at = self.at(command.channel());
        let is_fault = self.is_fault(&command);
        self.with(at, |shard| {
            shard.handle(command, now, out);
            assert!(!is_fault, "a fault was asked for, with its work half done");
        });
    }

    /// Plans a flush.
    pub(super) fn plan(&mut self, channel: ChannelName, due: Instant) {
        self.planned.insert(channel.clone(), due);
        self.due.push(Reverse((due, channel)));
    }

    /// When the next flush is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.due.peek().map_or(Instant::NEVER, |Reverse((due, _))| *due)
    }

    /// The next channel whose flush is due.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<ChannelName> {
        while self.due.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Reverse((due, channel)) = self.due.pop()?;
            if self.planned.get(&channel) == Some(&due) {
                self.planned.remove(&channel);
                return Some(channel);
            }
        }
        None
    }

    /// Moves what a channel owes into `out`.
    pub(super) fn flush(&mut self, channel: &ChannelName, now: Instant, out: &mut Flush) {
        let at = self.at(channel);
        self.with(at, |shard| shard.flush(channel, now, out));
    }

    /// Ends collections whose time is over, and lets silent channels hibernate.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        hibernate_after: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        for at in 0..self.shards.len() {
            if self.shards[at].has_deadlines(hibernate_after) {
                self.with(at, |shard| shard.handle_timeout(now, hibernate_after, out));
            }
        }
    }

    /// Entries and channels now.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    fn is_fault(&self, command: &Command) -> bool {
        match command {
            Command::Put { channel, .. } => self.fault_on.as_ref() == Some(channel),
            _ => false,
        }
    }

    fn at(&self, channel: &ChannelName) -> usize {
        usize::from(channel.shard() / self.loops)
    }

    /// The shards lost by a fault since this was last asked.
    pub(super) fn take_lost(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.lost)
    }

    /// Another loop has said what it knows of a lost shard.
    pub(super) fn reported(&mut self, loss: Loss, now: Instant, out: &mut Vec<Effect>) {
        let Some(awaiting) = self.awaiting.get_mut(&loss.shard) else { return };
        if awaiting.fault != loss.fault {
            return;
        }
        awaiting.loops -= 1;
        if awaiting.loops == 0 {
            self.awaiting.remove(&loss.shard);
            let at = usize::from(loss.shard / self.loops);
            self.with(at, |shard| shard.reports_are_in(now, out));
        }
    }

    /// Every call to a shard goes through here. A fault in it ends with it: an empty successor
    /// takes its place, and the loops are to tell that one what they know.
    fn with(&mut self, at: usize, call: impl FnOnce(&mut Shard)) {
        let shard = self.shards.get_mut(at).expect("a loop is only asked for its own shards");
        self.counts.entries -= shard.entries();
        self.counts.channels -= shard.channels();
        // What the fault left half done is thrown away whole, so nothing broken is seen.
        if contain(|| call(&mut *shard)).is_err() {
            let index = at as u16 * self.loops + self.first;
            tracing::error!(shard = index, "a fault in a shard: its channels are rebuilt");
            *shard = shard.successor();
            self.faults += 1;
            if self.loops > 1 {
                shard.await_reports();
                let awaiting = Awaiting { fault: self.faults, loops: self.loops - 1 };
                self.awaiting.insert(index, awaiting);
            }
            self.lost.push(Loss { shard: index, fault: self.faults });
        }
        self.counts.entries += shard.entries();
        self.counts.channels += shard.channels();
    }
}
