//! The links of a node to all others: which packets go and come, and what follows from each.

use std::collections::BTreeMap;

use herenow_core::{Instant, Owed};
use herenow_wire::link::{Body, Incarnation, MIN_BODY_BYTES, Packet, Part};

use crate::api::{Contents, Effect, Fact, Outgoing};
use crate::engine::Subject;
use crate::node::Counters;
use crate::receiving::{Arrival, Receiving, Standing};
use crate::sending::{Sending, Taken};
use crate::view::View;

/// More than a view holds, for those whose view is not read yet.
const MAX_LINKS: usize = 2 * View::MAX_NODES;

/// See the module.
#[derive(Debug)]
pub(crate) struct Links {
    me: Incarnation,
    max_payload_bytes: usize,
    max_item_bytes: usize,
    sending: BTreeMap<Incarnation, Sending>,
    receiving: BTreeMap<Incarnation, Receiving>,
    pub(crate) counters: Counters,
}

impl Links {
    pub(crate) fn new(me: Incarnation, max_payload_bytes: usize, max_item_bytes: usize) -> Self {
        let (sending, receiving) = (BTreeMap::new(), BTreeMap::new());
        let counters = Counters::default();
        Self { me, max_payload_bytes, max_item_bytes, sending, receiving, counters }
    }

    /// The node goes on as another: no stream of the old one goes on.
    pub(crate) fn restart(&mut self, me: Incarnation) {
        self.me = me;
        self.sending.clear();
        self.receiving.clear();
    }

    /// Forgets the links of nodes that are not in the view.
    pub(crate) fn keep(&mut self, view: &View) {
        self.receiving.retain(|id, _| view.node(*id).is_some());
        self.sending.retain(|id, link| view.node(*id).is_some() || link.known_from > view.v);
    }

    /// Whether a stream to a node exists, or may begin.
    pub(crate) fn has_room_for(&self, to: Incarnation) -> bool {
        self.sending.len() < MAX_LINKS || self.has(to)
    }

    /// Whether there is a stream to a node.
    pub(crate) fn has(&self, to: Incarnation) -> bool {
        self.sending.contains_key(&to)
    }

    /// A node that the view may not hold yet has asked for something: it is answered. Whether there
    /// was a stream to it before. If not, the contents that are asked for now hold the answer. If
    /// there was one, its contents may have been handed in by the loop that is to answer, so they do
    /// not hold it even if the link still waits for those of other loops.
    pub(crate) fn expect(
        &mut self,
        to: Incarnation,
        from_view: u64,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> bool {
        let had = self.has(to);
        let Some(link) = self.open(to, now, out) else { return false };
        link.known_from = link.known_from.max(from_view);
        had
    }

    /// The node has joined: every other node is sent everything that it is owed. A stream that began
    /// earlier begins anew. It holds only what its receiver asked for, and a home that was elected by
    /// a view without this node does not ask it. Contents that are still being put together are asked
    /// for once more, since they may lack the shards whose homes this node hears of now.
    pub(crate) fn open_all(&mut self, view: &View, now: Instant, out: &mut Vec<Effect>) {
        let others = view.nodes.iter().map(|node| node.incarnation).filter(|id| *id != self.me);
        for to in others.collect::<Vec<_>>() {
            if let Some(link) = self.sending.get_mut(&to) {
                link.begin_anew();
                self.counters.resets += 1;
                out.push(Effect::Fact(Fact::ResetWanted(to)));
            }
            self.open(to, now, out);
        }
    }

    /// Whether everything is acknowledged and nothing is due.
    pub(crate) fn are_idle(&self) -> bool {
        self.sending.values().all(Sending::is_idle)
            && self.receiving.values().all(Receiving::is_idle)
    }

    /// How many there are, and what they hold, in bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        let sending: usize = self.sending.values().map(Sending::held_bytes).sum();
        let receiving: usize = self.receiving.values().map(Receiving::held_bytes).sum();
        (self.sending.len() + self.receiving.len(), sending + receiving)
    }

    /// How many reports and snapshots are owed.
    pub(crate) fn owed(&self) -> usize {
        self.sending.values().map(Sending::owed).sum()
    }

    /// The owner has something for a node of the view, or for one that has asked.
    pub(crate) fn send(
        &mut self,
        outgoing: Outgoing,
        view: Option<&View>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Outgoing { to, items, urgency } = outgoing;
        let is_known = view.is_some_and(|view| view.node(to).is_some());
        if to == self.me || !(is_known || self.sending.contains_key(&to)) {
            self.counters.unknown_receivers += 1;
            return;
        }
        let Some(link) = self.open(to, now, out) else { return };
        match link.take(items, urgency) {
            Taken::UpTo(n) => out.push(Effect::Fact(Fact::Sent { to, n })),
            Taken::Owed => {}
            Taken::Overflow => self.begin_anew(to, out),
            Taken::Dropped => self.counters.dropped_items += 1,
        }
        self.pump(to, now, out);
    }

