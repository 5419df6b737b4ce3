//! Requests that the server sends to others over HTTP: the messages of webhooks, and those for key sets.
//! Knows which addresses a name may stand for. Redirects are not followed, since they could lead to
//! where the configuration does not point.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls::ClientConfig;
use tower_service::Service;
use url::{Host, Url};

/// A client of its own connections. Clones share them.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// Which addresses names may stand for. An address in a URL is not a name: its caller judges it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// Those of the public internet.
    Public,
    /// Those of this machine.
    Loopback,
    /// All.
    Any,
}

/// Finds the addresses of a name, and passes on those alone that may be reached. What it gives is
/// what is connected to, so a name cannot stand for another address a moment later.
#[derive(Clone, Debug)]
pub(crate) struct Resolver(Reach);

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Every address that the name stands for is out of [`Reach`].
    NotReachable,
    /// The innermost reason that the system, TLS or HTTP gives.
    Other(String),
}

/// What the server calls itself.
pub(crate) const AGENT: &str = concat!("herenow/", env!("CARGO_PKG_VERSION"));

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One message of an endpoint is on its way at a time.
const MAX_IDLE_CONNECTIONS: usize = 2;

/// Speaks HTTP and HTTPS to addresses within `reach`.
pub(crate) fn client(reach: Reach, tls: ClientConfig) -> HttpClient {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(reach));
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
    let connector = connector.https_or_http().enable_http1().wrap_connector(tcp);
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_max_idle_per_host(MAX_IDLE_CONNECTIONS).build(connector)
}

/// Why this request failed, without the layers that it went through.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> Failure {
    let mut source = error;
    while let Some(next) = source.source() {
        if next.downcast_ref::<NotReachable>().is_some() {
            return Failure::NotReachable;
        }
        source = next;
    }
    Failure::Other(source.to_string())
}

impl Reach {
    fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => address.is_loopback(),
            Self::Public => is_public(address),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self(reach) = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (reachable, others): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|address| reach.has(address.ip()));
            if reachable.is_empty() && !others.is_empty() {
                return Err(io::Error::other(NotReachable));
            }
            Ok(reachable.into_iter())
        })
    }
}

/// Every address that a name stands for is out of reach.
#[derive(Debug)]
struct NotReachable;

impl fmt::Display for NotReachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its address is not one that may be reached")
    }
}

impl Error for NotReachable {}

/// The address that stands in a URL in place of a name.
pub(crate) fn address_of(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// Whether an address is of the public internet: not of this machine, of a private or link-local
/// network, or of a range that stands for another one.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Shared by customers of one provider, protocol assignments, and benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let last_32_bits = || {
        let [.., high, low] = segments;
        Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
    };
    match segments {
        // IPv4 written as IPv6, translated by NAT64, or tunnelled by 6to4.
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            is_public_v4(last_32_bits())
        }
        [0x2002, high, low, ..] => {
            is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        [0, 0, 0, 0, 0, 0, _, _] | [0x64, 0xff9b, 1, ..] | [0x2001, 0xdb8, ..] => false,
        // Unique local, link-local, site-local, multicast.
        [first, ..] => !matches!(first, 0xfc00..=0xfdff | 0xfe80..=0xfeff | 0xff00..=0xffff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_of_private_networks_are_not_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:db8::1",
            "::7f00:1",
        ] {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }
}
