//! Looks at where keys come from again and again. Knows a thread and when it looks; what is found there
//! stands beside the keys.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// A source of keys that is followed until this is dropped.
#[derive(Debug)]
pub struct Following {
    signals: mpsc::Sender<Signal>,
}

/// Makes a thread look before its time.
#[derive(Clone, Debug)]
pub(super) struct Prompt(mpsc::Sender<Signal>);

#[derive(Clone, Copy, Debug)]
enum Signal {
    Look,
    Stop,
}

/// Calls `look` after every `interval`.
pub(super) fn every(
    interval: Duration,
    thread_name: &str,
    mut look: impl FnMut() + Send + 'static,
) -> io::Result<Following> {
    let look = move || {
        look();
        interval
    };
    after(interval, thread_name, look)
}

/// Calls `look` after `first`, and then whenever the time has passed that it last returned, or when it
/// is prompted. On a thread, since a file system or an endpoint in a network may keep a reader waiting.
pub(super) fn after(
    first: Duration,
    thread_name: &str,
    mut look: impl FnMut() -> Duration + Send + 'static,
) -> io::Result<Following> {
    let (signals, signalled) = mpsc::channel();
    std::thread::Builder::new().name(thread_name.into()).spawn(move || {
        let mut wait = first;
        while let Ok(Signal::Look) | Err(RecvTimeoutError::Timeout) = signalled.recv_timeout(wait) {
            wait = look();
        }
    })?;
    Ok(Following { signals })
}

impl Following {
    pub(super) fn prompt(&self) -> Prompt {
        Prompt(self.signals.clone())
    }
}

impl Prompt {
    /// The thread may have ended.
    pub(super) fn look(&self) {
        let _ = self.0.send(Signal::Look);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // The thread may have ended.
        let _ = self.signals.send(Signal::Stop);
    }
}
