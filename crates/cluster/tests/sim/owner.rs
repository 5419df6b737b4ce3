//! A stand-in for the hubs of one node: what its connections show, the homes that it is and the
//! copies that it keeps. It does what `Fact` asks for and no more.

use std::collections::{BTreeMap, BTreeSet};

use herenow_cluster::{Fact, Input, Outgoing, Term};
use herenow_wire::link::{
    Attachment, Incarnation, Interest, Item, Presence, Put, Refused, RefusedWhy, Report, Ticket,
    Urgency,
};
use herenow_wire::{ChannelName, ConnectionId, State, UserId};

use crate::check::History;
use crate::copies::Copy;
use crate::home::{Home, Mail, REFUSED};

#[derive(Debug)]
pub struct Owner {
    pub me: Incarnation,
    pub connection: ConnectionId,
    /// What its connection shows, as far as a home has agreed.
    pub mine: BTreeMap<ChannelName, State>,
    /// Puts that wait for an answer.
    pub pending: BTreeMap<Ticket, Pending>,
    pub interests: BTreeSet<ChannelName>,
    pub homes: BTreeMap<u16, Home>,
    pub copies: BTreeMap<ChannelName, Copy>,
    pub terms: BTreeMap<u16, Term>,
    tickets: u64,
    pub tags: u64,
    pub answered: u64,
}

#[derive(Debug)]
pub struct Pending {
    pub channel: ChannelName,
    state: State,
    way: Way,
}

/// How far a put is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Nowhere,
    /// Handed in with this tag.
    Tagged(u64),
    /// It goes with this batch to this node.
    Sent(Incarnation, u64),
}

/// What the owner does in answer.
pub type Answers = Vec<Input<'static>>;

impl Owner {
    pub fn new(me: Incarnation, connection: ConnectionId) -> Self {
        Self {
            me,
            connection,
            mine: BTreeMap::new(),
            pending: BTreeMap::new(),
            interests: BTreeSet::new(),
            homes: BTreeMap::new(),
            copies: BTreeMap::new(),
            terms: BTreeMap::new(),
            tickets: 0,
            tags: 0,
            answered: 0,
        }
    }

    pub fn handle(&mut self, fact: Fact, history: &mut History, out: &mut Answers) {
        match fact {
            Fact::View(_) | Fact::LeaseUntil(_) | Fact::Joined => {}
            Fact::Left => self.homes.clear(),
            Fact::Out(me) => {
                self.me = me;
                self.homes.clear();
                for pending in self.pending.values_mut() {
                    pending.way = Way::Nowhere;
                }
            }
            Fact::Gone(node) => {
                let mail: Mail = self.homes.values_mut().flat_map(|home| home.gone(node)).collect();
                self.post(mail, history, out);
            }
            Fact::Home { shard, epoch } => {
                self.terms.insert(shard, Term { epoch, home: self.me });
                self.homes.insert(shard, Home::new(epoch));
                let report = self.report(shard, epoch);
                self.at_home(shard, self.me, vec![Item::Report(report)], history, out);
                self.put_again(shard, history, out);
            }
            Fact::Opened { shard, epoch } => {
                let home = self.homes.get_mut(&shard).expect("it is the home");
                assert_eq!(home.epoch, epoch, "what opens is what began");
                let mail = home.open();
                self.post(mail, history, out);
            }
            Fact::Moved { shard, term } => {
                self.homes.remove(&shard);
                self.terms.insert(shard, term);
                // They go to the new home when it asks.
                for pending in self.pending.values_mut().filter(|p| p.channel.shard() == shard) {
                    pending.way = Way::Nowhere;
                }
            }
            Fact::ReportWanted { home, shards } => {
                let term = |epoch| Term { epoch, home };
                self.terms.extend(shards.iter().map(|(shard, epoch)| (*shard, term(*epoch))));
                let shards: Vec<u16> = shards.into_iter().map(|(shard, _)| shard).collect();
                let items = self.reports_and_puts(&shards);
                out.push(send(home, items, self.tags));
            }
            Fact::Received { from, n, items } => {
                for item in items {
                    self.receive(from, item, history, out);
                }
                out.push(Input::Told { from, n });
            }
            Fact::Sent { to, tag, n } => self.sent(tag, Way::Sent(to, n)),
            Fact::Acked { by, n } => self.acked(by, n),
            Fact::ResetWanted(to) => {
                let is_lost =
                    |pending: &&mut Pending| matches!(pending.way, Way::Sent(at, _) if at == to);
                self.pending.values_mut().filter(is_lost).for_each(|p| p.way = Way::Nowhere);
                let contents = self.contents(to);
                out.push(Input::Reset { to, contents });
            }
            Fact::OwedWanted(to, owed) => {
                let items = self.owed(to, &owed);
                out.push(send(to, items, self.tags));
            }
        }
    }

