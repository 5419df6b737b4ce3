//! Which batches of a node may be acknowledged: those of which every loop that got a part of one has
//! said that it is applied and told.

/// The batches of one node.
#[derive(Debug)]
pub(super) struct Batches {
    received: u64,
    /// Up to where the node machine was told.
    reported: u64,
    /// By loop.
    shares: Vec<Share>,
}

/// What one loop got of them.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// The last batch of which it got a part.
    given: u64,
    /// It has applied and told everything up to this one.
    told: u64,
}

impl Batches {
    pub(super) fn new(hubs: u16) -> Self {
        Self { received: 0, reported: 0, shares: vec![Share::default(); usize::from(hubs)] }
    }

    /// A batch has come.
    pub(super) fn received(&mut self, n: u64) {
        self.received = n;
    }

    /// A loop gets a part of batch `n`.
    pub(super) fn give(&mut self, hub: u16, n: u64) {
        let share = &mut self.shares[usize::from(hub)];
        if share.told == share.given {
            share.told = n.saturating_sub(1);
        }
        share.given = n;
    }

    /// A loop has applied and told everything up to batch `n`.
    pub(super) fn told(&mut self, hub: u16, n: u64) {
        if let Some(share) = self.shares.get_mut(usize::from(hub)) {
            share.told = share.told.max(n.min(share.given));
        }
    }

    /// Up to where they may be acknowledged, if that is news.
    pub(super) fn poll(&mut self) -> Option<u64> {
        let waiting = self.shares.iter().filter(|share| share.told < share.given);
        let upto = waiting.map(|share| share.told).min().unwrap_or(self.received);
        if upto <= self.reported {
            return None;
        }
        self.reported = upto;
        Some(upto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(batches: &mut Batches, n: u64, hubs: &[u16]) {
        batches.received(n);
        for hub in hubs {
            batches.give(*hub, n);
        }
    }

    #[test]
    fn a_batch_may_be_acknowledged_when_every_loop_that_got_a_part_has_told_it() {
        let mut batches = Batches::new(3);
        received(&mut batches, 10, &[0, 2]);
        assert_eq!(batches.poll(), Some(9), "nothing before it waits");
        batches.told(0, 10);
        assert_eq!(batches.poll(), None);
        batches.told(2, 10);
        assert_eq!(batches.poll(), Some(10));
    }

    #[test]
    fn a_batch_that_concerns_no_loop_waits_for_those_before_it() {
        let mut batches = Batches::new(2);
        received(&mut batches, 10, &[1]);
        received(&mut batches, 11, &[]);
        assert_eq!(batches.poll(), Some(9));
        batches.told(1, 10);
        assert_eq!(batches.poll(), Some(11));
    }

    #[test]
    fn a_loop_tells_several_batches_at_once() {
        let mut batches = Batches::new(2);
        received(&mut batches, 10, &[0]);
        received(&mut batches, 11, &[0, 1]);
        received(&mut batches, 12, &[0]);
        batches.told(0, 12);
        assert_eq!(batches.poll(), Some(10), "the other has not told batch 11");
        batches.told(1, 11);
        assert_eq!(batches.poll(), Some(12));
    }

    #[test]
    fn a_loop_cannot_tell_what_it_did_not_get() {
        let mut batches = Batches::new(2);
        received(&mut batches, 10, &[0]);
        batches.told(0, 99);
        received(&mut batches, 11, &[0]);
        assert_eq!(batches.poll(), Some(10));
    }
}
