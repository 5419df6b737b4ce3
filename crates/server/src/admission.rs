//! How many connections the address of a client may hold before they have authenticated. Knows
//! addresses and counts; refuses to know HTTP and sockets.
//!
//! One owner alone adds to a count, and a guard takes itself off when it is dropped, on any
//! thread and without a lock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client_address::{Client, Naming, Peer};
use crate::config::Settings;

/// Where a connection comes from, as far as connections are counted by it. Sorted, all connections
/// of one site are neighbours, and in them those of one subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    site: IpAddr,
    subnet: IpAddr,
}

/// Counts the unauthenticated connections of each address.
#[derive(Debug)]
pub struct Admission {
    settings: Arc<Settings>,
    counts: Counts,
}

/// One connection that has neither authenticated nor joined a public channel. Dropping it makes
/// room for the next of its address.
#[derive(Debug)]
pub struct UnauthenticatedPermit {
    counted: Arc<Count>,
}

/// What the address of a client allows.
#[derive(Debug)]
pub enum AdmissionDecision {
    /// It is this machine, and is not counted.
    Uncounted,
    /// Counted until the guard is dropped.
    Counted(UnauthenticatedPermit),
    /// The address holds as many unauthenticated connections as it may: an upgrade is answered 429.
    AddressFull,
}

/// How many times as much as a /64 the /48 around it may hold. A provider gives a /48 to one
/// customer, who would else have 65,536 times the share of an address.
pub const SUBNETS_PER_SITE: usize = 8;

impl Source {
    /// An IPv4 address stands for itself. Of IPv6 the subnet is the /64, since one host is given a
    /// whole one and could change its address for every connection, and the site is the /48.
    /// What has connected over Unix sockets and names no address shares one place, which no address
    /// has.
    pub fn of(peer: Peer) -> Self {
        let address = match peer {
            Peer::Ip(address) => address.to_canonical(),
            Peer::Unix => Ipv4Addr::UNSPECIFIED.into(),
        };
        match address {
            IpAddr::V4(address) => Self { site: address.into(), subnet: address.into() },
            IpAddr::V6(address) => {
                let first_bits = |bits: u32| {
                    let network = address.to_bits() & (u128::MAX << (u128::BITS - bits));
                    IpAddr::V6(Ipv6Addr::from_bits(network))
                };
                Self { site: first_bits(48), subnet: first_bits(64) }
            }
        }
    }

    /// Whether both are of one site: of IPv6 the /48, of IPv4 the address.
    pub fn shares_site(&self, other: &Self) -> bool {
        self.site == other.site
    }
}

/// Whether many clients may share connections of this peer: this machine and trusted proxies.
pub fn is_shared(settings: &Settings, peer: Peer) -> bool {
    peer.is_loopback() || peer.is_trusted(&settings.trusted_proxies)
}

impl Admission {
    /// No connection is counted yet.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, counts: Counts::default() }
    }

    /// Counts a client that asks for a WebSocket. This machine itself is not counted: a proxy on it
    /// that is not trusted looks the same, and stands for many.
    pub fn admit(&mut self, client: Client) -> AdmissionDecision {
        if client.naming == Naming::Direct && client.peer.is_loopback() {
            return AdmissionDecision::Uncounted;
        }
        let subnet = self.counts.of(Source::of(client.peer));
        match UnauthenticatedPermit::count(subnet, self.settings.max_unauthenticated_per_address) {
            Some(permit) => AdmissionDecision::Counted(permit),
            None => AdmissionDecision::AddressFull,
        }
    }
}

impl UnauthenticatedPermit {
    /// One more, unless the subnet holds `limit`, or the site its multiple. Nothing else adds, so
    /// what was below the limit a moment ago still is.
    fn count(subnet: &Arc<Count>, limit: usize) -> Option<Self> {
        let site = subnet.site.as_ref();
        let site_limit = limit.saturating_mul(SUBNETS_PER_SITE);
        if subnet.is_at(limit) || site.is_some_and(|site| site.is_at(site_limit)) {
            return None;
        }
        subnet.held.fetch_add(1, Ordering::Relaxed);
        site.map(|site| site.held.fetch_add(1, Ordering::Relaxed));
        Some(Self { counted: Arc::clone(subnet) })
    }
}

impl Drop for UnauthenticatedPermit {
    fn drop(&mut self) {
        let Count { held, site } = &*self.counted;
        held.fetch_sub(1, Ordering::Relaxed);
        site.as_ref().map(|site| site.held.fetch_sub(1, Ordering::Relaxed));
    }
}

/// What a subnet holds, or a site: all its subnets together.
#[derive(Debug, Default)]
struct Count {
    held: AtomicUsize,
    site: Option<Arc<Count>>,
}

impl Count {
    fn is_at(&self, limit: usize) -> bool {
        self.held.load(Ordering::Relaxed) >= limit
    }
}

#[derive(Debug)]
struct Counts {
    subnets: HashMap<IpAddr, Arc<Count>>,
    /// Of IPv6 alone: an IPv4 address is the only subnet of its site.
    sites: HashMap<IpAddr, Arc<Count>>,
    sweep_at: usize,
}

