//! One endpoint: its queue, and the task that sends what is in it, message after message.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use herenow_wire::ChannelName;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Webhook;
use super::event::{Event, Numbering};
use super::post::{Answer, Message, Poster};
use super::queue::Queue;
use super::retry::Retry;
use super::secret::WebhookSecrets;
use crate::cluster::Cluster;

/// When it is looked again whether this node may act for its cluster.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// See the module. Dropping it ends the task and drops what waits.
#[derive(Debug)]
pub(super) struct Endpoint {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What a task sends with.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) webhook: Webhook,
    pub(super) poster: Poster,
    pub(super) secrets: WebhookSecrets,
    pub(super) numbering: Arc<Numbering>,
    /// What this server is a node of.
    pub(super) cluster: Option<Cluster>,
}

#[derive(Debug)]
struct Shared {
    sender: Sender,
    number: AtomicUsize,
    queue: Mutex<Queue>,
    /// Something is in the queue, or the end is near.
    wake: Notify,
    /// The server stops: each message is tried once more.
    is_finishing: AtomicBool,
    /// It has said that it takes no more.
    is_gone: AtomicBool,
    /// Events of the message that is being sent.
    in_flight: AtomicUsize,
    counts: Counts,
}

/// What an endpoint has done, for those who ask from other threads.
#[derive(Clone, Debug)]
pub(super) struct Report(Arc<Shared>);

/// What has become of its events and messages.
#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    dropped: AtomicU64,
    messages_taken: AtomicU64,
    messages_failed: AtomicU64,
}

/// The same for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointMetrics {
    /// Events that it has taken.
    pub delivered: u64,
    /// Events that gave way in a full queue, or were given up.
    pub dropped: u64,
    /// Messages that it has taken.
    pub messages_taken: u64,
    /// Messages that it has not taken; each is tried again.
    pub messages_failed: u64,
    /// Events that wait now.
    pub waiting: u64,
}

impl Endpoint {
    pub(super) fn start(number: usize, sender: Sender) -> Self {
        let shared = Arc::new(Shared {
            sender,
            number: AtomicUsize::new(number),
            queue: Mutex::default(),
            wake: Notify::new(),
            is_finishing: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            counts: Counts::default(),
        });
        let task = tokio::spawn(Arc::clone(&shared).deliver());
        Self { shared, task }
    }

    pub(super) fn webhook(&self) -> &Webhook {
        &self.shared.sender.webhook
    }

    pub(super) fn follows(&self, channel: &ChannelName) -> bool {
        self.webhook().channels.iter().any(|pattern| pattern.is_of(channel))
    }

    /// Its place in the configuration has changed.
    pub(super) fn renumber(&self, number: usize) {
        self.shared.number.store(number, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> Report {
        Report(Arc::clone(&self.shared))
    }

    /// Events that have not been taken.
    pub(super) fn waiting(&self) -> usize {
        self.shared.waiting()
    }

    pub(super) fn push(&self, event: Event) {
        if self.shared.is_gone.load(Ordering::Relaxed) {
            return;
        }
        let dropped = self.shared.queue().push(event);
        self.shared.counts.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }

    /// Events are missing here, an unknown number.
    pub(super) fn push_gap(&self) {
        if self.shared.is_gone.load(Ordering::Relaxed) {
            return;
        }
        let numbering = &self.shared.sender.numbering;
        let dropped = self.shared.queue().push_gap(|| numbering.gap(0));
        self.shared.counts.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }

    /// Returns when what waits has been tried once more.
    pub(super) async fn finish(&mut self) {
        self.shared.is_finishing.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
        // It has been aborted, or has ended by a panic, which has been logged.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn deliver(self: Arc<Self>) {
        loop {
            if !self.may_send().await {
                return;
            }
            let numbering = &self.sender.numbering;
            let batch = self.queue().take_batch(|dropped| numbering.gap(dropped));
            if !batch.is_empty() {
                self.in_flight.store(batch.len(), Ordering::Relaxed);
                if !self.send(&batch).await {
                    return;
                }
                self.in_flight.store(0, Ordering::Relaxed);
            } else if self.is_finishing() {
                return;
            } else {
                self.wake.notified().await;
            }
        }
    }

    /// Waits until this node may act for its cluster: another one may be the home of its channels
    /// meanwhile, and tell of them. Whether it may; it is not waited for when the server stops.
    async fn may_send(&self) -> bool {
        let Some(cluster) = &self.sender.cluster else { return true };
        loop {
            if cluster.has_lease() {
                return true;
            }
            if self.is_finishing() {
                return false;
            }
            sleep(LOOK_AGAIN_AFTER).await;
        }
    }

    /// Sends one message until it is taken or given up. Whether to go on with the next.
    async fn send(&self, batch: &[Event]) -> bool {
        let Sender { webhook, poster, secrets, .. } = &self.sender;
        let message = Message::of(batch);
        let (started, mut retry) = (Instant::now(), Retry::default());
        loop {
            if !self.may_send().await {
                return false;
            }
            let was_finishing = self.is_finishing();
            match poster.post(webhook, &message, secrets).await {
                Ok(Answer::Taken) => {
                    self.counts.messages_taken.fetch_add(1, Ordering::Relaxed);
                    self.counts.delivered.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    return true;
                }
                Ok(Answer::Gone) => {
                    self.stop();
                    return false;
                }
                Err(error) => {
                    self.counts.messages_failed.fetch_add(1, Ordering::Relaxed);
                    let endpoint = self.number.load(Ordering::Relaxed);
                    tracing::warn!(endpoint, "a webhook was not delivered: {error}");
                }
            }
            if was_finishing {
                return false;
            }
            match retry.failed(started.elapsed(), chance()) {
                Some(wait) => tokio::select! {
                    () = sleep(wait) => {}
                    () = self.until_finishing() => {}
                },
                None => {
                    self.counts.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    self.queue().note_dropped(batch.len() as u64);
                    return true;
                }
            }
        }
    }

    async fn until_finishing(&self) {
        while !self.is_finishing() {
            self.wake.notified().await;
        }
    }

    /// The endpoint has answered 410: it is asked nothing before the next reload.
    fn stop(&self) {
        let endpoint = self.number.load(Ordering::Relaxed);
        tracing::warn!(endpoint, "a webhook answered 410; nothing is sent to it before a reload");
        self.is_gone.store(true, Ordering::Relaxed);
        self.counts.dropped.fetch_add(self.waiting() as u64, Ordering::Relaxed);
        self.in_flight.store(0, Ordering::Relaxed);
        self.queue().clear();
    }

    fn waiting(&self) -> usize {
        self.queue().len() + self.in_flight.load(Ordering::Relaxed)
    }

    fn is_finishing(&self) -> bool {
        self.is_finishing.load(Ordering::Relaxed)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    pub(super) fn read(&self) -> EndpointMetrics {
        let Self(shared) = self;
        let Counts { delivered, dropped, messages_taken, messages_failed } = &shared.counts;
        EndpointMetrics {
            delivered: delivered.load(Ordering::Relaxed),
            dropped: dropped.load(Ordering::Relaxed),
            messages_taken: messages_taken.load(Ordering::Relaxed),
            messages_failed: messages_failed.load(Ordering::Relaxed),
            waiting: shared.waiting() as u64,
        }
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let number = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(number) / f64::from(u32::MAX)
}
