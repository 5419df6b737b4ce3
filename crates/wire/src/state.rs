//! What a client says of itself in a channel, in the server's own compact form.
//!
//! Knows how long a state may be and that it is an object; knows nothing of what is in it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::canonical::Canonical;
use crate::json::{JsonError, Reader, Skip};

/// A tracked state: a JSON object in the server's own compact form, at most [`State::MAX_BYTES`].
/// Two states are equal where their bytes are. A clone is a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct State(Arc<str>);

/// Why a text is no state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateError {
    /// It is no JSON.
    NotJson(JsonError),
    /// It is missing, or JSON of another kind than an object.
    NotAnObject,
    /// Its compact form has more than [`State::MAX_BYTES`].
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
}

impl State {
    /// The most bytes that the compact form of a state may have.
    pub const MAX_BYTES: usize = MAX_STATE_BYTES;

    /// From any JSON text.
    pub fn parse(json: &str) -> Result<Self, StateError> {
        let mut reader = Reader::new(json);
        let compact = compact_object(&mut reader).map_err(StateError::NotJson)?;
        reader.end().map_err(StateError::NotJson)?;
        Self::from_compact(&compact.ok_or(StateError::NotAnObject)?)
    }

    /// From what [`compact_object`] wrote.
    pub(crate) fn from_compact(compact: &str) -> Result<Self, StateError> {
        if compact.len() > Self::MAX_BYTES {
            return Err(StateError::TooLarge { bytes: compact.len() });
        }
        Ok(Self(Arc::from(compact)))
    }

    /// The compact JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads one value; gives its compact form where it is an object.
pub(crate) fn compact_object(reader: &mut Reader<'_>) -> Result<Option<String>, JsonError> {
    if !reader.is_at_object() {
        reader.value(&mut Skip)?;
        return Ok(None);
    }
    let mut canonical = Canonical::with_capacity(reader.remaining_bytes());
    reader.value(&mut canonical)?;
    Ok(Some(canonical.into_string()))
}

impl StateError {
    /// What is wrong, as a sentence for the peer.
    pub fn sentence(self) -> Cow<'static, str> {
        match self {
            Self::NotJson(error) => error.sentence().into(),
            Self::NotAnObject => "state must be a JSON object".into(),
            Self::TooLarge { bytes } => {
                format!("a state has at most {MAX_STATE_BYTES} bytes; this one has {bytes}").into()
            }
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for StateError {}

/// The most bytes that the compact form of a state may have.
pub const MAX_STATE_BYTES: usize = 1024;
