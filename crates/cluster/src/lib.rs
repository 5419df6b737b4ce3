//! What makes many nodes one cluster: which nodes there are, which of them is the home of each shard,
//! and in which order nodes hear of each other's changes.
//!
//! Pure: no socket, no clock, no randomness of its own. [`Node::handle`] takes in what happened and
//! says what to do about it. The code that carries the effects out is the engine: a bucket of keys with a
//! revision each, that can be read and swapped, and subjects that can be published and subscribed
//! to. This crate knows nothing of presence: what the items of a link mean is their owner's to say.

mod api;
mod asking;
mod beat;
mod collect;
mod engine;
mod exchange;
mod hearing;
mod link;
mod membership;
mod node;
mod receiving;
mod sending;
mod terms;
mod value;
mod view;

pub use api::{Contents, Effect, Fact, Input, Now, Outgoing};
pub use asking::{AskError, AskId, GIVE_UP_AFTER, MAX_MESSAGE_BYTES};
pub use engine::{Key, Read, RequestId, Revision, Subject, Swapped};
pub use exchange::{Action, Event, Exchange};
pub use membership::Config;
pub use node::{Counters, Node};
pub use terms::Term;
pub use value::Beat;
pub use view::{Member, Serving, View};

pub use value::NodeName;
