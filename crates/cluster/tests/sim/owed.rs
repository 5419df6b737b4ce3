//! What a node's owner says when it is asked for everything that another node is owed.

use herenow_cluster::{Contents, Owed};
use herenow_wire::ChannelName;
use herenow_wire::State;
use herenow_wire::link::{Channel, Incarnation, Interest, Item, Report, Reported, Shown, Ticket};

use crate::channels::channels_of;
use crate::owner::{Owner, Pending, presence};

impl Owner {
    pub fn report(&self, shard: u16, epoch: u64) -> Report {
        let channel = |name: &ChannelName| Channel {
            name: name.clone(),
            interest: match self.interests.contains(name) {
                true => Interest::Changes,
                false => Interest::Nothing,
            },
            members: self.mine.get(name).into_iter().map(|state| self.reported(state)).collect(),
        };
        Report { shard, epoch, channels: channels_of(shard).map(channel).collect() }
    }

    fn reported(&self, state: &State) -> Reported {
        let shown = Shown::State(state.clone());
        Reported { presence: presence(self.connection), shown, seen: None }
    }

    /// Everything that is owed to a node: reports, then the puts that wait for it.
    pub fn contents(&mut self, to: Incarnation) -> Contents {
        let its = self.terms.iter().filter(|(_, term)| term.home == to);
        let shards: Vec<u16> = its.map(|(shard, _)| *shard).collect();
        let items = self.reports_and_puts(&shards);
        let open = self.homes.values().filter(|home| home.is_open);
        let all = open.flat_map(|home| &home.channels);
        let wanted = all.filter(|(_, channel)| channel.interested.contains(&to));
        Contents { items, channels: wanted.map(|(name, _)| name.clone()).collect(), tag: self.tags }
    }

    /// What a home is told of these shards, with the puts that wait: under a new tag.
    pub fn reports_and_puts(&mut self, shards: &[u16]) -> Vec<Item> {
        let report = |shard: &u16| Item::Report(self.report(*shard, self.terms[shard].epoch));
        let mut items: Vec<Item> = shards.iter().map(report).collect();
        self.tags += 1;
        let is_one = |pending: &Pending| shards.contains(&pending.channel.shard());
        let pending = self.pending.iter().filter(|(_, pending)| is_one(pending));
        let tickets: Vec<Ticket> = pending.map(|(ticket, _)| *ticket).collect();
        items.extend(tickets.into_iter().map(|ticket| self.attempt(ticket).1));
        items
    }

    pub fn owed(&mut self, to: Incarnation, owed: &Owed) -> Vec<Item> {
        let is_its = |shard: &u16| self.terms.get(shard).is_some_and(|term| term.home == to);
        let shards: Vec<u16> = owed.shards.iter().copied().filter(is_its).collect();
        let mut items = self.reports_and_puts(&shards);
        for channel in &owed.channels {
            if let Some(home) = self.homes.get(&channel.shard()).filter(|home| home.is_open)
                && home.channels.get(channel).is_some_and(|of| of.interested.contains(&to))
            {
                items.push(home.snap(channel));
            }
        }
        items
    }
}
