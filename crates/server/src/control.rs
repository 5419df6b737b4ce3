//! What every loop has to apply: the rules in force, and whether to shut down. This is a state and
//! not mail:
//! a loop sees the newest as soon as it turns, however long it has stood still and however full its
//! queue is, and what has been overtaken is never seen. A turn costs one comparison; the lock is
//! taken only when something has changed.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use herenow_core::Peer;
use tokio::sync::Notify;

use crate::access::Access;
use crate::mailbox::Mailbox;

/// See the module. Shared by all loops and the code that controls them.
#[derive(Debug)]
pub(crate) struct LoopControl {
    /// How often the state has changed.
    version: AtomicU64,
    state: Mutex<ControlState>,
    /// Up to which version each loop has applied, by index.
    applied: Box<[AtomicU64]>,
    mailboxes: Arc<[Mailbox]>,
    failure: OnceLock<LoopFailure>,
    /// Notified when a loop has applied or failed.
    changed: Notify,
}

/// The state that every loop applies.
#[derive(Clone, Debug)]
pub(crate) struct ControlState {
    pub(crate) version: u64,
    pub(crate) access: Access,
    /// Over how long connections are closed before the shutdown, if it has come to that.
    pub(crate) drain: Option<Duration>,
    pub(crate) shutdown: Option<Shutdown>,
}

/// Close every connection and end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shutdown {
    /// When connections that have not closed are cut off.
    pub(crate) at: Instant,
    /// Over how long their clients are asked to come back.
    pub(crate) return_within: Duration,
}

/// A loop has ended and should not have.
#[derive(Debug)]
pub(crate) struct LoopFailure {
    pub(crate) peer: Peer,
    pub(crate) error: io::Error,
}

impl LoopControl {
    pub(crate) fn new(access: Access, mailboxes: Arc<[Mailbox]>) -> Self {
        Self {
            version: AtomicU64::new(0),
            state: Mutex::new(ControlState { version: 0, access, drain: None, shutdown: None }),
            applied: mailboxes.iter().map(|_| AtomicU64::new(0)).collect(),
            mailboxes,
            failure: OnceLock::new(),
            changed: Notify::new(),
        }
    }

    /// Puts other rules in force. Returns the version of the state with them.
    pub(crate) fn set_access(&self, access: Access) -> u64 {
        self.change(|state| state.access = access)
    }

    /// Has all loops close their connections, evenly over this time.
    pub(crate) fn drain(&self, over: Duration) {
        self.change(|state| state.drain = Some(over));
    }

    /// Has all loops shut down.
    pub(crate) fn shut_down(&self, shutdown: Shutdown) {
        self.change(|state| state.shutdown = Some(shutdown));
    }

    /// The state now.
    pub(crate) fn state(&self) -> ControlState {
        self.lock().clone()
    }

    /// The state now, if it is newer than `version`.
    pub(crate) fn newer_than(&self, version: u64) -> Option<ControlState> {
        (self.version.load(Ordering::Acquire) != version).then(|| self.state())
    }

    /// A loop has applied the state of `version`.
    pub(crate) fn applied(&self, peer: Peer, version: u64) {
        if let Some(applied) = self.applied.get(usize::from(peer.0)) {
            applied.store(version, Ordering::Release);
        }
        self.changed.notify_waiters();
    }

    /// The loops that have not applied `version` yet, by index.
    pub(crate) fn behind(&self, version: u64) -> Vec<usize> {
        let loops = self.applied.iter().enumerate();
        let behind = loops.filter(|(_, applied)| applied.load(Ordering::Acquire) < version);
        behind.map(|(index, _)| index).collect()
    }

    /// Waits until every loop has applied `version`.
    pub(crate) async fn until_applied(&self, version: u64) {
        loop {
            let changed = self.changed.notified();
            if self.behind(version).is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// A loop has ended and should not have. The first failure counts.
    pub(crate) fn fail(&self, failure: LoopFailure) {
        let _ = self.failure.set(failure);
        self.changed.notify_waiters();
    }

    /// Waits until a loop fails.
    pub(crate) async fn until_failed(&self) -> &LoopFailure {
        loop {
            let changed = self.changed.notified();
            if let Some(failure) = self.failure.get() {
                return failure;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut ControlState)) -> u64 {
        let mut state = self.lock();
        change(&mut state);
        state.version += 1;
        let version = state.version;
        self.version.store(version, Ordering::Release);
        drop(state);
        for mailbox in self.mailboxes.iter() {
            mailbox.wake();
        }
        version
    }

    fn lock(&self) -> MutexGuard<'_, ControlState> {
        // A change is one assignment: nothing is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