    /// The owner has what a link asked it for.
    pub(crate) fn answer(&mut self, to: Incarnation, owed: &Owed) {
        if let Some(link) = self.sending.get_mut(&to) {
            link.answered(owed);
        }
    }

    /// The owner says everything that is owed to a node.
    pub(crate) fn reset(
        &mut self,
        to: Incarnation,
        contents: Contents,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if let Some(n) = self.sending.get_mut(&to).and_then(|link| link.contents(contents)) {
            out.push(Effect::Fact(Fact::Sent { to, n }));
            self.pump(to, now, out);
        }
    }

    /// The owner has applied and told what came.
    pub(crate) fn told(&mut self, from: Incarnation, n: u64, now: Instant) {
        if let Some(link) = self.receiving.get_mut(&from) {
            link.tell(n, now);
        }
    }

    /// A packet of a node of the view.
    pub(crate) fn packet(&mut self, packet: &Packet<'_>, now: Instant, out: &mut Vec<Effect>) {
        let Packet { from, n, ack, received, .. } = *packet;
        self.received(from, received, now, out);
        let max_item_bytes = self.max_item_bytes;
        let link = self.receiving.entry(from).or_insert_with(|| Receiving::new(max_item_bytes));
        match &packet.body {
            Body::Batch { follows, urgency, items } => {
                match link.batch((n, *follows, *urgency), items, now) {
                    Arrival::Next { items, skipped } => {
                        self.counters.unknown_items += skipped as u64;
                        out.push(Effect::Fact(Fact::Received { from, n, items }));
                        self.acknowledged(from, ack, now, out);
                    }
                    Arrival::Again => self.counters.repeated_batches += 1,
                    Arrival::Broken => self.broken(from, now),
                }
            }
            Body::Tick | Body::Ack => match link.compare(n) {
                Standing::Missing => self.broken(from, now),
                Standing::Old => {}
                Standing::Complete => {
                    if packet.body == Body::Tick {
                        link.asked(now);
                    }
                    self.acknowledged(from, ack, now, out);
                }
            },
            Body::Nack { seen } => {
                let is_broken =
                    self.sending.get(&from).is_some_and(|link| link.is_broken_by(*seen));
                if is_broken {
                    self.begin_anew(from, out);
                }
            }
            // They belong to no stream.
            Body::Collect { .. } | Body::Request(_) | Body::Response(_) => {}
        }
    }

    /// Sends what is due.
    pub(crate) fn act(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let nacks: Vec<Incarnation> = keys_of(&mut self.receiving, |link| link.poll_nack(now));
        for to in nacks {
            let seen = self.receiving[&to].seen();
            self.publish(to, Body::Nack { seen }, out);
        }
        let acks: Vec<Incarnation> = keys_of(&mut self.receiving, |link| link.poll_ack(now));
        for to in acks {
            self.publish(to, Body::Ack, out);
        }
        let ticks: Vec<Incarnation> =
            keys_of(&mut self.sending, |link| link.poll_tick(now).is_some());
        for to in ticks {
            self.publish(to, Body::Tick, out);
        }
    }

    /// When [`Links::act`] is next worth a call.
    pub(crate) fn next_deadline(&self) -> Instant {
        let sending = self.sending.values().map(Sending::next_tick);
        let receiving = self.receiving.values().map(Receiving::next_deadline);
        sending.chain(receiving).min().unwrap_or(Instant::NEVER)
    }

