//! Answers that do not end by themselves. Such an answer is not held to the lifetime of a request and
//! gives its place back; instead there is a bound on how many there are, and one that its reader does
//! not read ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use crate::auth::ServiceKeys;

/// Streams at once. Each has three open files: its own, and both ends of the socket to the loop.
pub(crate) const MAX_STREAMS: usize = 64;

/// How long a reader may take nothing. Comments are written more often than that.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What every stream needs.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    /// Permits for [`MAX_STREAMS`].
    pub(crate) room: Arc<Semaphore>,
    /// A stream ends when they change, so that a key that was taken away reads nothing more.
    pub(crate) keys: ServiceKeys,
    /// Whether the server has begun to stop.
    pub(crate) draining: watch::Receiver<bool>,
}

/// When a stream was last asked for more, which is when its reader had taken what there was. An
/// extension of the answer tells the connection of it.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Instant>>);

impl Streams {
    pub(crate) fn new(keys: ServiceKeys, draining: watch::Receiver<bool>) -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_STREAMS)), keys, draining }
    }
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// More is asked for.
    pub(crate) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when the reader has taken nothing for [`STALL_TIMEOUT`].
    pub(super) async fn stalled(&self) {
        loop {
            let noted = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = noted + STALL_TIMEOUT;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}
