//! Why a running server has not done what it was asked.

use std::fmt;
use std::io;
use std::path::PathBuf;

use herenow_server::files::FileError;

use super::origin::Origin;

/// See the module.
#[derive(Debug)]
pub enum RemoteError {
    /// There is no key to show.
    NoKey,
    /// The key cannot stand in a header.
    BadKey,
    /// The file of the key cannot be read.
    KeyFile { path: PathBuf, reason: FileError },
    /// It could not be connected to, or did not answer in time.
    Silent { origin: Origin, error: io::Error },
    /// Something else listens there.
    NoAnswer { origin: Origin },
    /// It does not take the request.
    Refused { status: u16, detail: String },
    /// What was asked for is not there.
    Nobody(String),
    /// The system did not give what every connection needs.
    Runtime(io::Error),
    /// Standard output was closed.
    Write(io::Error),
}

impl RemoteError {
    /// 2 if the words or the settings of the command are wrong, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoKey | Self::BadKey | Self::KeyFile { .. } => 2,
            Self::Refused { status: 400, .. } => 2,
            _ => 1,
        }
    }
}

impl RemoteError {
    /// Whether it would be the same another time.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::NoAnswer { .. } => false,
            Self::Refused { status, .. } => *status < 500,
            _ => true,
        }
    }
}

impl From<io::Error> for RemoteError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str(
                "there is no service key. Set SERVICE_KEY, or SERVICE_KEY_FILE as for the server; \
                 `herenow dev` prints the key of its run",
            ),
            Self::BadKey => f.write_str(
                "the service key has other than visible ASCII characters, which no header can carry",
            ),
            Self::KeyFile { path, reason } => {
                write!(
                    f,
                    "{}, which should hold a service key, cannot be read: {reason}",
                    path.display()
                )
            }
            Self::Silent { origin, error } => write!(f, "cannot reach {origin}: {error}"),
            Self::NoAnswer { origin } => {
                write!(f, "{origin} does not answer like a Herenow server")
            }
            Self::Refused { detail, .. } => f.write_str(&super::shown(detail)),
            Self::Nobody(sentence) => f.write_str(sentence),
            Self::Runtime(error) => write!(f, "no connection can be made: {error}"),
            Self::Write(error) => write!(f, "the answer cannot be written: {error}"),
        }
    }
}
