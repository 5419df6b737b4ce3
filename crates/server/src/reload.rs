//! Takes a changed configuration over while the server runs: on SIGHUP, and where somebody
//! develops, when a file changes. A broken one changes nothing. What only a start can set is named
//! and left.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use herenow_server::access::Rules;
use herenow_server::config::{self, ConfigError, Loaded, Settings};
use herenow_server::faults::{Fault, contain};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::cli::Server;
use crate::start::{config_path, load_config};

/// What makes the configuration be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// SIGHUP, and a change of one of its files.
    SignalOrChange,
}

/// What the running server was started with.
#[derive(Debug)]
pub struct Running {
    server: Server,
    settings: Settings,
    files: Vec<PathBuf>,
}

/// A file's length and when it was written; `None` where there is none.
type Stamp = Option<(SystemTime, u64)>;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Running {
    pub fn new(server: Server, loaded: &Loaded) -> Self {
        Self { server, settings: loaded.settings.clone(), files: loaded.files.clone() }
    }
}

/// Sends each configuration that is read again and found right, until nobody listens.
pub async fn keep_up(
    mut running: Running,
    trigger: Trigger,
    mut hangup: Signal,
    reloads: mpsc::Sender<Rules>,
) {
    let mut ticks = (trigger == Trigger::SignalOrChange).then(|| {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let mut seen = stamps(&running);
    let mut complaint = None;
    loop {
        let is_asked = tokio::select! {
            signal = hangup.recv() => signal.is_some(),
            () = next(&mut ticks) => false,
            () = reloads.closed() => return,
        };
        let stamps_now = stamps(&running);
        // While it is broken it is tried at every look: what mends it may be a file that only the
        // broken one names.
        if !is_asked && stamps_now == seen && complaint.is_none() {
            continue;
        }
        seen = stamps_now;
        let server = running.server.clone();
        // Code may run while it is read, and this thread serves HTTP.
        let loading = tokio::task::spawn_blocking(move || contain(|| load_config(&server)));
        match loading.await.unwrap_or(Err(Fault)) {
            Ok(Ok(loaded)) => {
                complaint = None;
                take_over(&mut running, loaded, &reloads).await;
                seen = stamps(&running);
            }
            Ok(Err(error)) => complaint = Some(complain(error, complaint, is_asked)),
            Err(Fault) => tracing::error!("a fault while the configuration was read"),
        }
    }
}

async fn take_over(running: &mut Running, loaded: Loaded, reloads: &mpsc::Sender<Rules>) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let later = config::changed(&running.settings, &loaded.settings);
    if !later.is_empty() {
        let settings = later.join(", ");
        tracing::warn!(settings, "changed settings that hold from the next start on");
    }
    let patterns = loaded.settings.rules.rows().len();
    running.files = loaded.files;
    if reloads.send(loaded.settings.rules).await.is_ok() {
        tracing::info!(patterns, "the configuration was read again; new rules are in force");
    }
}

/// Says the same thing once, unless somebody asked.
fn complain(error: ConfigError, before: Option<String>, is_asked: bool) -> String {
    let reason = error.to_string();
    if is_asked || before.as_ref() != Some(&reason) {
        tracing::error!(reason, "the configuration is broken; the one before stays in force");
    }
    reason
}

async fn next(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn stamps(running: &Running) -> Vec<(PathBuf, Stamp)> {
    let stamp = |path: PathBuf| {
        let data = std::fs::metadata(&path).ok();
        let stamp = data.and_then(|data| Some((data.modified().ok()?, data.len())));
        (path, stamp)
    };
    let entry = config_path(&running.server);
    entry.into_iter().chain(running.files.iter().cloned()).map(stamp).collect()
}
