//! A JSON object whose members are looked up by name.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use crate::strict_json::Strict;

/// The members of the object.
pub(super) struct Object(pub(super) BTreeMap<String, Value>);

impl Object {
    /// The text under `key`; `None` where there is none, or something else.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Strict::deserialize(from)?.0 {
            Value::Object(members) => Ok(Self(members.into_iter().collect())),
            _ => Err(D::Error::custom("it is no object")),
        }
    }
}
