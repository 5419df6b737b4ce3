//! How it runs: the only crate with IO. Sockets, HTTP, keys, settings and logs live here; what
//! presence means lives in the core, what bytes mean in wire.

pub mod access;
pub mod admission;
mod answer;
pub mod auth;
mod backend;
pub mod client_address;
pub mod clock;
pub mod cluster;
pub mod config;
mod console;
mod control;
mod dev;
mod durations;
mod embedded;
mod event_loop;
mod explanation;
pub mod faults;
pub mod files;
mod http;
mod line_rate;
mod listener;
pub mod logs;
pub mod loops;
mod mailbox;
mod metrics;
mod outbound;
mod probe;
pub mod service_manager;
mod services;
mod spare_memory;
mod strict_json;
pub mod tls;
pub mod typescript;
pub mod upgrade;
mod verification;
mod watched;
pub mod webhooks;

use std::fmt;
use std::future;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use admission::Admission;
use auth::{Following, Minter, Renewal, ResumeKey, RunKey, Secret, ServiceKeys, Verifier};
use backend::{Backend, Backends};
use cluster::{Cluster, Inside, Questions};
use config::{Config, Pages, Reloadable, Settings};
use http::{Api, FrontDoor};
use line_rate::LineRate;
use loops::{ControlVersion, Loops, Outlets};
use metrics::DoorMetrics;
use probe::Probe;
use service_manager::ServiceManager;
use webhooks::Webhooks;

pub use listener::Listener;

/// Why the server could not run.
#[derive(Debug)]
pub enum RunError {
    /// The loops did not start: the system gave no thread, no poll or no file.
    Loops(io::Error),
    /// The system gave no thread for `truthProbeMs`.
    Probe(io::Error),
    /// The system gave no thread to read the keys again.
    Keys(io::Error),
    /// The system gave no thread for the cluster.
    Cluster(io::Error),
    /// The system gave no thread to send webhooks.
    Webhooks(io::Error),
    /// A loop ended while it was needed, and the server with it.
    Loop {
        /// Which.
        index: usize,
        /// Why.
        error: io::Error,
    },
    /// The server stopped, but not in order: these loops did not end in time, and their connections
    /// were cut off.
    Stuck {
        /// By index.
        loops: Vec<usize>,
    },
}

/// How long connections may take to close at the end. With what HTTP may take before, a stop
/// stays below the ten seconds that supervisors commonly wait.
const CLOSING_TIME: Duration = Duration::from_secs(7);
/// The same once the connections of a node have been closed one after the other.
const DRAINED_CLOSING_TIME: Duration = Duration::from_secs(1);
/// How long loops may take to apply new rules before the log names those that have not.
const LATE_AFTER: Duration = Duration::from_secs(1);

/// Where connections come in. A TCP listener alone is the server's own.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For WebSockets and everything else that users reach.
    pub public: Vec<Listener>,
    /// For metrics and health alone.
    pub metrics: Option<TcpListener>,
}

/// Why a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is to stop.
    Stop,
    /// Another process has taken over its listeners.
    HandedOver,
}

/// Serves connections of `listeners` until `shutdown` is ready, then tells everybody to come back
/// later (1012), waits for them to close, for less than ten seconds in all, and returns.
pub async fn run(
    config: Config,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let (_, never) = mpsc::channel(1);
    run_reloading(config, listeners, never, shutdown).await
}

/// The same, and puts what comes over `reloads` in force, one after the other.
pub async fn run_reloading(
    config: Config,
    listeners: impl Into<Listeners>,
    reloads: mpsc::Receiver<Reloadable>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let shutdown = async {
        shutdown.await;
        Shutdown::Stop
    };
    Server::start(config)?.serve(listeners, reloads, shutdown).await
}

/// A server whose loops run and that takes no connections yet.
#[derive(Debug)]
pub struct Server {
    settings: Arc<Settings>,
    loops: Loops,
    cluster: Option<Cluster>,
    /// What other nodes ask.
    questions: Option<Questions>,
    pages: Pages,
    minter: Option<Minter>,
    run_key: Option<RunKey>,
    metrics_token: Option<Secret>,
    service_keys: ServiceKeys,
    /// Of a key set that is fetched from a URL.
    renewal: Option<Arc<Renewal>>,
    webhooks: Webhooks,
    service_manager: ServiceManager,
    /// Of where keys come from.
    _following: [Option<Following>; 2],
}

