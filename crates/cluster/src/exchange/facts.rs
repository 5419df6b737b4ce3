//! What the node machine says, on its way to the loops.

use std::sync::Arc;

use herenow_core::{NodeEvent, Owed, Term};
use herenow_wire::link::{Incarnation, Item};

use super::batches::Batches;
use super::sent::Waiting;
use super::{Action, Exchange, Next};
use crate::api::{Effect, Fact, Input, Now};
use crate::view::View;

impl Exchange {
    /// Hands something to the node machine, with the puts in it that are answered.
    pub(super) fn tell_node(
        &mut self,
        input: Input<'_>,
        puts: Vec<Waiting>,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let mut effects = std::mem::take(&mut self.effects);
        self.node.handle(input, now, &mut effects);
        self.carry_out(&mut effects, puts, out);
        self.effects = effects;
    }

    /// `puts` are noted if they were sent: what is only owed is put again.
    pub(super) fn carry_out(
        &mut self,
        effects: &mut Vec<Effect>,
        puts: Vec<Waiting>,
        out: &mut Vec<Action>,
    ) {
        let mut puts = Some(puts);
        for effect in effects.drain(..) {
            out.push(match effect {
                Effect::Read(id, key) => Action::Read(id, key),
                Effect::Swap { id, key, expected, value } => {
                    Action::Swap { id, key, expected, value }
                }
                Effect::Publish(subject, bytes) => Action::Publish(subject, bytes),
                Effect::Subscribe(subject) => Action::Subscribe(subject),
                Effect::Unsubscribe(subject) => Action::Unsubscribe(subject),
                Effect::Fact(Fact::Sent { to, n, .. }) => {
                    self.sent.note(to, n, puts.take().unwrap_or_default());
                    continue;
                }
                Effect::Fact(fact) => {
                    self.take_fact(fact, out);
                    continue;
                }
            });
        }
    }

    fn take_fact(&mut self, fact: Fact, out: &mut Vec<Action>) {
        match fact {
            Fact::View(view) => {
                self.tell_view(&view, out);
                self.forget_all_but(&view, out);
                self.tell_joined(&view, out);
                out.push(Action::View(view));
            }
            Fact::Joined => out.push(Action::Joined),
            Fact::LeaseUntil(until) => out.push(Action::LeaseUntil(until)),
            Fact::Out(me) => {
                self.me = me;
                self.begin_as_another(out);
            }
            Fact::Left => {
                self.begin_as_another(out);
                out.push(Action::Left);
            }
            Fact::Gone(node) => {
                if let Some(known) = self.numbers.known(node) {
                    self.tell_all(&NodeEvent::Gone(known), out);
                }
            }
            Fact::Home { shard, epoch } => {
                let term = Term { epoch, home: self.me };
                self.tell(shard, NodeEvent::Home { shard, term }, out);
            }
            Fact::Opened { shard, epoch } => {
                let term = Term { epoch, home: self.me };
                self.tell(shard, NodeEvent::Opened { shard, term }, out);
            }
            Fact::Moved { shard, term } => {
                let home = self.numbers.of(term.home);
                self.tell(shard, NodeEvent::Moved { shard, term, home }, out);
            }
            Fact::ReportWanted { home, shards } => self.ask_for_reports(home, shards, out),
            Fact::Received { from, n, items } => self.receive((from, n), items, out),
            // It is only given for what is handed in, in the answer to that.
            Fact::Sent { .. } => {}
            Fact::Asked { from, id, body } => out.push(Action::Asked { from, id, body }),
            Fact::Answered { id, answer } => out.push(Action::Answered { id, answer }),
            Fact::Acked { by, n } => {
                let done = self.sent.acknowledged(by, n);
                for (hub, done) in self.divide(done, |(shard, _)| *shard) {
                    out.push(Action::ToHub(hub, NodeEvent::Done(done)));
                }
            }
            Fact::ResetWanted(to) => {
                self.sent.forget(to);
                self.ask_for_contents(to, out);
            }
            Fact::OwedWanted(to, owed) => self.ask_for_owed(to, owed, out),
        }
    }

