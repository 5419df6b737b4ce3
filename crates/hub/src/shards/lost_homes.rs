//! Shards that a fault has cost their home. Its clients have the time that they always have to say what they
//! show, then another term begins in which every node reports: nobody is seen to leave meanwhile.

use std::collections::BTreeMap;

use herenow_core::{COLLECT_FOR, Instant, NodeMail, Term};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LostHomes {
    /// The term that each was in, and when the next may begin, once that is known.
    by_shard: BTreeMap<u16, (Term, Option<Instant>)>,
}

impl LostHomes {
    pub(super) fn insert(&mut self, shard: u16, term: Term) {
        self.by_shard.insert(shard, (term, None));
    }

    /// This node is the home of nothing any more.
    pub(super) fn clear(&mut self) {
        self.by_shard.clear();
    }

    /// Those whose next term may begin. To be asked again and again.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<NodeMail> {
        let is_due = |_: &u16, (_, due): &mut (Term, Option<Instant>)| {
            *due.get_or_insert(now + COLLECT_FOR) <= now
        };
        let due = self.by_shard.extract_if(.., is_due);
        due.map(|(shard, (term, _))| NodeMail::Lost { shard, term }).collect()
    }
}
