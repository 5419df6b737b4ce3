//! Who may knock: how many connections one address may hold before they have signed in. Knows
//! addresses and counts; refuses to know HTTP and sockets.
//!
//! A count is the number of owners of an `Arc`: the accept loop alone adds, and whoever holds a
//! guard takes itself off by dropping it, on any thread and without a lock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::config::Settings;

/// Counts what each address holds. Owned by the accept loop, which alone lets anybody in.
#[derive(Debug)]
pub struct Admission {
    settings: Arc<Settings>,
    heads: PerAddress,
    newcomers: PerAddress,
}

/// One connection that has neither signed in nor joined a public channel. Dropping it makes room
/// for the next of its address.
#[derive(Debug)]
pub struct Newcomer {
    _counted: Arc<()>,
}

/// One connection that HTTP still reads from. Dropping it makes room for the next of its address.
#[derive(Debug)]
pub struct Head {
    _counted: Arc<()>,
}

/// What the address of a peer allows.
#[derive(Debug)]
pub enum Entrance {
    /// Nobody counts this address.
    Uncounted,
    /// Counted until the guards are dropped.
    Counted(Head, Newcomer),
    /// The address holds as many newcomers as it may: an upgrade is answered 429.
    NoMoreNewcomers(Head),
    /// The address has so many unfinished requests that it gets no answer at all.
    NoMoreHeads,
}

/// Unfinished requests of one address. A share of what HTTP holds at once, so that one address
/// that sends its heads slowly does not keep everybody else out.
pub const MAX_HEADS_PER_ADDRESS: usize = 32;

impl Admission {
    /// Nobody is inside yet.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, heads: PerAddress::default(), newcomers: PerAddress::default() }
    }

    /// Counts a peer that has just connected.
    pub fn admit(&mut self, peer: IpAddr) -> Entrance {
        if is_excepted(&self.settings, peer) {
            return Entrance::Uncounted;
        }
        let address = counted_as(peer);
        let Some(counted) = self.heads.count(address, MAX_HEADS_PER_ADDRESS) else {
            return Entrance::NoMoreHeads;
        };
        let head = Head { _counted: counted };
        let limit = self.settings.max_newcomers_per_address;
        match self.newcomers.count(address, limit) {
            Some(counted) => Entrance::Counted(head, Newcomer { _counted: counted }),
            None => Entrance::NoMoreNewcomers(head),
        }
    }
}

/// Loopback and trusted proxies: behind them everybody has one address.
fn is_excepted(settings: &Settings, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || settings.trusted_proxies.iter().any(|n| n.contains(peer))
}

/// IPv6 is counted by its /64, since one host is given a whole one and could change its address
/// for every connection.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[derive(Debug)]
struct PerAddress {
    held: HashMap<IpAddr, Arc<()>>,
    sweep_at: usize,
}

impl PerAddress {
    /// One more of `address`, unless it holds `limit` of them.
    fn count(&mut self, address: IpAddr, limit: usize) -> Option<Arc<()>> {
        if self.held.len() >= self.sweep_at {
            self.forget_empty();
        }
        let held = self.held.entry(address).or_default();
        // The map itself is one of the owners.
        (Arc::strong_count(held) <= limit).then(|| Arc::clone(held))
    }

    /// Addresses that hold nothing any more are forgotten here and not on drop, which would need a
    /// lock. Doubling the mark keeps the sweep's cost per admission constant.
    fn forget_empty(&mut self) {
        self.held.retain(|_, held| Arc::strong_count(held) > 1);
        self.sweep_at = (self.held.len() * 2).max(FIRST_SWEEP_ADDRESSES);
    }
}

impl Default for PerAddress {
    fn default() -> Self {
        Self { held: HashMap::new(), sweep_at: FIRST_SWEEP_ADDRESSES }
    }
}

const FIRST_SWEEP_ADDRESSES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;

    fn admission(limit: usize) -> Admission {
        Admission::new(Arc::new(Settings {
            max_newcomers_per_address: limit,
            trusted_proxies: vec![Network::parse("10.1.0.0/16").expect("a network")],
            ..Settings::default()
        }))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn is_full(admission: &mut Admission, peer: &str) -> bool {
        matches!(admission.admit(ip(peer)), Entrance::NoMoreNewcomers(_))
    }

    fn counted(entrance: Entrance) -> Newcomer {
        match entrance {
            Entrance::Counted(_, newcomer) => newcomer,
            other => panic!("expected a counted newcomer, got {other:?}"),
        }
    }

    #[test]
    fn an_address_is_full_at_its_limit_and_has_room_again_after_one_drop() {
        let mut admission = admission(2);
        let first = counted(admission.admit(ip("192.0.2.1")));
        let _second = counted(admission.admit(ip("192.0.2.1")));
        assert!(is_full(&mut admission, "192.0.2.1"));
        let _other = counted(admission.admit(ip("192.0.2.2")));
        drop(first);
        counted(admission.admit(ip("192.0.2.1")));
    }

    #[test]
    fn an_address_with_too_many_unfinished_requests_is_not_answered_until_one_ends() {
        let mut admission = admission(1_000);
        let admit = |admission: &mut Admission| admission.admit(ip("192.0.2.1"));
        let mut inside: Vec<Entrance> =
            (0..MAX_HEADS_PER_ADDRESS).map(|_| admit(&mut admission)).collect();
        assert!(matches!(admit(&mut admission), Entrance::NoMoreHeads));
        inside.pop();
        assert!(matches!(admit(&mut admission), Entrance::Counted(..)));
    }

    #[test]
    fn ipv6_is_counted_by_its_64_and_mapped_ipv4_as_ipv4() {
        let mut admission = admission(1);
        let _first = counted(admission.admit(ip("2001:db8::1")));
        assert!(is_full(&mut admission, "2001:db8::2"));
        let _next = counted(admission.admit(ip("2001:db8:0:1::1")));
        let _v4 = counted(admission.admit(ip("192.0.2.1")));
        assert!(is_full(&mut admission, "::ffff:192.0.2.1"));
    }

    #[test]
    fn loopback_and_trusted_proxies_are_never_counted() {
        let mut admission = admission(0);
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3"] {
            let entrance = admission.admit(ip(peer));
            assert!(matches!(entrance, Entrance::Uncounted), "{peer}");
        }
        assert!(is_full(&mut admission, "10.2.0.1"));
    }

    #[test]
    fn addresses_without_newcomers_are_forgotten() {
        let mut admission = admission(1);
        let kept = counted(admission.admit(ip("192.0.2.1")));
        for host in 0..5_000_u32 {
            let peer = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0b00_0000 + host));
            drop(admission.admit(peer));
        }
        assert!(admission.newcomers.held.len() <= FIRST_SWEEP_ADDRESSES);
        assert!(is_full(&mut admission, "192.0.2.1"));
        drop(kept);
    }
}
