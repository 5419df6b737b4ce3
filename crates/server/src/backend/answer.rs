//! What one node of a cluster answers another, as bytes. JSON: it is asked for by people and backends,
//! far from the paths that are hot, and may gain fields. Ids and states are checked by the constructors
//! that clients' frames go through.

use herenow_core::Instant;
use herenow_hub::{ListedMember, Request, Response};
use serde::{Deserialize, Serialize};

/// What a node has answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The clock that all moments of the responses are on.
    pub(super) clock: Clock,
    pub(super) outcome: Outcome,
}

/// The clock of the loops of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clock {
    /// When it was zero, by the wall clock of its node.
    pub(super) started_at_unix_ms: u64,
    /// What it shows as the node answers.
    pub(super) now: Instant,
}

/// What has become of a request.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// Each loop that was asked has answered.
    Done(Vec<Response>),
    /// The node is not the home of a channel of the request, or must not speak for the cluster now.
    /// Nothing was done.
    NotHome,
    /// A loop was too busy. Some may have answered.
    Busy,
    /// The answer is larger than nodes send each other.
    TooLarge,
}

/// A member, and since when it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatedMember {
    pub(crate) member: ListedMember,
    /// In milliseconds since 1970.
    pub(crate) since_unix_ms: u64,
}

impl Clock {
    /// A member that stands in a response of this node.
    pub(super) fn dated(self, member: ListedMember) -> DatedMember {
        let since_ms = member.since.instant().as_millis();
        DatedMember { member, since_unix_ms: self.started_at_unix_ms.saturating_add(since_ms) }
    }
}

/// The bytes of a request.
pub(super) fn encode_request(request: &Request) -> Vec<u8> {
    serde_json::to_vec(request).expect("it has no keys but texts")
}

/// `None` if they are no request.
pub(super) fn decode_request(bytes: &[u8]) -> Option<Request> {
    serde_json::from_slice(bytes).ok()
}

impl Answer {
    /// Its bytes, at most `max_bytes`.
    pub(super) fn encode(&self, max_bytes: usize) -> Vec<u8> {
        let bytes = serde_json::to_vec(self).expect("it has no keys but texts");
        if bytes.len() <= max_bytes {
            return bytes;
        }
        let too_large = Self { clock: self.clock, outcome: Outcome::TooLarge };
        serde_json::to_vec(&too_large).expect("it has no keys but texts")
    }

    /// `None` if they are no answer.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests;
