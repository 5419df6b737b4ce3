//! Hears the signals that end the process, and sees to it that the process ends: in order if it can, and whatever
//! it does otherwise. Runs on threads of its own, so that nothing that hangs can keep it.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use herenow_server::logs::Logs;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::oneshot;

/// How long an orderly stop may take after the first signal. With the last log line the process
/// ends within 12 s; it is made to end within less than 10.
const STOP_TIME: Duration = Duration::from_secs(11);
/// How long the last log line may take.
const LAST_LINE_TIME: Duration = Duration::from_millis(500);
/// The exit code of a process that did not stop in order.
pub const CUT_SHORT_EXIT_CODE: u8 = 3;

/// What ends a server.
pub const ENDS_A_SERVER: &[i32] = &[SIGTERM, SIGINT];
/// What ends a server that runs in a terminal: a terminal that closes sends SIGHUP.
pub const ENDS_WITH_ITS_TERMINAL: &[i32] = &[SIGTERM, SIGINT, SIGHUP];

/// Hears these signals from now on. What it returns is ready at the first one.
pub fn listen(signals: &[i32], logs: Logs) -> io::Result<oneshot::Receiver<()>> {
    let mut signals = Signals::new(signals)?;
    let (stop, stopped) = oneshot::channel();
    let (heard, hears) = channel();
    let thread = |name: &str| std::thread::Builder::new().name(name.into());
    thread("signals").spawn(move || {
        for _ in signals.forever() {
            // The other thread has ended only if the process ends.
            let _ = heard.send(());
        }
    })?;
    thread("stop").spawn(move || {
        if hears.recv().is_err() {
            return;
        }
        // Who should stop may have stopped already.
        let _ = stop.send(());
        match hears.recv_timeout(STOP_TIME) {
            Ok(()) => tracing::error!("a second signal: the process ends at once"),
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!("the stop takes too long: the process ends at once");
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        logs.flush(LAST_LINE_TIME);
        signal_hook::low_level::exit(CUT_SHORT_EXIT_CODE.into());
    })?;
    Ok(stopped)
}
