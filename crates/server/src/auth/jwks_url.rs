//! A key set that is fetched from a URL: which URLs may be fetched, what an answer means, and whether a
//! failure may pass. Bounds the time and the size of an answer and follows no redirect.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, LOCATION, USER_AGENT};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use super::jwks::{Jwks, JwksError, MAX_JWKS_BYTES};
use super::jwks_schedule::freshness;
use crate::outbound::{self, Failure, HttpClient, Reach};
use crate::tls;

/// A key set, where it comes from, and what came of the first fetch.
#[derive(Clone, Debug)]
pub struct JwksUrl {
    url: JwksAddress,
    pub(super) first: Result<Fetched, FetchError>,
    pub(super) fetched_at: Instant,
}

/// A URL that a key set may be fetched from.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksAddress(Url);

/// Why a URL cannot be one of a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksUrlError {
    /// It is not `https://…`, and not `http://` of this machine.
    Refused(&'static str),
    /// What it brought is no key set, and waiting does not help or is not possible.
    Wrong(String, FetchError),
    /// This machine cannot fetch anything.
    Machine(String),
}

/// An answer with a key set.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) jwks: Jwks,
    /// How long it need not be fetched again.
    pub(super) fresh: Duration,
    pub(super) body: Bytes,
}

/// Why a fetch brought no key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// No connection, or none that can be trusted.
    Connection(String),
    /// The name of this machine does not stand for one of its own addresses.
    NotThisMachine,
    /// No whole answer in [`FETCH_TIMEOUT`].
    TimedOut,
    /// The answer is not 200. If it is a redirect, where to.
    Status(u16, Option<String>),
    /// The answer is no key set.
    Set(JwksError),
}

/// Fetches one key set. Has a runtime of its own, for the thread that uses it.
pub(super) struct Fetcher {
    /// Only absent while this is dropped.
    runtime: Option<Runtime>,
    client: HttpClient,
    address: JwksAddress,
}

/// How long an endpoint may take for a whole answer.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Of a redirect's target that is shown.
const SHOWN_TARGET_CHARS: usize = 200;

impl JwksUrl {
    /// Fetches the set for the first time. If the endpoint does not answer now, there are no keys yet; what
    /// it answers wrongly is an error.
    pub fn open(url: &str) -> Result<Self, JwksUrlError> {
        let address = JwksAddress::parse(url)?;
        let fetcher = Fetcher::new(address.clone());
        let first = fetcher.map_err(|error| JwksUrlError::Machine(error.to_string()))?.fetch();
        match first {
            Err(error) if !error.may_pass() => Err(JwksUrlError::Wrong(address.to_string(), error)),
            first => Ok(Self { url: address, first, fetched_at: Instant::now() }),
        }
    }

    /// The keys, unless the endpoint has not answered.
    pub fn jwks(&self) -> Option<&Jwks> {
        self.first.as_ref().ok().map(|fetched| &fetched.jwks)
    }

    /// What the operator should hear of an endpoint that has not answered.
    pub fn warning(&self) -> Option<String> {
        let error = self.first.as_ref().err()?;
        Some(format!(
            "the key set at {} cannot be fetched: {error}. It is tried again, at least once a minute; \
             until it is there, connections that need it are told to come back later",
            self.url
        ))
    }

    /// Why there are no keys yet.
    pub(super) fn failure(&self) -> Option<JwksUrlError> {
        let error = self.first.as_ref().err()?;
        Some(JwksUrlError::Wrong(self.url.to_string(), error.clone()))
    }

    pub(super) fn address(&self) -> &JwksAddress {
        &self.url
    }
}

impl JwksAddress {
    /// Whether a text that could name a file is meant as a URL.
    pub fn is_meant_by(text: &str) -> bool {
        let has =
            |scheme: &str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        has("https://") || has("http://")
    }

    fn parse(text: &str) -> Result<Self, JwksUrlError> {
        let url = Url::parse(text).map_err(|_| JwksUrlError::Refused("it is not a URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(JwksUrlError::Refused(
                "it should not have a user or a password: key sets are public",
            ));
        }
        if url.scheme() == "https" || is_of_this_machine(&url) {
            return Ok(Self(url));
        }
        Err(JwksUrlError::Refused(
            "it should begin with https://, since keys that come unencrypted can be replaced on their \
             way; http:// is for localhost, 127.0.0.1 and [::1] alone",
        ))
    }

    fn reach(&self) -> Reach {
        // A name of this machine that leads elsewhere would be asked in the clear.
        if self.0.scheme() == "http" { Reach::Loopback } else { Reach::Any }
    }
}

