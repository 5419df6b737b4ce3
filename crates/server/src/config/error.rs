//! What may be wrong with settings, each with what would be right.

use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

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
    /// The file is no JSON, or JSON that another program may read differently.
    NotJson {
        /// The file's name.
        file: String,
        /// The first line that makes no sense, from 1.
        line: usize,
        /// And the column, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The file, its default export, or its `realtime` is no object.
    NotAnObject {
        /// Which of them.
        what: &'static str,
        /// What it is instead.
        found: String,
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
    /// A setting by the name that it had before.
    Renamed {
        /// The key, the environment variable or the flag, as written.
        from: String,
        /// Its present name.
        to: String,
    },
    /// A key of the configuration that stands at another place than it belongs to.
    Misplaced {
        /// As written.
        key: String,
        /// Where it belongs.
        belongs: &'static str,
    },
    /// Something that looks like a rule or a pattern, and that nothing would ever ask.
    NoEffect {
        /// What.
        what: String,
        /// Why not.
        reason: String,
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

impl ConfigError {
    /// `what` is `found` and should be an object.
    pub(super) fn not_an_object(what: &'static str, found: &Value) -> Self {
        Self::NotAnObject { what, found: described(found) }
    }

    /// A value of the wrong type or out of bounds.
    pub(super) fn bad_value(name: &str, found: &Value, expected: &str) -> Self {
        Self::BadValue { name: name.into(), found: described(found), expected: expected.into() }
    }
}

/// A value in a few words.
fn described(value: &Value) -> String {
    match value {
        // What JSON cannot write is described by a string that begins so.
        Value::String(text) if text.starts_with('\0') => shown(&text[1..]),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
            shown(&value.to_string())
        }
        // Functions may be in there, and nobody wants to read all of it.
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// Text from a file, fit for one line of a log.
pub(super) fn shown(text: &str) -> String {
    let mut short: String =
        text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        short.push('…');
    }
    short.trim_start().to_owned()
}

/// Characters of a file's text that are shown.
const SHOWN_CHARS: usize = 80;

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason } => {
                let path = path.display();
                write!(f, "the configuration file {path} cannot be read: {reason}")
            }
            Self::NotJson { file, line, column, reason } => {
                write!(f, "{file}:{line}:{column}: {reason}")
            }
            Self::NotAnObject { what, found } => write!(
                f,
                "{what} is {found}; it should be an object, as in \
                 {{\"realtime\": {{\"presenceTTL\": 60000}}}}"
            ),
            Self::Program(error) => error.fmt(f),
            Self::Failed { file, failure } => write!(f, "{file} cannot be evaluated: {failure}"),
            Self::At { place, error } => write!(f, "{place}: {error}"),
            Self::UnknownKey { key, under, nearest } => {
                write!(f, "there is no setting `{key}` under `{under}`")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
                    None => f.write_str("; `herenow serve --help` lists them all"),
                }
            }
            Self::Renamed { from, to } => {
                write!(f, "`{from}` has been renamed: write `{to}` instead")
            }
            Self::Misplaced { key, belongs } => {
                write!(f, "`{key}` has no effect here; it belongs {belongs}")
            }
            Self::NoEffect { what, reason } => write!(
                f,
                "{what} has no effect: {reason}. Change or remove it, or use --allow-unknown"
            ),
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
