//! Whom a backend keeps out, from where, and until when. Held in memory alone and bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herenow_wire::{ChannelName, ConnectionId, UserId};
use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// Who is kept out of a channel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Target {
    /// Every connection of a user.
    User(UserId),
    /// One connection.
    Connection(ConnectionId),
}

impl Target {
    /// Whether a connection, of a user if it has one, is meant.
    pub fn is(&self, connection: ConnectionId, user: Option<&UserId>) -> bool {
        match self {
            Self::User(meant) => user == Some(meant),
            Self::Connection(meant) => connection == *meant,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Kicks {
    until: BTreeMap<Kicked, Instant>,
    by_end: BTreeSet<(Instant, Kicked)>,
}

/// Who is kept out, and from where.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kicked {
    FromChannel(ChannelName, Target),
    FromServer(UserId),
}

/// There is no room for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyKicks;

/// How many may be kept out at once.
const MAX_KICKS: usize = 100_000;

impl Kicks {
    /// Keeps a user or a connection out of a channel. Replaces the time of an earlier kick of it.
    pub fn keep_out_of(
        &mut self,
        channel: ChannelName,
        target: Target,
        (now, time): (Instant, Duration),
    ) -> Result<(), TooManyKicks> {
        self.add(Kicked::FromChannel(channel, target), now, time)
    }

    /// Keeps a user out of the server.
    pub fn keep_out(
        &mut self,
        user: UserId,
        (now, time): (Instant, Duration),
    ) -> Result<(), TooManyKicks> {
        self.add(Kicked::FromServer(user), now, time)
    }

    /// For how long a connection, and its user if it has one, is kept out of a channel.
    pub fn of_channel(
        &self,
        channel: &ChannelName,
        (connection, user): (ConnectionId, Option<&UserId>),
        now: Instant,
    ) -> Option<Duration> {
        if self.until.is_empty() {
            return None;
        }
        let by_connection = Some(Target::Connection(connection));
        let by_user = user.cloned().map(Target::User);
        let targets = by_connection.into_iter().chain(by_user);
        let left = targets
            .filter_map(|target| self.left(&Kicked::FromChannel(channel.clone(), target), now));
        left.max()
    }

    /// For how long a user is kept out of the server.
    pub fn of_server(&self, user: &UserId, now: Instant) -> Option<Duration> {
        if self.until.is_empty() {
            return None;
        }
        self.left(&Kicked::FromServer(user.clone()), now)
    }

    /// Forgets what is over.
    pub fn forget_ended(&mut self, now: Instant) {
        while let Some((until, _)) = self.by_end.first()
            && *until <= now
            && let Some((_, kicked)) = self.by_end.pop_first()
        {
            self.until.remove(&kicked);
        }
    }

    /// How many are kept out.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    fn left(&self, kicked: &Kicked, now: Instant) -> Option<Duration> {
        let until = *self.until.get(kicked)?;
        (now < until).then(|| until.since(now))
    }

    fn add(&mut self, kicked: Kicked, now: Instant, time: Duration) -> Result<(), TooManyKicks> {
        self.forget_ended(now);
        if let Some(until) = self.until.remove(&kicked) {
            self.by_end.remove(&(until, kicked.clone()));
        }
        if time.is_zero() {
            return Ok(());
        }
        if self.until.len() >= MAX_KICKS {
            return Err(TooManyKicks);
        }
        let until = now + time;
        self.by_end.insert((until, kicked.clone()));
        self.until.insert(kicked, until);
        Ok(())
    }
}

/// What a client is told of the time that is left.
pub(crate) fn retry_after_ms(left: Duration) -> u32 {
    u32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
}
