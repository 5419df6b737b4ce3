//! The numbers by which the loops of this process know other nodes. An owner is never numbered twice, and keeps
//! its number for a while when its node is gone: lists still name it. The number of a peer is free again when
//! its node is gone, and then rests until all others have been used.

use std::collections::BTreeMap;

use herenow_core::{From, Owner, Peer};
use herenow_wire::link::{Incarnation, Item, OwnerId};

/// How many numbers of peers there are. A node knows fewer others than that: those of its view, those
/// that it has a link to, and the homes of shards.
const PEERS: u16 = 1 << 15;
/// So many owners keep their numbers. It is a multiple of the nodes that there may be.
const OWNERS: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    known: BTreeMap<Incarnation, From>,
    nodes: BTreeMap<u16, Incarnation>,
    last_peer: u16,
    /// The owner of each life, and whose life that is. The lowest number is the oldest.
    owners: BTreeMap<Incarnation, Owner>,
    lives: BTreeMap<Owner, Incarnation>,
    me: Option<Incarnation>,
    last_owner: u32,
}

impl Numbers {
    /// This process is another owner from here on, in this life.
    pub(super) fn begin_as(&mut self, me: Incarnation) -> Owner {
        self.me = Some(me);
        self.number(me)
    }

    /// The owner that a life is to the loops. It is given a number if it has none.
    pub(super) fn owner_of(&mut self, life: Incarnation) -> Owner {
        match self.owners.get(&life) {
            Some(owner) => *owner,
            None => self.number(life),
        }
    }

    /// One a second lasts for 68 years.
    fn number(&mut self, life: Incarnation) -> Owner {
        self.last_owner += 1;
        let owner = Owner(self.last_owner);
        debug_assert!(!owner.is_lost(), "half of the numbers are for those that are lost");
        self.owners.insert(life, owner);
        self.lives.insert(owner, life);
        if self.lives.len() > OWNERS {
            let is_used =
                |life: &Incarnation| self.me == Some(*life) || self.known.contains_key(life);
            let oldest = self.lives.iter().find(|(_, life)| !is_used(life));
            if let Some((owner, life)) = oldest.map(|(owner, life)| (*owner, *life)) {
                self.lives.remove(&owner);
                self.owners.remove(&life);
            }
        }
        owner
    }

    /// For other nodes: the lives of the owners that an item names.
    pub(super) fn name_lives(&self, item: &mut Item) {
        item.for_each_owner(|owner| {
            let life = self.lives.get(&Owner::of(*owner));
            *owner = life.map_or(OwnerId::NOBODY, |life| OwnerId(life.0));
        });
    }

    /// For the loops: the owners of the lives that an item names.
    pub(super) fn name_owners(&mut self, item: &mut Item) {
        item.for_each_owner(|owner| {
            if *owner != OwnerId::NOBODY {
                *owner = self.owner_of(Incarnation(owner.0)).id();
            }
        });
    }

    /// What the loops call a node. It is given a number if it has none.
    pub(super) fn of(&mut self, incarnation: Incarnation) -> From {
        if let Some(known) = self.known.get(&incarnation) {
            return *known;
        }
        let owner = self.owner_of(incarnation);
        loop {
            self.last_peer = (self.last_peer + 1) % PEERS;
            if !self.nodes.contains_key(&self.last_peer) {
                break;
            }
        }
        self.nodes.insert(self.last_peer, incarnation);
        let from = From { incarnation, peer: Peer::node(self.last_peer), owner };
        self.known.insert(incarnation, from);
        from
    }

    /// What the loops call a node, if they may have heard of it.
    pub(super) fn known(&self, node: Incarnation) -> Option<From> {
        self.known.get(&node).copied()
    }

    /// The node of a number; `None` if it is gone.
    pub(super) fn node(&self, peer: Peer) -> Option<Incarnation> {
        self.nodes.get(&peer.as_node()?).copied()
    }

