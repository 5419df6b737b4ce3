//! The body of a request: JSON, small, and in time. What kind of content the request says it has is
//! not looked at, so that `curl -d` works as it is.

use std::fmt;
use std::time::Duration;

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, RequestBody, Response, SchemaObject};
use aide::operation::set_body;
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper::body::Bytes;
use schemars::JsonSchema;
use serde::de::Unexpected::Float;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use tokio::time::timeout;

use super::problem::{Code, Problem};

/// What it says.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = timeout(BODY_TIMEOUT, read(request)).await.map_err(|_| slow())??;
        let parsed = parse(&bytes);
        parsed.map(Self).map_err(|wrong| Problem::parameter(format!("In the body: {wrong}.")))
    }
}

/// Only an object: the derived parsers would take a list for one whose keys are in order.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err("it should be a JSON object".into());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// A whole number, however it is written: to JSON, 60000.0 is the same number as 60000.
pub(super) fn whole<'de, D: Deserializer<'de>>(field: D) -> Result<u64, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
            let is_whole = number.fract() == 0.0 && (0.0..MAX_EXACT).contains(&number);
            // Exact: below 2^53 every whole number is its own double.
            if is_whole { Ok(number as u64) } else { Err(E::invalid_value(Float(number), &self)) }
        }
    }
    field.deserialize_any(Whole)
}

/// 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

async fn read(request: Request) -> Result<Bytes, Problem> {
    let body = request.into_body();
    // One that announces too much is refused before it is sent.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(large());
    }
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(large()),
        Err(_) => Err(Problem::parameter("The body ended early.")),
    }
}

fn large() -> Problem {
    let detail = format!("A body has at most {MAX_BODY_BYTES} bytes. Send several requests.");
    Problem::new(Code::PayloadTooLarge, detail)
}

fn slow() -> Problem {
    let seconds = BODY_TIMEOUT.as_secs();
    let detail = format!("The body should arrive within {seconds} seconds.");
    Problem::new(Code::RequestTimeout, detail)
}

impl<T: JsonSchema> OperationInput for Body<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let json_schema = ctx.schema.subschema_for::<T>();
        let schema = SchemaObject { json_schema, example: None, external_docs: None };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        let content = [("application/json".to_owned(), media)].into_iter().collect();
        let body = RequestBody { content, required: true, ..RequestBody::default() };
        set_body(ctx, operation, body);
    }

    fn inferred_early_responses(
        ctx: &mut GenContext,
        _operation: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        Problem::described(ctx, &[408, 413])
    }
}
