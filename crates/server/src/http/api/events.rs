//! What happens in a channel, as Server-Sent Events: the messages that its subscribers get.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, Response as Described, SchemaObject};
use aide::transform::TransformOperation;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use schemars::json_schema;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::names::Channel;
use super::problem::{Code, Problem};
use super::query::{NoParameters, Query};
use crate::auth::KeysInForce;
use crate::backend::Backend;
use crate::http::streams::{Progress, Streams};
use crate::watched::{Message, Watched};

/// A stream that has not begun.
pub(super) struct EventStream(Events);

struct Events {
    watched: Watched,
    /// What is to be written before the next message.
    ready: VecDeque<Bytes>,
    progress: Progress,
    streams: Streams,
    keys: KeysInForce,
    _room: OwnedSemaphorePermit,
}

/// How often a silent channel is written a comment, so that proxies and readers know that the
/// connection lives.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

pub(super) async fn stream(
    State(backend): State<Backend>,
    State(streams): State<Streams>,
    Channel(channel): Channel,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<EventStream, Problem> {
    let room = streams.room.clone().try_acquire_owned();
    let room = room.map_err(|_| Problem::new(Code::Unavailable, TOO_MANY))?;
    Ok(EventStream(Events {
        watched: backend.watch(channel)?,
        ready: VecDeque::new(),
        progress: Progress::new(),
        keys: streams.keys.in_force(),
        streams,
        _room: room,
    }))
}

pub(super) fn about(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    operation
        .id("streamEvents")
        .tag("Channels")
        .summary("Follow a channel by Server-Sent Events.")
        .description(
            "The first event is a `presence_sync` with the whole list; changes follow as \
             `presence_join`, `presence_update` and `presence_leave`. The data is that of the same \
             messages on a WebSocket. A reader that is too slow gets a new `presence_sync` in place \
             of what it has missed. A comment comes every 15 s.",
        )
}

impl Events {
    /// The next bytes of the stream, and what follows them. `None` ends it.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.ready.is_empty() {
            self.progress.note();
            let message = tokio::select! {
                biased;
                _ = self.streams.draining.wait_for(|drains| *drains) => return None,
                message = timeout(COMMENT_EVERY, self.watched.next()) => message,
            };
            if !self.streams.keys.are_in_force(&self.keys) {
                return None;
            }
            match message {
                Ok(message) => self.ready = lines(message?).into(),
                Err(_) => self.ready.push_back(Bytes::from_static(COMMENT)),
            }
        }
        let bytes = self.ready.pop_front()?;
        Some((Ok(bytes), self))
    }
}

/// One event. Its data is not copied: a list may be large.
fn lines(message: Message) -> [Bytes; 3] {
    let Message { kind, epoch, seq, json } = message;
    let head = format!("event: {}\nid: {epoch}-{seq}\ndata: ", kind.as_str());
    [head.into(), json, Bytes::from_static(b"\n\n")]
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let Self(events) = self;
        let progress = events.progress.clone();
        let body = Body::from_stream(stream::unfold(events, Events::next));
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
            // nginx would keep events back until a buffer is full.
            (NO_BUFFERING, HeaderValue::from_static("no")),
            (CONNECTION, HeaderValue::from_static("close")),
        ];
        let mut response = (headers, body).into_response();
        response.extensions_mut().insert(progress);
        response
    }
}

impl OperationOutput for EventStream {
    type Inner = Self;

    fn inferred_responses(
        _ctx: &mut GenContext,
        _operation: &mut Operation,
    ) -> Vec<(Option<u16>, Described)> {
        let schema = SchemaObject {
            json_schema: json_schema!({ "type": "string" }),
            example: None,
            external_docs: None,
        };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        let described = Described {
            description: "Events, until the client or the server ends the stream.".into(),
            content: [(EVENT_STREAM.to_owned(), media)].into_iter().collect(),
            ..Described::default()
        };
        vec![(Some(200), described)]
    }
}

const EVENT_STREAM: &str = "text/event-stream";
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const COMMENT: &[u8] = b":\n\n";
const TOO_MANY: &str = "64 event streams are open, which is the most. Close some, or follow several \
                        channels over one WebSocket.";