    /// Forgets all nodes but these. Gives what the others were called.
    pub(super) fn keep(&mut self, is_kept: impl Fn(Incarnation) -> bool) -> Vec<From> {
        let gone = self.known.values().filter(|known| !is_kept(known.incarnation));
        let gone: Vec<From> = gone.copied().collect();
        for from in &gone {
            self.known.remove(&from.incarnation);
            if let Some(number) = from.peer.as_node() {
                self.nodes.remove(&number);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use herenow_wire::link::{Attachment, Position, Presence, Row, Snap};
    use herenow_wire::{ChannelName, ConnectionId, State, UserId};

    use super::*;

    #[test]
    fn the_number_of_a_node_that_is_gone_is_used_again_after_all_others() {
        let mut numbers = Numbers::default();
        let (first, stays) = (numbers.of(Incarnation(1)), numbers.of(Incarnation(2)));
        assert_eq!(numbers.keep(|node| node == Incarnation(2)), [first]);
        assert_eq!(numbers.node(first.peer), None);
        let mut others = 0;
        for n in 3.. {
            let next = numbers.of(Incarnation(n));
            assert_ne!(next.peer, stays.peer, "it is in use");
            if next.peer == first.peer {
                break;
            }
            others += 1;
            numbers.keep(|node| node == Incarnation(2));
        }
        assert_eq!(others, usize::from(PEERS) - 2);
        assert_eq!(numbers.node(stays.peer), Some(Incarnation(2)));
    }

    #[test]
    fn no_two_lives_share_an_owner() {
        let mut numbers = Numbers::default();
        let mut owners = BTreeSet::from([numbers.begin_as(Incarnation(1))]);
        for life in 2..100 {
            assert!(owners.insert(numbers.of(Incarnation(life)).owner));
            numbers.keep(|_| false);
        }
        assert!(owners.insert(numbers.begin_as(Incarnation(100))));
    }

    #[test]
    fn the_owner_of_a_node_that_is_gone_is_still_named_until_many_others_have_come() {
        let mut numbers = Numbers::default();
        let me = numbers.begin_as(Incarnation(1));
        let (gone, stays) = (numbers.of(Incarnation(2)), numbers.of(Incarnation(3)));
        numbers.keep(|node| node == Incarnation(3));
        let named = |numbers: &Numbers, owner: Owner| {
            let mut item = list_of(owner);
            numbers.name_lives(&mut item);
            owner_in(&mut item)
        };
        assert_eq!(named(&numbers, gone.owner), OwnerId(2));
        for life in 4..5_000 {
            numbers.owner_of(Incarnation(life));
        }
        assert_eq!(numbers.lives.len(), OWNERS);
        assert_eq!(numbers.owners.len(), OWNERS);
        assert_eq!(named(&numbers, gone.owner), OwnerId(0), "nobody knows any more");
        assert_eq!(named(&numbers, me), OwnerId(1), "a node knows itself");
        assert_eq!(named(&numbers, stays.owner), OwnerId(3), "and those that are there");
    }

    #[test]
    fn an_owner_that_another_node_names_is_the_same_in_every_item() {
        let mut numbers = Numbers::default();
        let known = numbers.of(Incarnation(7)).owner;
        let nobody = Owner::NOBODY;
        for (life, wanted) in [(7, known), (0, nobody), (8, Owner(2)), (8, Owner(2)), (9, Owner(3))]
        {
            let mut item = list_of(nobody);
            item.for_each_owner(|owner| *owner = OwnerId(life));
            numbers.name_owners(&mut item);
            assert_eq!(Owner::of(owner_in(&mut item)), wanted, "{life}");
        }
    }

    /// A list of one member, of this owner.
    fn list_of(owner: Owner) -> Item {
        let channel = ChannelName::parse("presence:lobby").unwrap();
        let presence = Presence {
            connection: ConnectionId::from_bytes([1; 16]),
            generation: 0,
            user: UserId::parse("jane").unwrap().into(),
            attachment: Attachment::Socket,
            since_ms: 0,
        };
        let (state, owner) = (State::parse("{}").unwrap(), owner.id());
        let rows = vec![Row { presence, owner, state, seq: 1 }];
        Item::Snap(Snap { channel, position: Position { epoch: 1, seq: 1 }, rows })
    }

    fn owner_in(item: &mut Item) -> OwnerId {
        let mut named = OwnerId(u64::MAX);
        item.for_each_owner(|owner| named = *owner);
        named
    }
}
