//! Tells backends over HTTP who joins and leaves channels, as the configuration asks. Hubs announce
//! what has changed; a thread of its own makes events of it and sends them, endpoint by endpoint. A
//! loop never waits for it: what does not fit into a queue is dropped, counted, and told as one gap.
//!
//! A message is signed and delivered as the Standard Webhooks specification says.

mod endpoint;
mod event;
mod post;
mod queue;
mod retry;
mod secret;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use herenow_hub::{Announcement, Announces, Pattern};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

pub use self::endpoint::EndpointMetrics;
pub use self::event::{EventKind, EventKinds};
pub use self::secret::{WebhookSecretError, WebhookSecrets};

use self::endpoint::{Endpoint, Report, Sender};
use self::event::Numbering;
use self::post::Poster;
use crate::cluster::Cluster;

/// One endpoint, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where messages are sent.
    pub url: Url,
    /// Which channels it follows.
    pub channels: Vec<Pattern>,
    /// What it is told of them.
    pub events: EventKinds,
    /// Whether it may be on this machine or in a private network.
    pub allow_private_networks: bool,
}

/// The thread that sends, once there has been an endpoint. Clones speak of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    secrets: WebhookSecrets,
    started_at_unix_ms: u64,
    /// Events are sent while this node may act for its cluster, if it is one of several.
    cluster: OnceLock<Cluster>,
    announcer: Announcer,
    orders: mpsc::UnboundedSender<Order>,
    thread: Mutex<Thread>,
    reports: Arc<Mutex<Vec<Report>>>,
}

#[derive(Debug)]
enum Thread {
    /// There has been no endpoint.
    Idle(mpsc::Receiver<Announced>, mpsc::UnboundedReceiver<Order>),
    Running(JoinHandle<()>),
    Ended,
}

/// What the thread is to do beside sending.
#[derive(Debug)]
enum Order {
    /// These are the endpoints from here on.
    Replace(Arc<[Webhook]>),
    /// Send what waits, once, and end.
    Stop,
}

/// Hands announcements of loops over.
#[derive(Clone, Debug)]
pub(crate) struct Announcer {
    announcements: mpsc::Sender<Announced>,
    /// Some were dropped since the thread last looked.
    has_missed: Arc<AtomicBool>,
}

/// What loops announce.
#[derive(Debug)]
enum Announced {
    Changes(Announcement),
    /// Changes may be missing here, in any channel.
    Gap,
}

/// Announcements on their way to the thread. One has what a flush has changed.
const MAX_ANNOUNCEMENTS: usize = 4096;

/// How long what waits may take to be sent when the server stops.
const LAST_SEND_TIMEOUT: Duration = Duration::from_secs(2);

impl Webhooks {
    pub(crate) fn new(secrets: WebhookSecrets, started_at_unix_ms: u64) -> Self {
        let (announcements, announced) = mpsc::channel(MAX_ANNOUNCEMENTS);
        let (orders, ordered) = mpsc::unbounded_channel();
        let announcer = Announcer { announcements, has_missed: Arc::default() };
        let thread = Mutex::new(Thread::Idle(announced, ordered));
        let reports = Arc::default();
        let cluster = OnceLock::new();
        let shared =
            Shared { secrets, started_at_unix_ms, cluster, announcer, orders, thread, reports };
        Self { shared: Arc::new(shared) }
    }

    /// This server is one node of several. Said before there are endpoints.
    pub(crate) fn join(&self, cluster: Cluster) {
        let _ = self.shared.cluster.set(cluster);
    }

    /// Puts these endpoints in force. The queue of one that stays as it is stays as well.
    pub(crate) fn replace(&self, webhooks: Arc<[Webhook]>) -> io::Result<()> {
        let mut thread = self.thread();
        if matches!(*thread, Thread::Idle(..)) {
            if webhooks.is_empty() {
                return Ok(());
            }
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let dispatcher = self.dispatcher()?;
            if let Thread::Idle(announced, ordered) = std::mem::replace(&mut *thread, Thread::Ended)
            {
                let run = move || runtime.block_on(dispatcher.run(announced, ordered));
                let named = std::thread::Builder::new().name("webhooks".into());
                *thread = Thread::Running(named.spawn(run)?);
            }
        }
        // Nobody listens any more once the server has stopped.
        let _ = self.shared.orders.send(Order::Replace(webhooks));
        Ok(())
    }

    /// For the loops.
    pub(crate) fn announcer(&self) -> Announcer {
        self.shared.announcer.clone()
    }

    /// What each endpoint has done, in the order of the configuration.
    pub(crate) fn metrics(&self) -> Vec<EndpointMetrics> {
        let reports = self.shared.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter().map(Report::read).collect()
    }

    /// Sends what waits, once, and ends the thread. Takes a bounded time.
    pub(crate) fn stop(&self) {
        let thread = std::mem::replace(&mut *self.thread(), Thread::Ended);
        if let Thread::Running(thread) = thread {
            let _ = self.shared.orders.send(Order::Stop);
            let _ = thread.join();
        }
    }