    /// Its connection shows something, wants to, or shows it no more.
    pub fn track(
        &mut self,
        channel: &ChannelName,
        state: Option<State>,
        history: &mut History,
        out: &mut Answers,
    ) {
        let waits = self.pending.values().any(|pending| pending.channel == *channel);
        match state {
            None => {
                self.pending.retain(|_, pending| pending.channel != *channel);
                self.mine.remove(channel);
                let (channel, connection) = (channel.clone(), self.connection);
                let reason = herenow_wire::LeaveReason::Leave;
                let remove =
                    Item::Remove { channel: channel.clone(), connection, generation: 0, reason };
                self.post_home(channel.shard(), vec![remove], history, out);
            }
            // A client waits for the answer to its last.
            Some(_) if waits => {}
            Some(state) => {
                self.tickets += 1;
                let pending = Pending { channel: channel.clone(), state, way: Way::Nowhere };
                self.pending.insert(Ticket(self.tickets), pending);
                self.put(Ticket(self.tickets), history, out);
            }
        }
    }

    pub fn subscribe(
        &mut self,
        channel: &ChannelName,
        interest: Interest,
        history: &mut History,
        out: &mut Answers,
    ) {
        match interest {
            Interest::Changes => self.interests.insert(channel.clone()),
            Interest::Nothing => {
                self.copies.remove(channel);
                self.interests.remove(channel)
            }
        };
        let item = Item::Interest { channel: channel.clone(), interest };
        self.post_home(channel.shard(), vec![item], history, out);
    }

    fn receive(&mut self, from: Incarnation, item: Item, history: &mut History, out: &mut Answers) {
        match item {
            Item::Report(Report { shard, epoch, .. }) if self.epoch_here(shard) == Some(epoch) => {
                self.at_home(shard, from, vec![item], history, out);
            }
            Item::Report(_) => {}
            Item::Put(Put { ref channel, .. })
            | Item::Remove { ref channel, .. }
            | Item::Interest { ref channel, .. } => {
                let shard = channel.shard();
                self.at_home(shard, from, vec![item], history, out);
            }
            Item::Snap(snap) => self.replace_copy(from, snap, history),
            Item::Change(change) => self.change_copy(from, change, history, out),
            Item::Refused(refused) if refused.why == RefusedWhy::NotHome => {
                let ticket = refused.ticket.expect("every put has one");
                self.not_home(from, ticket, history, out);
            }
            Item::Refused(refused) => self.refused(refused.ticket.expect("every put has one")),
            other => panic!("nothing sends {other:?}"),
        }
    }

    fn epoch_here(&self, shard: u16) -> Option<u64> {
        self.homes.get(&shard).map(|home| home.epoch)
    }

    /// Something for a shard whose home this node is; else it is lost, as it would be.
    fn at_home(
        &mut self,
        shard: u16,
        from: Incarnation,
        items: Vec<Item>,
        history: &mut History,
        out: &mut Answers,
    ) {
        let mut mail = Mail::new();
        for item in items {
            let Some(home) = self.homes.get_mut(&shard) else {
                if let Item::Put(put) = item {
                    mail.push((from, not_home(put)));
                }
                continue;
            };
            mail.extend(match item {
                Item::Report(report) => home.report(from, &report),
                Item::Put(put) => home.put(from, put),
                Item::Remove { channel, connection, .. } => home.remove(&channel, connection, from),
                Item::Interest { channel, interest } => home.interest(&channel, from, interest),
                other => panic!("{other:?} is not for a home"),
            });
        }
        self.post(mail, history, out);
    }

    /// Sends what a home says, to this node too. One batch for each node, as a flush does.
    fn post(&mut self, mail: Mail, history: &mut History, out: &mut Answers) {
        let mut by_node: BTreeMap<Incarnation, Vec<Item>> = BTreeMap::new();
        for (to, item) in mail {
            by_node.entry(to).or_default().push(item);
        }
        for (to, items) in by_node {
            if to == self.me {
                for item in items {
                    self.receive(self.me, item, history, out);
                }
            } else {
                out.push(send(to, items, 0));
            }
        }
    }

