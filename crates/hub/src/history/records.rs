//! Records of what has happened, by subject: a bounded number of each subject, a bounded number and
//! a bounded amount of memory in all, and none for longer than [`RECORDS_KEPT_FOR`]. Says from when on the
//! records of a subject are complete.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use herenow_core::Instant;

use crate::history::facts::Past;

/// How long a record is kept.
pub const RECORDS_KEPT_FOR: Duration = Duration::from_secs(600);

/// Records of one subject at most.
pub(crate) const MAX_PER_SUBJECT: usize = 64;

/// What can be recorded.
pub(crate) trait Recorded {
    /// The memory that it uses outside of itself, from above. What it shares counts in full.
    fn heap_bytes(&self) -> usize;

    /// Takes an older record in that says the same, so that only this one is kept.
    fn absorb(&mut self, _older: &Self) -> Absorbed {
        Absorbed::No
    }

    /// Whether both have the same author, who should displace its own records first.
    fn has_author_of(&self, _other: &Self) -> bool {
        false
    }
}

/// Whether a newer record says what an older one says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Absorbed {
    Yes,
    No,
}

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Records<S, R> {
    bounds: Bounds,
    bytes: usize,
    by_subject: BTreeMap<S, OfSubject<R>>,
    /// The subject of each record, by its number: the oldest first.
    subjects: BTreeMap<u64, S>,
    next: u64,
    /// When the newest record was made that gave way to others although its subject had room.
    displaced: Instant,
}

#[derive(Debug)]
struct OfSubject<R> {
    records: VecDeque<(u64, Past<R>)>,
    /// When the newest of its records was made that gave way to another of it.
    displaced: Instant,
}

/// What one author may have of a full subject before its own records give way to its newer ones.
const PER_AUTHOR: usize = 8;

/// What a record uses in the maps, from above.
const BYTES_PER_RECORD: usize = 160;

impl<S: Ord + Clone, R: Recorded> Records<S, R> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            bytes: 0,
            by_subject: BTreeMap::new(),
            subjects: BTreeMap::new(),
            next: 0,
            displaced: Instant::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.subjects.len()
    }

    /// Records something that has happened now.
    pub(crate) fn push(&mut self, subject: S, mut what: R, now: Instant) {
        self.make_room_of(&subject, &mut what);
        self.bytes += cost(&what);
        let number = self.next;
        self.next += 1;
        let of_subject = self.by_subject.entry(subject.clone()).or_insert_with(|| OfSubject {
            records: VecDeque::new(),
            displaced: Instant::default(),
        });
        of_subject.records.push_back((number, Past { at: now, what }));
        self.subjects.insert(number, subject);
        while self.subjects.len() > self.bounds.records || self.bytes > self.bounds.bytes {
            if let Some(at) = self.remove_oldest() {
                self.displaced = self.displaced.max(at);
            }
        }
    }

    /// The records of a subject, the oldest first.
    pub(crate) fn of(&self, subject: &S) -> impl Iterator<Item = &Past<R>> {
        let records = self.by_subject.get(subject).into_iter();
        records.flat_map(|of_subject| of_subject.records.iter().map(|(_, past)| past))
    }

    /// From when on there is a record of all that has happened to a subject.
    pub(crate) fn complete_since(&self, subject: &S, now: Instant) -> Instant {
        let own = self.by_subject.get(subject).map_or(Instant::default(), |own| own.displaced);
        self.displaced.max(own).max(now - RECORDS_KEPT_FOR)
    }

    /// Lets go of what has been kept for as long as it may.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        while let Some((number, subject)) = self.subjects.first_key_value()
            && self.made_at(subject, *number).is_none_or(|at| now.since(at) > RECORDS_KEPT_FOR)
        {
            self.remove_oldest();
        }
    }

    /// Merges what says the same, and lets a record of a full subject give way.
    fn make_room_of(&mut self, subject: &S, what: &mut R) {
        let Some(of_subject) = self.by_subject.get(subject) else { return };
        let records = &of_subject.records;
        let same = records.iter().position(|(_, old)| what.absorb(&old.what) == Absorbed::Yes);
        if let Some(at) = same {
            self.remove(subject, at);
        } else if records.len() >= MAX_PER_SUBJECT {
            let mut own = (0..records.len()).filter(|at| what.has_author_of(&records[*at].1.what));
            let first = own.next();
            let at = if own.count() + 1 >= PER_AUTHOR { first.unwrap_or(0) } else { 0 };
            let given_up = self.remove(subject, at);
            if let (Some(at), Some(own)) = (given_up, self.by_subject.get_mut(subject)) {
                own.displaced = own.displaced.max(at);
            }
        }
    }

    fn made_at(&self, subject: &S, number: u64) -> Option<Instant> {
        let records = &self.by_subject.get(subject)?.records;
        records.iter().find(|(known, _)| *known == number).map(|(_, past)| past.at)
    }

    /// When the record that is removed was made.
    fn remove_oldest(&mut self) -> Option<Instant> {
        let (number, subject) = self.subjects.pop_first()?;
        let records = &self.by_subject.get(&subject)?.records;
        let at = records.iter().position(|(known, _)| *known == number)?;
        let made_at = self.remove(&subject, at);
        if self.by_subject.get(&subject).is_some_and(|own| own.records.is_empty()) {
            self.by_subject.remove(&subject);
        }
        made_at
    }

    fn remove(&mut self, subject: &S, at: usize) -> Option<Instant> {
        let of_subject = self.by_subject.get_mut(subject)?;
        let (number, past) = of_subject.records.remove(at)?;
        self.subjects.remove(&number);
        self.bytes -= cost(&past.what);
        Some(past.at)
    }
}

