//! Sessions whose rights are to be asked again, one bit each. They are taken in the order of their
//! slots, round and round: more reviews that become due never move one away that waits, so that
//! reloads in quick succession starve nobody.

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reviews {
    due: Slots,
    /// Sessions of which not every rule could be asked.
    later: Slots,
    /// The slot at which to go on.
    next: u32,
}

/// A set of slots.
#[derive(Debug, Default)]
struct Slots {
    words: Vec<u64>,
    count: usize,
}

impl Reviews {
    /// Makes the session in `slot` due.
    pub(crate) fn add(&mut self, slot: u32) {
        self.due.insert(slot);
    }

    /// Makes the session in `slot` due at the next [`Reviews::retry`].
    pub(crate) fn add_later(&mut self, slot: u32) {
        self.later.insert(slot);
    }

    /// Makes those due that were put off.
    pub(crate) fn retry(&mut self) {
        while let Some(slot) = self.later.take_from(0) {
            self.due.insert(slot);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.due.count + self.later.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.due.count == 0
    }

    /// The next one that is due.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let slot = self.due.take_from(self.next).or_else(|| self.due.take_from(0))?;
        self.next = slot.wrapping_add(1);
        Some(slot)
    }
}

impl Slots {
    fn insert(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// Takes the first slot out that is not before `from`.
    fn take_from(&mut self, from: u32) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let (first, bit) = place(from);
        let not_before = |index| if index == first { !(bit - 1) } else { u64::MAX };
        let mut words = self.words.iter_mut().enumerate().skip(first);
        let (index, word) = words.find(|(index, word)| **word & not_before(*index) != 0)?;
        let at = (*word & not_before(index)).trailing_zeros();
        *word &= !(1 << at);
        self.count -= 1;
        Some(index as u32 * u64::BITS + at)
    }
}

fn place(slot: u32) -> (usize, u64) {
    ((slot / u64::BITS) as usize, 1 << (slot % u64::BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reloads_in_quick_succession_starve_no_session() {
        const SESSIONS: u32 = 3000;
        const PER_RELOAD: usize = 100;
        let mut reviews = Reviews::default();
        let mut reviewed = vec![false; SESSIONS as usize];
        for _ in 0..SESSIONS as usize / PER_RELOAD {
            (0..SESSIONS).for_each(|slot| reviews.add(slot));
            for _ in 0..PER_RELOAD {
                let slot = reviews.take().expect("all are due");
                reviewed[slot as usize] = true;
            }
        }
        assert!(reviewed.iter().all(|reviewed| *reviewed));
        // After the last one, each is due once more and no oftener.
        let mut left = vec![0; SESSIONS as usize];
        while let Some(slot) = reviews.take() {
            left[slot as usize] += 1;
        }
        assert_eq!(left.iter().sum::<usize>(), SESSIONS as usize - PER_RELOAD);
        assert!(left.iter().all(|times| *times <= 1) && reviews.is_empty());
    }

    #[test]
    fn what_is_put_off_is_due_when_it_is_tried_again() {
        let mut reviews = Reviews::default();
        for slot in [0, 63, 64, 1000] {
            reviews.add_later(slot);
        }
        assert_eq!(reviews.take(), None);
        reviews.retry();
        reviews.add(64);
        let taken: Vec<u32> = std::iter::from_fn(|| reviews.take()).collect();
        assert_eq!(taken, [0, 63, 64, 1000]);
    }
}
