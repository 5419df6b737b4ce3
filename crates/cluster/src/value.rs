//! What stands in a beat key, and the names of nodes.

use std::fmt;
use std::sync::Arc;

use herenow_wire::link::{Incarnation, LinkError, Reader, put_slice, put_varint};

/// The name of a node: configured, or the host's. 1 to 63 letters, digits, `-` and `_`, so that it
/// can stand in a key of the bucket. A clone is a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The most bytes that a name may have.
    pub const MAX_BYTES: usize = 63;

    /// `None` for what cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let has_length = (1..=Self::MAX_BYTES).contains(&text.len());
        (has_length && text.bytes().all(is_valid)).then(|| Self(Arc::from(text)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, LinkError> {
        Self::parse(reader.text()?).ok_or(LinkError::Text)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_slice(self.0.as_bytes(), out);
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a beat key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beat {
    /// The incarnation lives.
    Alive {
        /// Which.
        incarnation: Incarnation,
        /// How many beats it has had acknowledged, this one included.
        count: u64,
        /// The number of the newest view that it knows.
        v: u64,
    },
    /// The incarnation was judged dead: it can renew its lease no more.
    Closed {
        /// Which.
        incarnation: Incarnation,
    },
}

impl Beat {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Self::Alive { incarnation, count, v } => {
                out.push(ALIVE);
                out.extend(incarnation.0.to_le_bytes());
                put_varint(*count, &mut out);
                put_varint(*v, &mut out);
            }
            Self::Closed { incarnation } => {
                out.push(CLOSED);
                out.extend(incarnation.0.to_le_bytes());
            }
        }
        out
    }

    /// From its bytes. What a later version has added at the end is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let kind = reader.byte()?;
        let incarnation = Incarnation(reader.fixed_u64()?);
        match kind {
            ALIVE => Ok(Self::Alive { incarnation, count: reader.varint()?, v: reader.varint()? }),
            CLOSED => Ok(Self::Closed { incarnation }),
            other => Err(LinkError::Kind(other)),
        }
    }
}

const VERSION: u8 = 1;
const ALIVE: u8 = 1;
const CLOSED: u8 = 2;
