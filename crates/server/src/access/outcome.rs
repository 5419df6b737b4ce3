//! What may become of a rule, in words that are fit for a log: nothing of a token is in them, unless
//! a rule's author puts it into an error.

use std::fmt;

use crate::typescript::Place;

/// What a rule said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `true`.
    Granted,
    /// `false`.
    Denied,
    /// Something that is neither, such as `undefined` or `1`; only `true` grants.
    NotABoolean(String),
    /// Nothing: it failed.
    Failed(Failure),
}

/// Why code of a configuration gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It threw.
    Threw {
        /// The message, shortened.
        message: String,
        /// The file and the place in it, where known.
        place: Option<(String, Place)>,
    },
    /// It ran for too long.
    TooSlow {
        /// The file and the place in it where it was interrupted, where known.
        place: Option<(String, Place)>,
    },
    /// It wanted too much memory.
    TooMuchMemory,
    /// It called itself too often.
    TooDeep,
    /// It gave a Promise that nothing can settle: there are no timers and no network.
    NeverSettles,
}

/// What an engine may hold.
pub const MEMORY_BYTES: usize = 16 * 1024 * 1024;

/// Characters of a message that are kept.
const MESSAGE_CHARS: usize = 200;

/// A message as one line that is not too long.
pub(super) fn shortened(text: &str) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.take(MESSAGE_CHARS).collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threw { message, place: None } => write!(f, "it threw: {message}"),
            Self::Threw { message, place: Some((file, place)) } => {
                write!(f, "it threw at {file}:{place}: {message}")
            }
            Self::TooSlow { place: None } => f.write_str("it ran for too long"),
            Self::TooSlow { place: Some((file, place)) } => {
                write!(
                    f,
                    "it ran for too long, in the function or statement at {file}:{place}"
                )
            }
            Self::TooMuchMemory => {
                write!(f, "it needs more than {} MiB of memory", MEMORY_BYTES >> 20)
            }
            Self::TooDeep => f.write_str("its calls nest too deeply"),
            Self::NeverSettles => f.write_str(
                "it waits for a Promise that can never settle (rules have no timers and no network)",
            ),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted => f.write_str("it returned true"),
            Self::Denied => f.write_str("it returned false"),
            Self::NotABoolean(what) => write!(f, "it returned {what}; only true grants"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}