    /// The loops know who speaks for connections in the newest view.
    fn tell_view(&mut self, view: &View, out: &mut Vec<Action>) {
        let nodes = view.nodes.iter().map(|node| node.incarnation);
        let speaking = nodes.map(|node| self.numbers.owner_of(node)).collect();
        let speaking = Arc::new(speaking);
        self.tell_all(&NodeEvent::View { number: view.v, speaking }, out);
    }

    /// The oldest of the nodes that were there before tells those that have joined what no other says.
    fn tell_joined(&mut self, view: &View, out: &mut Vec<Action>) {
        let nodes = view.nodes.iter().map(|node| node.incarnation).collect();
        let before = std::mem::replace(&mut self.nodes, nodes);
        let stayed = view.nodes.iter().filter(|node| before.contains(&node.incarnation));
        let oldest = stayed.min_by_key(|node| node.admitted).map(|node| node.incarnation);
        if oldest != Some(self.me) {
            return;
        }
        let joined = self.nodes.difference(&before).copied();
        let joined: Vec<_> = joined.map(|node| self.numbers.of(node)).collect();
        if !joined.is_empty() {
            out.push(Action::ToHub(0, NodeEvent::Joined(joined)));
        }
    }

    /// From here on this node is another one, which knows nothing of what its loops were asked.
    fn begin_as_another(&mut self, out: &mut Vec<Action>) {
        self.owner = self.numbers.begin_as(self.me);
        self.batches.clear();
        self.sent.clear();
        self.resets.clear();
        self.next.clear();
        self.tell_all(&NodeEvent::Out { owner: self.owner }, out);
    }

    /// Forgets the nodes that can be sent nothing any more. One that is the home of a shard stays known,
    /// even if it is in no view that was read: the loops send to it what they have for the home.
    fn forget_all_but(&mut self, view: &View, out: &mut Vec<Action>) {
        let node = &self.node;
        self.batches.retain(|from, _| view.node(*from).is_some());
        self.sent.keep(|to| node.reaches(to));
        self.resets.retain(|to, _| node.reaches(*to));
        for gone in self.numbers.keep(|one| node.reaches(one) || node.is_home(one)) {
            self.tell_all(&NodeEvent::Gone(gone), out);
        }
    }

    fn ask_for_reports(
        &mut self,
        home: Incarnation,
        shards: Vec<(u16, u64)>,
        out: &mut Vec<Action>,
    ) {
        let from = self.numbers.of(home);
        let shards = shards.into_iter().map(|(shard, epoch)| (shard, Term { epoch, home }));
        for (hub, shards) in self.divide(shards, |(shard, _)| *shard) {
            out.push(Action::ToHub(hub, NodeEvent::ReportWanted { home: from, shards }));
        }
    }

    fn ask_for_owed(&mut self, to: Incarnation, owed: Owed, out: &mut Vec<Action>) {
        let to = self.numbers.of(to);
        let mut shards = self.divide(owed.shards, |shard| *shard);
        let mut channels = self.divide(owed.channels, |channel| channel.shard());
        for hub in 0..self.hubs {
            let shards = shards.remove(&hub).unwrap_or_default();
            let channels = channels.remove(&hub).unwrap_or_default();
            if !shards.is_empty() || !channels.is_empty() {
                let owed = Owed { shards, channels };
                out.push(Action::ToHub(hub, NodeEvent::OwedWanted { to, owed }));
            }
        }
    }

    /// Every loop gets what concerns its shards, and what concerns no shard.
    fn receive(
        &mut self,
        (from, batch): (Incarnation, u64),
        items: Vec<Item>,
        out: &mut Vec<Action>,
    ) {
        let mut parts = vec![Vec::new(); usize::from(self.hubs)];
        for mut item in items {
            self.numbers.name_owners(&mut item);
            match item.shard() {
                Some(shard) => parts[usize::from(self.hub_of(shard))].push(item),
                None => parts.iter_mut().for_each(|part| part.push(item.clone())),
            }
        }
        let sender = self.numbers.of(from);
        let batches = self.batches.entry(from).or_insert_with(|| Batches::new(self.hubs));
        batches.received(batch);
        for (hub, items) in (0..self.hubs).zip(parts).filter(|(_, items)| !items.is_empty()) {
            batches.give(hub, batch);
            let event = NodeEvent::Received { from: sender, batch, items };
            out.push(Action::ToHub(hub, event));
        }
        self.next.push_back(Next::Acknowledge(from));
    }
}
