//! What happens: every rule of presence, as pure functions of input and time.
//!
//! No socket, no clock, no lock, no async, no randomness of its own. A [`Session`] speaks for one
//! connection, a [`Shard`] for the channels whose names hash to it; each is told things and the
//! time, and answers with effects for the shell to carry out.

mod audience;
mod auth;
mod by_user;
mod change;
mod channel;
mod collecting;
mod command;
mod decision;
mod hash;
mod kicks;
mod lease;
mod leaves;
mod node_mail;
mod oldest_first;
mod pace;
mod patterns;
mod policy;
mod rate;
mod replica;
mod session;
mod shard;
mod since;
mod snapshot_requests;
mod time;

pub use audience::{Audience, Counting, Part, Phase, Subscriber};
pub use auth::Auth;
pub use by_user::{INDEXED_FROM, UserIndex};
pub use change::{Change, Member, Op, Owner, Snapshot, Taken};
pub use channel::{Channel, ListPosition};
pub use collecting::COLLECT_FOR;
pub use command::{
    Asker, Command, Effect, Expire, Flush, Peer, PutResult, Receiver, RequestId, SnapshotFor,
};
pub use decision::{Decision, Put, is_up_to};
pub use kicks::{Kicks, Target, TooManyKicks};
pub use lease::{Due, Heard, Leases, SCAN_EVERY};
pub use leaves::LeaveCounts;
pub use node_mail::{NodeEvent, NodeMail, Owed, Term};
pub use oldest_first::OldestFirst;
pub use pace::Pace;
pub use patterns::{Pattern, Patterns, Unmatched};
pub use policy::{Announces, ChannelSettings, CurrentPolicy, Overrides, Policy, Row};
pub use rate::{ABUSE_FACTOR, ABUSE_SECONDS, RateLimit, VERIFICATION_BURST};
pub use replica::{From, Outgoing, Replica, Showing, To};
pub use session::{
    AuthRefusal, Claim, Claimed, Context, Input, Limits, PAGE_GRACE, Place, Question, Right,
    Ruling, Session, SessionEffect, Verification,
};
pub use shard::{Contents, Counted, Shard};
pub use since::Since;
pub use snapshot_requests::{Cause, SnapshotRequests, When};
pub use time::Instant;
