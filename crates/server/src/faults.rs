//! What becomes of a panic. A panic is a bug: it ends the process with a report, so that a
//! supervisor starts a whole one, unless the place where it happens is made to contain it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::time::Duration;

use crate::logs::Logs;

/// The exit code after a panic; Rust's own.
pub const FAULT_EXIT_CODE: i32 = 101;

/// How long the report may take to be written.
const REPORT_TIME: Duration = Duration::from_secs(1);

thread_local! {
    /// How many calls of [`contain`] this thread is in.
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
}

/// A contained panic. What it was has been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Calls what may fail by a bug. What it has changed when it panics must be thrown away.
pub fn contain<T>(call: impl FnOnce() -> T) -> Result<T, Fault> {
    CONTAINED.set(CONTAINED.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(CONTAINED.get() - 1);
    result.map_err(|_| Fault)
}

/// Has every panic reported to the log, and the process ended by each that is not contained.
pub fn end_process_on_panic(logs: Logs) {
    set_hook(Box::new(move |panic| {
        report(panic);
        if CONTAINED.get() == 0 {
            logs.flush(REPORT_TIME);
            signal_hook::low_level::exit(FAULT_EXIT_CODE);
        }
    }));
}

fn report(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = message(panic.payload());
    // It is there if RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| format!("\n{backtrace}"));
    let backtrace = backtrace.unwrap_or_default();
    let verdict = match CONTAINED.get() {
        0 => "a fault in the server ends it, please report it",
        _ => "a fault in the server was contained, please report it",
    };
    tracing::error!(thread, place, "{verdict}: {message}{backtrace}");
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contained_panic_ends_nothing_and_what_follows_is_not_contained() {
        assert_eq!(contain(|| 7), Ok(7));
        assert_eq!(contain(|| -> u32 { panic!("contained, as the test wants") }), Err(Fault));
        assert_eq!(contain(|| contain(|| CONTAINED.get())), Ok(Ok(2)));
        assert_eq!(CONTAINED.get(), 0);
    }
}
