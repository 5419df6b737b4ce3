//! A home that does not know everything yet: what each node has reported, and what was asked
//! meanwhile. Nothing of it is told before every node has reported.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::link::{
    Attachment, Interest, Position, Presence, RefusedWhy, Report, Reported, Row, Shown, Snap,
};
use herenow_wire::{ChannelName, ConnectionId, State, UserId};

use super::deciding::refused;
use super::gone::{Copies, Left};
use super::held::Held;
use super::own::{self, Seen};
use super::{From, Outgoing};
use crate::change::{Owner, Taken};
use crate::command::{Command, Effect, Peer, RequestId};
use crate::decision::is_up_to;
use crate::shard::{Need, Shard, Sleeping};
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Opening {
    epoch: u64,
    members: BTreeMap<ChannelName, BTreeMap<ConnectionId, Known>>,
    interests: BTreeMap<Peer, Vec<ChannelName>>,
    waiting: Vec<Asked>,
    /// Members that came second: their connections have come back at another node.
    taken: Vec<Taken>,
    /// The nodes that are gone and had reported, and since when.
    gone: Vec<(Owner, Instant)>,
    /// Channels of which a node does not know that they sleep, and so may have another list: they wake.
    asked_for: BTreeSet<ChannelName>,
    reported: u64,
    /// The other nodes that are to report.
    others: BTreeSet<Owner>,
    /// Who has reported, those that are gone since included.
    heard: BTreeSet<Owner>,
    copies: Copies,
    /// A node is gone that has not reported. The others may have thought that it would speak for its members.
    pub(super) is_incomplete: bool,
    pub(super) held: Held,
}

/// A reported member, and its place among those that no home has told of.
#[derive(Debug)]
struct Known {
    owner: Owner,
    place: u64,
    reported: Reported,
}

/// Something that waits for the home to open.
#[derive(Debug)]
struct Asked {
    owner: Owner,
    command: Command,
}

/// What follows from the opening of a home.
pub(super) struct Opened {
    /// What is to be decided now, in the order in which it was asked.
    pub(super) waiting: Vec<Command>,
    pub(super) taken: Vec<Taken>,
}

/// Numbers that a home leaves free in front of a list's rows: a copy that had members which are gone
/// tells of their leaving with these.
const FREE_NUMBERS: u64 = 1 << 10;

impl Opening {
    pub(super) fn new(epoch: u64, others: BTreeSet<Owner>) -> Self {
        Self {
            epoch,
            members: BTreeMap::new(),
            interests: BTreeMap::new(),
            waiting: Vec::new(),
            taken: Vec::new(),
            gone: Vec::new(),
            asked_for: BTreeSet::new(),
            reported: 0,
            others,
            heard: BTreeSet::new(),
            copies: Copies::default(),
            is_incomplete: false,
            held: Held::default(),
        }
    }

    /// Takes in all that a node has. It replaces what the node had said before.
    pub(super) fn report(&mut self, owner: Owner, peer: Option<Peer>, mut report: Report) {
        self.forget(owner, peer);
        self.heard.insert(owner);
        self.copies.take_in(&mut report);
        for channel in report.channels {
            if let Some(peer) = peer
                && channel.interest != Interest::Nothing
            {
                self.interests.entry(peer).or_default().push(channel.name.clone());
            }
            if channel.interest == Interest::Changes && peer.is_some() {
                self.asked_for.insert(channel.name.clone());
            }
            for reported in channel.members {
                self.add(channel.name.clone(), owner, reported);
            }
        }
    }

    fn add(&mut self, channel: ChannelName, owner: Owner, reported: Reported) {
        self.reported += 1;
        let known = Known { owner, place: self.reported, reported };
        if let Some(seen) = known.reported.seen {
            // Epochs must grow, also where the bucket with the view has gone back.
            self.epoch = self.epoch.max(seen.epoch + 1);
        }
        let members = self.members.entry(channel).or_default();
        let connection = known.reported.presence.connection;
        match members.get(&connection) {
            Some(other) if !known.counts_over(other) => self.taken.extend(known.taken()),
            other => {
                self.taken.extend(other.and_then(Known::taken));
                members.insert(connection, known);
            }
        }
    }

    /// The members of nodes that were gone before they could report, as the copies of others show them. They
    /// count as gone since now.
    pub(super) fn take_left(&mut self, now: Instant) {
        let copies = std::mem::take(&mut self.copies);
        let left: Vec<Left> = copies.into_left(&self.heard).collect();
        let owners: BTreeSet<Owner> = left.iter().map(|left| left.owner).collect();
        for Left { channel, owner, reported } in left {
            self.add(channel, owner.lost(), reported);
        }
        self.gone.extend(owners.into_iter().map(|owner| (owner, now)));
    }

    /// Forgets all that a node has said, and what it has asked.
    pub(super) fn forget(&mut self, owner: Owner, peer: Option<Peer>) {
        for members in self.members.values_mut() {
            members.retain(|_, known| known.owner != owner);
        }
        self.members.retain(|_, members| !members.is_empty());
        if let Some(peer) = peer {
            self.interests.remove(&peer);
            self.waiting.retain(|asked| asked.owner != owner);
        }
    }

