//! What a node is owed by the shards of a hub: reports by those whose home it is, and snapshots of the channels
//! that it copies.

use herenow_core::{Effect, NodeMail, Owed, Peer};
use herenow_wire::ChannelName;
use herenow_wire::link::Item;

use super::Shards;

impl Shards {
    /// What the home of a shard is owed: a report, and the puts that wait.
    pub(super) fn owed_to_home(&mut self, at: usize, out: &mut Vec<Effect>) -> Vec<Item> {
        let Some(nodes) = &self.nodes else { return Vec::new() };
        let term = nodes.term(at);
        let speaking = nodes.speaking.in_term(term);
        let mut items = Vec::new();
        self.with(at, |replica| {
            items.push(Item::Report(replica.report(term.epoch, speaking.as_deref())));
            replica.put_again(out);
            items.extend(replica.take_outgoing().into_iter().map(|outgoing| outgoing.item));
        });
        items
    }

    pub(super) fn contents_for(
        &mut self,
        to: Peer,
        out: &mut Vec<Effect>,
    ) -> (Vec<Item>, Vec<ChannelName>) {
        let mut items = Vec::new();
        let mut channels = Vec::new();
        for at in 0..self.shards.len() {
            if self.nodes.as_ref().is_some_and(|nodes| nodes.is_home(at, to)) {
                items.extend(self.owed_to_home(at, out));
            }
            channels.extend(self.shards[at].wanted_by(to));
        }
        (items, channels)
    }

    pub(super) fn send_owed(&mut self, to: Peer, owed: Owed, out: &mut Vec<Effect>) {
        let mut items = Vec::new();
        for shard in &owed.shards {
            let at = self.at_shard(*shard);
            if self.nodes.as_ref().is_some_and(|nodes| nodes.is_home(at, to)) {
                items.extend(self.owed_to_home(at, out));
            }
        }
        for channel in &owed.channels {
            items.extend(self.shards[self.at(channel)].snapshot(channel, to));
        }
        self.push(NodeMail::Owed { to, owed, items });
    }
}
