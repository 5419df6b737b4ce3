//! What may be wrong with settings, each with what would be right.

use std::fmt;
use std::path::PathBuf;

/// Why settings could not be loaded. Each says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::ErrorKind,
    },
    /// The file is no JSON.
    NotJson {
        /// The first line that makes no sense, from 1.
        line: usize,
        /// And the column, from 1.
        column: usize,
    },
    /// The file is JSON and no object, or its `realtime` is none.
    NotAnObject {
        /// `realtime`, or the file as a whole.
        what: &'static str,
    },
    /// A key under `realtime` that does not exist.
    UnknownKey {
        /// As written.
        key: String,
        /// The nearest that exists.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong type or out of bounds.
    BadValue {
        /// Key or environment variable.
        name: &'static str,
        /// As written, shortened.
        found: String,
        /// What would be right.
        expected: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason } => {
                let path = path.display();
                write!(f, "the settings file {path} cannot be read: {reason}")
            }
            Self::NotJson { line, column } => {
                write!(f, "the settings file is not JSON at line {line}, column {column}")
            }
            Self::NotAnObject { what } => write!(
                f,
                "{what} should be an object, as in {{\"realtime\": {{\"presenceTTL\": 60000}}}}"
            ),
            Self::UnknownKey { key, nearest } => {
                write!(f, "there is no setting `{key}` under `realtime`")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
                    None => f.write_str("; `herenow serve --help` lists them all"),
                }
            }
            Self::BadValue { name, found, expected } => {
                write!(f, "`{name}` is {found}; it should be {expected}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}