    /// A node is gone. If it has reported, its members stay for now: whether their channels have a grace is
    /// looked at when the home opens.
    pub(super) fn lose(&mut self, node: From, now: Instant) {
        let owner = node.owner.lost();
        for known in self.members.values_mut().flat_map(BTreeMap::values_mut) {
            if known.owner == node.owner {
                known.owner = owner;
                known.reported.presence.attachment = Attachment::Detached;
            }
        }
        self.gone.push((node.owner, now));
        self.interests.remove(&node.peer);
        self.waiting.retain(|asked| asked.owner != node.owner);
        self.is_incomplete |=
            self.others.contains(&node.owner) && !self.heard.contains(&node.owner);
    }

    /// Forgets the members of nodes that have gone, but for those whose grace runs at `now`: `until` tells
    /// when that of a channel ends if it began at a time. Gives the nodes, and since when they are gone.
    pub(super) fn take_gone(
        &mut self,
        until: impl Fn(&ChannelName, Instant) -> Instant,
        now: Instant,
    ) -> Vec<(Owner, Instant)> {
        let gone = std::mem::take(&mut self.gone);
        for (name, members) in &mut self.members {
            members.retain(|_, known| {
                let lost = gone.iter().find(|(owner, _)| owner.lost() == known.owner);
                lost.is_none_or(|(_, gone_at)| until(name, *gone_at) > now)
            });
        }
        self.members.retain(|_, members| !members.is_empty());
        gone
    }

    /// Something is asked that is decided when the home opens.
    pub(super) fn wait(&mut self, owner: Owner, command: Command) {
        self.waiting.push(Asked { owner, command });
    }

    /// What a connection of this node shows, or wants to.
    pub(super) fn latest(
        &self,
        me: Owner,
        channel: &ChannelName,
        connection: ConnectionId,
    ) -> Option<&State> {
        for asked in self.waiting.iter().rev().filter(|asked| asked.owner == me) {
            match &asked.command {
                Command::Put { channel: of, put, .. } | Command::Keep { channel: of, put, .. }
                    if of == channel && put.connection == connection =>
                {
                    return Some(&put.state);
                }
                Command::Restate { channel: of, connection: whose, state, .. }
                    if of == channel && *whose == connection =>
                {
                    return Some(state);
                }
                Command::Remove { channel: of, connection: whose, .. }
                    if of == channel && *whose == connection =>
                {
                    return None;
                }
                _ => {}
            }
        }
        let known = self.members.get(channel)?.get(&connection)?;
        match &known.reported.shown {
            Shown::State(state) if known.owner == me => Some(state),
            Shown::State(_) | Shown::Sleeping => None,
        }
    }

    /// Which of the sockets that have had its id shows what a connection of this node shows, or wants to.
    pub(super) fn generation_of(
        &self,
        me: Owner,
        channel: &ChannelName,
        connection: ConnectionId,
    ) -> Option<u32> {
        let mut newest_first = self.waiting.iter().rev().filter(|asked| asked.owner == me);
        let asked = newest_first.find_map(|asked| match &asked.command {
            Command::Put { channel: of, put, .. } | Command::Keep { channel: of, put, .. }
                if of == channel && put.connection == connection =>
            {
                Some(put.generation)
            }
            _ => None,
        });
        let known = || self.members.get(channel)?.get(&connection).filter(|one| one.owner == me);
        asked.or_else(|| known().map(|known| known.reported.presence.generation))
    }

    /// Whether a put of a loop of this node waits in a channel.
    pub(super) fn has_put(&self, channel: &ChannelName, peer: Peer) -> bool {
        self.waiting.iter().any(|asked| match &asked.command {
            Command::Put { channel: of, asker, .. } => of == channel && asker.peer == peer,
            _ => false,
        })
    }

    pub(super) fn interest(&mut self, peer: Peer, channel: ChannelName, interest: Interest) {
        let of = self.interests.entry(peer).or_default();
        of.retain(|known| *known != channel);
        if interest != Interest::Nothing {
            self.asked_for.insert(channel.clone());
            of.push(channel);
        }
    }

    /// The members that no home has told of, those that only wait to be put included.
    pub(super) fn unannounced(&self) -> Vec<(ChannelName, ConnectionId)> {
        let reported = self.members.iter().flat_map(|(name, members)| {
            let unannounced = members.iter().filter(|(_, known)| !known.is_told());
            unannounced.map(move |(connection, _)| (name, *connection))
        });
        let is_told = |name, connection| {
            let known = self.members.get(name).and_then(|members| members.get(connection));
            known.is_some_and(Known::is_told)
        };
        let waiting = self.waiting.iter().filter_map(|asked| match &asked.command {
            Command::Put { channel, put, .. } | Command::Keep { channel, put, .. } => {
                (!is_told(channel, &put.connection)).then_some((channel, put.connection))
            }
            _ => None,
        });
        reported.chain(waiting).map(|(name, connection)| (name.clone(), connection)).collect()
    }

