//! What bytes mean: the names, numbers and shapes of the protocol, and nothing of what they cause.
//!
//! Pure: no socket, no clock, no async. Everything that leaves this crate has been checked, and
//! its type says so.

mod ids;

pub use ids::{ChannelError, ChannelName, ConnectionId, Ref, State, UserId};
