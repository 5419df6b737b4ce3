//! The side of `herenow upgrade`, which asks a running server to hand over and waits for the outcome.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

use super::outcome::{MAX_OUTCOME_BYTES, Outcome, socket_path};
use super::{ANSWER_TIME, READY_TIME};
use crate::pid_file::holder;

/// Why there was no upgrade, or why that is not known.
#[derive(Debug)]
pub enum UpgradeError {
    /// There is no pid file.
    NoFile { path: PathBuf },
    /// The server of the pid file has ended.
    NotRunning { path: PathBuf },
    /// Another command waits for an upgrade of the same server.
    Waiting { path: PathBuf },
    /// Beside the pid file nobody can wait for the outcome.
    NoSocket { path: PathBuf, error: io::Error },
    /// The server may not be asked, or the pid file not be read.
    NotAllowed { path: PathBuf, error: io::Error },
    /// The new process cannot serve; the old one serves on.
    Failed { process: Pid, reason: String },
    /// The server has ended, and no other process has taken over.
    Ended { process: Pid },
    /// Nothing was heard.
    Silent { process: Pid },
}

/// A server with its pid file, and the socket on which it is waited for.
struct Requester {
    server: Pid,
    socket: UnixDatagram,
    path: PathBuf,
}

/// All of an upgrade: the two steps that have a bound, and as much again for a machine that is busy.
const WITHIN: Duration = Duration::from_secs(2 * (READY_TIME.as_secs() + ANSWER_TIME.as_secs()));
/// How often the server is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long after the end of the old process the new one may take to say that it serves.
const LAST_WORD_TIME: Duration = Duration::from_secs(5);

/// Has the server with this pid file replaced by a new process. Returns when that serves.
pub fn upgrade(pid_file: &Path) -> Result<String, UpgradeError> {
    let requester = Requester::new(pid_file)?;
    kill_process(requester.server, Signal::USR2).map_err(|error| not_allowed(pid_file, error))?;
    let old = requester.server;
    match requester.outcome()? {
        Outcome::Serves { process } => {
            Ok(format!("process {process} has taken over from process {old} and serves"))
        }
        Outcome::Failed { reason } => Err(UpgradeError::Failed { process: old, reason }),
    }
}

impl Requester {
    fn new(pid_file: &Path) -> Result<Self, UpgradeError> {
        let file = File::open(pid_file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => UpgradeError::NoFile { path: pid_file.into() },
            _ => not_allowed(pid_file, error),
        })?;
        let server = holder(&file);
        let server = server.ok_or_else(|| UpgradeError::NotRunning { path: pid_file.into() })?;
        let owner = file.metadata().map_err(|error| not_allowed(pid_file, error))?.uid();
        let path = socket_path(pid_file);
        let no_socket = |error| UpgradeError::NoSocket { path: path.clone(), error };
        remove_dead(&path).map_err(no_socket)?;
        let socket = UnixDatagram::bind(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => UpgradeError::Waiting { path: pid_file.into() },
            _ => no_socket(error),
        })?;
        let requester = Self { server, socket, path: path.clone() };
        // Root asks a server of another user, which may write to what it owns.
        if owner != geteuid().as_raw() {
            lchown(&path, Some(owner), None).map_err(no_socket)?;
        }
        requester.socket.set_read_timeout(Some(LOOK_EVERY)).map_err(no_socket)?;
        Ok(requester)
    }

    fn outcome(&self) -> Result<Outcome, UpgradeError> {
        let mut end = Instant::now() + WITHIN;
        let mut has_ended = false;
        let mut message = [0; MAX_OUTCOME_BYTES];
        while Instant::now() < end {
            if let Ok(length) = self.socket.recv(&mut message)
                && let Ok(outcome) = serde_json::from_slice(&message[..length])
            {
                return Ok(outcome);
            }
            // The old process may end before the new one says that it serves.
            if !has_ended && test_kill_process(self.server) == Err(rustix::io::Errno::SRCH) {
                has_ended = true;
                end = end.min(Instant::now() + LAST_WORD_TIME);
            }
        }
        let process = self.server;
        Err(match has_ended {
            true => UpgradeError::Ended { process },
            false => UpgradeError::Silent { process },
        })
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the socket of a command that was killed.
fn remove_dead(path: &Path) -> io::Result<()> {
    let connected = UnixDatagram::unbound()?.connect(path);
    match connected {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Nothing is there, or something that binding refuses to replace.
        _ => Ok(()),
    }
}

fn not_allowed(pid_file: &Path, error: impl Into<io::Error>) -> UpgradeError {
    UpgradeError::NotAllowed { path: pid_file.into(), error: error.into() }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile { path } => write!(
                f,
                "there is no pid file {}, so no running server was started with it. Name the pid file \
                 of the server with --pid-file, or start the server with --pid-file.",
                path.display()
            ),
            Self::NotRunning { path } => write!(
                f,
                "no server runs: the process that wrote the pid file {} has ended.",
                path.display()
            ),
            Self::Waiting { path } => write!(
                f,
                "an upgrade of the server with the pid file {} is already under way.",
                path.display()
            ),
            Self::NoSocket { path, error } => write!(
                f,
                "the socket {} cannot be made ({error}), so no upgrade was requested. Run this command \
                 as the user of the server or as root.",
                path.display()
            ),
            Self::NotAllowed { path, error } => write!(
                f,
                "no upgrade of the server with the pid file {} can be requested ({error}). Run this \
                 command as the user of the server or as root.",
                path.display()
            ),
            Self::Failed { process, reason } => {
                write!(f, "no upgrade, process {process} keeps serving: {reason}")
            }
            Self::Ended { process } => write!(
                f,
                "process {process} has ended, and no other process has reported that it serves. See the \
                 log of the server."
            ),
            Self::Silent { process } => write!(
                f,
                "process {process} did not report the result of the upgrade within {} s. See the log of \
                 the server.",
                WITHIN.as_secs()
            ),
        }
    }
}

impl std::error::Error for UpgradeError {}
