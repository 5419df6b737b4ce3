//! A slot as the key of a collection. A debug build counts how often two are compared, so that a
//! test notices a walk over a collection in which one slot is looked for. A release build has a
//! plain number.

use std::cmp::Ordering;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotKey(pub(crate) u32);

#[cfg(debug_assertions)]
thread_local! {
    static COMPARED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How often slots were compared on this thread. Always 0 in a release build.
pub(crate) fn compared() -> u64 {
    #[cfg(debug_assertions)]
    return COMPARED.get();
    #[cfg(not(debug_assertions))]
    return 0;
}

impl Ord for SlotKey {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(debug_assertions)]
        COMPARED.set(COMPARED.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for SlotKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SlotKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for SlotKey {}
