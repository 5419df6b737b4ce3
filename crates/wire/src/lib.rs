//! What bytes mean: the names, numbers and shapes of the protocol, and nothing of what they cause.
//!
//! Pure: no socket, no clock, no async. Everything that leaves this crate has been checked, and
//! its type says so.

mod as_text;
mod canonical;
mod code;
pub mod encode;
mod expire;
pub mod frame;
mod ids;
mod json;
pub mod link;
mod message;
mod state;
mod text;
mod user;

pub use code::{CloseCode, ErrorCode, LeaveReason};
pub use expire::{ExpiringField, ExpiringFields, FieldName};
pub use ids::{ChannelError, ChannelName, ConnectionId, Ref, SHARDS, UserId, UserIdError};
pub use json::JsonError;
pub use message::{ClientMessage, DefaultChannel, Incoming, Mode, Refusal, decode};
pub use state::{MAX_STATE_BYTES, State, StateError};
pub use user::{Info, InfoError, User};
