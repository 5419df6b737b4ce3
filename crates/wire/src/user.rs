//! A user as others see it: its id, and what the token's issuer vouches for.
//!
//! Knows how long the information may be and that it is an object; knows nothing of what is in it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::ids::UserId;
use crate::json::Reader;
use crate::state::compact_object;

/// A user and the information of its token, if the token has any. As large as a [`UserId`] alone,
/// so that a member without information costs nothing more. A clone is a reference.
///
/// It reads like its id. Two are equal if the id and the information are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User(Repr);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Repr {
    Plain(UserId),
    Informed(Arc<Informed>),
}

#[derive(PartialEq, Eq, Debug)]
struct Informed {
    id: UserId,
    info: Info,
}

/// The claim `presence.info` of a token: a JSON object in the server's own compact form, at most
/// [`Info::MAX_BYTES`] long. A clone is a reference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info(Arc<str>);

/// A JSON value is no [`Info`]: it is no object, or its compact form has too many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InfoError;

impl User {
    /// A user with this information.
    pub fn new(id: UserId, info: Option<Info>) -> Self {
        match info {
            Some(info) => Self(Repr::Informed(Arc::new(Informed { id, info }))),
            None => id.into(),
        }
    }

    /// The `sub` of its token.
    #[inline]
    pub fn id(&self) -> &UserId {
        match &self.0 {
            Repr::Plain(id) => id,
            Repr::Informed(informed) => &informed.id,
        }
    }

    /// What its token says of it, for others to see.
    #[inline]
    pub fn info(&self) -> Option<&Info> {
        match &self.0 {
            Repr::Plain(_) => None,
            Repr::Informed(informed) => Some(&informed.info),
        }
    }
}

impl From<UserId> for User {
    fn from(id: UserId) -> Self {
        Self(Repr::Plain(id))
    }
}

impl Deref for User {
    type Target = UserId;

    #[inline]
    fn deref(&self) -> &UserId {
        self.id()
    }
}

impl Info {
    /// The most bytes that the compact form may have.
    pub const MAX_BYTES: usize = 256;

    /// From any JSON text.
    pub fn parse(json: &str) -> Result<Self, InfoError> {
        let mut reader = Reader::new(json);
        let compact = compact_object(&mut reader).map_err(|_| InfoError)?.ok_or(InfoError)?;
        reader.end().map_err(|_| InfoError)?;
        if compact.len() > Self::MAX_BYTES {
            return Err(InfoError);
        }
        Ok(Self(Arc::from(compact)))
    }

    /// The compact JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it should be a JSON object of at most {} bytes", Info::MAX_BYTES)
    }
}

impl std::error::Error for InfoError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_as_large_as_its_id() {
        assert_eq!(size_of::<User>(), size_of::<UserId>());
    }

    #[test]
    fn information_is_an_object_of_at_most_256_bytes_in_its_compact_form() {
        let longest = format!(r#"{{"name":"{}"}}"#, "j".repeat(Info::MAX_BYTES - 11));
        assert_eq!(Info::parse(&longest).expect("256 bytes").as_str(), longest);
        assert_eq!(Info::parse(r#" { "a" : 1.0 } "#).expect("an object").as_str(), r#"{"a":1}"#);
        let too_long = longest.replace("name", "names");
        for json in ["", "1", r#""jane""#, "[]", "null", "{", "{} x", &too_long] {
            assert_eq!(Info::parse(json), Err(InfoError), "{json}");
        }
    }
}