    pub fn post_home(
        &mut self,
        shard: u16,
        items: Vec<Item>,
        history: &mut History,
        out: &mut Answers,
    ) {
        match self.terms.get(&shard) {
            Some(term) if term.home == self.me => self.at_home(shard, self.me, items, history, out),
            Some(term) => out.push(send(term.home, items, self.tags)),
            None => {}
        }
    }

    fn put(&mut self, ticket: Ticket, history: &mut History, out: &mut Answers) {
        let Some(channel) = self.pending.get(&ticket).map(|pending| pending.channel.clone()) else {
            return;
        };
        let shard = channel.shard();
        let is_here = self.terms.get(&shard).is_some_and(|term| term.home == self.me);
        self.tags += 1;
        let (ticket, item) = self.attempt(ticket);
        self.post_home(shard, vec![item], history, out);
        if is_here && self.homes.contains_key(&shard) {
            // Applied at once; a refusal has taken it away already.
            self.done(ticket);
        }
    }

    /// A put under a ticket of its own and the tag that is used next: what is said of an earlier
    /// attempt is not about this one.
    pub fn attempt(&mut self, ticket: Ticket) -> (Ticket, Item) {
        let pending = self.pending.remove(&ticket).expect("it waits");
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let item = Item::Put(Put {
            channel: pending.channel.clone(),
            presence: presence(self.connection),
            state: pending.state.clone(),
            max_members: 1,
            ticket: Some(ticket),
        });
        self.pending.insert(ticket, Pending { way: Way::Tagged(self.tags), ..pending });
        (ticket, item)
    }

    fn put_again(&mut self, shard: u16, history: &mut History, out: &mut Answers) {
        let pending = self.pending.iter().filter(|(_, pending)| pending.channel.shard() == shard);
        let tickets: Vec<Ticket> = pending.map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            self.put(ticket, history, out);
        }
    }

    fn sent(&mut self, tag: u64, way: Way) {
        for pending in self.pending.values_mut().filter(|p| p.way == Way::Tagged(tag)) {
            pending.way = way;
        }
    }

    fn acked(&mut self, by: Incarnation, n: u64) {
        let is_done =
            |pending: &Pending| matches!(pending.way, Way::Sent(to, sent) if to == by && sent <= n);
        let done: Vec<Ticket> = self
            .pending
            .iter()
            .filter(|(_, pending)| is_done(pending))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in done {
            self.done(ticket);
        }
    }

    fn done(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending.remove(&ticket) {
            let is_refused = pending.state.as_str().starts_with(REFUSED);
            assert!(
                !is_refused,
                "{ticket:?} of {} was refused, and is answered as done: {:?}",
                self.me, pending.way
            );
            self.mine.insert(pending.channel, pending.state);
            self.answered += 1;
        }
    }

    fn refused(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending.remove(&ticket) {
            assert!(pending.state.as_str().starts_with(REFUSED), "only what is refused is");
            self.answered += 1;
        }
    }

    /// A node is not the home of a put's shard, as far as it knows. It will be, and collect; or
    /// another one is.
    fn not_home(
        &mut self,
        from: Incarnation,
        ticket: Ticket,
        history: &mut History,
        out: &mut Answers,
    ) {
        let Some(pending) = self.pending.get_mut(&ticket) else { return };
        if matches!(pending.way, Way::Sent(to, _) if to == from) {
            pending.way = Way::Nowhere;
            let home = self.terms.get(&pending.channel.shard()).map(|term| term.home);
            if home != Some(from) {
                self.put(ticket, history, out);
            }
        }
    }
}

fn send(to: Incarnation, items: Vec<Item>, tag: u64) -> Input<'static> {
    Input::Send(Outgoing { to, items, urgency: Urgency::Soon, tag })
}

fn not_home(put: Put) -> Item {
    let (connection, generation) = (put.presence.connection, put.presence.generation);
    let (channel, ticket, why) = (put.channel, put.ticket, RefusedWhy::NotHome);
    Item::Refused(Refused { channel, connection, generation, ticket, why })
}

pub fn presence(connection: ConnectionId) -> Presence {
    Presence {
        connection,
        generation: 0,
        user: UserId::parse("user").expect("a valid id"),
        attachment: Attachment::Socket,
        since_ms: 0,
    }
}
