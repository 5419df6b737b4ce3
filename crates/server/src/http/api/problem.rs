//! What goes wrong, as `application/problem+json` (RFC 9457). One table of codes; a detail says what
//! to change.

use std::borrow::Cow;

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, Response as Described, SchemaObject};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use schemars::JsonSchema;
use serde::Serialize;

use crate::backend::Unavailable;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
}

/// What programs decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Code {
    InvalidParameter,
    InvalidChannel,
    InvalidState,
    InvalidCursor,
    Unauthorized,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    MemberLimit,
    StateTooLarge,
    PayloadTooLarge,
    Unavailable,
}

/// Every code: its status, its title, and the anchor of its row in docs/http-api.md.
const CODES: [(Code, StatusCode, &str, &str); 12] = [
    (
        Code::InvalidParameter,
        StatusCode::BAD_REQUEST,
        "A parameter is invalid",
        "invalid_parameter",
    ),
    (
        Code::InvalidChannel,
        StatusCode::BAD_REQUEST,
        "The name of a channel is invalid",
        "invalid_channel",
    ),
    (
        Code::InvalidState,
        StatusCode::BAD_REQUEST,
        "The state is not a JSON object",
        "invalid_state",
    ),
    (Code::InvalidCursor, StatusCode::BAD_REQUEST, "The cursor is invalid", "invalid_cursor"),
    (Code::Unauthorized, StatusCode::UNAUTHORIZED, "A service key is needed", "unauthorized"),
    (Code::NotFound, StatusCode::NOT_FOUND, "There is nothing here", "not_found"),
    (
        Code::MethodNotAllowed,
        StatusCode::METHOD_NOT_ALLOWED,
        "The method is not allowed",
        "method_not_allowed",
    ),
    (
        Code::RequestTimeout,
        StatusCode::REQUEST_TIMEOUT,
        "The body arrived too slowly",
        "request_timeout",
    ),
    (Code::MemberLimit, StatusCode::CONFLICT, "The channel is full", "member_limit"),
    (
        Code::StateTooLarge,
        StatusCode::PAYLOAD_TOO_LARGE,
        "The state is too large",
        "state_too_large",
    ),
    (
        Code::PayloadTooLarge,
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body is too large",
        "payload_too_large",
    ),
    (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, "The server is busy", "unavailable"),
];

/// What a problem looks like.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem", transform = super::document::require_all)]
struct Shape<'a> {
    /// A URL that explains the code.
    #[serde(rename = "type")]
    kind: String,
    /// What the code means.
    title: &'a str,
    /// The status of the answer.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// A sentence that says what to change.
    detail: &'a str,
    /// What programs decide by.
    code: Code,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub(super) fn parameter(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidParameter, detail)
    }

    /// More requests are being answered than the server answers at once.
    pub(super) fn busy() -> Self {
        Self::new(Code::Unavailable, "Too many requests are being answered. Send it again.")
    }

    /// What an operation says of its refusals with these statuses.
    pub(super) fn described(
        ctx: &mut GenContext,
        statuses: &[u16],
    ) -> Vec<(Option<u16>, Described)> {
        let response = |status: u16| {
            let titles = CODES.iter().filter(|row| row.1 == status).map(|row| row.2);
            let schema = SchemaObject {
                json_schema: ctx.schema.subschema_for::<Shape<'_>>(),
                example: None,
                external_docs: None,
            };
            let media = MediaType { schema: Some(schema), ..MediaType::default() };
            let described = Described {
                description: titles.collect::<Vec<_>>().join(", or: ") + ".",
                content: [(PROBLEM_JSON.to_owned(), media)].into_iter().collect(),
                ..Described::default()
            };
            (Some(status), described)
        };
        statuses.iter().copied().map(response).collect()
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        Self::new(Code::Unavailable, unavailable.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = CODES.iter().find(|row| row.0 == self.code).expect("the table has every code");
        let (code, status, title, anchor) = *row;
        let kind = format!("{EXPLANATION}{anchor}");
        let shape = Shape { kind, title, status: status.as_u16(), detail: &self.detail, code };
        let body = serde_json::to_string(&shape).expect("it has no keys but texts");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match code {
            Code::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Code::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// Every operation may end so.
impl OperationOutput for Problem {
    type Inner = Self;

    fn inferred_responses(
        ctx: &mut GenContext,
        _operation: &mut Operation,
    ) -> Vec<(Option<u16>, Described)> {
        Self::described(ctx, &[400, 401, 503])
    }
}

const PROBLEM_JSON: &str = "application/problem+json";
const EXPLANATION: &str = "https://github.com/herenow/herenow/blob/main/docs/http-api.md#";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_has_a_row_for_every_code() {
        let guide = include_str!("../../../../../docs/http-api.md");
        for (code, status, _, anchor) in CODES {
            let code = serde_json::to_value(code).expect("a text");
            let code = code.as_str().expect("a text");
            let row = format!("| <a id=\"{anchor}\"></a>`{code}` | {} |", status.as_u16());
            assert!(guide.contains(&row), "docs/http-api.md should have the row {row}");
        }
    }
}
