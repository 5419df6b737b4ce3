//! Which request gets which answer. Whether a handshake is right and what a page holds are known to
//! `upgrade`, `console` and `dev`.

use std::sync::OnceLock;
use std::time::Instant;

use herenow_wire::DefaultChannel;
use hyper::body::{Body, Incoming};
use hyper::header::{HOST, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Version};

use super::metrics_access::{self, Reader};
use super::visit::{Upgraded, Visit};
use super::{Api, FrontDoor, Port, REALTIME_PATH, count, health};
use crate::admission::AdmissionDecision;
use crate::answer::{self, Answer};
use crate::client_address::Client;
use crate::config::Pages;
use crate::metrics::BesideMetrics;
use crate::upgrade::{self, NoUpgrade, RequestHead};
use crate::{console, dev, metrics};

/// Of an origin that is logged.
const SHOWN_ORIGIN_CHARS: usize = 200;

const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

impl Visit {
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        upgraded: &OnceLock<Upgraded>,
    ) -> Answer {
        if !names_one_host(&request) {
            return answer::text(StatusCode::BAD_REQUEST, NO_HOST);
        }
        let door = &*self.door;
        let path = request.uri().path();
        if self.port == Port::Metrics {
            return self.answer_operator(&request);
        }
        match (path, door.pages) {
            (REALTIME_PATH, _) => self.open(&request, upgraded),
            ("/health" | "/health/live" | "/health/ready" | "/metrics", _) => {
                self.answer_operator(&request)
            }
            ("/dev/token", Pages::Development) => match &door.minter {
                Some(minter) => dev::token(request, minter).await,
                None => not_found(),
            },
            ("/dev/service-key", Pages::Development) => {
                dev::service_key(&request, door.run_key.as_ref())
            }
            (path, _) if console::has(path) => self.answer_console(&request),
            (path, _) if Api::has(path) => door.api.answer(request).await,
            (path, Pages::Development) => {
                let page = || dev::page(path, request.headers());
                only_reads(&request).or_else(page).unwrap_or_else(not_found)
            }
            ("/", Pages::Production) => {
                only_reads(&request).unwrap_or_else(|| answer::text(StatusCode::OK, WELCOME))
            }
            (_, Pages::Production) => not_found(),
        }
    }

    /// The answer to a request for a WebSocket; sets `upgraded` where it is one.
    fn open(&self, request: &Request<Incoming>, upgraded: &OnceLock<Upgraded>) -> Answer {
        let door = &*self.door;
        let head = RequestHead {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
        };
        let mut handshake = match upgrade::handshake(head, &door.settings.allowed_origins) {
            Ok(handshake) if request.body().is_end_stream() => handshake,
            Ok(_) => return answer::text(StatusCode::BAD_REQUEST, "An upgrade has no body.\n"),
            Err(refusal) => {
                if refusal == NoUpgrade::Origin {
                    self.report_origin(request.headers().get(ORIGIN));
                }
                let refused = answer::text(refusal.status(), refusal.sentence());
                return answer::with_headers(refused, refusal.headers());
            }
        };
        if door.cluster.as_ref().is_some_and(|cluster| !cluster.takes_clients()) {
            return come_back_later(StatusCode::SERVICE_UNAVAILABLE, NOT_JOINED);
        }
        let client = Client::of(self.peer, request.headers(), &door.settings.trusted_proxies);
        let permit = match door.admit(client) {
            AdmissionDecision::Uncounted => None,
            AdmissionDecision::Counted(permit) => Some(permit),
            AdmissionDecision::AddressFull => {
                count(&door.metrics.refused_address_full);
                tracing::debug!(client = %client.peer, "too many unauthenticated connections");
                return come_back_later(StatusCode::TOO_MANY_REQUESTS, ADDRESS_FULL);
            }
        };
        let connections = door.loops.connections();
        if connections >= door.settings.max_connections {
            count(&door.metrics.refused_server_full);
            return come_back_later(StatusCode::SERVICE_UNAVAILABLE, SERVER_FULL);
        }
        // Sessions that lost their socket count as connections, but never keep a live one out.
        if connections + door.loops.detached_sessions() >= door.settings.max_connections {
            door.loops.end_oldest_detached();
        }
        let default_channel =
            std::mem::replace(&mut handshake.default_channel, DefaultChannel::None);
        // Only what a backend may ask for is kept.
        let origin = door.api.is_open().then(|| Box::new(client.origin(request.headers())));
        if upgraded.set(Upgraded { default_channel, permit, origin }).is_err() {
            return answer::text(StatusCode::BAD_REQUEST, "This connection upgrades already.\n");
        }
        tracing::debug!(client = %client.peer, "a WebSocket opens");
        let mut switching = Answer::default();
        *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer::with_headers(switching, handshake.headers())
    }

    /// The origin is what a page in a browser has, or anything that another client sends.
    fn report_origin(&self, origin: Option<&HeaderValue>) {
        let Some(left_out) = self.door.refused_origins.take(Instant::now()) else { return };
        let origin = origin.map(|origin| String::from_utf8_lossy(origin.as_bytes()));
        let origin = origin.unwrap_or_default();
        let shown: String = origin.chars().take(SHOWN_ORIGIN_CHARS).collect();
        tracing::info!(
            origin = ?shown,
            peer = %self.peer,
            left_out,
            "a page was refused, since allowedOrigins does not name its origin"
        );
    }

    /// Without a service key there is nothing that the console could show.
    fn answer_console(&self, request: &Request<Incoming>) -> Answer {
        if !self.door.api.is_open() {
            return console::closed();
        }
        let page = || console::page(request.uri().path(), self.door.pages);
        only_reads(request).or_else(page).unwrap_or_else(not_found)
    }

    /// What both ports answer.
    fn answer_operator(&self, request: &Request<Incoming>) -> Answer {
        let reader = Reader { peer: self.peer, port: self.port, headers: request.headers() };
        match request.uri().path() {
            "/health" => {
                only_reads(request).unwrap_or_else(|| answer::text(StatusCode::OK, "ok\n"))
            }
            "/health/live" => only_reads(request).unwrap_or_else(|| health::live(&self.door)),
            "/health/ready" => only_reads(request).unwrap_or_else(|| health::ready(&self.door)),
            "/metrics" => metrics_access::refusal(&self.door, reader)
                .or_else(|| only_reads(request))
                .unwrap_or_else(|| metrics_page(&self.door)),
            _ => not_found(),
        }
    }
}

