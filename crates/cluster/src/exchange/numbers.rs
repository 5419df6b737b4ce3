//! The numbers by which the loops of this process know other nodes. An owner is never numbered twice; the
//! number of a peer is free again when its node is gone, and then rests until all others have been used.

use std::collections::BTreeMap;

use herenow_core::{From, Owner, Peer};
use herenow_wire::link::Incarnation;

/// How many numbers of peers there are. A node knows fewer others than that: those of its view, those
/// that it has a link to, and the homes of shards.
const PEERS: u16 = 1 << 15;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    known: BTreeMap<Incarnation, From>,
    nodes: BTreeMap<u16, Incarnation>,
    last_peer: u16,
    last_owner: u32,
}

impl Numbers {
    /// An owner that there has not been yet. One a second lasts for 68 years.
    pub(super) fn next_owner(&mut self) -> Owner {
        self.last_owner += 1;
        debug_assert!(
            !Owner(self.last_owner).is_lost(),
            "half of the numbers are for those that are lost"
        );
        Owner(self.last_owner)
    }

    /// What the loops call a node. It is given a number if it has none.
    pub(super) fn of(&mut self, incarnation: Incarnation) -> From {
        if let Some(known) = self.known.get(&incarnation) {
            return *known;
        }
        let owner = self.next_owner();
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
        let before = numbers.of(Incarnation(1)).owner;
        numbers.keep(|_| false);
        let again = numbers.of(Incarnation(1)).owner;
        assert_ne!(before, again);
        assert_ne!(numbers.next_owner(), again);
    }
}
