//! Who may knock: how many connections one address may hold before they have signed in. Knows
//! addresses and counts; refuses to know HTTP and sockets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::config::Settings;

/// Counts the newcomers of each address. Owned by the accept loop, which is the only one to let
/// anybody in; newcomers leave by dropping their guard on whatever thread they live.
#[derive(Debug)]
pub struct Admission {
    settings: Arc<Settings>,
    newcomers: HashMap<IpAddr, Arc<()>>,
    sweep_at: usize,
}

/// One connection that has neither signed in nor joined a public channel. Dropping it makes room
/// for the next of its address.
#[derive(Debug)]
pub struct Newcomer {
    /// One more owner of the address's token: its count of owners is the count of newcomers.
    _token: Arc<()>,
}

/// What the address of a peer allows.
#[derive(Debug)]
pub enum Entrance {
    /// Nobody counts this address.
    Uncounted,
    /// Counted until the guard is dropped.
    Counted(Newcomer),
    /// The address holds as many newcomers as it may.
    Full,
}

impl Admission {
    /// Nobody is inside yet.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, newcomers: HashMap::new(), sweep_at: FIRST_SWEEP_ADDRESSES }
    }

    /// Counts a peer that has just connected.
    pub fn admit(&mut self, peer: IpAddr) -> Entrance {
        if is_excepted(&self.settings, peer) {
            return Entrance::Uncounted;
        }
        if self.newcomers.len() >= self.sweep_at {
            self.forget_empty();
        }
        let token = self.newcomers.entry(counted_as(peer)).or_default();
        if Arc::strong_count(token) > self.settings.max_newcomers_per_address {
            return Entrance::Full;
        }
        Entrance::Counted(Newcomer { _token: Arc::clone(token) })
    }

    /// Addresses whose newcomers are all gone are forgotten here and not on drop, so that dropping
    /// needs no lock. Doubling the mark keeps the sweep's cost per admission constant.
    fn forget_empty(&mut self) {
        self.newcomers.retain(|_, token| Arc::strong_count(token) > 1);
        self.sweep_at = (self.newcomers.len() * 2).max(FIRST_SWEEP_ADDRESSES);
    }
}

/// Loopback and trusted proxies: behind them everybody has one address.
pub fn is_excepted(settings: &Settings, peer: IpAddr) -> bool {
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

    fn counted(entrance: Entrance) -> Newcomer {
        match entrance {
            Entrance::Counted(newcomer) => newcomer,
            other => panic!("expected a counted newcomer, got {other:?}"),
        }
    }

    #[test]
    fn an_address_is_full_at_its_limit_and_has_room_again_after_one_drop() {
        let mut admission = admission(2);
        let first = counted(admission.admit(ip("192.0.2.1")));
        let _second = counted(admission.admit(ip("192.0.2.1")));
        assert!(matches!(admission.admit(ip("192.0.2.1")), Entrance::Full));
        let _other = counted(admission.admit(ip("192.0.2.2")));
        drop(first);
        counted(admission.admit(ip("192.0.2.1")));
    }

    #[test]
    fn ipv6_is_counted_by_its_64_and_mapped_ipv4_as_ipv4() {
        let mut admission = admission(1);
        let _first = counted(admission.admit(ip("2001:db8::1")));
        assert!(matches!(admission.admit(ip("2001:db8::2")), Entrance::Full));
        let _next = counted(admission.admit(ip("2001:db8:0:1::1")));
        let _v4 = counted(admission.admit(ip("192.0.2.1")));
        let mapped = admission.admit(ip("::ffff:192.0.2.1"));
        assert!(matches!(mapped, Entrance::Full));
    }

    #[test]
    fn loopback_and_trusted_proxies_are_never_counted() {
        let mut admission = admission(0);
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3"] {
            let entrance = admission.admit(ip(peer));
            assert!(matches!(entrance, Entrance::Uncounted), "{peer}");
        }
        assert!(matches!(admission.admit(ip("10.2.0.1")), Entrance::Full));
    }

    #[test]
    fn addresses_without_newcomers_are_forgotten() {
        let mut admission = admission(1);
        let kept = counted(admission.admit(ip("192.0.2.1")));
        for host in 0..5_000_u32 {
            let peer = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0b00_0000 + host));
            drop(admission.admit(peer));
        }
        assert!(admission.newcomers.len() <= FIRST_SWEEP_ADDRESSES);
        assert!(matches!(admission.admit(ip("192.0.2.1")), Entrance::Full));
        drop(kept);
    }
}
