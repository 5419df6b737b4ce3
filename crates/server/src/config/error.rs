//! What may be wrong with settings, each with what would be right.

use std::fmt;
use std::path::PathBuf;

use super::network::NetworkError;
use super::origin::OriginError;
use crate::access::{Failure, ProgramError};
use crate::files::FileError;

/// Why settings could not be loaded. Each says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: FileError,
    },
    /// The file is no JSON.
    NotJson {
        /// The file's name.
        file: String,
        /// The first line that makes no sense, from 1.
        line: usize,
        /// And the column, from 1.
        column: usize,
    },
    /// The file, its default export, or its `realtime` is no object.
    NotAnObject {
        /// Which of them.
        what: &'static str,
    },
    /// The file's modules cannot be loaded.
    Program(ProgramError),
    /// The file's code does not run to its end.
    Failed {
        /// The file's name.
        file: String,
        /// Why.
        failure: Failure,
    },
    /// Something is wrong at a place of the file.
    At {
        /// `file:line:column`.
        place: String,
        /// What.
        error: Box<ConfigError>,
    },
    /// A key under `realtime` that does not exist.
    UnknownKey {
        /// As written.
        key: String,
        /// Under what.
        under: String,
        /// The nearest that exists.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong type or out of bounds.
    BadValue {
        /// Key or environment variable.
        name: String,
        /// As written, shortened.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// An item of a list that can never match anything.
    BadItem {
        /// Key or environment variable.
        name: String,
        /// As written, shortened.
        item: String,
        /// Why not.
        wrong: ItemError,
    },
}

/// Why an item of a list can never match anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemError {
    /// Of a list of origins.
    Origin(OriginError),
    /// Of a list of networks.
    Network(NetworkError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason } => {
                let path = path.display();
                write!(f, "the settings file {path} cannot be read: {reason}")
            }
            Self::NotJson { file, line, column } => {
                write!(f, "{file}:{line}:{column}: this is no JSON")
            }
            Self::NotAnObject { what } => write!(
                f,
                "{what} should be an object, as in {{\"realtime\": {{\"presenceTTL\": 60000}}}}"
            ),
            Self::Program(error) => error.fmt(f),
            Self::Failed { file, failure } => write!(f, "{file} does not run: {failure}"),
            Self::At { place, error } => write!(f, "{place}: {error}"),
            Self::UnknownKey { key, under, nearest } => {
                write!(f, "there is no setting `{key}` under `{under}`")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
                    None => f.write_str("; `herenow serve --help` lists them all"),
                }
            }
            Self::BadValue { name, found, expected } => {
                write!(f, "`{name}` is {found}; it should be {expected}")
            }
            Self::BadItem { name, item, wrong: ItemError::Origin(error) } => {
                write!(f, "`{name}` names the origin {item:?}: {error}")
            }
            Self::BadItem { name, item, wrong: ItemError::Network(error) } => {
                write!(f, "`{name}` names the network {item:?}: {error}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<OriginError> for ItemError {
    fn from(error: OriginError) -> Self {
        Self::Origin(error)
    }
}

impl From<NetworkError> for ItemError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}