fn is_of_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Fetcher {
    pub(super) fn new(address: JwksAddress) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = outbound::client(address.reach(), tls_for(&address)?);
        Ok(Self { runtime: Some(runtime), client, address })
    }

    pub(super) fn fetch(&self) -> Result<Fetched, FetchError> {
        let runtime = self.runtime.as_ref().expect("it is there until this is dropped");
        let fetching = async { timeout(FETCH_TIMEOUT, self.exchange()).await };
        runtime.block_on(fetching).unwrap_or(Err(FetchError::TimedOut))
    }

    async fn exchange(&self) -> Result<Fetched, FetchError> {
        let request = Request::get(self.address.0.as_str())
            .header(USER_AGENT, outbound::AGENT)
            .header(ACCEPT, "application/json")
            // The next fetch is minutes away.
            .header(CONNECTION, "close")
            .body(Full::default())
            .map_err(|error| FetchError::Connection(error.to_string()))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| match outbound::cause(&error) {
            Failure::NotReachable => FetchError::NotThisMachine,
            Failure::Other(reason) => FetchError::Connection(reason),
        })?;
        let status = answer.status();
        if status != 200 {
            let to = answer.headers().get(LOCATION).filter(|_| status.is_redirection());
            let shown = |text: &str| {
                text.chars().filter(|c| !c.is_control()).take(SHOWN_TARGET_CHARS).collect()
            };
            let to = to.and_then(|to| to.to_str().ok()).map(shown);
            return Err(FetchError::Status(status.as_u16(), to));
        }
        let fresh = freshness(answer.headers());
        let body = Limited::new(answer.into_body(), MAX_JWKS_BYTES).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => FetchError::Set(JwksError::TooLong),
            None => FetchError::Connection("the answer ended before its end".into()),
        })?;
        let body = body.to_bytes();
        let jwks = Jwks::parse(&body).map_err(FetchError::Set)?;
        Ok(Fetched { jwks, fresh, body })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // The system may still look for the addresses of a name, for longer than a fetch may take.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Plain HTTP needs no authorities.
fn tls_for(address: &JwksAddress) -> io::Result<ClientConfig> {
    match address.0.scheme() {
        "http" => tls::trusting(RootCertStore::empty()),
        _ => tls::client_config(),
    }
}

impl FetchError {
    /// Whether the same endpoint may answer rightly later, without a change of the configuration.
    fn may_pass(&self) -> bool {
        match self {
            Self::Connection(_) | Self::TimedOut => true,
            Self::Status(status, _) => matches!(status, 408 | 425 | 429 | 500..),
            Self::NotThisMachine | Self::Set(_) => false,
        }
    }
}

/// Without the query, in which there may be a secret.
impl fmt::Display for JwksAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.port().map_or_else(String::new, |port| format!(":{port}"));
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}{port}{}", self.0.scheme(), self.0.path())
    }
}

impl fmt::Debug for JwksAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(reason) => f.write_str(reason),
            Self::NotThisMachine => f.write_str(
                "its name does not stand for this machine, and http:// is for this machine alone",
            ),
            Self::TimedOut => write!(f, "no answer came in {} s", FETCH_TIMEOUT.as_secs()),
            Self::Status(status, Some(to)) => write!(
                f,
                "the answer is {status}, and redirects are not followed; it leads to {to}"
            ),
            Self::Status(status, None) => write!(f, "the answer is {status}"),
            Self::Set(error) => write!(f, "the answer is refused: {error}"),
        }
    }
}

impl fmt::Display for JwksUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "the URL of the key set cannot be used: {reason}"),
            Self::Wrong(address, error) => {
                write!(f, "the key set at {address} cannot be used: {error}")
            }
            Self::Machine(reason) => write!(f, "key sets cannot be fetched: {reason}"),
        }
    }
}

impl std::error::Error for JwksUrlError {}
