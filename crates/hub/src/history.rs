//! Why a user is, or is not, in a channel: what a hub remembers of what has happened, for backends
//! that ask. Only a server that lets backends in has a history; without one, a hub keeps nothing of
//! this and pays one comparison where something could be recorded.
//!
//! The memory has two halves, since what happens is known in two places:
//!
//! - **The hub of a connection** knows its socket: where it came from, when it authenticated and
//!   with which key, what was heard last, how it ended, and which requests were refused. While the
//!   socket is open that is one row of `lives`, at most 64 bytes. Its end and refusals become records
//!   of the user (`of_users`), and refused tokens records of the user that they name (`named`),
//!   apart, since anybody can name anybody.
//! - **The home of a channel** knows the list. A member that is in it needs no record. When one
//!   leaves, the hub of its connection sends the reason ahead of the command ([`Mail::Left`]), and
//!   the home records it with what the list says (`left`).
//!
//! Records are kept for ten minutes, at most 64 of a channel and of a user, and a bounded number and
//! amount of memory in all. Those that give way before their time are told by how far the records
//! reach back. A question is put to all hubs, as one of [`ReadRequest`], and each answers with what
//! it knows. Nothing here holds a state or a token.
//!
//! [`Mail::Left`]: crate::Mail
//! [`ReadRequest`]: crate::ReadRequest

mod explain;
mod facts;
mod kinds;
mod leaving;
mod lives;
mod moving;
mod noting;
mod records;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::{ChannelName, CloseCode, ConnectionId, UserId};

pub(crate) use self::explain::Found;
pub use self::facts::{
    Address, Cause, GaveWayTo, Life, Lost, MAX_EXPLAINED, MemberFacts, Origin, Past, PastMember,
    PresentConnection, PresentMember, RefusedRequest, RefusedToken, RuleOutcome, Said, SocketEnd,
    TokenFacts, UserEvent, UserFacts,
};
pub(crate) use self::leaving::Occasion;
use self::lives::Lives;
pub use self::records::RECORDS_KEPT_FOR;
use self::records::{Bounds, Records};
use crate::hub::Config;

/// See the module.
#[derive(Debug)]
pub(crate) struct History {
    lives: Lives,
    /// The last sockets of the sessions that have none.
    lost: BTreeMap<ConnectionId, (UserId, Life, Lost)>,
    /// Members that have left channels of this hub's shards.
    left: Records<ChannelName, PastMember>,
    /// Ends and refusals of this hub's connections.
    of_users: Records<UserId, UserEvent>,
    /// Refused tokens, by the user that they name without proof.
    named: Records<UserId, RefusedToken>,
    /// Whose session it is, if it has no socket.
    detached_user: Option<UserId>,
    /// What the session is told whose effects are being carried out.
    occasion: Occasion,
    /// With which code the session closes whose effects are being carried out.
    closing: Option<CloseCode>,
    /// What the rule has said whose answer is being carried out, and of which channel.
    ruling: Option<(ChannelName, RuleOutcome)>,
    /// What is known of the token whose result is being carried out, and whose it is if it is good.
    token: Option<(Box<TokenFacts>, Option<UserId>)>,
    /// The last pause of the process, which leases are extended by: when it ended, and how long.
    paused: Option<(Instant, Duration)>,
    never_authenticated: u64,
    /// Leaves that subscribers were told of and of which the cause was recorded, since the start.
    noted_leaves: u64,
}

/// What may be remembered, in all hubs of a process together.
const MAX_RECORDS: usize = 100_000;
/// The memory that records may use, in all hubs together, in bytes.
const MAX_BYTES: usize = 48 * 1024 * 1024;

/// How records and their memory are divided, in parts of 16.
const PARTS: usize = 16;
const PARTS_OF_LEFT: usize = 9;
const PARTS_OF_USERS: usize = 6;
const PARTS_OF_NAMED: usize = 1;

impl History {
    /// A hub's part of the bounds.
    pub(crate) fn new(config: &Config) -> Self {
        let shares = PARTS * usize::from(config.hubs).max(1);
        let part = |parts: usize| Bounds {
            records: MAX_RECORDS * parts / shares,
            bytes: MAX_BYTES * parts / shares,
        };
        Self {
            lives: Lives::default(),
            lost: BTreeMap::new(),
            left: Records::new(part(PARTS_OF_LEFT)),
            of_users: Records::new(part(PARTS_OF_USERS)),
            named: Records::new(part(PARTS_OF_NAMED)),
            detached_user: None,
            occasion: Occasion::default(),
            closing: None,
            ruling: None,
            token: None,
            paused: None,
            never_authenticated: 0,
            noted_leaves: 0,
        }
    }

    /// Sockets that are open, sessions that have lost theirs, and texts.
    pub(crate) fn open(&self) -> usize {
        self.lives.len() + self.lost.len() + self.lives.texts()
    }

    /// The first session without a socket after this one.
    fn lost_after(
        &self,
        after: Option<ConnectionId>,
    ) -> Option<(&ConnectionId, &(UserId, Life, Lost))> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.lost.range((from, Bound::Unbounded)).next()
    }

    /// Records of what is over.
    pub(crate) fn records(&self) -> usize {
        self.left.len() + self.of_users.len() + self.named.len()
    }

    pub(crate) fn noted_leaves(&self) -> u64 {
        self.noted_leaves
    }

    pub(crate) fn forget_old(&mut self, now: Instant) {
        self.left.forget_old(now);
        self.of_users.forget_old(now);
        self.named.forget_old(now);
    }
}