fn cost<R: Recorded>(what: &R) -> usize {
    size_of::<R>() + what.heap_bytes() + BYTES_PER_RECORD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Said {
        by: u32,
        what: &'static str,
        count: u32,
    }

    impl Recorded for Said {
        fn heap_bytes(&self) -> usize {
            100
        }

        fn absorb(&mut self, older: &Self) -> Absorbed {
            if (older.by, older.what) != (self.by, self.what) || self.what == "different" {
                return Absorbed::No;
            }
            self.count += older.count;
            Absorbed::Yes
        }

        fn has_author_of(&self, other: &Self) -> bool {
            self.by == other.by
        }
    }

    fn records(most: usize, bytes: usize) -> Records<u32, Said> {
        Records::new(Bounds { records: most, bytes })
    }

    fn said(by: u32, what: &'static str) -> Said {
        Said { by, what, count: 1 }
    }

    fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1000)
    }

    fn by(records: &Records<u32, Said>, subject: u32) -> Vec<u32> {
        records.of(&subject).map(|past| past.what.by).collect()
    }

    #[test]
    fn a_record_is_kept_for_ten_minutes_and_leaves_nothing_behind() {
        let mut records = records(10, usize::MAX);
        records.push(1, said(1, "different"), at(0));
        records.push(1, said(2, "different"), at(1));
        records.forget_old(at(600));
        assert_eq!(by(&records, 1), [1, 2]);
        records.forget_old(at(601));
        assert_eq!(by(&records, 1), [2]);
        records.forget_old(at(602));
        assert_eq!((records.len(), records.bytes, records.by_subject.len()), (0, 0, 0));
    }

    #[test]
    fn what_says_the_same_is_one_record_with_a_count() {
        let mut records = records(10, usize::MAX);
        for second in 0..1000 {
            records.push(1, said(1, "same"), at(second));
        }
        let all: Vec<_> = records.of(&1).collect();
        assert_eq!((all.len(), all[0].at, all[0].what.count), (1, at(999), 1000));
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn a_full_subject_lets_the_oldest_record_give_way_and_says_so() {
        let mut records = records(1000, usize::MAX);
        for author in 0..=MAX_PER_SUBJECT as u32 {
            records.push(1, said(author, "different"), at(u64::from(author)));
        }
        assert_eq!(by(&records, 1), (1..=MAX_PER_SUBJECT as u32).collect::<Vec<_>>());
        records.push(1, said(100, "different"), at(100));
        assert_eq!(records.complete_since(&1, at(100)), at(1));
        assert_eq!(records.complete_since(&2, at(100)), at(0), "another subject is complete");
    }

    #[test]
    fn an_author_of_many_records_displaces_its_own() {
        let mut records = records(1000, usize::MAX);
        records.push(1, said(1, "different"), at(0));
        for second in 1..1000 {
            records.push(1, said(2, "different"), at(second));
        }
        assert_eq!((by(&records, 1)[0], by(&records, 1).len()), (1, MAX_PER_SUBJECT));
    }

    #[test]
    fn number_and_memory_of_all_records_are_bounded() {
        let mut few = records(3, usize::MAX);
        let mut small = records(usize::MAX, 3 * cost(&said(0, "different")));
        for subject in 0..10 {
            for records in [&mut few, &mut small] {
                records.push(subject, said(0, "different"), at(subject.into()));
            }
        }
        for records in [&few, &small] {
            assert_eq!((records.len(), records.by_subject.len()), (3, 3));
            assert_eq!(records.complete_since(&9, at(9)), at(6));
        }
    }
}
