//! The members whose node and home are gone together. No node may speak for them, but the copies of other
//! nodes still show them: with these the next home gives them the grace of their channel.
//!
//! Of several copies of a channel the newest counts. An older one may still show who had left, and one that
//! is not newer than what a living home has decided counts nothing: that home reports who was left to it.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::ChannelName;
use herenow_wire::link::{self, Attachment, Copied, Position, Report, Reported, Row, Shown};

use super::Replica;
use super::reporting::Channels;
use crate::change::Owner;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Copies {
    newest: BTreeMap<ChannelName, Copied>,
    decided: Option<Position>,
}

/// A member of a node that is gone, as a copy shows it.
pub(super) struct Left {
    pub(super) channel: ChannelName,
    pub(super) owner: Owner,
    pub(super) reported: Reported,
}

impl Copies {
    /// Takes in what a node has copied.
    pub(super) fn take_in(&mut self, report: &mut Report) {
        self.decided = self.decided.max(report.decided);
        for channel in &mut report.channels {
            let Some(copied) = channel.copied.take() else { continue };
            match self.newest.get_mut(&channel.name) {
                // One of them may have left out more than the other.
                Some(known) if known.position == copied.position => known.rows.extend(copied.rows),
                Some(known) if known.position > copied.position => {}
                _ => drop(self.newest.insert(channel.name.clone(), copied)),
            }
        }
    }

    /// The members of which none of these nodes has spoken.
    pub(super) fn into_left(self, heard: &BTreeSet<Owner>) -> impl Iterator<Item = Left> {
        let decided = self.decided;
        let newer = self.newest.into_iter().filter(move |(_, one)| Some(one.position) > decided);
        newer.flat_map(move |(channel, Copied { position, rows })| {
            let left = rows.into_iter().filter_map(|Row { presence, owner, state, seq }| {
                let owner = Owner::of(owner);
                let seen = Some(Position { seq, ..position });
                let presence = link::Presence { attachment: Attachment::Detached, ..presence };
                let reported = Reported { presence, shown: Shown::State(state), seen };
                let is_left = owner != Owner::NOBODY && !heard.contains(&owner);
                is_left.then(|| Left { channel: channel.clone(), owner, reported })
            });
            left.collect::<Vec<_>>()
        })
    }
}

impl Replica {
    /// Adds what the copies here show of members of other nodes, where it may be needed: in channels with a
    /// grace. `speaking` are the nodes that speak for theirs, if that is known.
    pub(super) fn add_copied(&self, channels: &mut Channels, speaking: Option<&BTreeSet<Owner>>) {
        let Some(graces) = self.graces.as_ref().filter(|_| self.allows_grace()) else { return };
        let speaks = |owner: Owner| {
            owner == self.me || speaking.is_some_and(|speaking| speaking.contains(&owner))
        };
        for slot in self.shard.slots() {
            let Some(list) = slot.map.filter(|_| !graces.of(slot.name).is_zero()) else {
                continue;
            };
            let (epoch, seq) = (list.epoch(), list.seq());
            let members = list.members().map(|(member, _)| member);
            let rows = members.filter(|member| !speaks(member.owner)).map(super::row).collect();
            let copied = Copied { position: Position { epoch, seq }, rows };
            channels.of(slot.name).copied = Some(copied);
        }
    }
}
