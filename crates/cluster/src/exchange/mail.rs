//! What loops have for other nodes, on its way to the node machine.

use herenow_core::{NodeEvent, NodeMail};
use herenow_wire::ChannelName;
use herenow_wire::link::{Incarnation, Item, Urgency};

use super::gathering::Gathering;
use super::sent::{Sent, Waiting};
use super::{Action, Exchange, Next};
use crate::api::{Input, Now, Outgoing};

impl Exchange {
    /// A loop has something for other nodes.
    pub(super) fn take_mail(
        &mut self,
        (hub, mail): (u16, NodeMail),
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if let NodeMail::ToAll { items } = mail {
            return self.send_to_all(hub, &items, now, out);
        }
        let peer = match &mail {
            NodeMail::Items { to, .. } | NodeMail::Owed { to, .. } => *to,
            NodeMail::Told { from, .. } => *from,
            NodeMail::ToAll { .. } | NodeMail::Contents { .. } | NodeMail::Lost { .. } => {
                return self.pass_on((hub, mail), now, out);
            }
        };
        let node = self.numbers.node(peer);
        let reset = node.and_then(|node| Some((node, self.resets.get_mut(&node)?)));
        match reset.filter(|(_, reset)| reset.holds(hub)) {
            None => self.pass_on((hub, mail), now, out),
            Some((node, reset)) => {
                self.held_mail += 1;
                if !reset.hold(hub, mail) {
                    self.ask_for_contents(node, out);
                }
            }
        }
    }

    /// Sends something to every node that the view names, but for this one.
    fn send_to_all(&mut self, hub: u16, items: &[Item], now: Now, out: &mut Vec<Action>) {
        let Some(view) = self.node.view().cloned() else { return };
        for node in view.nodes.iter().map(|node| node.incarnation) {
            if node != self.me && self.node.reaches(node) {
                let to = self.numbers.of(node).peer;
                let mail = NodeMail::Items { to, items: items.to_vec() };
                self.take_mail((hub, mail), now, out);
            }
        }
    }

    /// The stream to a node begins anew: every loop is asked what it owes the node. If the loops were
    /// asked before, that counts no more. What waited for it goes to the link, which keeps what
    /// no contents replace.
    pub(super) fn ask_for_contents(&mut self, to: Incarnation, out: &mut Vec<Action>) {
        self.requests = self.requests.wrapping_add(1);
        let reset = Gathering::new(self.requests, self.hubs);
        let event = NodeEvent::ResetWanted { to: self.numbers.of(to), request: self.requests };
        self.tell_all(&event, out);
        if let Some(before) = self.resets.insert(to, reset) {
            self.pass_on_next(before.finish().1);
        }
    }

    fn pass_on_next(&mut self, held: Vec<(u16, NodeMail)>) {
        self.next.extend(held.into_iter().map(|(hub, mail)| Next::PassOn(hub, mail)));
    }

    /// Hands to the node machine what follows from what it has said.
    pub(super) fn follow_up(&mut self, now: Now, out: &mut Vec<Action>) {
        while let Some(next) = self.next.pop_front() {
            match next {
                Next::Acknowledge(from) => self.acknowledge(from, now, out),
                Next::PassOn(hub, mail) => self.pass_on((hub, mail), now, out),
            }
        }
    }

    fn pass_on(&mut self, (hub, mail): (u16, NodeMail), now: Now, out: &mut Vec<Action>) {
        match mail {
            // It was divided among the nodes when it came.
            NodeMail::ToAll { .. } => {}
            NodeMail::Items { to, items } => {
                // A node that is gone is sent nothing.
                if let Some(to) = self.numbers.node(to) {
                    let (outgoing, puts) = self.outgoing(to, items);
                    self.tell_node(Input::Send(outgoing), puts, now, out);
                }
            }
            NodeMail::Owed { to, owed, items } => {
                if let Some(to) = self.numbers.node(to) {
                    let (outgoing, puts) = self.outgoing(to, items);
                    self.tell_node(Input::Owed(owed, outgoing), puts, now, out);
                }
            }
            NodeMail::Told { from, batch } => {
                if let Some(from) = self.numbers.node(from)
                    && let Some(batches) = self.batches.get_mut(&from)
                {
                    batches.told(hub, batch);
                    self.acknowledge(from, now, out);
                }
            }
            NodeMail::Contents { request, items, channels } => {
                self.add_contents((hub, request), (items, channels), now, out);
            }
            NodeMail::Lost { shard, term } => {
                self.tell_node(Input::Renew(shard, term), Vec::new(), now, out);
            }
        }
    }

    fn add_contents(
        &mut self,
        (hub, request): (u16, u32),
        part: (Vec<Item>, Vec<ChannelName>),
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let asked = |reset: &Gathering| reset.request() == request;
        let Some((to, reset)) = self.resets.iter_mut().find(|(_, reset)| asked(reset)) else {
            return;
        };
        let to = *to;
        if !reset.add(hub, part) {
            return;
        }
        if let Some((mut contents, held)) = self.resets.remove(&to).map(Gathering::finish) {
            contents.items.iter_mut().for_each(|item| self.numbers.name_lives(item));
            let puts = Sent::waiting_in(&contents.items);
            self.pass_on_next(held);
            self.tell_node(Input::Reset { to, contents }, puts, now, out);
        }
    }

    /// Tells the node machine how far the batches of a node may be acknowledged, if that is news.
    fn acknowledge(&mut self, from: Incarnation, now: Now, out: &mut Vec<Action>) {
        if let Some(n) = self.batches.get_mut(&from).and_then(|batches| batches.poll()) {
            self.tell_node(Input::Told { from, n }, Vec::new(), now, out);
        }
    }

    /// A client waits for the answer to a put. Everything else is acknowledged when there is a packet for it,
    /// or when the sender asks.
    fn outgoing(&self, to: Incarnation, mut items: Vec<Item>) -> (Outgoing, Vec<Waiting>) {
        items.iter_mut().for_each(|item| self.numbers.name_lives(item));
        let puts = Sent::waiting_in(&items);
        let urgency = if puts.is_empty() { Urgency::Whenever } else { Urgency::Soon };
        (Outgoing { to, items, urgency }, puts)
    }
}
