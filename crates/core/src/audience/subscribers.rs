//! The subscribers of one channel, in the order of their slots. A large channel keeps them in
//! chunks: finding, adding and removing one costs the same in a channel of twenty thousand as in
//! one of a few hundred, a walk over all of them is a walk over arrays, and nothing is stored
//! beside the subscribers.

use std::cell::Cell;

use super::Subscriber;

/// See the module.
#[derive(Debug)]
pub(super) enum Subscribers {
    /// As many as one chunk holds.
    Few(Vec<Subscriber>),
    /// Boxed, so that the many small channels do not pay.
    Many(Box<Chunks>),
}

/// Two chunks or more, none of them empty.
#[derive(Debug)]
pub(super) struct Chunks(Vec<Vec<Subscriber>>);

/// Subscribers in one chunk: 3 KB.
const CHUNK: usize = 256;
/// A chunk below this looks for a neighbour to share a chunk with.
const SPARSE: usize = CHUNK / 4;

impl Subscribers {
    pub(super) fn of(first: Subscriber) -> Self {
        Self::Few(vec![first])
    }

    pub(super) fn len(&self) -> usize {
        self.chunks().iter().map(Vec::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscriber> {
        self.chunks().iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscriber> {
        self.chunks_mut().iter_mut().flatten()
    }

    /// The subscriber in `slot`. Adds to `looks` how many were looked at.
    pub(super) fn find(&mut self, slot: u32, looks: &Cell<u64>) -> Option<&mut Subscriber> {
        let (at, place) = self.place(slot, looks);
        Some(&mut self.chunks_mut()[at][place.ok()?])
    }

    /// Adds one whose slot is not here yet.
    pub(super) fn insert(&mut self, new: Subscriber, looks: &Cell<u64>) {
        let (mut at, place) = self.place(new.slot, looks);
        let mut place = place.unwrap_or_else(|free| free);
        let chunk = &mut self.chunks_mut()[at];
        if chunk.len() == CHUNK {
            // Those that come in the order of their slots leave full chunks behind.
            let middle = if place == CHUNK { CHUNK } else { CHUNK / 2 };
            let upper = chunk.split_off(middle);
            self.insert_chunk(at + 1, upper);
            if place >= middle {
                (at, place) = (at + 1, place - middle);
            }
        }
        self.chunks_mut()[at].insert(place, new);
    }

    /// Removes the one in `slot`. Whether it was here.
    pub(super) fn remove(&mut self, slot: u32, looks: &Cell<u64>) -> bool {
        let (at, Ok(place)) = self.place(slot, looks) else { return false };
        self.chunks_mut()[at].remove(place);
        self.merge(at);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Few(chunk) if chunk.is_empty())
    }

    /// In which chunk a slot is, and where there, or where it would be.
    fn place(&self, slot: u32, looks: &Cell<u64>) -> (usize, Result<usize, usize>) {
        let look = || looks.set(looks.get() + 1);
        let chunks = self.chunks();
        let at = match chunks {
            [_] => 0,
            _ => {
                let ends_before = |chunk: &Vec<Subscriber>| {
                    look();
                    chunk.last().is_some_and(|last| last.slot < slot)
                };
                chunks.partition_point(ends_before).min(chunks.len() - 1)
            }
        };
        let place = chunks[at].binary_search_by(|one| {
            look();
            one.slot.cmp(&slot)
        });
        (at, place)
    }

    fn insert_chunk(&mut self, at: usize, chunk: Vec<Subscriber>) {
        match self {
            Self::Few(lower) => {
                *self = Self::Many(Box::new(Chunks(vec![std::mem::take(lower), chunk])))
            }
            Self::Many(chunks) => chunks.0.insert(at, chunk),
        }
    }

    /// One was removed from the chunk: keeps chunks from becoming many and sparse.
    fn merge(&mut self, at: usize) {
        let Self::Many(chunks) = self else { return };
        let chunks = &mut chunks.0;
        if chunks[at].len() >= SPARSE {
            return;
        }
        let lower = at.min(chunks.len() - 2);
        let both = chunks[lower].len() + chunks[lower + 1].len();
        // Some room stays, so that the next one does not split it again.
        if both <= CHUNK - SPARSE || chunks[at].is_empty() {
            let upper = chunks.remove(lower + 1);
            chunks[lower].extend(upper);
        }
        if let [only] = chunks.as_mut_slice() {
            *self = Self::Few(std::mem::take(only));
        }
    }

    fn chunks(&self) -> &[Vec<Subscriber>] {
        match self {
            Self::Few(chunk) => std::slice::from_ref(chunk),
            Self::Many(chunks) => &chunks.0,
        }
    }

    fn chunks_mut(&mut self) -> &mut [Vec<Subscriber>] {
        match self {
            Self::Few(chunk) => std::slice::from_mut(chunk),
            Self::Many(chunks) => &mut chunks.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::Phase;

    fn subscriber(slot: u32) -> Subscriber {
        Subscriber { slot, phase: Phase::Live }
    }

    /// Each slot below `count` once, in an order that jumps about.
    fn scattered(count: u32) -> impl Iterator<Item = u32> {
        (0..count).map(move |number| (number * 7919) % count)
    }

    fn slots(subscribers: &Subscribers) -> Vec<u32> {
        subscribers.iter().map(|one| one.slot).collect()
    }

    #[test]
    fn they_stand_in_the_order_of_their_slots_whatever_the_order_in_which_they_come_and_go() {
        const COUNT: u32 = 5_000;
        let looks = Cell::new(0);
        let mut orders: Vec<Vec<u32>> = vec![(0..COUNT).collect(), (0..COUNT).rev().collect()];
        orders.push(scattered(COUNT).collect());
        for order in orders {
            let mut subscribers = Subscribers::of(subscriber(order[0]));
            order[1..].iter().for_each(|slot| subscribers.insert(subscriber(*slot), &looks));
            assert_eq!(slots(&subscribers), (0..COUNT).collect::<Vec<_>>());
            for slot in scattered(COUNT).filter(|slot| slot % 3 > 0) {
                assert!(subscribers.remove(slot, &looks));
                assert!(!subscribers.remove(slot, &looks), "it is gone already");
            }
            let left: Vec<u32> = (0..COUNT).filter(|slot| slot % 3 == 0).collect();
            assert_eq!((slots(&subscribers), subscribers.len()), (left.clone(), left.len()));
            assert!(subscribers.find(3, &looks).is_some() && subscribers.find(4, &looks).is_none());
            left.iter().for_each(|slot| assert!(subscribers.remove(*slot, &looks)));
            assert!(subscribers.is_empty());
        }
    }

    #[test]
    fn those_that_come_in_order_fill_their_chunks_and_few_that_are_left_keep_few_chunks() {
        const COUNT: u32 = 5_000;
        let looks = Cell::new(0);
        let mut subscribers = Subscribers::of(subscriber(0));
        (1..COUNT).for_each(|slot| subscribers.insert(subscriber(slot), &looks));
        assert_eq!(subscribers.chunks().len(), COUNT as usize / CHUNK + 1);
        (0..COUNT).filter(|slot| slot % 100 > 0).for_each(|slot| {
            subscribers.remove(slot, &looks);
        });
        assert_eq!((subscribers.len(), subscribers.chunks().len()), (50, 1));
        assert_eq!(size_of::<Subscribers>(), size_of::<Vec<Subscriber>>());
    }
}
