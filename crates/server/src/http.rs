//! The front door: takes connections, answers HTTP, and hands upgraded sockets to the loops. Bounds
//! what is inside at any moment; what waits outside waits in the listener's backlog.
//!
//! Knows paths and statuses; what a page holds, whether a handshake is right and who may knock are
//! known to `dev`, `upgrade` and `admission`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use herenow_wire::{CloseCode, DefaultChannel, frame};
use hyper::body::{Body, Incoming};
use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, VIA};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::admission::{Admission, Entrance, Head, Newcomer};
use crate::answer::{self, Answer};
use crate::auth::Minter;
use crate::config::{Pages, Settings};
use crate::dev;
use crate::loops::{Adopted, Loops};
use crate::metrics::{self, DoorMetrics};
use crate::upgrade::{self, RequestHead};

/// What every request may need.
pub(crate) struct FrontDoor {
    pub settings: Arc<Settings>,
    pub loops: Loops,
    pub pages: Pages,
    /// What development tokens are signed with.
    pub minter: Option<Minter>,
    pub metrics: DoorMetrics,
}

/// Where WebSockets are opened.
pub const REALTIME_PATH: &str = "/api/realtime";

/// Connections that HTTP holds at once, those whose head has not arrived included. An HTTP
/// connection costs kilobytes, a WebSocket does not; without a bound a herd of thousands of
/// handshakes would leave that memory behind.
const MAX_HTTP_CONNECTIONS: usize = 256;

/// How long a head may take, and how long a kept-alive connection may idle before the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may stay HTTP in all.
const MAX_HTTP_LIFETIME: Duration = Duration::from_secs(60);

/// How long answers that are under way may take once the connection should end.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest head; a longer one is answered 431.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long to leave the listener alone when it fails, as it does at once and again while files
/// have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

/// Takes connections until `closing` changes, and returns when HTTP holds none any more.
pub(crate) async fn serve(
    door: Arc<FrontDoor>,
    listener: TcpListener,
    mut closing: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
    let attended = closing.clone();
    tokio::select! {
        () = accept(&door, &listener, &places, attended) => {}
        _ = closing.changed() => {}
    }
    drop(listener);
    let everybody = u32::try_from(MAX_HTTP_CONNECTIONS).expect("a small constant");
    let _ = timeout(2 * LAST_ANSWER_TIMEOUT, places.acquire_many(everybody)).await;
}

async fn accept(
    door: &Arc<FrontDoor>,
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    closing: watch::Receiver<bool>,
) {
    let mut admission = Admission::new(Arc::clone(&door.settings));
    let mut last_complaint: Option<Instant> = None;
    loop {
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.expect("nobody closes the semaphore");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                door.metrics.accept_failures.fetch_add(1, Ordering::Relaxed);
                if last_complaint.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
                    last_complaint = Some(Instant::now());
                    tracing::error!(%error, "no connection can be taken; more files may be needed");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (head, admitted) = match admission.admit(peer.ip()) {
            Entrance::Uncounted => (None, Admitted::As(None)),
            Entrance::Counted(head, newcomer) => (Some(head), Admitted::As(Some(newcomer))),
            Entrance::NoMoreNewcomers(head) => (Some(head), Admitted::ToHttpAlone),
            Entrance::NoMoreHeads => {
                count(&door.metrics.refused_address_full);
                continue;
            }
        };
        let visit = Visit { door: Arc::clone(door), peer, admitted, _place: place, _head: head };
        tokio::spawn(visit.attend(stream, closing.clone()));
    }
}

/// One connection that HTTP holds.
struct Visit {
    door: Arc<FrontDoor>,
    peer: SocketAddr,
    admitted: Admitted,
    _place: OwnedSemaphorePermit,
    _head: Option<Head>,
}

/// What the connection may become.
enum Admitted {
    /// A WebSocket, which is counted while it holds the guard.
    As(Option<Newcomer>),
    /// No WebSocket: its address has too many newcomers.
    ToHttpAlone,
}

