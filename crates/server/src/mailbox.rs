//! The mailboxes of the event loops: batches over bounded queues, and a wake for a loop that sleeps. Other
//! loops send to them, the front door, and the threads that answer what a loop has asked. Nothing is
//! shared but the queue.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use herenow_hub::{Event, Request, Response};
use mio::Waker;
use tokio::sync::oneshot;

use crate::loops::AcceptedSocket;
use crate::verification::VerifiedToken;

/// What a loop can be told.
#[derive(Debug)]
pub(crate) enum Mail {
    /// An event for its hub, as it is.
    Event(Event<'static>),
    /// A socket to poll.
    Accepted(Box<AcceptedSocket>),
    /// A token that one of its connections has shown was verified.
    Verified(Box<VerifiedToken>),
    /// A request for its hub, and where the answer goes.
    Request(Box<(Request, oneshot::Sender<Response>)>),
}

/// Batches that may wait for one loop. A sender that finds it full keeps its mail and reads no
/// more sockets until there is room.
const MAX_BATCHES: usize = 1024;

/// Where to send mail to one loop.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    queue: SyncSender<Vec<Mail>>,
    waker: Arc<Waker>,
    state: Arc<State>,
}

/// Where a loop finds its mail.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Receiver<Vec<Mail>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_asleep: AtomicBool,
    waiting: AtomicUsize,
    /// Answers from beside the loops, and whether there are any.
    answers: Mutex<Vec<Mail>>,
    has_answers: AtomicBool,
}

/// A mailbox and the inbox that it fills.
pub(crate) fn mailbox(waker: Waker) -> (Mailbox, Inbox) {
    let (sender, receiver) = sync_channel(MAX_BATCHES);
    let state = Arc::new(State::default());
    let mailbox = Mailbox { queue: sender, waker: Arc::new(waker), state: state.clone() };
    (mailbox, Inbox { queue: receiver, state })
}

impl Mailbox {
    /// Sends a batch, or gives it back where the queue is full or its loop has ended.
    pub(crate) fn send(&self, batch: Vec<Mail>) -> Result<(), Vec<Mail>> {
        let count = batch.len();
        self.state.waiting.fetch_add(count, Ordering::Relaxed);
        if let Err(error) = self.queue.try_send(batch) {
            self.state.waiting.fetch_sub(count, Ordering::Relaxed);
            let (TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = error;
            return Err(batch);
        }
        self.wake_if_asleep();
        Ok(())
    }

    /// Leaves answers to what the loop has asked. They always find room, since the loop bounds what
    /// it asks: one that stands still neither loses an answer nor delays those who answer others.
    pub(crate) fn answer(&self, answers: Vec<Mail>) {
        self.state.waiting.fetch_add(answers.len(), Ordering::Relaxed);
        let mut waiting = self.state.answers();
        waiting.extend(answers);
        self.state.has_answers.store(true, Ordering::SeqCst);
        drop(waiting);
        self.wake_if_asleep();
    }

    fn wake_if_asleep(&self) {
        // Push first, then look: a loop does it the other way round, so no mail is slept over.
        if self.state.is_asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Wakes the loop, or has it not fall asleep.
    pub(crate) fn wake(&self) {
        // A loop that cannot be woken turns at its next look at the leases.
        let _ = self.waker.wake();
    }

    /// How much mail waits.
    pub(crate) fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::Relaxed)
    }
}

impl Inbox {
    /// The next batch.
    pub(crate) fn take(&self) -> Option<Vec<Mail>> {
        if self.state.has_answers.load(Ordering::SeqCst) {
            // Those that come now set it again.
            self.state.has_answers.store(false, Ordering::SeqCst);
            let answers = std::mem::take(&mut *self.state.answers());
            self.state.waiting.fetch_sub(answers.len(), Ordering::Relaxed);
            return Some(answers);
        }
        match self.queue.try_recv() {
            Ok(batch) => {
                self.state.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
                Some(batch)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// Whether no mail waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.waiting.load(Ordering::Relaxed) == 0
    }

    /// Says that the loop is about to sleep. Look for mail once more before it does.
    pub(crate) fn fall_asleep(&self) {
        self.state.is_asleep.store(true, Ordering::SeqCst);
    }

    /// Says that the loop is awake: senders need not wake it.
    pub(crate) fn wake_up(&self) {
        self.state.is_asleep.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn answers(&self) -> MutexGuard<'_, Vec<Mail>> {
        // Nothing in here panics halfway through a change.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