    /// The stream to a node. Begins one if there is none. Its numbers go on from the time, so that a
    /// second stream between the same two, after a view without one of them, repeats none.
    fn open(
        &mut self,
        to: Incarnation,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Option<&mut Sending> {
        if !self.sending.contains_key(&to) {
            if self.sending.len() >= MAX_LINKS {
                self.counters.unknown_receivers += 1;
                return None;
            }
            self.sending.insert(to, Sending::new(self.max_payload_bytes, now.as_micros()));
            out.push(Effect::Fact(Fact::ResetWanted(to)));
        }
        self.sending.get_mut(&to)
    }

    /// Something of the other node's stream is missing.
    fn broken(&mut self, from: Incarnation, now: Instant) {
        if self.receiving.get_mut(&from).is_some_and(|link| link.break_off(now)) {
            self.counters.gaps += 1;
        }
    }

    fn begin_anew(&mut self, to: Incarnation, out: &mut Vec<Effect>) {
        if self.sending.get_mut(&to).is_some_and(Sending::begin_anew) {
            self.counters.resets += 1;
            out.push(Effect::Fact(Fact::ResetWanted(to)));
        }
    }

    /// The other node has got everything up to `n`.
    fn received(&mut self, by: Incarnation, n: u64, now: Instant, out: &mut Vec<Effect>) {
        if self.sending.get_mut(&by).is_some_and(|link| link.received(n)) {
            self.pump(by, now, out);
        }
    }

    fn acknowledged(&mut self, by: Incarnation, n: u64, now: Instant, out: &mut Vec<Effect>) {
        if self.sending.get_mut(&by).is_some_and(|link| link.acknowledged(n)) {
            out.push(Effect::Fact(Fact::Acked { by, n }));
            self.pump(by, now, out);
        }
    }

    /// Sends the batches that there is room for, and asks for what is owed.
    fn pump(&mut self, to: Incarnation, now: Instant, out: &mut Vec<Effect>) {
        while let Some((_, follows, urgency, body)) =
            self.sending.get_mut(&to).and_then(|link| link.poll_batch(now))
        {
            self.publish(to, Body::Batch { follows, urgency, items: &body }, out);
        }
        if let Some(owed) = self.sending.get_mut(&to).and_then(Sending::poll_owed) {
            out.push(Effect::Fact(Fact::OwedWanted(to, owed)));
        }
    }

    fn publish(&mut self, to: Incarnation, body: Body<'_>, out: &mut Vec<Effect>) {
        let n = self.sending.get(&to).map_or(0, Sending::sent);
        let has_said_all = self.sending.get(&to).is_none_or(Sending::has_said_all);
        let ack = match (&body, self.receiving.get_mut(&to)) {
            (_, None) => 0,
            (Body::Nack { .. } | Body::Collect { .. }, _) => 0,
            // What was acknowledged before may have been lost together with a refusal that comes
            // again after this.
            _ if !has_said_all => 0,
            (_, Some(link)) => link.acknowledge(),
        };
        let received = self.receiving.get_mut(&to).map_or(0, Receiving::say_received);
        let packet = Packet { from: self.me, to, n, ack, received, body };
        out.push(Effect::Publish(Subject::Inbox(to), packet.encode()));
    }

    /// Asks a node for what it has of these shards.
    pub(crate) fn collect(
        &mut self,
        to: Incarnation,
        shards: Vec<(u16, u64)>,
        out: &mut Vec<Effect>,
    ) {
        self.publish(to, Body::Collect { shards }, out);
    }

    /// Sends a request of this number.
    pub(crate) fn request(&self, to: Incarnation, (id, body): (u64, &[u8]), out: &mut Vec<Effect>) {
        self.say_apart(to, Part::all_of(id, body, self.part_bytes()).map(Body::Request), out);
    }

    /// Sends the response to a request of this number.
    pub(crate) fn respond(&self, to: Incarnation, (id, body): (u64, &[u8]), out: &mut Vec<Effect>) {
        self.say_apart(to, Part::all_of(id, body, self.part_bytes()).map(Body::Response), out);
    }

    /// Says what belongs to no stream. It says nothing of the streams either: the receiver does not look.
    fn say_apart<'a>(
        &self,
        to: Incarnation,
        bodies: impl Iterator<Item = Body<'a>>,
        out: &mut Vec<Effect>,
    ) {
        out.extend(bodies.map(|body| {
            let packet = Packet { from: self.me, to, n: 0, ack: 0, received: 0, body };
            Effect::Publish(Subject::Inbox(to), packet.encode())
        }));
    }

    fn part_bytes(&self) -> usize {
        let header = Packet::MAX_HEADER_BYTES + Part::MAX_HEADER_BYTES;
        self.max_payload_bytes.saturating_sub(header).max(MIN_BODY_BYTES / 2)
    }
}

fn keys_of<T>(
    links: &mut BTreeMap<Incarnation, T>,
    mut is_due: impl FnMut(&mut T) -> bool,
) -> Vec<Incarnation> {
    links.iter_mut().filter_map(|(id, link)| is_due(link).then_some(*id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::NodeName;
    use crate::view::{Member, Serving};

    #[test]
    fn a_node_that_joins_is_asked_once_more_for_contents_that_are_still_put_together() {
        let other = Incarnation(2);
        let mut view = View::empty(1);
        view.nodes.push(Member {
            name: NodeName::parse("other").expect("a good name"),
            incarnation: other,
            admitted: 1,
            serving: Serving::Open,
        });
        let mut links = Links::new(Incarnation(1), 4096, 65_536);
        let mut out = Vec::new();
        links.open(other, Instant::default(), &mut out);
        links.open_all(&view, Instant::default(), &mut out);
        let asked = |effect: &&Effect| **effect == Effect::Fact(Fact::ResetWanted(other));
        assert_eq!(out.iter().filter(asked).count(), 2, "{out:?}");
    }
}
