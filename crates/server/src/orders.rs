//! What every loop has to obey: the rules in force, and whether to end. This is a state and not mail:
//! a loop sees the newest as soon as it turns, however long it has stood still and however full its
//! queue is, and what has been overtaken is never seen. A turn costs one comparison; the lock is
//! taken only when something has changed.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use herenow_core::Peer;
use tokio::sync::Notify;

use crate::access::Access;
use crate::event_loop::Mailbox;

/// See the module. Shared by all loops and those who give the orders.
#[derive(Debug)]
pub(crate) struct Orders {
    /// How many orders there have been.
    version: AtomicU64,
    standing: Mutex<Standing>,
    /// Up to which version each loop has obeyed, by index.
    obeyed: Box<[AtomicU64]>,
    mailboxes: Arc<[Mailbox]>,
    failure: OnceLock<LoopFailure>,
    /// Notified when a loop has obeyed or failed.
    changed: Notify,
}

/// All orders that hold.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) version: u64,
    pub(crate) access: Access,
    pub(crate) ending: Option<Ending>,
}

/// Close every connection and end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// When connections that have not closed are cut off.
    pub(crate) at: Instant,
    /// How many connections all loops held when it began.
    pub(crate) connections: usize,
}

/// A loop has ended and should not have.
#[derive(Debug)]
pub(crate) struct LoopFailure {
    pub(crate) peer: Peer,
    pub(crate) error: io::Error,
}

impl Orders {
    pub(crate) fn new(access: Access, mailboxes: Arc<[Mailbox]>) -> Self {
        Self {
            version: AtomicU64::new(0),
            standing: Mutex::new(Standing { version: 0, access, ending: None }),
            obeyed: mailboxes.iter().map(|_| AtomicU64::new(0)).collect(),
            mailboxes,
            failure: OnceLock::new(),
            changed: Notify::new(),
        }
    }

    /// Puts other rules in force. Returns the version of this order.
    pub(crate) fn put_in_force(&self, access: Access) -> u64 {
        self.change(|standing| standing.access = access)
    }

    /// Has all loops end.
    pub(crate) fn end(&self, ending: Ending) {
        self.change(|standing| standing.ending = Some(ending));
    }

    /// All orders that hold now.
    pub(crate) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// The same, if there have been others since `version`.
    pub(crate) fn newer_than(&self, version: u64) -> Option<Standing> {
        (self.version.load(Ordering::Acquire) != version).then(|| self.standing())
    }

    /// A loop has obeyed all orders up to `version`.
    pub(crate) fn obeyed(&self, peer: Peer, version: u64) {
        if let Some(obeyed) = self.obeyed.get(usize::from(peer.0)) {
            obeyed.store(version, Ordering::Release);
        }
        self.changed.notify_waiters();
    }

    /// The loops that have not obeyed `version` yet, by index.
    pub(crate) fn behind(&self, version: u64) -> Vec<usize> {
        let loops = self.obeyed.iter().enumerate();
        let behind = loops.filter(|(_, obeyed)| obeyed.load(Ordering::Acquire) < version);
        behind.map(|(index, _)| index).collect()
    }

    /// Waits until every loop has obeyed `version`.
    pub(crate) async fn until_obeyed(&self, version: u64) {
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

    fn change(&self, change: impl FnOnce(&mut Standing)) -> u64 {
        let mut standing = self.lock();
        change(&mut standing);
        standing.version += 1;
        let version = standing.version;
        self.version.store(version, Ordering::Release);
        drop(standing);
        for mailbox in self.mailboxes.iter() {
            mailbox.wake();
        }
        version
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // A change is one assignment: nothing is left half done by a panic.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
