//! Which nodes a new home still waits for, before it opens its shards. The wait ends only when a node has
//! reported or has left the view: a deadline would turn a slow node that is alive into false leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::link::Incarnation;

use crate::view::View;

/// How often a node is asked that has not answered.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Collecting {
    shards: BTreeMap<u16, Awaited>,
    ask_at: Option<Instant>,
    took: Took,
}

/// How long it took until all nodes had reported.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    /// For so many shards.
    pub(crate) shards: u64,
    /// In all.
    pub(crate) time: Duration,
}

#[derive(Debug)]
struct Awaited {
    epoch: u64,
    nodes: BTreeSet<Incarnation>,
    since: Instant,
}

impl Collecting {
    /// The node is the home of a shard now. Every other node of the view is asked.
    pub(crate) fn begin(
        &mut self,
        (shard, epoch): (u16, u64),
        nodes: BTreeSet<Incarnation>,
        now: Instant,
    ) {
        self.shards.insert(shard, Awaited { epoch, nodes, since: now });
        self.ask_at = Some(now);
    }

    /// The shard is another's.
    pub(crate) fn cancel(&mut self, shard: u16) {
        self.shards.remove(&shard);
    }

    /// The node is the home of nothing.
    pub(crate) fn clear(&mut self) {
        *self = Self { took: self.took, ..Self::default() };
    }

    /// How long it has taken so far, since the start.
    pub(crate) fn took(&self) -> Took {
        self.took
    }

    /// How many shards wait.
    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// A node has said what it has of a shard.
    pub(crate) fn reported(&mut self, from: Incarnation, shard: u16, epoch: u64) {
        if let Some(awaited) = self.shards.get_mut(&shard)
            && awaited.epoch == epoch
        {
            awaited.nodes.remove(&from);
        }
    }

    /// Stops waiting for nodes that are not in the view.
    pub(crate) fn keep(&mut self, view: &View) {
        for awaited in self.shards.values_mut() {
            awaited.nodes.retain(|id| view.node(*id).is_some());
        }
    }

    /// The shards for which every node has reported or left, with their epochs.
    pub(crate) fn take_complete(&mut self, now: Instant) -> Vec<(u16, u64)> {
        let is_complete = |awaited: &Awaited| awaited.nodes.is_empty();
        let complete: Vec<(u16, u64)> = self
            .shards
            .iter()
            .filter(|(_, awaited)| is_complete(awaited))
            .map(|(shard, awaited)| (*shard, awaited.epoch))
            .collect();
        for awaited in complete.iter().filter_map(|(shard, _)| self.shards.remove(shard)) {
            self.took.shards += 1;
            self.took.time += now.since(awaited.since);
        }
        complete
    }

    /// When to ask next.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.ask_at.filter(|_| !self.shards.is_empty()).unwrap_or(Instant::NEVER)
    }

    /// What each node is to be asked for now.
    pub(crate) fn poll(&mut self, now: Instant) -> BTreeMap<Incarnation, Vec<(u16, u64)>> {
        let mut asked: BTreeMap<Incarnation, Vec<(u16, u64)>> = BTreeMap::new();
        if self.next_deadline() <= now {
            self.ask_at = Some(now + ASK_EVERY);
            for (shard, awaited) in &self.shards {
                for id in &awaited.nodes {
                    asked.entry(*id).or_default().push((*shard, awaited.epoch));
                }
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Incarnation = Incarnation(1);
    const OTHER: Incarnation = Incarnation(2);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    /// Shard 3 waits for two nodes in epoch 10.
    fn waiting() -> Collecting {
        let mut collecting = Collecting::default();
        collecting.begin((3, 10), BTreeSet::from([ONE, OTHER]), at(0));
        collecting
    }

    #[test]
    fn a_shard_is_complete_when_every_node_has_reported() {
        let mut collecting = waiting();
        collecting.reported(ONE, 3, 10);
        assert_eq!(collecting.take_complete(at(9)), []);
        collecting.reported(OTHER, 3, 10);
        assert_eq!(collecting.take_complete(at(9)), [(3, 10)]);
        assert_eq!((collecting.took().shards, collecting.took().time.as_millis()), (1, 9));
        assert_eq!(collecting.len(), 0);
    }

    #[test]
    fn a_report_of_another_epoch_does_not_count() {
        let mut collecting = waiting();
        collecting.reported(ONE, 3, 9);
        collecting.reported(OTHER, 3, 10);
        assert_eq!(collecting.take_complete(at(9)), []);
    }

    #[test]
    fn a_node_that_left_the_view_is_not_waited_for() {
        let mut collecting = waiting();
        collecting.keep(&View::empty(1));
        assert_eq!(collecting.take_complete(at(9)), [(3, 10)]);
    }

    #[test]
    fn nodes_that_have_not_reported_are_asked_again_each_250_milliseconds() {
        let mut collecting = waiting();
        assert_eq!(collecting.poll(at(0)).len(), 2);
        collecting.reported(ONE, 3, 10);
        assert!(collecting.poll(at(249)).is_empty());
        assert_eq!(collecting.poll(at(250)), BTreeMap::from([(OTHER, vec![(3, 10)])]));
        collecting.cancel(3);
        assert_eq!(collecting.next_deadline(), Instant::NEVER);
    }
}
