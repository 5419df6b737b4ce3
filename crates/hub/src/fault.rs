//! A call that may fail by a bug, and the mark that tells the process so: a panic inside is
//! contained, any other ends the process.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// How many calls of [`contain`] this thread is in.
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
}

/// A contained panic. What it was has been reported by the panic hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Calls what may fail by a bug. What it has changed when it panics must be thrown away.
#[inline]
pub fn contain<T>(call: impl FnOnce() -> T) -> Result<T, Fault> {
    CONTAINED.set(CONTAINED.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(CONTAINED.get() - 1);
    result.map_err(|_| Fault)
}

/// Whether a panic of this thread would be contained now. For a panic hook.
pub fn is_contained() -> bool {
    CONTAINED.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contained_panic_ends_nothing_and_what_follows_is_not_contained() {
        assert_eq!(contain(|| 7), Ok(7));
        assert_eq!(contain(|| -> u32 { panic!("contained, as the test wants") }), Err(Fault));
        assert_eq!(contain(|| contain(is_contained)), Ok(Ok(true)));
        assert!(!is_contained());
    }
}
