//! What a node has of a shard, as it tells the home of it.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::ChannelName;
use herenow_wire::link::{self, Interest, Report};

use super::own::Own;
use super::{Replica, Role};
use crate::change::Owner;

/// The channels of a report, by name.
#[derive(Default)]
pub(super) struct Channels(BTreeMap<ChannelName, link::Channel>);

impl Channels {
    /// What is to be said of a channel.
    pub(super) fn of(&mut self, name: &ChannelName) -> &mut link::Channel {
        if !self.0.contains_key(name) {
            let (interest, members) = (Interest::Nothing, Vec::new());
            let (name, waiting, copied) = (name.clone(), Vec::new(), None);
            let channel = link::Channel { name, interest, members, waiting, copied };
            self.0.insert(channel.name.clone(), channel);
        }
        self.0.get_mut(name).expect("it was put in where it was missing")
    }
}

impl Replica {
    /// What this node has in the shard, for its home. `speaking` are the nodes of the view that gave the home
    /// its term, each of which speaks for its own members, if this node has read that view.
    pub fn report(&self, epoch: u64, speaking: Option<&BTreeSet<Owner>>) -> Report {
        let mut channels = Channels::default();
        match &self.role {
            Role::Copy(own) => own.report(&self.shard, &mut channels),
            Role::Opening(_) => {}
            Role::Home => Own::of(self.own_members()).report(&self.shard, &mut channels),
        }
        if let Some(sleep) = &self.sleep {
            sleep.report(&mut channels);
        }
        if matches!(self.role, Role::Copy(_)) {
            self.add_copied(&mut channels, speaking);
        }
        let decided = self.graces.as_ref().and_then(|graces| graces.decided);
        Report { shard: self.number, epoch, decided, channels: channels.0.into_values().collect() }
    }
}
