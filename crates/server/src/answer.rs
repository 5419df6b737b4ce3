//! The few shapes of HTTP answers that this server gives. Knows no paths.

use axum::body::Body;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// An answer. Nearly all are short and known as a whole; the HTTP API decides for its own.
pub type Answer = Response<Body>;

/// A sentence for a person who asks with curl.
pub fn text(status: StatusCode, text: &'static str) -> Answer {
    body(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

/// JSON, for programs.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    body(status, "application/json", Bytes::from(value.to_string()))
}

/// Anything else.
pub fn body(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Body::from(bytes));
    *answer.status_mut() = status;
    with_headers(
        answer,
        [
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            // What the server says of itself is never to be guessed at as something to run.
            (NO_SNIFF, HeaderValue::from_static("nosniff")),
        ],
    )
}

/// The same answer with these headers.
pub fn with_headers(
    mut answer: Answer,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Answer {
    answer.headers_mut().extend(headers);
    answer
}

pub(crate) const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
