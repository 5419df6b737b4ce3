//! A stand-in for the connections of one node: each shows something in channels, and waits for answers.

use std::collections::BTreeMap;

use herenow_core::{Asker, Command, Expire, Owner, Put, PutResult, RequestId, is_up_to};
use herenow_wire::{
    ChannelName, ConnectionId, DefaultChannel, LeaveReason, Ref, State, UserId, decode,
};

use crate::channels::{channels, max_members};
use crate::hub::LOOP;

#[derive(Default)]
pub struct Sessions {
    pub connections: BTreeMap<ConnectionId, Connection>,
    /// Puts that wait for an answer, by the number that comes back with it.
    pub pending: BTreeMap<u32, (ConnectionId, ChannelName, State)>,
    requests: u32,
    pub answered: u64,
    pub refused: u64,
    pub superseded: u64,
    pub taken: u64,
}

/// A connection of this node.
#[derive(Debug, Default)]
pub struct Connection {
    pub generation: u32,
    /// What it shows, as far as it was answered.
    pub mine: BTreeMap<ChannelName, State>,
    /// Another node has it.
    pub is_lost: bool,
}

/// The replica says who vouches for the connections here.
const OWNER: Owner = Owner(0);

impl Sessions {
    /// A connection comes, with the generation that its token says.
    pub fn connect(&mut self, connection: ConnectionId, generation: u32) -> Vec<Command> {
        let before = self.connections.get(&connection).map(|before| before.generation);
        let ended = before.map_or_else(Vec::new, |before| self.end(connection, before));
        let (mine, is_lost) = (BTreeMap::new(), false);
        self.connections.insert(connection, Connection { generation, mine, is_lost });
        ended
    }

    /// A connection has lost its socket, and may come back.
    pub fn detach(&mut self, connection: ConnectionId, generation: u32) -> Vec<Command> {
        let known = self.connections.get(&connection);
        let known = known.filter(|known| known.generation == generation);
        let channels = known.into_iter().flat_map(|known| known.mine.keys().cloned());
        let owner = OWNER;
        let detach = |channel| Command::Detach { channel, connection, owner, generation };
        channels.map(detach).collect()
    }

    /// A connection has ended, and shows nothing any more.
    pub fn end(&mut self, connection: ConnectionId, generation: u32) -> Vec<Command> {
        if self.connections.get(&connection).is_none_or(|known| known.generation != generation) {
            return Vec::new();
        }
        self.pending.retain(|_, (of, _, _)| *of != connection);
        self.connections.remove(&connection);
        let removed = channels().iter().map(|channel| {
            let (channel, reason) = (channel.clone(), LeaveReason::Disconnect);
            Command::Remove { channel, connection, owner: OWNER, generation, reason }
        });
        removed.collect()
    }

    /// A connection shows something, wants to, or shows it no more.
    pub fn track(
        &mut self,
        (connection, channel): (ConnectionId, &ChannelName),
        state: Option<State>,
    ) -> Option<Command> {
        let channel = channel.clone();
        let known = self.connections.get_mut(&connection)?;
        let is_its =
            |(of, at, _): &(ConnectionId, ChannelName, State)| (of, at) == (&connection, &channel);
        let waits = self.pending.values().any(is_its);
        let owner = OWNER;
        let Some(state) = state else {
            let had = known.mine.remove(&channel).is_some() || waits;
            self.pending.retain(|_, pending| !is_its(pending));
            let (generation, reason) = (known.generation, LeaveReason::Leave);
            let remove = Command::Remove { channel, connection, owner, generation, reason };
            return had.then_some(remove);
        };
        // A client waits for the answer to its last.
        if waits {
            return None;
        }
        self.requests += 1;
        let pending = (connection, channel.clone(), state.clone());
        self.pending.insert(self.requests, pending);
        let user = UserId::parse("user").expect("a valid id").into();
        let generation = known.generation;
        let put = Put { connection, owner, generation, user, state };
        let asker = Asker { peer: LOOP, slot: self.requests, connection, generation };
        let (reference, max_members) = (Some(reference()), max_members(&channel));
        Some(Command::Put { channel, put, expire: Expire::Never, max_members, asker, reference })
    }

    /// The number of a request for a snapshot.
    pub fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// A loop was told by another node that it has a connection.
    pub fn take(&mut self, connection: ConnectionId, generation: u32) {
        self.taken += 1;
        self.lose(connection, generation);
    }

    /// A connection has come back at another node. Its session here is over; what it shows in other
    /// channels goes when its grace has ended, unless that node has it by then.
    pub fn lose(&mut self, connection: ConnectionId, generation: u32) {
        if let Some(known) = self.connections.get_mut(&connection)
            && is_up_to(known.generation, generation)
        {
            known.is_lost = true;
            self.pending.retain(|_, (of, _, _)| *of != connection);
        }
    }

    pub fn answer(&mut self, request: u32, result: PutResult) {
        let Some((connection, channel, state)) = self.pending.remove(&request) else { return };
        self.answered += 1;
        match result {
            PutResult::Done => {
                let known = self.connections.get_mut(&connection).expect("it waits for answers");
                known.mine.insert(channel, state);
            }
            PutResult::Full => self.refused += 1,
            PutResult::Superseded => {
                self.superseded += 1;
                let generation = self.connections.get(&connection).map(|known| known.generation);
                self.lose(connection, generation.unwrap_or(0));
            }
        }
    }
}

/// Any.
fn reference() -> Ref {
    let mut out = Vec::new();
    decode(r#"{"type":"ping","ref":"r"}"#, &DefaultChannel::None, &mut out);
    out.remove(0).expect("a good ping").reference.expect("it carries a ref")
}
