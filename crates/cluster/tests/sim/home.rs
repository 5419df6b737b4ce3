//! A stand-in for a shard at its home: the members of its channels, and the nodes that are told.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::link::{
    Change, Incarnation, Interest, Item, Op, Position, Put, Refused, RefusedWhy, Report, Row,
    Shown, Snap,
};
use herenow_wire::{ChannelName, ConnectionId, LeaveReason};

/// Items with their receivers.
pub type Mail = Vec<(Incarnation, Item)>;

#[derive(Debug)]
pub struct Home {
    pub epoch: u64,
    pub is_open: bool,
    seq: u64,
    pub channels: BTreeMap<ChannelName, Channel>,
}

#[derive(Debug, Default)]
pub struct Channel {
    seq: u64,
    pub rows: BTreeMap<ConnectionId, (Incarnation, Row)>,
    pub interested: BTreeSet<Incarnation>,
}

/// States that begin so are refused: a stand-in for a full channel.
pub const REFUSED: &str = r#"{"refused":"#;

impl Home {
    pub fn new(epoch: u64) -> Self {
        Self { epoch, is_open: false, seq: 0, channels: BTreeMap::new() }
    }

    /// Every node has reported.
    pub fn open(&mut self) -> Mail {
        self.is_open = true;
        let all: Vec<ChannelName> = self.channels.keys().cloned().collect();
        all.iter().flat_map(|channel| self.snaps(channel)).collect()
    }

    pub fn report(&mut self, owner: Incarnation, report: &Report) -> Mail {
        let mut mail = Mail::new();
        for name in super::channels::channels_of(report.shard) {
            let reported = report.channels.iter().find(|channel| channel.name == *name);
            let before = self.channels.get(name).map(|channel| channel.digest());
            let channel = self.channels.entry(name.clone()).or_default();
            channel.rows.retain(|_, (of, _)| *of != owner);
            channel.interested.remove(&owner);
            for member in reported.iter().flat_map(|channel| &channel.members) {
                let Shown::State(state) = &member.shown else { panic!("nothing sleeps here") };
                self.seq += 1;
                let (presence, state, seq) = (member.presence.clone(), state.clone(), self.seq);
                let row = Row { presence, owner: 0, state, seq };
                channel.rows.insert(member.presence.connection, (owner, row));
            }
            if reported.is_some_and(|channel| channel.interest == Interest::Changes) {
                channel.interested.insert(owner);
            }
            if before != Some(channel.digest()) {
                self.seq += 1;
                channel.seq = self.seq;
                mail.extend(self.snaps(name));
            } else if self.is_open && channel.interested.contains(&owner) {
                mail.push((owner, self.snap(name)));
            }
        }
        mail
    }

    pub fn put(&mut self, owner: Incarnation, put: Put) -> Mail {
        let connection = put.presence.connection;
        if put.state.as_str().starts_with(REFUSED) {
            let why = RefusedWhy::Full;
            let (channel, generation) = (put.channel, put.presence.generation);
            let ticket = put.ticket;
            let refused = Refused { channel, connection, generation, ticket, why };
            return vec![(owner, Item::Refused(refused))];
        }
        self.seq += 1;
        let row = Row { presence: put.presence, owner: 0, state: put.state, seq: self.seq };
        self.change(&put.channel, Op::Put(row.clone()), |channel| {
            channel.rows.insert(connection, (owner, row));
        })
    }

    pub fn remove(
        &mut self,
        channel: &ChannelName,
        connection: ConnectionId,
        owner: Incarnation,
    ) -> Mail {
        let is_there = |of: &Channel| of.rows.get(&connection).is_some_and(|(of, _)| *of == owner);
        if !self.channels.get(channel).is_some_and(is_there) {
            return Mail::new();
        }
        self.seq += 1;
        let op = Op::Remove { connection, reason: LeaveReason::Leave, seq: self.seq };
        self.change(channel, op, |channel| {
            channel.rows.remove(&connection);
        })
    }

    pub fn interest(
        &mut self,
        channel: &ChannelName,
        node: Incarnation,
        interest: Interest,
    ) -> Mail {
        let of = self.channels.entry(channel.clone()).or_default();
        match interest {
            Interest::Nothing => {
                of.interested.remove(&node);
                Mail::new()
            }
            Interest::Changes => {
                of.interested.insert(node);
                let snap = self.snap(channel);
                if self.is_open { vec![(node, snap)] } else { Mail::new() }
            }
        }
    }

    /// A node has left the view.
    pub fn gone(&mut self, node: Incarnation) -> Mail {
        let mut mail = Mail::new();
        let all: Vec<ChannelName> = self.channels.keys().cloned().collect();
        for name in all {
            let channel = self.channels.get_mut(&name).expect("it was listed");
            channel.interested.remove(&node);
            let rows = channel.rows.iter().filter(|(_, (of, _))| *of == node);
            let gone: Vec<ConnectionId> = rows.map(|(id, _)| *id).collect();
            for connection in gone {
                mail.extend(self.remove(&name, connection, node));
            }
        }
        mail
    }

    pub fn snap(&self, channel: &ChannelName) -> Item {
        let of = &self.channels[channel];
        let position = Position { epoch: self.epoch, seq: of.seq };
        let rows = of.rows.values().map(|(_, row)| row.clone()).collect();
        Item::Snap(Snap { channel: channel.clone(), position, rows })
    }

    fn snaps(&self, channel: &ChannelName) -> Mail {
        if !self.is_open {
            return Mail::new();
        }
        let interested = &self.channels[channel].interested;
        interested.iter().map(|node| (*node, self.snap(channel))).collect()
    }

    fn change(&mut self, name: &ChannelName, op: Op, apply: impl FnOnce(&mut Channel)) -> Mail {
        let channel = self.channels.entry(name.clone()).or_default();
        let prev = std::mem::replace(&mut channel.seq, self.seq);
        apply(channel);
        if !self.is_open {
            return Mail::new();
        }
        let position = Position { epoch: self.epoch, seq: self.seq };
        let change = Change { channel: name.clone(), prev, position, ops: vec![op] };
        channel.interested.iter().map(|node| (*node, Item::Change(change.clone()))).collect()
    }
}

impl Channel {
    fn digest(&self) -> Vec<(ConnectionId, String)> {
        let rows = self.rows.iter();
        rows.map(|(id, (_, row))| (*id, row.state.as_str().to_owned())).collect()
    }
}
