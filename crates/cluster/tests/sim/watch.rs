//! What must be true of what an exchange tells its loops, and of what they do.

use herenow_cluster::{Action, Key, Read, Term, View};
use herenow_core::NodeEvent;

use crate::clock::MS;
use crate::process::Process;
use crate::world::{Event, Slot, World};

impl World {
    /// What an exchange wants done.
    pub fn watch(&mut self, slot: usize, action: &Action) {
        match action {
            Action::ToHub(hub, event) => {
                self.note(|| format!("{slot}: to loop {hub}: {event:?}"));
                if let NodeEvent::Home { shard, term } = event {
                    self.tally.homes += 1;
                    self.history.begin(*shard, *term);
                }
            }
            Action::LeaseUntil(_) => self.assert_one_home(),
            Action::View(view) => {
                let v = view.v;
                self.note(|| format!("{slot}: view {v}"));
            }
            Action::Left => {
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

    /// What a loop is about to handle.
    pub fn watch_hub(&mut self, (slot, hub): (usize, usize), event: &NodeEvent) {
        self.note(|| format!("{slot}: loop {hub} handles {event:?}"));
        let Some(process) = &mut self.slots[slot].process else { return };
        match event {
            NodeEvent::Home { shard, .. } | NodeEvent::Moved { shard, .. } => {
                process.open.remove(shard);
            }
            NodeEvent::Opened { shard, term } => {
                process.open.insert(*shard, *term);
                let has_open = |slot: &&Slot| {
                    slot.process.as_ref().is_some_and(|process| process.open.contains_key(shard))
                };
                if self.slots.iter().filter(has_open).count() > 1 {
                    self.contested.insert(*shard);
                }
                self.assert_one_home();
            }
            NodeEvent::Out { .. } => {
                let hubs = process.hubs.len();
                process.open.retain(|shard, _| usize::from(*shard) % hubs != hub);
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
            let acting = openers.iter().filter(|process| process.may_act(*shard, self.now));
            let acting: Vec<Term> = acting.map(|process| process.open[shard]).collect();
            assert!(acting.len() < 2 || is_excused, "shard {shard} has two homes: {acting:?}");
            openers.len() > 1
        });
        self.contested = contested;
    }

    /// Whether every node that counts as a member knows the view that is in the bucket, and its loops are
    /// homes only by it: a view that was made from an old one does not know all that was decided since, until a node
    /// has seen what it forgot and has written the next one.
    fn homes_agree(&self) -> bool {
        let Read::Found(_, bytes) = self.engine.read(&Key::View) else { return false };
        let Ok(view) = View::decode(&bytes) else { return false };
        // The bucket may have forgotten a view whose writer is a member as soon as it hears of it.
        let is_heard = |(slot, life, _): &(usize, u64, _)| self.slots[*slot].life != *life;
        if !self.views_under_way.iter().all(is_heard) {
            return false;
        }
        // It may have forgotten that a key was closed, too. Who has closed it leaves its node out of the
        // next view, though that beats again.
        if self.living().any(|process| self.closed.contains(&process.exchange.incarnation())) {
            return false;
        }
        let mut members = self.living().filter(|process| process.exchange.is_in());
        members.all(|process| {
            let is_in_view = |(shard, term): (&u16, &Term)| view.term(*shard) == *term;
            process.exchange.view().is_some_and(|known| **known == view)
                && process.has_heard_all()
                && process.open.iter().all(is_in_view)
        })
    }
}