impl Server {
    /// Starts the loops. What can be wrong with a configuration is found out here at the latest.
    pub fn start(config: Config) -> Result<Self, RunError> {
        let settings = Arc::new(config.settings);
        let verifier = Arc::new(Verifier::new(&config.keys));
        let minter = Minter::new(&config.keys);
        let renewal = verifier.renewal().cloned();
        let following = config.keys.jwks.map(|source| source.follow(Arc::clone(&verifier)));
        let following = following.transpose().map_err(RunError::Keys)?;
        let service_keys = config.keys.service;
        let following_service_keys = service_keys.follow().map_err(RunError::Keys)?;
        let backends = match service_keys.is_empty() {
            true => Backends::Refused,
            false => Backends::Admitted,
        };
        let webhooks = Webhooks::new(config.keys.webhook, clock::unix_ms());
        let (outbox, inbox) = settings.cluster.as_ref().map(|_| cluster::outbox()).unzip();
        let resume_key = ResumeKey::random().map_err(RunError::Loops)?;
        let outlets = Outlets {
            backends,
            announcer: webhooks.announcer(),
            nodes: outbox,
            resume_key: resume_key.clone(),
        };
        let loops = Loops::start(Arc::clone(&settings), verifier, outlets);
        let loops = loops.map_err(RunError::Loops)?;
        let cluster = settings.cluster.clone().zip(inbox);
        let cluster = cluster.map(|(of, inbox)| {
            let mailboxes = loops.mailboxes();
            let shared_settings = cluster::shared(&settings);
            Cluster::start(of, Inside { inbox, mailboxes, resume_key, shared_settings })
        });
        let (cluster, questions) = cluster.transpose().map_err(RunError::Cluster)?.unzip();
        if let Some(cluster) = &cluster {
            webhooks.join(Cluster::clone(cluster));
        }
        Ok(Self {
            settings,
            loops,
            cluster,
            questions,
            pages: config.pages,
            minter,
            run_key: config.keys.run_key,
            metrics_token: config.keys.metrics_token,
            service_keys,
            renewal,
            webhooks,
            service_manager: config.service_manager,
            _following: [following, following_service_keys],
        })
    }

    /// The running loops.
    pub fn loops(&self) -> &Loops {
        &self.loops
    }

    /// Takes connections until `shutdown` is ready, as [`run_reloading`] does.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        reloads: mpsc::Receiver<Reloadable>,
        shutdown: impl Future<Output = Shutdown>,
    ) -> Result<(), RunError> {
        let (drain, draining) = watch::channel(false);
        let Self { settings, loops, cluster, questions, webhooks, service_manager, .. } = self;
        // Not before: a process that does not take over from another one tells nobody anything.
        webhooks.replace(Arc::clone(&settings.webhooks)).map_err(RunError::Webhooks)?;
        let rehearsals = settings.rehearsals.clone();
        let period = Duration::from_millis(settings.truth_probe_ms);
        let backend = Backend::new(loops.clone(), cluster.clone());
        if let Some(questions) = questions {
            tokio::spawn(backend.clone().answer_nodes(questions));
        }
        let door = Arc::new(FrontDoor {
            admission: Mutex::new(Admission::new(Arc::clone(&settings))),
            unnamed: AtomicBool::new(false),
            settings,
            loops: loops.clone(),
            cluster: cluster.clone(),
            pages: self.pages,
            minter: self.minter,
            run_key: self.run_key,
            metrics_token: self.metrics_token,
            metrics: DoorMetrics::default(),
            refused_origins: LineRate::default(),
            webhooks: webhooks.clone(),
            renewal: self.renewal,
            api: Api::new(backend, self.service_keys, draining.clone()),
            opened: tokio::time::Instant::now(),
            draining: draining.clone(),
        });
        let Listeners { public, metrics } = listeners.into();
        // Metrics and health are served to the end: a load balancer has to see that the server
        // drains.
        let (to_the_end, ending) = watch::channel(false);
        let mut to_the_end = Some(to_the_end);
        if let Some(metrics) = metrics {
            tokio::spawn(http::serve_metrics(Arc::clone(&door), metrics, ending));
        }
        let probe = start_probe(&loops, period).map_err(RunError::Probe)?;
        let mut serving = std::pin::pin!(http::serve(door, public, draining));
        service_manager.ready();
        let mut failure = None;
        let ended = tokio::select! {
            () = &mut serving => None,
            () = put_in_force((&loops, &webhooks), reloads, &service_manager) => Some(Shutdown::Stop),
            () = service_manager.feed_watchdog(&loops) => unreachable!("feeding has no end"),
            () = spare_memory::give_back() => unreachable!("giving back has no end"),
            failed = loops.until_failed() => {
                failure = Some(failed);
                Some(Shutdown::Stop)
            }
            shutdown = shutdown => Some(shutdown),
        };
        tracing::info!("stopping: no new connections");
        drop(probe);
        match ended {
            // The other process answers for metrics and health as well.
            Some(Shutdown::HandedOver) => drop(to_the_end.take()),
            _ => service_manager.stopping(),
        }
        rehearsals.rehearse_stop();
        let leaving = cluster.as_ref().filter(|_| ended.is_some() && failure.is_none());
        if let Some(cluster) = leaving {
            // Load balancers see meanwhile that it is not ready.
            tokio::select! {
                () = send_clients_away(cluster, &loops) => {}
                () = &mut serving => {}
            }
        }
        if ended.is_some() {
            let _ = drain.send(true);
            serving.await;
        }
        let closing_time = leaving.map_or(CLOSING_TIME, |_| DRAINED_CLOSING_TIME);
        let closing = loops.clone();
        let closed = tokio::task::spawn_blocking(move || closing.shut_down(closing_time));
        let stuck = closed.await.unwrap_or_default();
        if let Some(cluster) = &cluster {
            cluster.leave().await;
        }
        let _ = tokio::task::spawn_blocking(move || webhooks.stop()).await;
        tracing::info!(left = loops.connections(), "stopped");
        match failure {
            Some((index, error)) => Err(RunError::Loop { index, error }),
            None if stuck.is_empty() => Ok(()),
            None => Err(RunError::Stuck { loops: stuck }),
        }
    }
}

