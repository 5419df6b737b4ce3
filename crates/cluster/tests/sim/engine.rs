//! The fake engine: a bucket of keys with revisions. It is one place; being lost, late and doubled is
//! the business of the ways to it and from it.

use std::collections::BTreeMap;

use herenow_cluster::{Key, Read, Revision, Swapped};

#[derive(Default)]
pub struct Engine {
    pub is_down: bool,
    keys: BTreeMap<Key, (Revision, Vec<u8>)>,
    /// What each key held before.
    lagging: BTreeMap<Key, (Revision, Vec<u8>)>,
    copy: BTreeMap<Key, (Revision, Vec<u8>)>,
    last: u64,
}

impl Engine {
    pub fn read(&self, key: &Key) -> Read {
        found(&self.keys, key)
    }

    /// As a replica would answer that has missed the last write.
    pub fn read_lagging(&self, key: &Key) -> Read {
        if self.lagging.contains_key(key) { found(&self.lagging, key) } else { self.read(key) }
    }

    pub fn swap(&mut self, key: Key, expected: Revision, value: Vec<u8>) -> Swapped {
        let is = self.keys.get(&key).map_or(Revision(0), |(revision, _)| *revision);
        if is != expected {
            return Swapped::Conflict;
        }
        self.last += 1;
        let revision = Revision(self.last);
        if let Some(before) = self.keys.insert(key.clone(), (revision, value)) {
            self.lagging.insert(key, before);
        }
        Swapped::Done(revision)
    }

    /// Makes a copy of the bucket.
    pub fn back_up(&mut self) {
        self.copy = self.keys.clone();
    }

    /// The bucket is what it was then.
    pub fn restore(&mut self) {
        self.keys = self.copy.clone();
        self.lagging.clear();
    }

    /// The bucket is empty again.
    pub fn forget(&mut self) {
        self.keys.clear();
        self.lagging.clear();
    }
}

fn found(keys: &BTreeMap<Key, (Revision, Vec<u8>)>, key: &Key) -> Read {
    match keys.get(key) {
        None => Read::Absent,
        Some((revision, value)) => Read::Found(*revision, value.clone()),
    }
}
