//! A JWKS file that is read again when it changes. A change that is wrong keeps the keys that were
//! in force and is told once. Knows files and a thread; what a key is stands in `jwks`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Verifier;
use super::following::{self, Following};
use super::jwks::{Jwks, JwksError, MAX_JWKS_BYTES};
use crate::files::{self, FileError};

/// A key set, where it comes from, and what was last seen there.
#[derive(Clone, Debug)]
pub struct JwksFile {
    path: PathBuf,
    seen: Seen,
    jwks: Jwks,
}

/// Why a file's keys are not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksFileError {
    path: PathBuf,
    cause: Cause,
}

/// How old the keys in force may be. Issuers publish a key long before they sign with it.
pub const FOLLOW_INTERVAL: Duration = Duration::from_secs(5);

impl JwksFile {
    /// Reads the file for the first time.
    pub fn open(path: &Path) -> Result<Self, JwksFileError> {
        let seen = Seen::at(path);
        let jwks = seen.judge(path)?;
        Ok(Self { path: path.into(), seen, jwks })
    }

    /// The keys in force.
    pub fn jwks(&self) -> &Jwks {
        &self.jwks
    }

    /// Reads the file again. `None`: it is as it was, whether right or wrong.
    pub fn poll(&mut self) -> Option<Result<&Jwks, JwksFileError>> {
        // The file is small: reading it costs little more than asking for its date, and dates miss
        // what changes within one tick or is put in place with an old one.
        let seen = Seen::at(&self.path);
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        Some(self.seen.judge(&self.path).map(|jwks| {
            self.jwks = jwks;
            &self.jwks
        }))
    }
}

/// Reads `file` again every [`FOLLOW_INTERVAL`] and puts what it then holds in force.
pub fn follow(mut file: JwksFile, verifier: Arc<Verifier>) -> io::Result<Following> {
    following::every(FOLLOW_INTERVAL, "keys", move || match file.poll() {
        None => {}
        Some(Ok(jwks)) => {
            verifier.replace(jwks);
            for warning in jwks.warnings() {
                tracing::warn!("{warning}");
            }
            tracing::info!(keys = jwks.count(), "token keys read again");
        }
        Some(Err(error)) => tracing::error!("the token keys stay as they were: {error}"),
    })
}

/// What a file held.
#[derive(Clone, PartialEq, Eq)]
enum Seen {
    Bytes(Vec<u8>),
    Unreadable(FileError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Unreadable(FileError),
    Wrong(JwksError),
}

impl Seen {
    fn at(path: &Path) -> Self {
        match files::read(path, MAX_JWKS_BYTES) {
            Ok(bytes) => Self::Bytes(bytes),
            Err(error) => Self::Unreadable(error),
        }
    }

    fn judge(&self, path: &Path) -> Result<Jwks, JwksFileError> {
        let cause = match self {
            Self::Bytes(bytes) => match Jwks::parse(bytes) {
                Ok(jwks) => return Ok(jwks),
                Err(error) => Cause::Wrong(error),
            },
            Self::Unreadable(reason) => Cause::Unreadable(*reason),
        };
        Err(JwksFileError { path: path.into(), cause })
    }
}

impl fmt::Debug for Seen {
    // The file may hold private keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} of them)", bytes.len()),
            Self::Unreadable(reason) => write!(f, "Unreadable({reason:?})"),
        }
    }
}

impl fmt::Display for JwksFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::Unreadable(reason) => write!(f, "the JWKS file {path} cannot be read: {reason}"),
            Cause::Wrong(error) => write!(f, "the JWKS file {path} is refused: {error}"),
        }
    }
}

impl std::error::Error for JwksFileError {}