/// Whether a request names the host that it is for, and no second one. A proxy and a server that take
/// different ones for the host disagree on who is asked, so RFC 9112 demands 400.
fn names_one_host<B>(request: &Request<B>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

fn metrics_page(door: &FrontDoor) -> Answer {
    let key_set = door.renewal.as_ref().map(|renewal| renewal.metrics());
    let cluster = door.cluster.as_ref().map(|cluster| cluster.metrics());
    let beside = BesideMetrics { webhooks: door.webhooks.metrics(), key_set, cluster };
    let page = metrics::render(&door.loops.metrics(), &door.metrics, &beside);
    answer::body(StatusCode::OK, "text/plain; version=0.0.4", page.into())
}

/// `None` if the request only reads.
fn only_reads(request: &Request<Incoming>) -> Option<Answer> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let refusal = || {
        let answer = answer::text(StatusCode::METHOD_NOT_ALLOWED, "This can only be read.\n");
        let allow = HeaderValue::from_static("GET, HEAD");
        answer::with_headers(answer, [(hyper::header::ALLOW, allow)])
    };
    (!reads).then(refusal)
}

fn not_found() -> Answer {
    answer::text(StatusCode::NOT_FOUND, "There is nothing here.\n")
}

fn come_back_later(status: StatusCode, sentence: &'static str) -> Answer {
    answer::with_headers(answer::text(status, sentence), [(RETRY_AFTER, RETRY_AFTER_S)])
}

const NO_HOST: &str = "The request needs one Host header.\n";
const WELCOME: &str = "This is Herenow, a presence server. WebSockets open at /api/realtime; \
                       docs/protocol.md of the project says what to send.\n";
const ADDRESS_FULL: &str = "Too many connections of this address have not authenticated.\n";
const NOT_JOINED: &str = "The server has not joined its cluster yet, or is leaving it.\n";
const SERVER_FULL: &str = "The server holds as many connections as it may.\n";
