//! The names of the protocol in formats of `serde`: as text that is parsed as a client's is. Nodes use it
//! for what they ask each other on behalf of backends, far from the paths that are hot.

use std::fmt::Display;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::code::ErrorCode;
use crate::ids::{ChannelName, ConnectionId, UserId};
use crate::state::State;
use crate::user::{Info, User};

/// A type whose values are written as text, and read by a constructor that checks it.
macro_rules! as_text {
    ($type:ty, $text:expr, $parse:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let text = $text;
                serializer.collect_str(&text(self))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse = $parse;
                parse(&text).ok_or_else(|| D::Error::custom(NOT_VALID))
            }
        }
    };
}

const NOT_VALID: &str = "the text is not valid for its type";

as_text!(ChannelName, displayed::<ChannelName>, |text: &str| Self::parse(text).ok());
as_text!(UserId, UserId::as_str, |text: &str| Self::parse(text).ok());
as_text!(ConnectionId, ConnectionId::to_string, Self::parse);
as_text!(State, State::as_str, |text: &str| Self::parse(text).ok());
as_text!(Info, Info::as_str, |text: &str| Self::parse(text).ok());
as_text!(ErrorCode, |code: &ErrorCode| code.as_str(), |text: &str| {
    Self::ALL.into_iter().find(|code| code.as_str() == text)
});

fn displayed<T: Display>(value: &T) -> &T {
    value
}

/// As a pair.
impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.id(), self.info()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, info) = Deserialize::deserialize(deserializer)?;
        Ok(Self::new(id, info))
    }
}
