//! Looks at a file of keys again and again. Knows a thread and an interval; what a file means stands
//! beside the keys that it holds.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// A file that is followed until this is dropped.
#[derive(Debug)]
pub struct Following {
    /// Its end is what the thread waits for.
    _stop: mpsc::Sender<()>,
}

/// Calls `look` after every `interval`. On a thread, since the file system of a network may keep a
/// reader waiting.
pub(super) fn every(
    interval: Duration,
    thread_name: &str,
    mut look: impl FnMut() + Send + 'static,
) -> io::Result<Following> {
    let (stop, stopped) = mpsc::channel();
    std::thread::Builder::new().name(thread_name.into()).spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(interval) {
            look();
        }
    })?;
    Ok(Following { _stop: stop })
}
