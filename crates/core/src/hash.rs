//! A hash for keys that are random already: connection ids are drawn by the server, so nobody can
//! choose colliding ones, and the same input gives the same order in every run.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds the hash for maps keyed by `ConnectionId`.
pub(crate) type ById = BuildHasherDefault<IdHasher>;

#[derive(Default, Clone, Copy)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of a fixed-size key says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
