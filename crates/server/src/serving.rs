//! The life of a server's process: it listens, or takes over from the process before it; it serves;
//! it stops at a signal, or when another process has taken over from it. Knows signals and the order
//! of things; what is served is known to the library.

use std::path::PathBuf;
use std::time::Duration;

use herenow_server::config::Config;
use herenow_server::logs::Logs;
use herenow_server::service_manager::ServiceManager;
use herenow_server::{Server, Shutdown};
use rustix::process::getppid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::handover::{Handover, Outcome, Predecessor, Program};
use crate::listen::{Listening, SocketFile, Wanted, listen_all};
use crate::pid_file::PidFile;
use crate::reload::{self, Running, Trigger};
use crate::start::StartError;
use crate::stop;

/// All that a server is started with.
pub struct Serving {
    pub config: Config,
    pub wanted: Wanted,
    pub running: Running,
    pub trigger: Trigger,
    /// Where the process is named while it serves.
    pub pid_file: Option<PathBuf>,
}

impl Serving {
    /// Serves until it is told to stop. `announce` is called when connections are taken.
    ///
    /// HTTP is one thread's work; the loops have their own. Work beside that thread is not waited for
    /// at the end: it may be lost in something that never ends.
    pub fn serve(self, logs: &Logs, announce: impl FnOnce(&Listening)) -> Result<(), StartError> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().map_err(StartError::System)?;
        let done = runtime.block_on(self.run(logs, announce));
        runtime.shutdown_background();
        done
    }

    async fn run(self, logs: &Logs, announce: impl FnOnce(&Listening)) -> Result<(), StartError> {
        let Self { mut config, wanted, running, trigger, pid_file: path } = self;
        let program = Program::of_this_process().map_err(StartError::System)?;
        if let Some(cluster) = &config.settings.cluster {
            herenow_server::cluster::check(cluster).await.map_err(StartError::Cluster)?;
        }
        let mut predecessor = Predecessor::of_this_process().map_err(StartError::Handover)?;
        if let Some(predecessor) = &predecessor {
            let grace = Duration::from_millis(config.settings.disconnect_grace_ms);
            config.settings.gather_ms = predecessor.gather_for(grace).as_millis() as u64;
        }
        let replaced = predecessor.as_ref().and_then(|_| getppid());
        let pid_file = path.as_deref().map(|path| PidFile::prepare(path, replaced)).transpose();
        let mut pid_file = pid_file.map_err(StartError::PidFile)?;
        let listening = listen_all(&wanted, &config, predecessor.as_mut());
        let listening = listening.map_err(StartError::Listen)?;
        // Heard from before anybody is told that the server is there: who has read that may send
        // one.
        let Signals { stopped, hangup, handover } = Signals::listen(trigger, logs)?;
        let service_manager = config.service_manager.clone();
        let membership = config.settings.membership();
        let server = Server::start(config).map_err(StartError::Run)?;
        match predecessor {
            None => {
                pid_file.as_mut().map_or(Ok(()), PidFile::publish).map_err(StartError::PidFile)?
            }
            Some(predecessor) => {
                predecessor.take_over().map_err(StartError::Handover)?;
                pid_file.iter_mut().for_each(name_successor);
            }
        }
        announce(&listening);
        let (reloads, reloaded) = mpsc::channel(1);
        tokio::spawn(reload::keep_up(running, trigger, hangup, reloads));
        let Listening { listeners, files, sockets, .. } = listening;
        let loops = server.loops().clone();
        let successor = Handover { program, sockets, loops, membership, pid_file: path };
        let shutdown = async move {
            tokio::select! {
                _ = stopped => Shutdown::Stop,
                process = successor.succeed(handover) => {
                    leave(process, files, &service_manager);
                    pid_file.into_iter().for_each(PidFile::leave);
                    Shutdown::HandedOver
                }
            }
        };
        server.serve(listeners, reloaded, shutdown).await.map_err(StartError::Run)
    }
}

/// Another process has taken over: what belonged to this one belongs to it now.
fn leave(process: u32, files: Vec<SocketFile>, service_manager: &ServiceManager) {
    tracing::info!(process, "a new process has taken over");
    files.into_iter().for_each(SocketFile::leave);
    service_manager.handed_over(process);
}

/// This process has taken over, and serves whatever becomes of its file.
fn name_successor(pid_file: &mut PidFile) {
    if let Err(error) = pid_file.publish() {
        tracing::error!(%error, "no pid file names this process");
    }
    Outcome::Serves { process: std::process::id() }.tell(pid_file.path());
}

struct Signals {
    stopped: oneshot::Receiver<()>,
    /// Read the configuration again.
    hangup: Option<Signal>,
    /// Start the program anew, and hand over to it.
    handover: Signal,
}

impl Signals {
    fn listen(trigger: Trigger, logs: &Logs) -> Result<Self, StartError> {
        let hear = |kind| signal(kind).map_err(StartError::System);
        let (hangup, ends) = match trigger {
            Trigger::Signal => (Some(hear(SignalKind::hangup())?), stop::ENDS_A_SERVER),
            Trigger::Change => (None, stop::ENDS_WITH_ITS_TERMINAL),
        };
        let handover = hear(SignalKind::user_defined2())?;
        let stopped = stop::listen(ends, logs.clone()).map_err(StartError::System)?;
        Ok(Self { stopped, hangup, handover })
    }
}
