//! One message to one endpoint: which addresses it may reach, how it is signed, and what the answer
//! means. Redirects are not followed: they could lead to where the configuration does not point.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;
use url::{Host, Url};

use super::Webhook;
use super::event::Event;
use super::secret::WebhookSecrets;
use crate::clock::unix_ms;
use crate::tls;

/// Sends messages. Clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Poster {
    to_public: HttpClient,
    to_any: HttpClient,
}

type HttpClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// A message keeps its id however often it is sent.
#[derive(Debug)]
pub(super) struct Message {
    id: String,
    body: String,
}

/// What an endpoint has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has the message.
    Taken,
    /// It wants no more.
    Gone,
}

/// Why a message was not taken. It is sent again.
#[derive(Debug)]
pub(super) enum PostError {
    /// The answer has this status.
    Status(u16),
    /// No answer came in time.
    TimedOut,
    /// The address is not one that the endpoint may have.
    Private,
    /// No connection, or none that can be trusted.
    Connection(String),
}

/// Which addresses names may stand for.
#[derive(Clone, Copy, Debug)]
enum Reach {
    Public,
    Any,
}

/// Finds the addresses of a name, and passes on those alone that may be reached. What it gives is
/// what is connected to, so a name cannot stand for another address a moment later.
#[derive(Clone, Debug)]
struct Resolver(Reach);

/// How long an endpoint may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer is not looked at; reading a short one keeps the connection for the next message.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

impl Poster {
    pub(super) fn new() -> io::Result<Self> {
        let tls = tls()?;
        Ok(Self { to_public: client(Reach::Public, tls.clone()), to_any: client(Reach::Any, tls) })
    }

    pub(super) async fn post(
        &self,
        webhook: &Webhook,
        message: &Message,
        secrets: &WebhookSecrets,
    ) -> Result<Answer, PostError> {
        let client = match webhook.allow_private_networks {
            true => &self.to_any,
            // The resolver is not asked about these.
            false if address_of(&webhook.url).is_some_and(|address| !is_public(address)) => {
                return Err(PostError::Private);
            }
            false => &self.to_public,
        };
        let timestamp = unix_ms() / 1000;
        let request = Request::builder()
            .method(Method::POST)
            .uri(webhook.url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("herenow/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", secrets.sign(&message.id, timestamp, &message.body))
            .body(Full::from(message.body.clone()));
        let request = request.map_err(|error| PostError::Connection(error.to_string()))?;
        let status = timeout(ANSWER_TIMEOUT, exchange(client, request)).await;
        match status.map_err(|_| PostError::TimedOut)?? {
            200..300 => Ok(Answer::Taken),
            410 => Ok(Answer::Gone),
            status => Err(PostError::Status(status)),
        }
    }
}

async fn exchange(client: &HttpClient, request: Request<Full<Bytes>>) -> Result<u16, PostError> {
    let answer = client.request(request).await.map_err(|error| {
        let mut source: &dyn std::error::Error = &error;
        while let Some(next) = source.source() {
            if next.downcast_ref::<NotReachable>().is_some() {
                return PostError::Private;
            }
            source = next;
        }
        PostError::Connection(source.to_string())
    })?;
    let status = answer.status().as_u16();
    let _ = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    Ok(status)
}

impl Message {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut random = [0; 18];
        // Without randomness messages of one millisecond share an id, which its receiver may skip.
        if getrandom::fill(&mut random).is_err() {
            random[..8].copy_from_slice(&unix_ms().to_be_bytes());
        }
        let events: Vec<&str> = events.iter().map(Event::json).collect();
        Self {
            id: format!("msg_{}", URL_SAFE_NO_PAD.encode(random)),
            body: format!(r#"{{"events":[{}]}}"#, events.join(",")),
        }
    }
}

fn client(reach: Reach, tls: ClientConfig) -> HttpClient {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(reach));
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
    let connector = connector.https_or_http().enable_http1().wrap_connector(tcp);
    // One message of an endpoint is on its way at a time.
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(2).build(connector)
}

/// Without authorities, endpoints by plain HTTP are still reached.
fn tls() -> io::Result<ClientConfig> {
    tls::client_config().or_else(|error| {
        tracing::warn!("webhooks reach no https endpoint: {error}");
        tls::trusting(RootCertStore::empty())
    })
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
            let may = |address: &SocketAddr| match reach {
                Reach::Any => true,
                Reach::Public => is_public(address.ip()),
            };
            let (reachable, others): (Vec<_>, Vec<_>) = found.into_iter().partition(may);
            if reachable.is_empty() && !others.is_empty() {
                return Err(io::Error::other(NotReachable));
            }
            Ok(reachable.into_iter())
        })
    }
}

/// Every address that a name stands for is private.
#[derive(Debug)]
struct NotReachable;

impl fmt::Display for NotReachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PostError::Private.fmt(f)
    }
}

impl std::error::Error for NotReachable {}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status @ 300..400) => {
                write!(f, "the answer is {status}, and redirects are not followed")
            }
            Self::Status(status) => write!(f, "the answer is {status}"),
            Self::TimedOut => write!(f, "no answer came in {} s", ANSWER_TIMEOUT.as_secs()),
            Self::Private => f.write_str(
                "its address is on this machine or in a private network; set \
                 `allowPrivateNetworks: true` if that is meant",
            ),
            Self::Connection(error) => f.write_str(error),
        }
    }
}

/// The address that stands in a URL in place of a name.
pub fn address_of(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// Whether an address is of the public internet: not of this machine, of a private or link-local
/// network, or of a range that stands for another one.
pub fn is_public(address: IpAddr) -> bool {
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
