//! Addresses and networks of peers. What no connection can come from is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, or all addresses that share its first `prefix_bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a text names no peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// Neither an address nor a network.
    NotANetwork,
    /// An address that nothing connects from: unspecified, multicast or broadcast.
    NoPeer,
    /// Of peers that may read the metrics: a trusted proxy, which asks for others.
    Proxy,
    /// Some IPv4 addresses written as IPv6 among others: IPv4 peers count as IPv4.
    Mapped,
}

impl Network {
    /// Reads `10.0.0.7`, `10.0.0.0/8` or `fd00::/8`.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::NotANetwork)?;
        let width = width(address);
        let prefix_bits = match bits {
            Some(bits) => {
                let bits = bits.parse().ok().filter(|bits| *bits <= width);
                bits.ok_or(NetworkError::NotANetwork)?
            }
            None => width,
        };
        Self { address, prefix_bits }.canonical()
    }

    /// Whether `peer` is one of these addresses. IPv4 written as IPv6 counts as IPv4.
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_bits)
            }
            _ => false,
        }
    }

    /// Whether all addresses of `other` are among these.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix_bits <= other.prefix_bits && self.contains(other.address)
    }

    /// Whether this machine is among these addresses, as it connects to itself.
    pub fn has_loopback(&self) -> bool {
        let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        self.address.is_loopback() || local.into_iter().any(|address| self.contains(address))
    }

    /// As peers are compared with it.
    fn canonical(self) -> Result<Self, NetworkError> {
        let Self { address, prefix_bits } = self;
        let network = match address {
            IpAddr::V6(mapped) if is_mapped(mapped) => match prefix_bits.checked_sub(MAPPED_BITS) {
                Some(prefix_bits) => Self { address: address.to_canonical(), prefix_bits },
                None => return Err(NetworkError::Mapped),
            },
            _ => self,
        };
        if network.is_nobody() { Err(NetworkError::NoPeer) } else { Ok(network) }
    }

    fn is_nobody(&self) -> bool {
        let is_one = self.prefix_bits == width(self.address);
        let (is_broadcast, multicast_bits) = match self.address {
            IpAddr::V4(address) => (address.is_broadcast(), 4),
            IpAddr::V6(_) => (false, 8),
        };
        let is_multicast = self.address.is_multicast() && self.prefix_bits >= multicast_bits;
        is_multicast || (is_one && (self.address.is_unspecified() || is_broadcast))
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_mapped(address: Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some()
}

/// How many bits of a mapped address say that it is one.
const MAPPED_BITS: u8 = 96;

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANetwork => "write an IP address or a network such as 10.0.0.0/8",
            Self::NoPeer => {
                "no connection comes from this address; for all of them write 0.0.0.0/0 and ::/0"
            }
            Self::Proxy => {
                "trustedProxies names it too, and a proxy asks for others: set metricsListen, or \
                 ask for a token with METRICS_TOKEN_FILE"
            }
            Self::Mapped => "IPv4 peers are compared as IPv4; write the network as in 10.0.0.0/8",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_peers_that_share_its_prefix() {
        for (network, peer, is_in) in [
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.7", "10.0.0.7", true),
        ] {
            let parsed = Network::parse(network).expect(network);
            let peer: IpAddr = peer.parse().expect("an address");
            assert_eq!(parsed.contains(peer), is_in, "{network} {peer}");
        }
    }

    #[test]
    fn what_no_peer_can_be_in_is_refused() {
        use NetworkError::{Mapped, NoPeer, NotANetwork};
        for (text, error) in [
            ("proxy.local", NotANetwork),
            ("10.0.0.0/33", NotANetwork),
            ("10.0.0.0/", NotANetwork),
            ("fe80::1%eth0", NotANetwork),
            ("0.0.0.0", NoPeer),
            ("::", NoPeer),
            ("::ffff:0.0.0.0", NoPeer),
            ("255.255.255.255", NoPeer),
            ("224.0.0.0/4", NoPeer),
            ("ff02::1", NoPeer),
            ("::ffff:10.0.0.0/64", Mapped),
        ] {
            assert_eq!(Network::parse(text), Err(error), "{text}");
        }
        assert!(Network::parse("128.0.0.0/1").is_ok());
    }
}
