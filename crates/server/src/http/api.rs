//! `/api/presence`: what backends read and write over HTTP. Knows who may ask, how much at once, and
//! which handler answers; what the answers say comes from the loops, through `backend`.

mod body;
mod channels;
mod cursor;
mod document;
mod events;
mod explain;
mod kicks;
mod members;
mod names;
mod problem;
mod query;
mod target;
mod users;

use std::sync::OnceLock;

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with, put_with};
use aide::openapi::OpenApi;
use axum::body::Body;
use axum::extract::{FromRef, Request};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Json, Router};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use self::problem::{Code, Problem};
use super::bearer;
use super::streams::Streams;
use crate::answer::{Answer, NO_SNIFF};
use crate::auth::ServiceKeys;
use crate::backend::Backend;

/// See the module.
pub(crate) struct Api {
    state: ApiState,
    keys: ServiceKeys,
    in_flight: Semaphore,
    /// Made for the first request: many servers never get one.
    router: OnceLock<Router>,
}

/// What handlers need, each a part of it.
#[derive(Clone)]
struct ApiState {
    backend: Backend,
    streams: Streams,
}

/// What all of its paths begin with.
const BASE: &str = "/api/presence";

/// Describes all others, and is the one path that needs no key.
const DOCUMENT: &str = "/openapi.json";

/// Requests that are answered at once. Each may hold a page of members, a megabyte at most, and a
/// place in the queue of every loop.
const MAX_IN_FLIGHT: usize = 32;

impl Api {
    pub(crate) fn new(
        backend: Backend,
        keys: ServiceKeys,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let state = ApiState { backend, streams: Streams::new(keys.clone(), draining) };
        let in_flight = Semaphore::new(MAX_IN_FLIGHT);
        Self { state, keys, in_flight, router: OnceLock::new() }
    }

    /// Whether a path belongs to it.
    pub(super) fn has(path: &str) -> bool {
        path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether a backend can be let in.
    pub(super) fn is_open(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(super) async fn answer<B>(&self, request: hyper::Request<B>) -> Answer
    where
        B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let answer = self.answer_admitted(request.map(Body::new)).await;
        let mut answer = answer.unwrap_or_else(Problem::into_response);
        answer.headers_mut().extend([
            // An answer is true for a moment, and is for the holder of a key alone.
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (NO_SNIFF, HeaderValue::from_static("nosniff")),
        ]);
        answer
    }

    async fn answer_admitted(&self, mut request: Request) -> Result<Answer, Problem> {
        let is_document = request.uri().path().strip_prefix(BASE) == Some(DOCUMENT);
        if !is_document {
            self.check_key(request.headers())?;
        }
        let _permit = self.in_flight.try_acquire().map_err(|_| Problem::busy())?;
        target::check(&mut request)?;
        let mut router = self.router.get_or_init(|| router(self.state.clone())).clone();
        let Ok(answer) = router.call(request).await;
        Ok(answer)
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.keys.is_empty() {
            return Err(Problem::new(Code::Unauthorized, NO_KEY_SET));
        }
        let Some(shown) = bearer::credential(headers) else {
            return Err(Problem::new(Code::Unauthorized, NO_KEY_SHOWN));
        };
        match self.keys.admit(shown) {
            true => Ok(()),
            false => Err(Problem::new(Code::Unauthorized, WRONG_KEY)),
        }
    }
}

/// Every path, and the document that says so.
fn router(state: ApiState) -> Router {
    let mut document = OpenApi::default();
    let paths = ApiRouter::new()
        .api_route("/channels", get_with(channels::list, channels::about_list))
        .api_route("/channels/query", post_with(channels::query, channels::about_query))
        .api_route("/channels/{channel}", get_with(channels::read, channels::about_read))
        .api_route("/channels/{channel}/events", get_with(events::stream, events::about))
        .api_route("/channels/{channel}/presence", get_with(members::list, members::about_list))
        .api_route(
            "/channels/{channel}/presence/{key}",
            put_with(members::put, members::about_put)
                .delete_with(members::remove, members::about_remove),
        )
        .api_route("/channels/{channel}/kick", post_with(kicks::kick, kicks::about_kick))
        .api_route("/explain", get_with(explain::explain, explain::about_explain))
        .api_route("/users/query", post_with(users::query, users::about_query))
        .api_route("/users/{userId}", get_with(users::read, users::about_read))
        .api_route(
            "/users/{userId}/disconnect",
            post_with(kicks::disconnect, kicks::about_disconnect),
        );
    let router = ApiRouter::new().nest(BASE, paths).with_state(state);
    let router: Router = router.finish_api_with(&mut document, document::describe);
    let document = document::text(&document);
    let document = async move || ([(CONTENT_TYPE, "application/json")], document);
    router
        .route(&format!("{BASE}{DOCUMENT}"), get(document))
        .fallback(async || Problem::new(Code::NotFound, NO_SUCH_PATH))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, WRONG_METHOD))
}

impl FromRef<ApiState> for Backend {
    fn from_ref(state: &ApiState) -> Self {
        state.backend.clone()
    }
}

impl FromRef<ApiState> for Streams {
    fn from_ref(state: &ApiState) -> Self {
        state.streams.clone()
    }
}

/// What a handler answers with.
type Answered<T> = Result<Json<T>, Problem>;

const NO_KEY_SET: &str = "This server has no service key, so it lets no backend in. Set \
                          SERVICE_KEY or SERVICE_KEY_FILE and start it again.";
const NO_KEY_SHOWN: &str =
    "Send the header `Authorization: Bearer <key>` with a key of SERVICE_KEY or SERVICE_KEY_FILE.";
const WRONG_KEY: &str = "The key is none of those in SERVICE_KEY or SERVICE_KEY_FILE.";
const NO_SUCH_PATH: &str = "There is no such path; GET /api/presence/openapi.json lists them all.";
const WRONG_METHOD: &str = "This path does not take this method; the header Allow lists those that \
                            it takes.";
