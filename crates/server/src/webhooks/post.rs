//! One message to one endpoint: which addresses it may reach, how it is signed, and what the answer
//! means. Redirects are not followed: they could lead to where the configuration does not point.

use std::fmt;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request};
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Webhook;
use super::event::Event;
use super::secret::WebhookSecrets;
use crate::clock::unix_ms;
use crate::outbound::{self, Failure, HttpClient, Reach, address_of, is_public};
use crate::tls;

/// Sends messages. Clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Poster {
    to_public: HttpClient,
    to_any: HttpClient,
}

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

/// How long an endpoint may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer is not looked at; reading a short one keeps the connection for the next message.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

impl Poster {
    pub(super) fn new() -> io::Result<Self> {
        let tls = tls()?;
        Ok(Self {
            to_public: outbound::client(Reach::Public, tls.clone()),
            to_any: outbound::client(Reach::Any, tls),
        })
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
            .header(USER_AGENT, outbound::AGENT)
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
    let answer = client.request(request).await.map_err(|error| match outbound::cause(&error) {
        Failure::NotReachable => PostError::Private,
        Failure::Other(reason) => PostError::Connection(reason),
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

/// Without authorities, endpoints by plain HTTP are still reached.
fn tls() -> io::Result<ClientConfig> {
    tls::client_config().or_else(|error| {
        tracing::warn!("webhooks cannot use https: {error}");
        tls::trusting(RootCertStore::empty())
    })
}

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