impl Visit {
    /// Answers requests until the connection ends or has become a WebSocket.
    async fn attend(self, stream: TcpStream, mut closing: watch::Receiver<bool>) {
        let upgraded = OnceLock::new();
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(|request| Box::pin(self.answer(request, &upgraded))),
            );
        let is_overdue = tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                if ended.is_err() {
                    return;
                }
                false
            }
            _ = closing.changed() => true,
            () = sleep(MAX_HTTP_LIFETIME) => true,
        };
        if is_overdue {
            Pin::new(&mut connection).graceful_shutdown();
            let last_answer = poll_fn(|cx| connection.poll_without_shutdown(cx));
            if !matches!(timeout(LAST_ANSWER_TIMEOUT, last_answer).await, Ok(Ok(()))) {
                return;
            }
        }
        let parts = connection.into_parts();
        let (stream, first_bytes) = (parts.io.into_inner(), parts.read_buf);
        if let Some(default_channel) = upgraded.into_inner() {
            // A copy of the size that is needed: the buffer itself is hyper's, and large.
            self.hand_over(stream, first_bytes.to_vec(), default_channel);
        }
    }

    fn hand_over(self, stream: TcpStream, first_bytes: Vec<u8>, default_channel: DefaultChannel) {
        let Admitted::As(newcomer) = self.admitted else { return };
        // A socket that fails here is broken, and was nobody's yet.
        let Ok(stream) = stream.into_std() else { return };
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let adopted = Adopted { stream, first_bytes, default_channel, newcomer };
        match self.door.loops.adopt(adopted) {
            Ok(()) => count(&self.door.metrics.upgraded),
            Err(mut refused) => {
                count(&self.door.metrics.refused_server_full);
                let mut close = Vec::new();
                frame::write_close(&mut close, CloseCode::Overloaded, "");
                // The socket ends either way; the frame only says why.
                let _ = refused.stream.write_all(&close);
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        upgraded: &OnceLock<DefaultChannel>,
    ) -> Result<Answer, Infallible> {
        let door = &*self.door;
        let path = request.uri().path();
        Ok(match (path, door.pages) {
            (REALTIME_PATH, _) => self.open(&request, upgraded),
            ("/health", _) => {
                only_reads(&request).unwrap_or_else(|| answer::text(StatusCode::OK, "ok\n"))
            }
            ("/metrics", _) if self.may_read_metrics(request.headers()) => {
                only_reads(&request).unwrap_or_else(|| door.metrics_page())
            }
            ("/dev/token", Pages::Development) => match &door.minter {
                Some(minter) => dev::token(request, minter).await,
                None => not_found(),
            },
            (path, Pages::Development) => {
                only_reads(&request).or_else(|| dev::page(path)).unwrap_or_else(not_found)
            }
            ("/", Pages::Production) => {
                only_reads(&request).unwrap_or_else(|| answer::text(StatusCode::OK, WELCOME))
            }
            (_, Pages::Production) => not_found(),
        })
    }

    /// The answer to a request for a WebSocket; sets `upgraded` where it is one.
    fn open(&self, request: &Request<Incoming>, upgraded: &OnceLock<DefaultChannel>) -> Answer {
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
                let refused = answer::text(refusal.status(), refusal.sentence());
                return answer::with_headers(refused, refusal.headers());
            }
        };
        if matches!(self.admitted, Admitted::ToHttpAlone) {
            count(&door.metrics.refused_address_full);
            return come_back_later(StatusCode::TOO_MANY_REQUESTS, ADDRESS_FULL);
        }
        if door.loops.connections() >= door.settings.max_connections {
            count(&door.metrics.refused_server_full);
            return come_back_later(StatusCode::SERVICE_UNAVAILABLE, SERVER_FULL);
        }
        let default_channel =
            std::mem::replace(&mut handshake.default_channel, DefaultChannel::None);
        if upgraded.set(default_channel).is_err() {
            return answer::text(StatusCode::BAD_REQUEST, "This connection upgrades already.\n");
        }
        let mut switching = Answer::default();
        *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer::with_headers(switching, handshake.headers())
    }

    /// Peers on this machine, unless a proxy speaks for somebody else, and those that the settings
    /// name.
    fn may_read_metrics(&self, headers: &HeaderMap) -> bool {
        let peer = self.peer.ip().to_canonical();
        let is_forwarded = FORWARDING.iter().any(|name| headers.contains_key(name));
        let is_named = |peer| {
            let networks = &self.door.settings.metrics_from;
            networks.iter().any(|network| network.contains(peer))
        };
        (peer.is_loopback() && !is_forwarded) || is_named(peer)
    }
}

impl FrontDoor {
    fn metrics_page(&self) -> Answer {
        let page = metrics::render(&self.loops.metrics(), &self.metrics);
        answer::body(StatusCode::OK, "text/plain; version=0.0.4", page.into())
    }
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

/// Errors of one connection that was gone before it was taken; the listener is well.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What proxies add to a request that is not their own.
const FORWARDING: [HeaderName; 3] = [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for")];

const WELCOME: &str = "This is Herenow, a presence server. WebSockets open at /api/realtime; \
                       docs/protocol.md of the project says what to send.\n";
const ADDRESS_FULL: &str = "Too many connections of this address have not signed in yet.\n";
const SERVER_FULL: &str = "The server holds as many connections as it may.\n";

#[cfg(test)]
mod tests;