    /// Puts the lists together.
    pub(super) fn open(mut self, shard: &mut Shard, now: Instant, out: &mut Vec<Effect>) -> Opened {
        shard.begin_term(self.epoch);
        let mut names = shard.names();
        names.extend(self.members.keys().cloned());
        names.sort_unstable();
        names.dedup();
        let mut seq = 0;
        let mut woken = Vec::new();
        for name in names {
            seq += FREE_NUMBERS;
            let mut members: Vec<Known> =
                self.members.remove(&name).unwrap_or_default().into_values().collect();
            let sleeping = members.iter().filter(|known| known.is_sleeping()).count();
            if sleeping > 0 {
                // Where some show something, it was about to fall asleep or to wake.
                let is_mixed = sleeping < members.len();
                let trackers = members.iter().map(|known| (known.connection(), known.owner));
                let users: BTreeSet<_> = members.iter().map(Known::user).collect();
                let (name, users) = (&name, users.len());
                let position = Position { epoch: self.epoch, seq };
                let sleeping = Sleeping { name, trackers: trackers.collect(), users, position };
                let need = shard.adopt_asleep(sleeping, now);
                if is_mixed || need == Need::List || self.asked_for.contains(name) {
                    woken.push(name.clone());
                }
                continue;
            }
            members.sort_by_key(Known::order);
            let rows = members.into_iter().filter_map(|known| {
                seq += 1;
                known.into_row(seq)
            });
            let rows = rows.collect();
            let position = Position { epoch: self.epoch, seq };
            shard.adopt(Snap { channel: name, position, rows }, now, out);
        }
        for (peer, channels) in self.interests {
            for channel in channels {
                if shard.is_asleep(&channel) {
                    shard.note_node(&channel, peer);
                    continue;
                }
                let request_id = RequestId(0);
                shard.handle(Command::Subscribe { channel, peer, request_id }, now, out);
            }
        }
        for channel in woken {
            shard.wake_to_look(&channel, now, out);
        }
        let waiting = self.waiting.into_iter().map(|asked| asked.command).collect();
        Opened { waiting, taken: self.taken }
    }

    /// For the puts of other nodes that wait, if they are not decided here: another home decides them.
    pub(super) fn refusals(&self) -> Vec<Outgoing> {
        let puts = self.waiting.iter().filter_map(|asked| match &asked.command {
            Command::Put { channel, asker, .. } if asker.peer.as_node().is_some() => {
                Some(refused(asker, channel.clone(), RefusedWhy::NotHome))
            }
            _ => None,
        });
        puts.collect()
    }

    /// What the connections of this node show, and what they have asked.
    pub(super) fn of_this_node(self, me: Owner) -> (Vec<Seen>, Vec<Command>) {
        let mut mine = Vec::new();
        for (name, members) in self.members {
            for known in members.into_values().filter(|known| known.owner == me) {
                let position = known.reported.seen;
                let attachment = known.reported.presence.attachment;
                if let Some(row) = known.into_row(0) {
                    let (channel, put) = (name.clone(), own::put_of(crate::channel::member(row)));
                    mine.push(Seen { channel, put, attachment, position });
                }
            }
        }
        let asked = self.waiting.into_iter().filter(|asked| asked.owner == me);
        (mine, asked.map(|asked| asked.command).collect())
    }
}

impl Known {
    /// Of two members of one connection that of the later socket counts, and of two equal ones that
    /// whose node is not gone, then that which a home has told of.
    fn counts_over(&self, other: &Self) -> bool {
        let generation = |known: &Self| known.reported.presence.generation;
        if generation(self) == generation(other) {
            let rank = |known: &Self| (!known.owner.is_lost(), known.reported.seen);
            return rank(self) > rank(other);
        }
        is_up_to(generation(other), generation(self))
    }

    /// That its node has lost it, if that is there to hear of it.
    fn taken(&self) -> Option<Taken> {
        let Presence { connection, generation, .. } = self.reported.presence;
        (!self.owner.is_lost()).then_some(Taken { by: self.owner, connection, generation })
    }

    fn connection(&self) -> ConnectionId {
        self.reported.presence.connection
    }

    fn user(&self) -> &UserId {
        self.reported.presence.user.id()
    }

    /// Whether a home has told of it. A channel that fell asleep was told whole.
    fn is_told(&self) -> bool {
        self.reported.seen.is_some() || self.is_sleeping()
    }

    fn is_sleeping(&self) -> bool {
        self.reported.shown == Shown::Sleeping
    }

    /// By the order of the home before; those that it has not told of come last.
    fn order(&self) -> (bool, Option<Position>, u64) {
        (self.reported.seen.is_none(), self.reported.seen, self.place)
    }

    fn into_row(self, seq: u64) -> Option<Row> {
        let Reported { presence, shown, .. } = self.reported;
        match shown {
            Shown::State(state) => Some(Row { presence, owner: self.owner.id(), state, seq }),
            Shown::Sleeping => None,
        }
    }
}
