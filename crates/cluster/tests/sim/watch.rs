//! What must be true of what a node tells its owner.

use herenow_cluster::{Fact, Key, Read, Term, View};

use crate::clock::MS;
use crate::world::{Event, Process, Slot, World};

impl World {
    /// What must be true of what a node is told.
    pub fn watch(&mut self, slot: usize, fact: &Fact) {
        if !matches!(fact, Fact::View(_)) {
            self.note(|| format!("{slot}: {fact:?}"));
        }
        let Some(process) = &mut self.slots[slot].process else { return };
        match fact {
            Fact::Home { shard, epoch } => {
                self.tally.homes += 1;
                let term = Term { epoch: *epoch, home: process.node.incarnation() };
                self.history.begin(*shard, term);
                process.open.remove(shard);
            }
            Fact::Opened { shard, epoch } => {
                process.open.insert(*shard, *epoch);
                let has_open = |slot: &&Slot| {
                    slot.process.as_ref().is_some_and(|process| process.open.contains_key(shard))
                };
                if self.slots.iter().filter(has_open).count() > 1 {
                    self.contested.insert(*shard);
                }
                self.assert_one_home();
            }
            Fact::Moved { shard, .. } => {
                process.open.remove(shard);
            }
            Fact::Out(_) => {
                self.tally.exclusions += 1;
                process.open.clear();
            }
            Fact::LeaseUntil(_) => self.assert_one_home(),
            Fact::View(view) => {
                let v = view.v;
                self.note(|| format!("{slot}: view {v}"));
            }
            Fact::Left => {
                self.tally.left += 1;
                self.count(slot);
                self.slots[slot].process = None;
                self.slots[slot].life += 1;
                let again = self.now + self.chance.between(0, 10_000) * MS;
                self.at(again, Event::Start(slot));
            }
            _ => {}
        }
    }

    /// Never two homes of a shard within their leases.
    fn assert_one_home(&mut self) {
        // After the bucket was lost two nodes may act for one shard until both know one view again
        // that holds what each was told: what one of them was told was taken back.
        if self.is_bucket_torn && self.homes_agree() {
            self.is_bucket_torn = false;
        }
        let is_excused = self.is_bucket_torn;
        let mut contested = std::mem::take(&mut self.contested);
        contested.retain(|shard| {
            let openers = self.living().filter(|process| process.open.contains_key(shard));
            let openers: Vec<&Process> = openers.collect();
            let acting = openers
                .iter()
                .filter(|process| process.node.has_lease(process.clock.now(self.now).at));
            let acting: Vec<Term> = acting.map(|process| process.term_of(*shard)).collect();
            assert!(acting.len() < 2 || is_excused, "shard {shard} has two homes: {acting:?}");
            openers.len() > 1
        });
        self.contested = contested;
    }

    /// Whether every node that counts as a member knows the view that is in the bucket, and is a home
    /// only by it: a view that was made from an old one does not know all that was decided since, until a node
    /// has seen what it forgot and has written the next one.
    fn homes_agree(&self) -> bool {
        let Read::Found(_, bytes) = self.engine.read(&Key::View) else { return false };
        let Ok(view) = View::decode(&bytes) else { return false };
        let mut members = self.living().filter(|process| process.node.is_in());
        members.all(|process| {
            let is_in_view = |shard: &u16| view.term(*shard) == process.term_of(*shard);
            process.node.view().is_some_and(|known| **known == view)
                && process.open.keys().all(is_in_view)
        })
    }
}
