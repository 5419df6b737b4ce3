//! Whom a backend keeps out, from where, and until when. Held in memory alone and bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herenow_wire::link::{self, KickTarget};
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

impl From<KickTarget> for Target {
    fn from(target: KickTarget) -> Self {
        match target {
            KickTarget::User(user) => Self::User(user),
            KickTarget::Connection(connection) => Self::Connection(connection),
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

    /// Takes in what another node has in force. Whether it is news: an earlier kick that ends later stays.
    pub fn take_in(&mut self, kick: &link::Kick, now: Instant) -> Result<bool, TooManyKicks> {
        let kicked = match (&kick.channel, Target::from(kick.target.clone())) {
            (Some(channel), target) => Kicked::FromChannel(channel.clone(), target),
            (None, Target::User(user)) => Kicked::FromServer(user),
            (None, Target::Connection(_)) => return Ok(false),
        };
        let time = Duration::from_millis(kick.for_ms);
        let is_news = self.left(&kicked, now).unwrap_or_default() < time;
        if is_news {
            self.add(kicked, now, time)?;
        }
        Ok(is_news)
    }

    /// What is in force, for a node that has joined: at most so many, those that end last.
    pub fn in_force(&self, most: usize, now: Instant) -> Vec<link::Kick> {
        let last = self.by_end.iter().rev().take(most).filter(|(until, _)| *until > now);
        let kick = |(until, kicked): &(Instant, Kicked)| {
            let for_ms = until.since(now).as_millis() as u64;
            let (target, channel) = match kicked {
                Kicked::FromServer(user) => (KickTarget::User(user.clone()), None),
                Kicked::FromChannel(channel, Target::User(user)) => {
                    (KickTarget::User(user.clone()), Some(channel.clone()))
                }
                Kicked::FromChannel(channel, Target::Connection(connection)) => {
                    (KickTarget::Connection(*connection), Some(channel.clone()))
                }
            };
            link::Kick { target, channel, for_ms }
        };
        last.map(kick).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn lobby() -> ChannelName {
        ChannelName::parse("presence:lobby").expect("a valid name")
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a valid id")
    }

    #[test]
    fn what_is_in_force_can_be_told_to_another_node() {
        let connection = ConnectionId::from_bytes([7; 16]);
        let mut kicks = Kicks::default();
        kicks.keep_out(user("jane"), (at(0), 3 * MINUTE)).expect("there is room");
        let targets = [Target::User(user("bob")), Target::Connection(connection)];
        for (target, time) in targets.into_iter().zip([MINUTE, 2 * MINUTE]) {
            kicks.keep_out_of(lobby(), target, (at(0), time)).expect("there is room");
        }
        let mut others = Kicks::default();
        // The clock of the other node shows something else.
        for kick in kicks.in_force(10, at(61)) {
            assert_eq!(others.take_in(&kick, at(1000)), Ok(true));
        }
        assert_eq!(others.len(), 2, "one has ended");
        let seconds = |left: Option<Duration>| left.map(|left| left.as_secs());
        assert_eq!(seconds(others.of_server(&user("jane"), at(1000))), Some(119));
        let of_channel = others.of_channel(&lobby(), (connection, None), at(1000));
        assert_eq!(seconds(of_channel), Some(59));
        assert_eq!(kicks.in_force(1, at(61)).len(), 1);
        assert_eq!(kicks.in_force(1, at(61))[0].channel, None, "those that end last are told");
    }

    #[test]
    fn a_kick_that_another_node_tells_of_ends_none_earlier() {
        let mut kicks = Kicks::default();
        kicks.keep_out(user("jane"), (at(0), MINUTE)).expect("there is room");
        let told =
            |for_ms| link::Kick { target: KickTarget::User(user("jane")), channel: None, for_ms };
        assert_eq!(kicks.take_in(&told(59_000), at(0)), Ok(false));
        assert_eq!(kicks.of_server(&user("jane"), at(0)), Some(MINUTE));
        assert_eq!(kicks.take_in(&told(61_000), at(0)), Ok(true));
        assert_eq!(kicks.of_server(&user("jane"), at(0)), Some(Duration::from_secs(61)));
    }
}
