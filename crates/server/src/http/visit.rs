//! One connection that HTTP holds, from its first byte until it ends or has become a WebSocket.
//! Which request gets which answer is known to `routes`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use herenow_hub::{Opening, Origin};
use herenow_wire::{CloseCode, DefaultChannel, frame};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{SetOnce, watch};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::places::Place;
use super::streams::Progress;
use super::{FrontDoor, Port, count};
use crate::admission::UnauthenticatedPermit;
use crate::answer::Answer;
use crate::client_address::Peer;
use crate::listener::Stream;
use crate::loops::AcceptedSocket;

/// How long a head may take, and how long a kept-alive connection may idle before the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may stay HTTP in all.
const MAX_HTTP_LIFETIME: Duration = Duration::from_secs(60);

/// How long answers that are under way may take once the connection should end.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest head; a longer one is answered 431. Also what hyper holds of requests that the peer
/// sends ahead, and of answers that it does not read.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// See the module.
pub(super) struct Visit {
    pub(super) door: Arc<FrontDoor>,
    pub(super) port: Port,
    pub(super) peer: Peer,
    pub(super) place: Place,
}

/// A connection that becomes a WebSocket.
pub(super) struct Upgraded {
    pub(super) default_channel: DefaultChannel,
    /// Counts it towards its client's address, if that is counted.
    pub(super) permit: Option<UnauthenticatedPermit>,
    /// Where it comes from, if that is to be remembered.
    pub(super) origin: Option<Box<Origin>>,
}

/// How a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// At once.
    Now,
    /// After the answers that are under way.
    AfterAnswer,
}

impl Visit {
    /// Answers requests until the connection ends or has become a WebSocket.
    pub(super) async fn attend(self, socket: impl Stream, mut closing: watch::Receiver<bool>) {
        let upgraded = OnceLock::new();
        let stream = SetOnce::new();
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(
                TokioIo::new(socket),
                service_fn(|request| Box::pin(self.take_turn(request, (&upgraded, &stream)))),
            );
        let due = tokio::select! {
            // What has arrived is answered first, whatever else is due.
            biased;
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                if ended.is_err() {
                    return;
                }
                None
            }
            due = self.due(&stream, &mut closing) => Some(due),
        };
        match due {
            None => {}
            Some(Due::Now) => return,
            Some(Due::AfterAnswer) => {
                Pin::new(&mut connection).graceful_shutdown();
                let last_answer = poll_fn(|cx| connection.poll_without_shutdown(cx));
                if !matches!(timeout(LAST_ANSWER_TIMEOUT, last_answer).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
        let parts = connection.into_parts();
        let (stream, first_bytes) = (parts.io.into_inner(), parts.read_buf);
        if let Some(upgraded) = upgraded.into_inner() {
            // A copy of the size that is needed: the buffer itself is hyper's, and large.
            self.hand_over(stream, first_bytes.to_vec(), upgraded);
        }
    }

    /// Returns when the connection has to end. A stream may go on for as long as it is read.
    async fn due(&self, stream: &SetOnce<Progress>, closing: &mut watch::Receiver<bool>) -> Due {
        tokio::select! {
            () = self.place.gives_way() => {
                count(&self.door.metrics.gave_way);
                if self.place.is_answering() { Due::AfterAnswer } else { Due::Now }
            }
            _ = closing.changed() => Due::AfterAnswer,
            () = sleep(MAX_HTTP_LIFETIME) => Due::AfterAnswer,
            progress = stream.wait() => tokio::select! {
                () = progress.stalled() => Due::Now,
                _ = closing.changed() => Due::AfterAnswer,
            },
        }
    }

    /// Answers one request after every other connection has had its turn, so that one that sends
    /// many ahead is answered as often as one that sends a single one.
    async fn take_turn(
        &self,
        request: Request<Incoming>,
        (upgraded, stream): (&OnceLock<Upgraded>, &SetOnce<Progress>),
    ) -> Result<Answer, Infallible> {
        self.place.begins_answer();
        yield_now().await;
        let mut answer = self.answer(request, upgraded).await;
        if let Some(progress) = answer.extensions_mut().remove::<Progress>() {
            // Streams have a bound of their own. There is one of a connection, which ends with it.
            self.place.leave();
            let _ = stream.set(progress);
        }
        self.place.ends_answer();
        Ok(answer)
    }

    fn hand_over(self, stream: impl Stream, first_bytes: Vec<u8>, upgraded: Upgraded) {
        let Upgraded { default_channel, permit, origin } = upgraded;
        // A socket that fails here is broken, and was nobody's yet.
        let Ok(stream) = stream.into_socket() else { return };
        let opening = Opening::Client { default_channel, origin };
        let accepted = AcceptedSocket { stream, first_bytes, opening, permit };
        match self.door.loops.accept(accepted) {
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
}
