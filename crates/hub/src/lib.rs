//! Who is told what, in which bytes, in which order: everything that one loop knows and decides,
//! over byte streams.
//!
//! A [`Hub`] has no socket, clock, thread, file, randomness or cryptography. Bytes, time, ids and
//! results come in through [`Hub::handle`] and [`Hub::turn`]; what is to be done goes out through
//! [`Io`]. The event loop of the server and the simulation drive the same hub.

mod announcements;
mod answers;
mod api;
mod audit;
mod channel_leases;
mod connection;
mod connections;
mod counters;
mod counts;
mod deadline;
mod deliver;
mod detached;
mod detached_users;
mod draining;
mod expiring;
mod fault;
mod frames;
mod held;
mod histogram;
mod history;
mod hub;
mod keyed_members;
mod kicking;
mod mail;
mod nodes;
mod reading;
mod receive;
mod recovery;
mod replies;
mod requests;
mod resume;
mod reviews;
mod send_queue;
mod sessions;
mod shards;
mod snapshots;
mod taken_over;
mod user_answers;
mod work;

pub use announcements::{Announcement, ChangeKind, MemberChange};
pub use answers::LOOKS_PER_TURN;
pub use api::{Asked, Checked, End, Event, Io, Opening, Purpose, Wrote};
pub use audit::{Holdings, Steps};
pub use counters::{Counters, ErrorCounts, Resyncs};
pub use counts::CountMail;
pub use detached_users::Detachment;
pub use fault::{Fault, contain, is_contained};
pub use herenow_core::{
    Announces, Asker, ChannelSettings, LeaveCounts, Overrides, Pattern, Patterns, Policy, Target,
    Unmatched,
};
pub use histogram::Histogram;
pub use history::{
    Address, Cause, GaveWayTo, Life, Lost, MAX_EXPLAINED, MemberFacts, Origin, Past, PastMember,
    PresentConnection, PresentMember, RECORDS_KEPT_FOR, RefusedRequest, RefusedToken, RuleOutcome,
    Said, SocketEnd, TokenFacts, UserEvent, UserFacts,
};
pub use hub::{Config, Hub, Membership, Remembers};
pub use keyed_members::MemberKey;
pub use mail::{Delivery, LostShard, Mail};
pub use reading::READ_BYTES;
pub use requests::{
    ChannelCount, Concerns, ListedMember, MemberPage, PutMember, QueryId, ReadRequest, Request,
    Response, WriteRequest,
};
pub use send_queue::MAX_PARTS;