impl Counts {
    fn of(&mut self, source: Source) -> &Arc<Count> {
        if self.subnets.len() >= self.sweep_at {
            self.forget_empty();
        }
        let Self { subnets, sites, .. } = self;
        subnets.entry(source.subnet).or_insert_with(|| {
            let has_site = source.subnet.is_ipv6();
            let site = has_site.then(|| Arc::clone(sites.entry(source.site).or_default()));
            Arc::new(Count { held: AtomicUsize::new(0), site })
        })
    }

    /// Addresses that hold nothing any more are forgotten here and not on drop, which would need a
    /// lock. Doubling the mark keeps the sweep's cost per admission constant.
    fn forget_empty(&mut self) {
        self.subnets.retain(|_, count| count.is_at(1));
        // A site that a subnet still points at would otherwise be counted twice.
        self.sites.retain(|_, count| Arc::strong_count(count) > 1);
        self.sweep_at = (self.subnets.len() * 2).max(FIRST_SWEEP_ADDRESSES);
    }
}

impl Default for Counts {
    fn default() -> Self {
        let (subnets, sites) = (HashMap::new(), HashMap::new());
        Self { subnets, sites, sweep_at: FIRST_SWEEP_ADDRESSES }
    }
}

const FIRST_SWEEP_ADDRESSES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_address::Unnamed;

    fn admission(limit: usize) -> Admission {
        Admission::new(Arc::new(Settings {
            max_unauthenticated_per_address: limit,
            ..Settings::default()
        }))
    }

    fn at(address: IpAddr) -> Client {
        Client { peer: Peer::at(address), naming: Naming::Direct }
    }

    fn ip(text: &str) -> Client {
        at(text.parse().expect("an address"))
    }

    fn is_full(admission: &mut Admission, peer: &str) -> bool {
        matches!(admission.admit(ip(peer)), AdmissionDecision::AddressFull)
    }

    fn counted(decision: AdmissionDecision) -> UnauthenticatedPermit {
        match decision {
            AdmissionDecision::Counted(permit) => permit,
            other => panic!("expected a counted connection, got {other:?}"),
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
    fn ipv6_is_counted_by_its_64_and_mapped_ipv4_as_ipv4() {
        let mut admission = admission(1);
        let _first = counted(admission.admit(ip("2001:db8::1")));
        assert!(is_full(&mut admission, "2001:db8::2"));
        let _next = counted(admission.admit(ip("2001:db8:0:1::1")));
        let _v4 = counted(admission.admit(ip("192.0.2.1")));
        assert!(is_full(&mut admission, "::ffff:192.0.2.1"));
    }

    #[test]
    fn all_subnets_of_a_48_share_eight_times_the_limit() {
        let mut admission = admission(2);
        let mut held: Vec<UnauthenticatedPermit> = (0..2 * SUBNETS_PER_SITE)
            .map(|subnet| counted(admission.admit(ip(&format!("2001:db8:0:{subnet:x}::1")))))
            .collect();
        assert!(is_full(&mut admission, "2001:db8:0:ffff::1"));
        let _other_site = counted(admission.admit(ip("2001:db8:1::1")));
        held.pop();
        held.push(counted(admission.admit(ip("2001:db8:0:ffff::1"))));
        assert!(is_full(&mut admission, "2001:db8:0:fffe::1"));
    }

    #[test]
    fn only_this_machine_that_connects_itself_is_not_counted() {
        let mut admission = admission(0);
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let decision = admission.admit(ip(peer));
            assert!(matches!(decision, AdmissionDecision::Uncounted), "{peer}");
        }
        assert!(is_full(&mut admission, "10.1.2.3"));
        for naming in [Naming::Proxies, Naming::Unknown(Unnamed::NoHeader)] {
            let forwarded = Client { naming, ..ip("127.0.0.1") };
            let decision = admission.admit(forwarded);
            assert!(matches!(decision, AdmissionDecision::AddressFull), "{naming:?}");
        }
    }

    #[test]
    fn clients_of_a_unix_socket_that_names_none_share_one_place() {
        let mut admission = admission(1);
        let naming = Naming::Unknown(Unnamed::NoHeader);
        let unnamed = Client { peer: Peer::Unix, naming };
        let first = counted(admission.admit(unnamed));
        assert!(matches!(admission.admit(unnamed), AdmissionDecision::AddressFull));
        let _other = counted(admission.admit(ip("192.0.2.1")));
        drop(first);
        counted(admission.admit(unnamed));
    }

    #[test]
    fn addresses_without_connections_are_forgotten_and_a_site_keeps_its_count() {
        let mut admission = admission(1);
        let kept = counted(admission.admit(ip("192.0.2.1")));
        let site: Vec<UnauthenticatedPermit> = (0..SUBNETS_PER_SITE)
            .map(|subnet| counted(admission.admit(ip(&format!("2001:db8:0:{subnet:x}::1")))))
            .collect();
        for host in 0..5_000_u32 {
            drop(admission.admit(at(Ipv4Addr::from_bits(0x0b00_0000 + host).into())));
            let other = u128::from(host) << 80 | 0x2002 << 112;
            drop(admission.admit(at(Ipv6Addr::from_bits(other).into())));
        }
        assert!(admission.counts.subnets.len() <= 2 * FIRST_SWEEP_ADDRESSES);
        assert!(admission.counts.sites.len() <= 2 * FIRST_SWEEP_ADDRESSES);
        assert!(is_full(&mut admission, "192.0.2.1"));
        assert!(is_full(&mut admission, "2001:db8:0:ffff::1"));
        drop((kept, site));
    }
}