    fn thread(&self) -> MutexGuard<'_, Thread> {
        self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatcher(&self) -> io::Result<Dispatcher> {
        let cluster = self.shared.cluster.get().cloned();
        let node = cluster.as_ref().map(Cluster::node);
        let numbering = Numbering::new(self.shared.started_at_unix_ms, node);
        Ok(Dispatcher {
            secrets: self.shared.secrets.clone(),
            numbering: Arc::new(numbering),
            has_missed: Arc::clone(&self.shared.announcer.has_missed),
            reports: Arc::clone(&self.shared.reports),
            poster: Poster::new()?,
            // Of several nodes one that starts knows nothing of the channels of the others.
            has_started: cluster.is_some(),
            cluster,
            endpoints: Vec::new(),
        })
    }
}

impl Announcer {
    /// Never waits.
    pub(crate) fn announce(&self, announcement: Announcement) {
        self.send(Announced::Changes(announcement));
    }

    /// The same with changes that may be missing.
    pub(crate) fn announce_gap(&self) {
        self.send(Announced::Gap);
    }

    fn send(&self, announced: Announced) {
        if self.announcements.try_send(announced).is_err() {
            self.has_missed.store(true, Ordering::Release);
        }
    }
}

/// What runs on the thread.
struct Dispatcher {
    secrets: WebhookSecrets,
    numbering: Arc<Numbering>,
    has_missed: Arc<AtomicBool>,
    reports: Arc<Mutex<Vec<Report>>>,
    poster: Poster,
    cluster: Option<Cluster>,
    endpoints: Vec<Endpoint>,
    has_started: bool,
}

impl Dispatcher {
    async fn run(
        mut self,
        mut announced: mpsc::Receiver<Announced>,
        mut ordered: mpsc::UnboundedReceiver<Order>,
    ) {
        loop {
            tokio::select! {
                biased;
                order = ordered.recv() => match order {
                    Some(Order::Replace(webhooks)) => self.replace(&webhooks),
                    Some(Order::Stop) | None => break,
                },
                Some(announced) = announced.recv() => self.take(&announced),
            }
        }
        while let Ok(announced) = announced.try_recv() {
            self.take(&announced);
        }
        let last = self.endpoints.iter_mut().map(Endpoint::finish);
        let _ = timeout(LAST_SEND_TIMEOUT, futures_util::future::join_all(last)).await;
        let left: usize = self.endpoints.iter().map(Endpoint::waiting).sum();
        if left > 0 {
            tracing::warn!(
                events = left,
                "the server stops with events that no webhook has received"
            );
        }
    }

    fn replace(&mut self, webhooks: &[Webhook]) {
        let mut before = std::mem::take(&mut self.endpoints);
        for (number, webhook) in webhooks.iter().enumerate() {
            let same = before.iter().position(|endpoint| *endpoint.webhook() == *webhook);
            if let Some(at) = same {
                let endpoint = before.swap_remove(at);
                endpoint.renumber(number);
                self.endpoints.push(endpoint);
                continue;
            }
            let sender = Sender {
                webhook: webhook.clone(),
                poster: self.poster.clone(),
                secrets: self.secrets.clone(),
                numbering: Arc::clone(&self.numbering),
                cluster: self.cluster.clone(),
            };
            let endpoint = Endpoint::start(number, sender);
            // A receiver that is added later does not know what it has missed.
            match self.has_started {
                false => endpoint.push(self.numbering.server_started()),
                true => endpoint.push_gap(),
            }
            self.endpoints.push(endpoint);
        }
        self.has_started = true;
        let reports = self.endpoints.iter().map(Endpoint::report).collect();
        *self.reports.lock().unwrap_or_else(PoisonError::into_inner) = reports;
    }

    fn take(&mut self, announced: &Announced) {
        let is_gap = matches!(announced, Announced::Gap);
        if self.has_missed.swap(false, Ordering::AcqRel) || is_gap {
            for endpoint in &self.endpoints {
                endpoint.push_gap();
            }
        }
        let Announced::Changes(announcement) = announced else { return };
        let wanted: Vec<&Endpoint> = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.follows(&announcement.channel))
            .collect();
        if wanted.is_empty() {
            return;
        }
        for change in &announcement.changes {
            for (kind, event) in self.numbering.events(announcement, change) {
                for endpoint in &wanted {
                    if endpoint.webhook().events.has(kind) {
                        endpoint.push(event.clone());
                    }
                }
            }
        }
    }
}

/// What hubs are to announce for these endpoints.
pub(crate) fn announced(webhooks: &[Webhook]) -> Vec<(Pattern, Announces)> {
    let of = |webhook: &Webhook| match webhook.events.has(EventKind::MemberUpdated) {
        true => Announces::Updates,
        false => Announces::Membership,
    };
    let all = webhooks.iter().flat_map(|webhook| {
        webhook.channels.iter().map(move |pattern| (pattern.clone(), of(webhook)))
    });
    all.collect()
}

/// Without what may be a secret in it.
impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.url.port().map_or_else(String::new, |port| format!(":{port}"));
        let host = self.url.host_str().unwrap_or_default();
        let channels: Vec<&str> = self.channels.iter().map(Pattern::as_str).collect();
        write!(f, "{}://{host}{port} for {}", self.url.scheme(), channels.join(", "))
    }
}
