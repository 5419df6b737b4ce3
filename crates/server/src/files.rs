//! Reads the small files that an operator names: configuration, secrets, keys. Only regular files,
//! and only up to a bound: opening a FIFO or a device could block for ever, and a large file is a
//! mistake.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Why a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// The system refused.
    Unreadable(io::ErrorKind),
    /// It is a folder, a FIFO, a socket or a device.
    NotRegular,
    /// It is longer than it may be.
    TooLong {
        /// How long it may be.
        max_bytes: usize,
    },
    /// It is text elsewhere, and is not UTF-8.
    NotUtf8,
}

/// The content of a regular file of at most `max_bytes`.
pub fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(FileError::NotRegular);
    }
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to refuse it. Its length says nothing: it may grow.
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes { Err(FileError::TooLong { max_bytes }) } else { Ok(bytes) }
}

/// The same for text.
pub fn read_text(path: &Path, max_bytes: usize) -> Result<String, FileError> {
    String::from_utf8(read(path, max_bytes)?).map_err(|_| FileError::NotUtf8)
}

/// Opening a FIFO waits for its writer unless it is asked not to wait.
fn open(path: &Path) -> Result<File, FileError> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened.map_err(|error| match error.raw_os_error() {
        // A socket or a device without a driver.
        Some(libc::ENXIO) => FileError::NotRegular,
        _ => error.into(),
    })
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.kind())
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(io::ErrorKind::NotFound) => f.write_str("there is no such file"),
            Self::Unreadable(io::ErrorKind::PermissionDenied) => {
                f.write_str("the user that this process runs as may not read it")
            }
            Self::Unreadable(io::ErrorKind::NotADirectory) => {
                f.write_str("a part of its path is a file and should be a folder")
            }
            Self::Unreadable(reason) => write!(f, "the system failed to read it ({reason})"),
            Self::NotRegular => f.write_str("it is not a regular file"),
            Self::TooLong { max_bytes } => {
                write!(f, "it is longer than {} KiB", max_bytes / 1024)
            }
            Self::NotUtf8 => f.write_str("it is not UTF-8"),
        }
    }
}

impl std::error::Error for FileError {}