/// The channels that a node decides go to other nodes, and then its clients do.
async fn send_clients_away(cluster: &Cluster, loops: &Loops) {
    cluster.drain().await;
    loops.drain().await;
}

/// Starts the probe, if it is wanted.
fn start_probe(loops: &Loops, period: Duration) -> io::Result<Option<Probe>> {
    let state = loops.probe().cloned();
    state.map(|state| Probe::start(loops.clone(), state, period)).transpose()
}

/// New rules that not every loop has taken yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    version: ControlVersion,
    patterns: usize,
    /// When to name the loops that are late, unless that has been done.
    late_at: Option<Instant>,
}

/// Puts the rules that come in force. Says so when every loop has taken the newest, and not before.
async fn put_in_force(
    (loops, webhooks): (&Loops, &Webhooks),
    mut reloads: mpsc::Receiver<Reloadable>,
    service_manager: &ServiceManager,
) {
    let mut pending: Option<Pending> = None;
    loop {
        tokio::select! {
            Some(new) = reloads.recv() => {
                if let Err(error) = webhooks.replace(Arc::clone(&new.webhooks)) {
                    tracing::error!(%error, "webhooks cannot be sent: the system refused a thread");
                }
                let late_at = pending.map_or(Some(Instant::now() + LATE_AFTER), |p| p.late_at);
                let patterns = new.rules.rows().len();
                pending = Some(Pending { version: loops.reload(new), patterns, late_at });
            }
            patterns = until_in_force(loops, pending) => {
                pending = None;
                tracing::info!(patterns, "new rules are in force");
                service_manager.ready();
            }
            version = until_late(pending) => {
                pending = pending.map(|pending| Pending { late_at: None, ..pending });
                let loops = format!("{:?}", loops.behind(version));
                tracing::warn!(loops, "new rules are not in force yet: these loops are busy");
            }
        }
    }
}

async fn until_in_force(loops: &Loops, pending: Option<Pending>) -> usize {
    let Some(Pending { version, patterns, .. }) = pending else { return future::pending().await };
    loops.until_applied(version).await;
    patterns
}

async fn until_late(pending: Option<Pending>) -> ControlVersion {
    match pending {
        Some(Pending { version, late_at: Some(at), .. }) => {
            sleep_until(at).await;
            version
        }
        _ => future::pending().await,
    }
}

impl From<TcpListener> for Listeners {
    fn from(public: TcpListener) -> Self {
        Self { public: vec![public.into()], metrics: None }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loops(error) => write!(f, "the event loops could not start: {error}"),
            Self::Probe(error) => write!(f, "the probe (truthProbeMs) could not start: {error}"),
            Self::Keys(error) => write!(f, "the files of keys cannot be followed: {error}"),
            Self::Cluster(error) => write!(f, "the cluster cannot be joined: {error}"),
            Self::Webhooks(error) => write!(f, "webhooks cannot be sent: {error}"),
            Self::Loop { index, error } => {
                write!(f, "event loop {index} failed, so the server has stopped: {error}")
            }
            Self::Stuck { loops } => write!(
                f,
                "event loops {loops:?} did not stop in time, and their connections were cut off"
            ),
        }
    }
}

impl std::error::Error for RunError {}
