//! The file of a Unix socket. It replaces one that a dead process has left, never one of a process
//! that lives, and is removed when the server stops.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixSocket};

use super::{BACKLOG, ListenError, Place};

/// A socket's file that this process has made. Dropping it removes the file, unless another process
/// has replaced it since.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    id: FileId,
}

/// Tells a file from one that replaces it. The number of a file that is gone may be used again, so
/// the time at which it was made belongs to it.
type FileId = (u64, u64, i64, i64);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if file_id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl SocketFile {
    /// Leaves the file to the process that has taken over the socket.
    pub fn leave(self) {
        std::mem::forget(self);
    }
}

/// Listens at `path` over the socket that a predecessor has left there.
pub fn inherit(path: &Path, socket: OwnedFd) -> Result<(UnixListener, SocketFile), ListenError> {
    let taken = || {
        let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?;
        Ok((listener, SocketFile { path: path.into(), id: file_id(path)? }))
    };
    taken().map_err(|error| failed(path, error))
}

/// Listens at `path`, which those may connect to whom `mode` allows to write.
pub fn listen(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), ListenError> {
    let failed = |error| failed(path, error);
    // Of two processes that start at once, each could take the socket of the other for a dead one.
    // The lock ends with this function, or with the process.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    match folder.try_lock() {
        Err(fs::TryLockError::WouldBlock) => {
            return Err(ListenError::PathTaken { path: path.into() });
        }
        // A file system without locks is no reason not to serve.
        Ok(()) | Err(fs::TryLockError::Error(_)) => {}
    }
    remove_dead(path, failed)?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    socket.bind(path).map_err(failed)?;
    let file = file_id(path).map(|id| SocketFile { path: path.into(), id }).map_err(failed)?;
    // Nobody can connect before the socket listens, and so nobody whom the mode does not allow.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    Ok((listener, file))
}

/// Removes the socket of a process that has ended without removing it.
fn remove_dead(path: &Path, failed: impl Fn(io::Error) -> ListenError) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NoSocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        // The other end is busy.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(ListenError::PathTaken { path: path.into() })
        }
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            Err(ListenError::NoSocket { path: path.into() })
        }
        Err(error) => Err(failed(error)),
        Ok(()) => Err(ListenError::PathTaken { path: path.into() }),
    }
}

/// Does not wait: a process that lives and does not accept is not dead.
fn connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn failed(path: &Path, error: io::Error) -> ListenError {
    ListenError::System { place: Place::Unix(path.into()), flag: "--listen", error }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests;
