//! What becomes of a panic. A panic is a bug: it ends the process with a report, so that a
//! supervisor starts a whole one, unless the place where it happens is made to contain it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};
use std::time::Duration;

use herenow_hub::is_contained;
pub use herenow_hub::{Fault, contain};

use crate::logs::Logs;

/// The exit code after a panic; Rust's own.
pub const FAULT_EXIT_CODE: i32 = 101;

/// How long the report may take to be written.
const REPORT_TIME: Duration = Duration::from_secs(1);

/// Has every panic reported to the log, and the process ended by each that is not contained.
pub fn end_process_on_panic(logs: Logs) {
    set_hook(Box::new(move |panic| {
        report(panic);
        if !is_contained() {
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
    let verdict = match is_contained() {
        false => "a fault in the server ends it, please report it",
        true => "a fault in the server was contained, please report it",
    };
    tracing::error!(thread, place, "{verdict}: {message}{backtrace}");
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
