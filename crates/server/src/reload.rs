//! Takes a changed configuration over while the server runs: on SIGHUP in production, and
//! for development when a file changes. A broken one changes nothing. What only a start can set is named
//! and left.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use herenow_server::config::{self, Loaded, Reloadable, Settings};
use herenow_server::faults::{Fault, contain};
use herenow_server::service_manager::ServiceManager;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::cli::Server;
use crate::loading::LoadError;
use crate::start::{config_path, load_config};

/// What makes the configuration be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// A change of one of its files. SIGHUP comes from a terminal that closes, and ends the process.
    Change,
}

/// What the running server was started with.
#[derive(Debug)]
pub struct Running {
    server: Server,
    /// The file that is in force. It is read again even if it has gone: without its rules everybody
    /// would be let in.
    path: Option<PathBuf>,
    settings: Settings,
    files: Vec<PathBuf>,
    service_manager: ServiceManager,
}

/// A file's length and when it was written; `None` where there is none.
type Stamp = Option<(SystemTime, u64)>;

/// How long a reload lasts at least. Signals that come meanwhile cause one further reload.
const PAUSE: Duration = Duration::from_millis(500);

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Running {
    pub fn new(
        server: Server,
        path: Option<PathBuf>,
        loaded: &Loaded,
        service_manager: ServiceManager,
    ) -> Self {
        let (settings, files) = (loaded.settings.clone(), loaded.files.clone());
        Self { server, path, settings, files, service_manager }
    }

    /// A file that a start would read instead of the one in force.
    fn overtaken_by(&self) -> Option<PathBuf> {
        config_path(&self.server).filter(|path| Some(path) != self.path.as_ref())
    }

    /// The file to read: the one in force, or else one that has appeared.
    fn path(&self) -> Option<PathBuf> {
        self.path.clone().or_else(|| config_path(&self.server))
    }
}

/// Sends each configuration that is read again and found right, until nobody listens.
pub async fn keep_up(
    mut running: Running,
    trigger: Trigger,
    mut hangup: Option<Signal>,
    reloads: mpsc::Sender<Reloadable>,
) {
    let mut ticks = (trigger == Trigger::Change).then(|| {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    // Under a signal alone nothing is compared: looking at files may block this thread.
    let stamps = |running: &Running| match trigger {
        Trigger::Signal => Vec::new(),
        Trigger::Change => stamps(running),
    };
    let mut seen = stamps(&running);
    let mut complaint: Option<Complaint> = None;
    loop {
        let is_asked = tokio::select! {
            is_asked = next_signal(&mut hangup) => is_asked,
            () = next(&mut ticks) => false,
            () = reloads.closed() => return,
        };
        let stamps_now = stamps(&running);
        // A broken one is read again at every look, since the change that repairs it may be in a
        // file that only the broken one names. One that costs seconds each time is not.
        let is_read_again = complaint.as_ref().is_some_and(|complaint| !complaint.is_costly);
        if !is_asked && stamps_now == seen && !is_read_again {
            continue;
        }
        seen = stamps_now;
        if is_asked {
            running.service_manager.reloading();
        }
        let path = running.path();
        match load(running.server.clone(), path.clone()).await {
            Ok(Ok(loaded)) => {
                complaint = None;
                running.path = path;
                take_over(&mut running, loaded, &reloads).await;
                seen = stamps(&running);
            }
            Ok(Err(error)) => {
                complaint = Some(complain(&error, complaint, is_asked));
                running.service_manager.ready();
            }
            Err(Fault) => {
                tracing::error!("a fault while the configuration was read");
                running.service_manager.ready();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Has a thread beside the one that serves HTTP wait for the configuration.
async fn load(server: Server, path: Option<PathBuf>) -> Result<Result<Loaded, LoadError>, Fault> {
    let load = move || contain(|| load_config(&server, path.as_deref()));
    tokio::task::spawn_blocking(load).await.unwrap_or(Err(Fault))
}

async fn take_over(running: &mut Running, loaded: Loaded, reloads: &mpsc::Sender<Reloadable>) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let later = config::changed(&running.settings, &loaded.settings);
    if !later.is_empty() {
        let settings = later.join(", ");
        tracing::warn!(settings, "changed settings take effect at the next start");
    }
    if let Some(path) = running.overtaken_by() {
        let path = path.display();
        tracing::warn!(%path, "the next start will find this file first and read it");
    }
    running.files = loaded.files;
    tracing::info!("the configuration was read again");
    // Who takes the rules says when they are in force; without it the server is about to stop.
    let _ = reloads.send(loaded.settings.reloadable()).await;
}

/// What was said of a configuration that was not taken over.
struct Complaint {
    reason: String,
    is_costly: bool,
}

/// Says the same thing once, unless a signal asked.
fn complain(error: &LoadError, before: Option<Complaint>, is_asked: bool) -> Complaint {
    let reason = error.to_string();
    if is_asked || before.is_none_or(|before| before.reason != reason) {
        tracing::error!(reason, "the configuration is wrong; the previous one stays in force");
    }
    Complaint { reason, is_costly: error.is_costly() }
}

async fn next_signal(hangup: &mut Option<Signal>) -> bool {
    match hangup {
        Some(hangup) => hangup.recv().await.is_some(),
        None => std::future::pending().await,
    }
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
    let entry = running.path();
    entry.into_iter().chain(running.files.iter().cloned()).map(stamp).collect()
}
