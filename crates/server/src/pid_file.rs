//! The file that names the process of a running server, for people, scripts and `herenow upgrade`.
//!
//! The server holds a lock on its file as long as it lives, and the system releases the lock however
//! the process ends. So a file that a killed server has left is told from one in use without trusting
//! the number in it, which another program may have by now.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

/// The file of this process. Dropping it removes the file, unless another process has replaced it.
#[derive(Debug)]
pub struct PidFile {
    /// Where others look for it.
    path: PathBuf,
    /// Where it is: beside the path, until it is published.
    at: PathBuf,
    /// Holds the lock, which ends when any handle of the file is closed: there is one alone.
    file: File,
    /// The process that this one takes over from, whose file it may replace.
    predecessor: Option<Pid>,
}

/// Why there is no file for this process.
#[derive(Debug)]
pub enum PidFileError {
    /// The file is that of a server that runs.
    Taken { path: PathBuf, process: Pid },
    /// Something else lies at the path, and is not replaced.
    Foreign { path: PathBuf },
    /// The system refused.
    System { path: PathBuf, error: io::Error },
}

/// The path is that of a file in a folder; a Unix socket with a longer name lies beside it during an
/// upgrade, and such a name has at most 107 bytes.
pub const MAX_PATH_BYTES: usize = 90;

/// Anybody may know the number of a process.
const MODE: u32 = 0o644;
/// More than the number of any process has.
const MAX_CONTENT_BYTES: u64 = 32;
/// How often other processes may come and go at the path while this one takes it.
const MAX_ATTEMPTS: usize = 100;

impl PidFile {
    /// Makes the file of this process beside `path`, unless a server has the path that is not the
    /// predecessor of this one.
    pub fn prepare(path: &Path, predecessor: Option<Pid>) -> Result<Self, PidFileError> {
        if let Some(file) = existing(path)? {
            refuse_other(path, &file, predecessor)?;
        }
        let failed = |error| PidFileError::System { path: path.into(), error };
        let at = beside(path, &process::id().to_string());
        // No other process has this number, so what lies there was left by one that has ended.
        let _ = fs::remove_file(&at);
        let file = OpenOptions::new().write(true).create_new(true).open(&at).map_err(failed)?;
        let mut made = Self { path: path.into(), at, file, predecessor };
        made.fill().map_err(failed)?;
        Ok(made)
    }

    fn fill(&mut self) -> io::Result<()> {
        fcntl_lock(&self.file, FlockOperation::NonBlockingLockExclusive)?;
        self.file.set_permissions(Permissions::from_mode(MODE))?;
        writeln!(self.file, "{}", process::id())
    }

    /// Where others look for it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file where others look for it, in one step: nobody sees a part of it.
    pub fn publish(&mut self) -> Result<(), PidFileError> {
        for _ in 0..MAX_ATTEMPTS {
            let is_placed = match existing(&self.path)? {
                None => self.place_first(),
                Some(found) => {
                    refuse_other(&self.path, &found, self.predecessor)?;
                    self.replace(&found)
                }
            };
            if is_placed.map_err(|error| self.failed(error))? {
                self.at.clone_from(&self.path);
                return Ok(());
            }
        }
        Err(self.failed(io::ErrorKind::WouldBlock.into()))
    }

    /// True unless another process was first, which a rename would not notice.
    fn place_first(&self) -> io::Result<bool> {
        match fs::hard_link(&self.at, &self.path) {
            Ok(()) => fs::remove_file(&self.at).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file of a dead process or of the predecessor. Of two processes that find the same
    /// dead file only the one that locks it replaces it. True unless that is another one.
    fn replace(&self, found: &File) -> io::Result<bool> {
        let is_dead = fcntl_lock(found, FlockOperation::NonBlockingLockExclusive).is_ok()
            && lies_at(found, &self.path);
        let is_predecessors = || self.predecessor.is_some() && holder(found) == self.predecessor;
        if !is_dead && !is_predecessors() {
            return Ok(false);
        }
        fs::rename(&self.at, &self.path).map(|()| true)
    }

    fn failed(&self, error: io::Error) -> PidFileError {
        PidFileError::System { path: self.path.clone(), error }
    }

    /// Leaves the file to the process that takes over.
    pub fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if lies_at(&self.file, &self.at) {
            let _ = fs::remove_file(&self.at);
        }
    }
}

/// A path in the same folder whose name begins alike.
pub fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".");
    beside.push(extension);
    beside.into()
}

/// The server whose file this is, if it runs. A process that only reads the file does not count as one.
pub fn holder(file: &File) -> Option<Pid> {
    let lock = fcntl_getlk(file, &Flock::from(FlockType::ReadLock)).ok().flatten()?;
    lock.pid.filter(|process| process.as_raw_nonzero().get() > 0)
}

fn refuse_other(path: &Path, file: &File, predecessor: Option<Pid>) -> Result<(), PidFileError> {
    match holder(file) {
        Some(process) if Some(process) != predecessor => {
            Err(PidFileError::Taken { path: path.into(), process })
        }
        _ => Ok(()),
    }
}

/// The file that lies at the path already. One that does not hold a number belongs to another program.
fn existing(path: &Path) -> Result<Option<File>, PidFileError> {
    let mut options = OpenOptions::new();
    // Opening a FIFO would wait for its other end.
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return Err(PidFileError::Foreign { path: path.into() });
        }
        Err(error) => return Err(PidFileError::System { path: path.into(), error }),
    };
    if is_pid_file(&file) {
        Ok(Some(file))
    } else {
        Err(PidFileError::Foreign { path: path.into() })
    }
}

/// An empty one is what a machine may find that has lost its power.
fn is_pid_file(file: &File) -> bool {
    let mut content = String::new();
    file.metadata().is_ok_and(|data| data.is_file())
        && file.take(MAX_CONTENT_BYTES).read_to_string(&mut content).is_ok()
        && (content.trim().is_empty() || content.trim().parse::<u32>().is_ok())
}

fn lies_at(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(found)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (file.dev(), file.ino()) == (found.dev(), found.ino())
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { path, process } => write!(
                f,
                "{} is the pid file of another server, which runs as process {process}. Stop that \
                 one, or choose another file with --pid-file.",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} exists and is not a pid file. Remove it, or choose another file with --pid-file.",
                path.display()
            ),
            Self::System { path, error } => write!(
                f,
                "the pid file {} cannot be written ({error}). Choose another one with --pid-file.",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PidFileError {}
