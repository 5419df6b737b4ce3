//! How it runs: the only crate with IO. Sockets, HTTP, keys, settings and logs live here; what
//! presence means lives in the core, what bytes mean in wire.

pub mod access;
pub mod admission;
mod answer;
pub mod auth;
pub mod clock;
pub mod config;
mod dev;
mod event_loop;
pub mod faults;
pub mod files;
mod http;
pub mod logs;
pub mod loops;
mod metrics;
mod strict_json;
pub mod typescript;
pub mod upgrade;
mod verification;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use access::Rules;
use auth::{Minter, Verifier};
use config::Config;
use http::FrontDoor;
use loops::Loops;
use metrics::DoorMetrics;

/// Why the server could not run.
#[derive(Debug)]
pub enum RunError {
    /// The loops did not start: the system gave no thread, no poll or no file.
    Loops(io::Error),
    /// The system gave no thread to read the keys again.
    Keys(io::Error),
}

/// How long connections may take to close at the end. With what HTTP may take before, a stop
/// stays below the ten seconds that supervisors commonly wait.
const CLOSING_TIME: Duration = Duration::from_secs(7);

/// Where connections come in. A listener alone is the server's own.
#[derive(Debug)]
pub struct Listeners {
    /// For WebSockets and everything else that users reach.
    pub public: TcpListener,
    /// For metrics and health alone.
    pub metrics: Option<TcpListener>,
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

/// The same, and puts the rules that come over `reloads` in force, one after the other.
pub async fn run_reloading(
    config: Config,
    listeners: impl Into<Listeners>,
    reloads: mpsc::Receiver<Rules>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let settings = Arc::new(config.settings);
    let verifier = Arc::new(Verifier::new(&config.keys));
    let minter = Minter::new(&config.keys);
    let following = config.keys.jwks.map(|file| auth::follow(file, Arc::clone(&verifier)));
    let _following = following.transpose().map_err(RunError::Keys)?;
    let loops = Loops::start(Arc::clone(&settings), verifier).map_err(RunError::Loops)?;
    let door = Arc::new(FrontDoor {
        settings,
        loops: loops.clone(),
        pages: config.pages,
        minter,
        metrics_token: config.keys.metrics_token,
        metrics: DoorMetrics::default(),
        opened: tokio::time::Instant::now(),
    });
    let (close, closing) = watch::channel(false);
    let mut serving = std::pin::pin!(http::serve(door, listeners.into(), closing));
    tokio::select! {
        () = &mut serving => {}
        () = reload(&loops, reloads) => unreachable!("reloading has no end"),
        () = shutdown => {
            tracing::info!("stopping: no new connections");
            let _ = close.send(true);
            serving.await;
        }
    }
    let closed = tokio::task::spawn_blocking(move || {
        loops.shut_down(CLOSING_TIME);
        loops.connections()
    });
    let left = closed.await.unwrap_or(0);
    tracing::info!(left, "stopped");
    Ok(())
}

async fn reload(loops: &Loops, mut reloads: mpsc::Receiver<Rules>) {
    while let Some(rules) = reloads.recv().await {
        let loops = loops.clone();
        // Telling a busy loop takes time, and HTTP goes on meanwhile. A panic in there is the
        // loops' end, which they report by themselves.
        let _ = tokio::task::spawn_blocking(move || loops.reload(rules)).await;
    }
    std::future::pending().await
}

impl From<TcpListener> for Listeners {
    fn from(public: TcpListener) -> Self {
        Self { public, metrics: None }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loops(error) => write!(f, "the event loops could not start: {error}"),
            Self::Keys(error) => write!(f, "the token keys cannot be followed: {error}"),
        }
    }
}

impl std::error::Error for RunError {}
