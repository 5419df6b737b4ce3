//! The address of a client, read from what trusted proxies say of it. Pure: knows headers and
//! networks, and no socket.
//!
//! Each proxy appends the address that it was connected from, so the list is read from the right:
//! the peer is trusted or not, and only what a trusted hop has appended is believed. What stands
//! further left came from the client and may be forged.

mod hops;

use std::fmt;
use std::net::IpAddr;

use herenow_hub::{Address, Origin};
use hyper::header::{FORWARDED, HeaderMap, HeaderName, USER_AGENT};

use crate::config::Network;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Connected over IP. IPv4 written as IPv6 is IPv4 here.
    Ip(IpAddr),
    /// Connected over a Unix socket, and so a proxy on this machine.
    Unix,
}

/// Who a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client. If no address is known, the last trusted proxy that is.
    pub peer: Peer,
    /// How that is known.
    pub naming: Naming,
}

/// How the address of a client is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It has connected itself: no trusted proxy is between.
    Direct,
    /// Trusted proxies name it.
    Proxies,
    /// Trusted proxies forward for it and name no address. All such clients of one proxy look alike.
    Unknown(Unnamed),
}

/// Why trusted proxies name no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// They add neither header.
    NoHeader,
    /// They name something that is no address, such as `unknown` or `_hidden`.
    NoAddress,
    /// `Forwarded` and `X-Forwarded-For` name different addresses. A proxy writes one of the two, and
    /// the client may have forged the other.
    Contradiction,
}

impl Peer {
    /// A peer that has connected from this address.
    pub fn at(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }

    /// Whether this peer is this machine, over IP.
    pub fn is_loopback(self) -> bool {
        matches!(self, Self::Ip(address) if address.is_loopback())
    }

    /// Whether this peer is a proxy whose headers are believed.
    pub fn is_trusted(self, proxies: &[Network]) -> bool {
        match self {
            Self::Ip(address) => proxies.iter().any(|network| network.contains(address)),
            Self::Unix => true,
        }
    }
}

impl Client {
    /// Reads who a request of `peer` comes from.
    pub fn of(peer: Peer, headers: &HeaderMap, proxies: &[Network]) -> Self {
        if !peer.is_trusted(proxies) {
            return Self { peer, naming: Naming::Direct };
        }
        let walk = |name: &HeaderName, read: fn(&str) -> Vec<Option<IpAddr>>| {
            let hops = hops::from_the_right(headers, name, read);
            headers.contains_key(name).then(|| follow(peer, hops, proxies))
        };
        let standard = walk(&FORWARDED, hops::of_forwarded);
        let common = walk(&X_FORWARDED_FOR, hops::of_x_forwarded_for);
        match (standard, common) {
            (None, None) => Self::unknown(peer, Unnamed::NoHeader),
            (Some(client), None) | (None, Some(client)) => client,
            (Some(one), Some(other)) if one == other => one,
            (Some(_), Some(_)) => Self::unknown(peer, Unnamed::Contradiction),
        }
    }

    /// The client as it is remembered, with the program that it says it is.
    pub fn origin(&self, headers: &HeaderMap) -> Origin {
        let address = match (self.peer, self.naming) {
            (Peer::Ip(address), Naming::Unknown(_)) => Address::Behind(address),
            (Peer::Ip(address), _) => Address::Ip(address),
            (Peer::Unix, _) => Address::Unix,
        };
        let agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        Origin { address, agent: agent.map(|agent| printable(&agent)) }
    }

    fn unknown(peer: Peer, why: Unnamed) -> Self {
        Self { peer, naming: Naming::Unknown(why) }
    }
}

/// Goes from one trusted hop to the one that it names, up to the first that is not trusted. If all
/// are, the client is the furthest.
fn follow(peer: Peer, hops: impl Iterator<Item = Option<IpAddr>>, proxies: &[Network]) -> Client {
    let mut client = Client::unknown(peer, Unnamed::NoAddress);
    for hop in hops {
        let Some(address) = hop else { return Client::unknown(client.peer, Unnamed::NoAddress) };
        client = Client { peer: Peer::at(address), naming: Naming::Proxies };
        if !client.peer.is_trusted(proxies) {
            break;
        }
    }
    client
}

/// As much of a text of a client as is shown to people.
fn printable(text: &str) -> Box<str> {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.take(MAX_AGENT_CHARS).collect::<String>().into()
}

/// Characters of a `User-Agent` that are handed on. What of it is kept is the hub's to say.
const MAX_AGENT_CHARS: usize = 256;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeader => "it sends neither X-Forwarded-For nor Forwarded",
            Self::NoAddress => "the value is not an address",
            Self::Contradiction => {
                "X-Forwarded-For and Forwarded differ: have the proxy remove the one that it does \
                 not write"
            }
        })
    }
}

#[cfg(test)]
mod tests;
