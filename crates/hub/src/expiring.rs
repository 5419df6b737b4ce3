//! Fields of members' states that end by themselves. They are kept on the hub of the channel's shard, so
//! that they end in time whatever becomes of the socket, the page or the hub of the connection.
//!
//! One entry for each member that shows such a field; members without one cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herenow_core::{Command, Expire, Instant, Showing, is_up_to};
use herenow_wire::{ChannelName, ConnectionId, ExpiringFields, FieldName};

use crate::api::Io;
use crate::work::Work;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Expiring {
    members: BTreeMap<(ChannelName, ConnectionId), Fields>,
    /// By the first end of each member's fields.
    by_end: BTreeSet<(Instant, ChannelName, ConnectionId)>,
}

/// The fields of one member.
#[derive(Debug, Default)]
struct Fields {
    /// Which of the sockets that have had the connection's id shows them. Those of another are not ended.
    generation: u32,
    ends: Vec<(FieldName, Instant)>,
}

/// While a list is being rebuilt, nothing of it can be changed: it is looked at again so much later.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Expiring {
    /// When the next field ends.
    #[inline]
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.by_end.first().map_or(Instant::NEVER, |(end, ..)| *end)
    }

    /// How many members show such a field.
    pub(crate) fn len(&self) -> usize {
        debug_assert_eq!(self.members.len(), self.by_end.len(), "each member stands once in both");
        self.members.len()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn get_mut(&mut self, channel: &ChannelName, connection: ConnectionId) -> Option<&mut Fields> {
        self.members.get_mut(&(channel.clone(), connection))
    }

    fn remove(&mut self, channel: &ChannelName, connection: ConnectionId) -> Fields {
        let Some(fields) = self.members.remove(&(channel.clone(), connection)) else {
            return Fields::default();
        };
        self.by_end.remove(&(first_end(&fields.ends), channel.clone(), connection));
        fields
    }

    /// Keeps these in place of what was kept of the member. None is not kept.
    fn set(&mut self, channel: &ChannelName, connection: ConnectionId, fields: Fields) {
        self.remove(channel, connection);
        if !fields.ends.is_empty() {
            self.by_end.insert((first_end(&fields.ends), channel.clone(), connection));
            self.members.insert((channel.clone(), connection), fields);
        }
    }
}

fn first_end(fields: &[(FieldName, Instant)]) -> Instant {
    fields.iter().map(|(_, end)| *end).min().unwrap_or(Instant::NEVER)
}

impl<I: Io> Work<'_, I> {
    /// Notes what a command to a shard of this hub says of fields that end.
    #[inline]
    pub(crate) fn note_expiring(&mut self, command: &mut Command) {
        match command {
            Command::Put { channel, put, expire: Expire::After(fields), .. } => {
                self.set_expiring(channel, (put.connection, put.generation), fields);
            }
            Command::Put { .. } | Command::Remove { .. } if !self.hub.expiring.is_empty() => {
                self.end_expiring(command);
            }
            _ => {}
        }
    }

    fn set_expiring(
        &mut self,
        channel: &ChannelName,
        (connection, generation): (ConnectionId, u32),
        fields: &ExpiringFields,
    ) {
        let end = |ms: u32| self.now + Duration::from_millis(ms.into());
        let fields = fields.fields().iter().map(|field| (field.name.clone(), end(field.after_ms)));
        let fields = Fields { generation, ends: fields.collect() };
        self.hub.expiring.set(channel, connection, fields);
    }

    /// A state without such fields takes the place of one with them, unless it is only said again.
    #[cold]
    fn end_expiring(&mut self, command: &mut Command) {
        match command {
            Command::Put { channel, put, expire: Expire::AsBefore, .. } => {
                if let Some(fields) = self.hub.expiring.get_mut(channel, put.connection)
                    && let Showing::State(state) = self.hub.shards.showing(channel, put.connection)
                {
                    put.state = state.clone();
                    fields.generation = put.generation;
                }
            }
            Command::Put { channel, put, .. } => {
                self.hub.expiring.remove(channel, put.connection);
            }
            Command::Remove { channel, connection, generation, .. } => {
                let fields = self.hub.expiring.get_mut(channel, *connection);
                if fields.is_some_and(|fields| is_up_to(fields.generation, *generation)) {
                    self.hub.expiring.remove(channel, *connection);
                }
            }
            _ => {}
        }
    }

    fn end_later(
        &mut self,
        channel: &ChannelName,
        connection: ConnectionId,
        Fields { generation, ends }: Fields,
    ) {
        let later = self.now + LOOK_AGAIN;
        let ends = ends.into_iter().map(|(name, end)| (name, end.max(later))).collect();
        self.hub.expiring.set(channel, connection, Fields { generation, ends });
    }

    /// Takes the fields out whose time is up.
    pub(crate) fn end_fields(&mut self) {
        while let Some((end, channel, connection)) = self.hub.expiring.by_end.first().cloned()
            && end <= self.now
        {
            let Fields { generation, ends } = self.hub.expiring.remove(&channel, connection);
            match self.hub.shards.showing(&channel, connection) {
                Showing::State(_)
                    if self.hub.shards.generation_of(&channel, connection) != Some(generation) => {}
                Showing::State(state) => {
                    let (over, left): (Vec<_>, Vec<_>) =
                        ends.into_iter().partition(|(_, end)| *end <= self.now);
                    let state = over.iter().fold(state.clone(), |state, (name, _)| {
                        state.without(name).unwrap_or(state)
                    });
                    self.hub.expiring.set(&channel, connection, Fields { generation, ends: left });
                    let command = Command::Restate { channel, connection, generation, state };
                    self.hub.shards.handle(command, self.now, &mut self.hub.shard_effects);
                    self.apply_shard_effects();
                }
                Showing::Unknown => {
                    self.end_later(&channel, connection, Fields { generation, ends });
                }
                Showing::Asleep => {
                    // Subscribers still see the field.
                    self.end_later(&channel, connection, Fields { generation, ends });
                    self.hub.shards.wake_to_look(&channel, self.now, &mut self.hub.shard_effects);
                    self.apply_shard_effects();
                }
                Showing::Nothing => {}
            }
        }
    }
}
